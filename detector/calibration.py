"""The calibration of the channels on a series' own past: tails, references, band.

Letters: as in `detector.channels`.
"""

from __future__ import annotations

import math

import numpy as np

from detector import kernels
from detector.channels import (
    CHANNELS,
    FLAT,
    JUMP,
    LOUD_STEPS,
    NOVELTY,
    ORDER,
    PRIOR,
    REFERENCES,
    SHAPE,
    SMOOTHED_STEPS,
    SPIKE,
    SPREAD,
    SPREAD_STEPS,
    SUSTAINED,
    SUSTAINED_STEPS,
    UNREST,
    Normal,
    State,
    leaning,
    leant,
    log_spread,
    predicted,
    push,
    restless,
)
from detector.clock import around, fit_widths, unforeseen
from detector.combination import combined, hush, smoothed, weigh
from detector.extremes import fit_crowd, fit_grain, fit_patience, fit_reach
from detector.kernels import Z_LIMIT, jit
from detector.measures import measure
from detector.references import course_evidence, fit_courses, fit_windows
from detector.series import Float, Int
from detector.tails import LEAST_DECADE, LEAST_OF_HOURS, LEAST_OF_LEANINGS, fit_tail, tail_evidence

# Samples of the past at which calibration and prior weigh a quarter and three quarters.
TRUST_SAMPLES = 300


