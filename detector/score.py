"""Turns deviations into scores: calibration on the past, the band, episodes, evidence.

A score of 1 is the edge of normal. Two channels speak: `spike` (this sample) and `sustained`
(mean of the last five); each is worth about -log10 of its tail probability, calibrated on the
series' own past, and they are combined by their root mean square::

    score = sqrt((spike**2 + sustained**2) / 2) / EDGE
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector import kernels, names
from detector.models.seasonal import DAY, Baseline
from detector.series import Float, Int, Policy, Scores, SeriesMatrix

# Evidence, in decades, at the edge of normal. 3.5 is 1 in 3,000 on an exponential tail, which
# overstates the tail of anything lighter: Gaussian noise has to be 4.1 scales off for five steps.
EDGE = 3.5
# An episode ends when the score falls below this (or after five calm steps inside the band).
LEAVE = 0.65
# Slope of the fixed prior on log1p(z): EDGE at six scales.
PRIOR = EDGE / np.log1p(6.0)
# Samples of history at which calibration and prior weigh a quarter and three quarters.
TRUST_SAMPLES = 1000
# One decade of probability is at least this far on the log1p(z) axis: a past without any tail
# must not make the edge touch the noise.
LEAST_DECADE = 0.2
# With a day of history the edge of normal is three times as far away as it is from eight days
# on, when a weekend has been seen.
CAUTION = 2.0
CAUTION_DAYS = (1.0, 8.0)
# State of a series that has been absent so long that it is no longer written.
GONE = -1


@dataclass(frozen=True)
class Calibration:
    """How unusual a deviation is for each of S series.

    Parameters
    ----------
    tails : float64[S, 2, 2]
        (q95, decade) of log1p(z), above and below the expected value.
    trust : float64[S]
        Weight of `tails` against the prior, 0..1.
    scale : float64[S]
        The baseline's scale, widened while history is short.
    band : float64[S, 2]
        Deviation above and below, in the signal's unit, that scores 1 when held for five steps.
    """

    tails: Float
    trust: Float
    scale: Float
    band: Float


@dataclass
class FoldState:
    """What a fold carries from step to step for S series; advanced in place.

    ring : float64[S, 3, R], level : float64[S, 3], recent : float64[S, 5],
    flags : int64[S, 2], silent : int64[S] (steps in a row without any sample).
    """

    ring: Float
    level: Float
    recent: Float
    flags: Int
    silent: Int


def calibrate(baseline: Baseline, z: Float) -> Calibration:
    """Fit the tails of past deviations and solve for the band.

    Parameters
    ----------
    baseline : Baseline
        S series.
    z : float64[S, T]
        Past residuals in scales; NaN is skipped.

    Returns
    -------
    Calibration
    """
    count = len(baseline.labels)
    tails = np.empty((count, 2, 2))
    tails[:, :, 0] = np.log1p(1.645)
    tails[:, :, 1] = LEAST_DECADE
    for s in range(count):
        known = z[s][np.isfinite(z[s])]
        if len(known) == 0:
            continue
        for side, sign in enumerate((1.0, -1.0)):
            far = np.log1p(np.clip(sign * known, 0.0, kernels.Z_LIMIT))
            q95, q995 = np.quantile(far, [0.95, 0.995])
            tails[s, side] = q95, max(q995 - q95, LEAST_DECADE)
    n = baseline.samples
    trust = (n / (n + TRUST_SAMPLES)) ** 2
    short = np.clip(
        (CAUTION_DAYS[1] - baseline.seconds / DAY) / (CAUTION_DAYS[1] - CAUTION_DAYS[0]), 0.0, 1.0
    )
    scale = baseline.scale * (1.0 + CAUTION * short)
    return Calibration(tails, trust, scale, _edge(tails, trust) * scale[:, None])


def _edge(tails: Float, trust: Float) -> Float:
    """Invert `kernels.tail_evidence` at EDGE, float64[S, 2] in scales.

    The evidence is linear in ``g = log1p(z)`` while it is positive, so
    ``g = (EDGE - trust * (1.30103 - q95 / decade)) / (trust / decade + (1 - trust) * PRIOR)``.
    """
    q95, decade = tails[:, :, 0], tails[:, :, 1]
    t = trust[:, None]
    g = (EDGE - t * (1.30103 - q95 / decade)) / (t / decade + (1.0 - t) * PRIOR)
    z = np.expm1(g)
    # Deviations are cut off at Z_LIMIT: an edge beyond it is never reached.
    return np.where(z > kernels.Z_LIMIT, np.inf, z)


def start(baseline: Baseline) -> FoldState:
    """Return the state of the fold at the boundary the baseline was fitted for."""
    count = len(baseline.labels)
    return FoldState(
        ring=baseline.ring.copy(),
        level=baseline.level.copy(),
        recent=np.zeros((count, kernels.SUSTAINED_STEPS)),
        flags=np.zeros((count, 2), np.int64),
        silent=np.zeros(count, np.int64),
    )


def advance(
    baseline: Baseline,
    calibration: Calibration,
    state: FoldState,
    window: SeriesMatrix,
    policy: Policy,
) -> Scores:
    """Score the next steps and learn from them; `state` is advanced in place.

    Parameters
    ----------
    window : SeriesMatrix
        [S, T] samples that follow directly on those scored before, rows as in `baseline`.
    policy : Policy
        Direction, floors and limits.

    Returns
    -------
    Scores
        ``state`` is `names.State`, or -1 where the series has been absent for an hour (or at
        once with ``missing="ignore"``): it is gone and not to be written.
    """
    count, steps = window.values.shape
    shape = (count, steps)
    expected, lower, upper, score = (np.full(shape, np.nan) for _ in range(4))
    evidence = np.full((*shape, len(names.CHANNELS)), np.nan)
    anomalous = np.zeros(shape, np.int64)
    signs = np.array([policy.direction != "down", policy.direction != "up"], np.int64)
    floors = np.array([policy.min_abs, policy.min_rel])
    limits = np.array([policy.lower, policy.upper])
    for s in range(count):
        if baseline.ready[s]:
            kernels.fold(
                window.values[s],
                window.times,
                window.step,
                baseline.profile,
                baseline.day[s],
                baseline.week[s],
                baseline.weight[s],
                calibration.scale[s],
                calibration.tails[s],
                calibration.trust[s],
                PRIOR,
                EDGE,
                calibration.band[s],
                signs,
                floors,
                limits,
                LEAVE,
                state.ring[s],
                state.level[s],
                state.recent[s],
                state.flags[s],
                expected[s],
                lower[s],
                upper[s],
                score[s],
                evidence[s],
                anomalous[s],
            )
    status = np.where(anomalous == 1, names.State.ANOMALOUS, names.State.OK).astype(np.int8)
    status[~np.isfinite(score)] = names.State.WARMING_UP
    muted = window.marked(names.Mask.MUTED)
    score[muted] = np.nan
    evidence[muted] = np.nan
    status[muted] = names.State.MASKED
    status[~np.isfinite(window.values)] = names.State.NO_DATA
    status[_silence(window.absent, state) > patience(policy, window.step)] = GONE
    for bound in (lower, upper):
        bound[~np.isfinite(bound)] = np.nan
    return Scores(
        labels=window.labels,
        times=window.times,
        observed=window.values,
        expected=expected,
        lower=lower,
        upper=upper,
        score=score,
        evidence=evidence,
        state=status,
    )


def patience(policy: Policy, step: int) -> int:
    """Return how many steps in a row a series may be absent before it is gone: an hour of them."""
    return 0 if policy.missing == "ignore" else 3600 // step


def _silence(absent: np.ndarray[tuple[int, int], np.dtype[np.bool_]], state: FoldState) -> Int:
    """Count, at each step, the steps in a row without a sample, int64[S, T]; keeps `silent`."""
    count, steps = absent.shape
    run = np.empty((count, steps), np.int64)
    silent = state.silent
    for t in range(steps):
        silent = np.where(absent[:, t], silent + 1, 0)
        run[:, t] = silent
    state.silent = silent
    return run
