"""Turns a baseline into scores: calibration on the past, then the fold over new steps.

A score of 1 is the edge of normal. Each channel's evidence is about -log10 of its tail
probability, calibrated on the series' own past; the score is their weighted root mean square
over the evidence at the edge, joined by the trend where the kind has one, and no less than what
is far beyond all of the past (see `extremes`)::

    score = max(sqrt(sum(w * evidence**2) / sum(w) / edge**2 + trend**2), beyond)
"""

from __future__ import annotations

import numpy as np

from detector import names
from detector.calibration import calibrate
from detector.channels import (
    CHANNELS,
    LEAN_SECONDS,
    LOUD_STEPS,
    ORDER,
    REFERENCES,
    SHAPE_BLOCKS,
    SHAPE_GRID,
    SHAPE_SECONDS,
    SMOOTHED_STEPS,
    SPREAD_STEPS,
    Limits,
    Normal,
    State,
    memory_length,
    window_length,
)
from detector.evidence import scratch_of
from detector.expectation import calendar_of
from detector.fold import Told, fold
from detector.levels import WEEK_BLOCKS, begin, begin_week
from detector.models.baseline import DAY, Baseline, level_blocks
from detector.policy import Policy
from detector.series import Bool, Int, Scores, SeriesMatrix

# Evidence, in decades, at the edge of normal.
EDGE = 2.37
# With a day of history the edge of normal is this share further away, falling to nothing at
# eight days, when a weekend has been seen.
CAUTION = 0.3
CAUTION_DAYS = (1.0, 8.0)
# Series that are calibrated together: what is copied of them stays in the cache.
TOGETHER = 16
AN_HOUR = 3600
# State of a series that has been absent so long that it is no longer written.
GONE = -1