@jit
def calibrate(
    history: Float,
    expected: Float,
    first: int,
    recent: Float,
    local: Int,
    step: int,
    profile: int,
    normal: Normal,
    state: State,
    ready: np.ndarray,
    sensitivity: float,
) -> None:
    """Fit channels, tails and band of all series, and start their fold; both are written.

    Parameters
    ----------
    history, expected : float64[S, T]
        Samples and left-out expectations on the profile grid.
    first : int
        Cell of the profile grid, local time, of the first of them.
    recent : float64[S, R]
        Samples on the step grid up to the boundary.
    local : int64[R]
        Their local times in seconds.
    step, profile : int
        Seconds.
    sensitivity : float
        Of the policy.
    """
    width = normal.windows.shape[1]
    day = max(86_400 // step, 1)
    count = recent.shape[1]
    shaped = normal.courses.shape[1] > 1
    centre = np.empty(count)
    z = np.empty(count)
    wider = np.empty(count)
    cells = local // profile
    # Expected values of all slots that the samples lie in, and of those around.
    lowest = cells.min() - 1 if count > 0 else 0
    row = np.empty(cells.max() + 2 - lowest if count > 0 else 0)
    places = cells - lowest
    slots = cells % normal.widths.shape[1]
    parts = (local - cells * profile) / profile
    past = np.empty((CHANNELS, count), np.float32)
    leanings = np.empty(count, np.float32)
    distances = np.empty(REFERENCES, np.float32)
    for s in range(recent.shape[0]):
        if not ready[s]:
            continue
        scale, growth, widths = normal.scale[s], normal.growth[s], normal.widths[s]
        fit_widths(history[s], expected[s], growth, scale, first, widths)
        level = state.level[s, 0]
        for i in range(row.shape[0]):
            row[i] = interpolated(expected[s], normal.table[s], level, lowest + i, first)
        slack = scale if shaped else np.inf
        x = recent[s]
        for k in range(count):
            i = places[k]
            a, up, down = around(row[i - 1], row[i], row[i + 1], parts[k], slack)
            centre[k] = a
            z[k] = unforeseen(x[k] - a, up, down)
        fit_crowd(recent[s], centre, day, sensitivity, normal.crowd[s])
        kernels.widenings(centre, growth, wider)
        for k in range(count):
            wider[k] *= widths[slots[k]]
        _in_scales(scale, wider, z)
        known = measure(recent[s], z, wider, normal, state, s, past, leanings)
        for c in (SPIKE, JUMP, SUSTAINED, SPREAD, UNREST):
            least = LEAST_OF_HOURS if c == UNREST else LEAST_DECADE
            fit_tail(past[c], day, least, normal.tails[s, c])
        fit_tail(leanings, day, LEAST_OF_LEANINGS, normal.lean[s])
        normal.trust[s] = (known / (known + TRUST_SAMPLES)) ** 2
        normal.newest[s] = weigh(normal.surprise[s], shaped, normal.weights[s])
        _begin_loud(past, normal, s, state.loud[s])
        queries = fit_windows(z, width, day, normal, s, distances)
        fit_tail(queries, queries.shape[0] + 1, LEAST_DECADE, normal.tails[s, NOVELTY])
        if shaped:
            queries = fit_courses(history[s], profile, normal, state, s, distances)
            fit_tail(queries, queries.shape[0] + 1, LEAST_DECADE, normal.tails[s, SHAPE])
            if normal.known[s, 1] > 0:
                state.shape[s] = course_evidence(
                    state.course[s], normal.courses[s], normal.known[s, 1],
                    normal.tails[s, SHAPE], normal.trust[s], distances,
                )  # fmt: skip
        _fit_band(normal, state, s, distances)
        fit_reach(history[s], 86_400 // profile, sensitivity, normal.reach[s])
        normal.grain[s] = fit_grain(recent[s])
        normal.patience[s], state.run[s] = fit_patience(recent[s], day, sensitivity)


@jit
def interpolated(values: Float, table: Float, level: float, cell: int, first: int) -> float:
    """Expected value at a cell of the profile grid: of the history, or of the forecast."""
    i = cell - first
    if 0 <= i < values.shape[0]:
        return float(values[i])
    return float(table[cell % table.shape[0]] + level) if i >= 0 else np.nan


@jit
def _in_scales(scale: float, wider: Float, z: Float) -> None:
    """Turn deviations into those in scales, clipped, in place."""
    for k in range(z.shape[0]):
        deviation = z[k] / (scale * wider[k])
        deviation = Z_LIMIT if deviation > Z_LIMIT else deviation
        z[k] = -Z_LIMIT if deviation < -Z_LIMIT else deviation


@jit
def _begin_loud(past: np.ndarray, normal: Normal, s: int, loud: Float) -> None:
    """Fill in what the level channels said at the last steps of the past."""
    n = past.shape[1]
    for k in range(min(loud.shape[0], n)):
        for c in (SPIKE, SUSTAINED):
            magnitude = past[c, n - 1 - k]
            if magnitude == magnitude:
                said = tail_evidence(magnitude, normal.tails[s, c], normal.trust[s], PRIOR)
                loud[k] = max(loud[k], said)


@jit
def _fit_band(normal: Normal, state: State, s: int, distances: kernels.Single) -> None:
    """Solve for the deviation that, held for five steps after calm ones, scores 1."""
    width = normal.windows.shape[1]
    for side in range(2):
        sign = 1.0 - 2.0 * side
        low = 0.0
        high = Z_LIMIT
        if held_score(sign * high, normal, s, width, distances) < 1.0:
            normal.band[s, side] = np.inf
            continue
        for _ in range(10):
            middle = 0.5 * (low + high)
            if held_score(sign * middle, normal, s, width, distances) < 1.0:
                low = middle
            else:
                high = middle
        normal.band[s, side] = high


@jit
def held_score(z: float, normal: Normal, s: int, width: int, distances: kernels.Single) -> float:
    """Highest score of a deviation of `z` scales held for five steps on a calm series.

    Where it reaches 1 the steps after that are left out.

    Calm: no deviation before, steps as wide as usual, a usual course and unrest.
    """
    usual = max(math.exp(normal.spread[s, 0]) - FLAT, 0.0) * normal.scale[s]
    recent = np.zeros(ORDER)
    steps = np.full(SPREAD_STEPS, usual)
    evidence = np.zeros(CHANNELS)
    window = np.zeros(width)
    scores = np.zeros((2, SMOOTHED_STEPS))
    loud = np.zeros(LOUD_STEPS)
    shaped = normal.courses.shape[1] > 1
    top = 0.0
    unrest = normal.rest[s]
    lean = 0.0
    for k in range(SUSTAINED_STEPS):
        expected = predicted(recent, normal.memory[s])
        push(recent, z)
        push(steps, usual + (abs(z) * normal.scale[s] if k == 0 else 0.0))
        jump = (z - expected) / normal.surprise[s]
        mean = z * (k + 1) / SUSTAINED_STEPS
        broad = (log_spread(steps, normal.scale[s]) - normal.spread[s, 0]) / normal.spread[s, 1]
        trust = normal.trust[s]
        evidence[SPIKE] = tail_evidence(abs(z), normal.tails[s, SPIKE], trust, PRIOR)
        evidence[JUMP] = (
            tail_evidence(abs(jump), normal.tails[s, JUMP], trust, PRIOR) if jump * z > 0.0 else 0.0
        )
        evidence[SUSTAINED] = tail_evidence(abs(mean), normal.tails[s, SUSTAINED], trust, PRIOR)
        evidence[SPREAD] = tail_evidence(abs(broad), normal.tails[s, SPREAD], trust, PRIOR)
        lean = leant(lean, z, normal.fade[s, 1])
        lasting = tail_evidence(
            leaning(mean, lean) / normal.lean[s, 4], normal.lean[s], trust, PRIOR
        )
        unrest = restless(unrest, z, normal.fade[s, 0])
        evidence[UNREST] = tail_evidence(unrest, normal.tails[s, UNREST], trust, PRIOR)
        if normal.known[s, 0] > 0:
            for i in range(width):
                window[i] = recent[i]
            far = kernels.novelty(window, normal.windows[s], normal.known[s, 0], distances)
            evidence[NOVELTY] = tail_evidence(far, normal.tails[s, NOVELTY], trust, PRIOR)
        hush(evidence, loud, shaped)
        evidence[SUSTAINED] = max(evidence[SUSTAINED], lasting)
        score = math.sqrt(combined(evidence, normal.weights[s], CHANNELS)) / normal.edge[s]
        top = max(top, smoothed(score, normal.newest[s], scores) if shaped else score)
        if top >= 1.0:
            break
    return top
