"""The past of a series measured as the fold measures the present, a channel at a time.

Letters: as in `detector.channels`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from detector import histograms, kernels
from detector.channels import (
    FLAT,
    JUMP,
    ORDER,
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
    restless,
)
from detector.kernels import Single, jit, logarithms
from detector.networks import MISSING, N
from detector.series import Float
from detector.tails import LOW

# What the jump does not predict is at least this many scales.
LEAST_SURPRISE = 0.02
# One robust standard deviation of log spread is at least this.
LEAST_LOG_SPREAD = 0.3
# What one of ten leanings exceeds is at least this many scales.
LEAST_LEANING = 0.01
# Beyond as many scales a deviation says no more of the next.
MOST_CLEAN = np.float32(3.0)
FIFTH: Any = np.float32(1.0 / SUSTAINED_STEPS)
TENTH = np.float32(1.0 / SPREAD_STEPS)
LEAST_SPREAD = np.float32(FLAT)
# No step is of more scales, so that a sum of them is a number.
MOST_STEP = 1e30


@jit
def measure(
    x: Float,
    z: Single,
    narrow: Single,
    normal: Normal,
    state: State,
    s: int,
    past: Single,
    leanings: Single,
) -> int:
    """Measure the past of series `s` as `observe` would, a channel at a time.

    Fits what `jump`, `spread`, `unrest` and the leaning are measured by; leaves the state after
    the last sample.

    Parameters
    ----------
    x : float64[R]
        Samples.
    z, narrow : float32[R]
        Deviations (NaN where there is none), and how wide the scale was.
    past : float32[C, R]
        Output: magnitudes of spike, jump, sustained, spread and unrest, NaN where nothing is known;
        the other rows are not touched.
    leanings : float32[R]
        Output: the leaning (see `channels.leaning`) in units of what one of ten exceeds.

    Returns
    -------
    int
        Samples that were measured.
    """
    n = z.shape[0]
    clean = np.empty(n, np.float32)
    for k in range(n):
        clean[k] = z[k] if z[k] == z[k] else np.float32(0.0)
    predicted = np.zeros(n, np.float32)
    normal.surprise[s] = _fit_jump(clean, z, normal.memory[s], predicted)
    past[:, :SPREAD_STEPS] = np.nan
    past[SPREAD] = np.nan
    _measure_levels(clean, z, predicted, normal.surprise[s], past)
    for k in range(min(ORDER, n)):
        state.recent[s, k] = clean[n - 1 - k]

    state.unrest[s], state.lean[s] = _measure_means(
        clean, z, normal.fade[s], past[UNREST], leanings
    )
    _measure_leaning(clean, z, normal.lean[s], leanings)
    rest = histograms.positive_quantile(some_of(past[UNREST]), 0.5)
    normal.rest[s] = rest if rest == rest else 0.0

    known, state.last[s], places, steps = _steps(x, z, narrow, normal.scale[s])
    m = steps.shape[0]
    for j in range(min(SPREAD_STEPS, m)):
        state.steps[s, j] = steps[m - 1 - j] * normal.scale[s]
    relative = np.empty(max(m - SPREAD_STEPS, 0), np.float32)
    for i in range(m - SPREAD_STEPS):
        total = N[0]
        for j in range(1, SPREAD_STEPS + 1):
            total += steps[i + j]
        relative[i] = total * TENTH + LEAST_SPREAD
    _fit_spread(relative, normal.spread[s])
    spread, places = past[SPREAD], places[SPREAD_STEPS:]
    for i in range(m - SPREAD_STEPS):
        spread[places[i]] = relative[i]
    # The first samples have no past to be measured by.
    for k in range(min(SPREAD_STEPS, n)):
        known -= z[k] == z[k]
    return known


@jit
def _measure_levels(
    clean: Single, z: Single, predicted: Single, surprise: float, past: Single
) -> None:
    """Write the magnitudes of spike, jump and sustained, in straight code without a branch."""
    spike, jump, sustained = past[SPIKE], past[JUMP], past[SUSTAINED]
    unit = np.float32(1.0 / surprise)
    # Views that begin where each loop does: an index that may be negative is no vector operation.
    spike, jump, sustained = spike[SPREAD_STEPS:], jump[SPREAD_STEPS:], sustained[SPREAD_STEPS:]
    z, predicted = z[SPREAD_STEPS:], predicted[SPREAD_STEPS:]
    clean = clean[SPREAD_STEPS - SUSTAINED_STEPS + 1 :]
    for k in range(z.shape[0]):
        v = z[k]
        least = v if v < N[0] else N[0]
        most = v if v > N[0] else N[0]
        news = v - predicted[k]
        news = news if news > least else least
        news = news if news < most else most
        total = N[0]
        for i in range(SUSTAINED_STEPS):
            total += clean[k + SUSTAINED_STEPS - 1 - i]
        spike[k] = abs(v)
        jump[k] = abs(news) * unit if v == v else MISSING
        sustained[k] = abs(total) * FIFTH if v == v else MISSING


@jit
def _measure_means(
    clean: Single, z: Single, fade: Float, unrests: Single, leans: Single
) -> tuple[float, float]:
    """Write unrest and lean at each sample, NaN where no unrest is known; return the last of both.

    What each sample adds first, in vector operations; then both sums in one pass, since each of
    them waits for the one before.
    """
    n = z.shape[0]
    keep = np.empty(n, np.float32)
    faded: Any = np.float32(fade[0])
    leaned: Any = np.float32(fade[1])
    for k in range(n):
        known = z[k] == z[k]
        unrests[k] = restless(N[0], clean[k], faded) if known else N[0]
        keep[k] = N[1] - faded if known else N[1]
        leans[k] = leant(N[0], clean[k], leaned)
    unrest, lean, stay = 0.0, 0.0, 1.0 - fade[1]
    for k in range(n):
        unrest = unrest * keep[k] + unrests[k]
        lean = lean * stay + leans[k]
        unrests[k], leans[k] = unrest, lean
    for k in range(n):
        unrests[k] = unrests[k] if z[k] == z[k] else MISSING
    return unrest, lean


@jit
def _measure_leaning(clean: Single, z: Single, fitted: Float, leanings: Single) -> None:
    """Turn leans into leanings, NaN where there is none, and those into units of their own."""
    leanings[:SPREAD_STEPS] = np.nan
    means = clean[SPREAD_STEPS - SUSTAINED_STEPS + 1 :]
    z, here = z[SPREAD_STEPS:], leanings[SPREAD_STEPS:]
    for k in range(z.shape[0]):
        total = N[0]
        for i in range(SUSTAINED_STEPS):
            total += means[k + i]
        both = leaning(total * FIFTH, here[k])
        here[k] = both if z[k] == z[k] else MISSING
    unit = histograms.positive_quantile(some_of(leanings), LOW)
    fitted[4] = max(unit, LEAST_LEANING) if unit == unit else 1.0
    leanings /= np.float32(fitted[4])


@jit
def some_of(means: Single) -> Single:
    """One of four: means of an hour or more differ little from one step to the next."""
    some = np.empty(means.shape[0] // 4, np.float32)
    for i in range(some.shape[0]):
        some[i] = means[4 * i + 3]
    return some


@jit
def _steps(
    x: Float, z: Single, narrow: Single, scale: float
) -> tuple[int, float, np.ndarray, Single]:
    """Return how many samples are known, the last of them, and where each step from one to the
    next leads and its size in scales."""
    n = z.shape[0]
    places = np.empty(n + 1, np.int32)
    steps = np.empty(n + 1, np.float32)
    unit = 1.0 / scale
    last = np.nan
    m = 0
    for k in range(n):
        # Written either way, and over again where `z` is missing: a branch would cost more.
        step = abs(x[k] - last) * unit * narrow[k]
        steps[m] = step if step < MOST_STEP else MOST_STEP
        places[m] = k
        known = z[k] == z[k]
        m += known
        last = x[k] if known else last
    # None leads to the first.
    return m, last, places[1:m], steps[1:m]


@jit
def _fit_jump(clean: Single, z: Single, memory: Float, predicted: Single) -> float:
    """Fit and apply the autoregression; return the usual size of what it leaves.

    What is missing in `z` becomes what was predicted, in `clean`.
    """
    n = clean.shape[0]
    clipped = np.empty(n, np.float32)
    for k in range(n):
        v = clean[k] if clean[k] < MOST_CLEAN else MOST_CLEAN
        clipped[k] = v if v > -MOST_CLEAN else -MOST_CLEAN
    kernels.autoregression(clipped, ORDER, memory)
    weights = memory.astype(np.float32)
    for k in range(n):
        if math.isnan(z[k]):
            total = N[0]
            for i in range(min(ORDER, k)):
                total += weights[i] * clean[k - 1 - i]
            clean[k] = total
    for k in range(1, min(ORDER, n)):
        for i in range(k):
            predicted[k] += weights[i] * clean[k - 1 - i]
    # All weights of a sample in one pass: the constant count of them becomes straight code.
    for k in range(n - ORDER):
        total = N[0]
        for i in range(ORDER):
            total += weights[i] * clean[k + ORDER - 1 - i]
        predicted[k + ORDER] = total
    errors = np.empty(n, np.float32)
    for k in range(n):
        errors[k] = abs(z[k] - predicted[k])
    errors[:ORDER] = np.nan
    cap = np.float32(histograms.positive_quantile(errors, 0.99))
    power = N[0]
    for k in range(n):
        e = errors[k] if errors[k] < cap else cap
        e = e if errors[k] == errors[k] else N[0]
        power += e * e
    number = histograms.known_in(errors)
    return max(math.sqrt(power / number), LEAST_SURPRISE) if number > 0 else 1.0


@jit
def _fit_spread(relative: Single, spread: Float) -> None:
    """Median and robust deviation of log spreads; mean steps become magnitudes in place."""
    usual = histograms.positive_quantile(relative, 0.5)
    if not usual > 0.0:
        return
    logarithms(relative)
    spread[0] = math.log(usual)
    middle = np.float32(spread[0])
    for k in range(relative.shape[0]):
        relative[k] = abs(relative[k] - middle)
    spread[1] = max(1.4826 * histograms.positive_quantile(relative, 0.5), LEAST_LOG_SPREAD)
    unit = np.float32(1.0 / spread[1])
    for k in range(relative.shape[0]):
        relative[k] *= unit