def prepare(
    baseline: Baseline,
    history: SeriesMatrix,
    recent: SeriesMatrix,
    local: Int,
    policy: Policy,
    going_on: Int | None = None,
) -> tuple[Normal, State]:
    """Calibrate the channels on the past of a baseline and start its fold.

    Parameters
    ----------
    baseline : Baseline
        S series.
    history : SeriesMatrix
        [S, T], the samples the baseline was fitted to; its times are local.
    recent : SeriesMatrix
        [S, R] samples on the step grid up to the boundary.
    local : int64[R]
        Local times of `recent`.
    policy : Policy
        Its sensitivity moves the edge, and how far is too far.
    going_on : int64[S], optional
        How many of the last samples of the history are of an incident that goes on, see
        `underway.under_way`: they are not looked at.

    Returns
    -------
    Normal, State
    """
    count = len(baseline.labels)
    shaped = history.step <= SHAPE_GRID
    short = np.clip(
        (CAUTION_DAYS[1] - baseline.seconds / DAY) / (CAUTION_DAYS[1] - CAUTION_DAYS[0]), 0.0, 1.0
    )
    normal = Normal(
        table=baseline.table,
        slope=baseline.slope,
        scale=baseline.scale,
        growth=baseline.growth,
        widths=np.ones((count, baseline.table.shape[1]), np.float32),
        memory=np.zeros((count, ORDER)),
        surprise=np.ones(count),
        weights=np.full((count, CHANNELS), 1.0 / CHANNELS),
        newest=np.ones(count),
        spread=np.tile([0.0, 1.0], (count, 1)),
        windows=np.zeros((count, window_length(recent.step), REFERENCES), np.float32),
        known=np.zeros((count, 2), np.int64),
        courses=np.zeros((count, SHAPE_BLOCKS if shaped else 1, REFERENCES), np.float32),
        middle=np.tile([0.0, 1.0], (count, 1)),
        tails=np.tile([0.0, 1.0, np.inf, np.inf], (count, CHANNELS, 1)),
        trust=np.zeros(count),
        fade=np.tile(_fades(recent.step, shaped), (count, 1)),
        rest=np.zeros(count),
        lean=np.tile([0.0, 1.0, np.inf, np.inf, 1.0], (count, 1)),
        edge=EDGE * (1.0 + CAUTION * short) / policy.sensitivity,
        reference=baseline.reference,
        reach=np.full((count, 2, 2), np.nan),
        crowd=np.zeros((count, 2)),
        patience=np.full(count, np.inf),
        grain=np.zeros(count),
        band=np.full((count, 2), np.inf),
    )
    going_on = np.zeros(count, np.int64) if going_on is None else going_on
    state = start(baseline, history)
    first = int(history.times[0]) // history.step if len(history.times) else 0
    for at in range(0, count, TOGETHER):
        some = slice(at, at + TOGETHER)
        # In one layout: for each other one all would be compiled once more.
        past, now = (
            np.ascontiguousarray(history.values[some]),
            np.ascontiguousarray(recent.values[some]),
        )
        for s in np.flatnonzero(going_on[some]) + at:
            since = int(going_on[s]) * history.step
            past, now = past.copy(), now.copy()
            past[s - at, -since // history.step :] = np.nan
            now[s - at, -since // recent.step :] = np.nan
        calibrate(
            past, baseline.expected[some], first, now, local, recent.step, history.step,
            normal, state, at, baseline.ready[some], policy.sensitivity,
        )  # fmt: skip
    return normal, state


def _fades(step: int, shaped: bool) -> tuple[float, float]:
    """Return the shares of the newest deviation in the unrest and in the lean."""
    return 2.0 / memory_length(step, shaped), min(step / LEAN_SECONDS, 0.5)


def start(baseline: Baseline, history: SeriesMatrix) -> State:
    """Return the state of the fold at the boundary the baseline was fitted for."""
    count = len(baseline.labels)
    blocks, size = level_blocks(DAY // baseline.profile)
    long_enough = history.values.shape[1] >= blocks * size
    raw = np.full((count, blocks), np.nan)
    level = np.empty((count, 2))
    last = history.values[:, -blocks * size :] if long_enough else np.empty((count, 0))
    begin(np.ascontiguousarray(last), baseline.blocks, raw, level)
    older = max(history.values.shape[1] - WEEK_BLOCKS * size, 0)
    last = np.ascontiguousarray(history.values[:, older:])
    week, usual = np.empty((count, WEEK_BLOCKS)), np.empty(count)
    first = int(history.times[0]) // history.step + older if len(history.times) else 0
    begin_week(last, baseline.table, baseline.slope, first, size, week, usual)
    return State(
        blocks=baseline.blocks.copy(),
        raw=raw,
        hour=np.zeros((count, 2, size)),
        filled=np.zeros((count, 2), np.int64),
        level=level,
        recent=np.zeros((count, ORDER)),
        steps=np.zeros((count, SPREAD_STEPS)),
        last=np.full(count, np.nan),
        centre=np.full(count, np.nan),
        course=np.zeros((count, SHAPE_BLOCKS * max(SHAPE_SECONDS // baseline.profile, 1))),
        shape=np.zeros(count),
        unrest=np.zeros(count),
        lean=np.zeros(count),
        scores=np.zeros((count, 2, SMOOTHED_STEPS)),
        loud=np.zeros((count, LOUD_STEPS)),
        flags=np.zeros((count, 6), np.int64),
        silent=np.zeros(count, np.int64),
        run=np.zeros(count, np.int64),
        week=week,
        usual=usual,
    )


def limits_of(policy: Policy) -> Limits:
    """Return a policy as numbers."""
    return Limits(
        signs=np.array([policy.direction != "down", policy.direction != "up"], np.int64),
        floors=np.array([policy.min_abs, policy.min_rel]),
        limits=np.array([policy.lower, policy.upper]),
        trend=policy.trend,
    )


def advance(
    baseline: Baseline,
    normal: Normal,
    state: State,
    window: SeriesMatrix,
    local: Int,
    boundary: int,
    policy: Policy,
) -> Scores:
    """Score the next steps and learn from them; `state` is advanced in place.

    Parameters
    ----------
    window : SeriesMatrix
        [S, T] samples that follow directly on those scored before, rows as in `baseline`.
    local : int64[T]
        Local times of the window.
    boundary : int
        Unix seconds of the boundary the baseline belongs to.
    policy : Policy
        Direction, floors and limits.

    Returns
    -------
    Scores
        ``state`` is `names.State`, or -1 where the series has been absent for an hour (or at
        once with ``missing="ignore"``): it is gone and not to be written.
    """
    shape = window.values.shape
    told = Told(
        expected=np.full(shape, np.nan),
        lower=np.full(shape, np.nan),
        upper=np.full(shape, np.nan),
        score=np.full(shape, np.nan),
        evidence=np.full((*shape, CHANNELS), np.nan),
        anomalous=np.zeros(shape, np.int8),
    )
    calendar = calendar_of(
        window.times,
        local,
        baseline.profile,
        boundary,
        normal.table.shape[1],
        state.hour.shape[2],
    )
    muted = window.marked(names.Mask.MUTED)
    fold(
        np.ascontiguousarray(window.values),
        calendar,
        ~window.marked(names.Mask.UNTAUGHT),
        muted,
        baseline.ready,
        memory_length(window.step, normal.courses.shape[1] > 1),
        AN_HOUR // window.step,
        normal,
        limits_of(policy),
        state,
        told,
        scratch_of(normal.windows.shape[1]),
    )
    status = np.where(told.anomalous == 1, names.State.ANOMALOUS, names.State.OK).astype(np.int8)
    status[~np.isfinite(told.score)] = names.State.WARMING_UP
    status[~np.isfinite(window.values)] = names.State.NO_DATA
    told.score[muted] = np.nan
    told.evidence[muted] = np.nan
    status[muted] = names.State.MASKED
    status[_silence(window.absent, state) > patience(policy, window.step)] = GONE
    for bound in (told.lower, told.upper):
        bound[~np.isfinite(bound)] = np.nan
    return Scores(
        labels=window.labels,
        times=window.times,
        observed=window.values,
        expected=told.expected,
        lower=told.lower,
        upper=told.upper,
        score=told.score,
        evidence=told.evidence,
        state=status,
    )


def patience(policy: Policy, step: int) -> int:
    """Return how many steps in a row a series may be absent before it is gone: an hour of them."""
    return 0 if policy.missing == "ignore" else AN_HOUR // step


def _silence(absent: Bool, state: State) -> Int:
    """Count, at each step, the steps in a row without a sample, int64[S, T]; keeps `silent`."""
    places = np.arange(1, absent.shape[1] + 1)
    last = np.maximum.accumulate(np.where(absent, 0, places), axis=1)
    run: Int = places - last + np.where(last == 0, state.silent[:, None], 0)
    if absent.shape[1]:
        state.silent[:] = run[:, -1]
    return run
