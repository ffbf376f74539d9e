"""The past of a series measured as the fold measures the present, a channel at a time.

Letters: as in `detector.channels`.
"""

from __future__ import annotations

import math

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
from detector.kernels import jit, logarithms
from detector.series import Float, Int
from detector.tails import LOW

# What the jump does not predict is at least this many scales.
LEAST_SURPRISE = 0.02
# One robust standard deviation of log spread is at least this.
LEAST_LOG_SPREAD = 0.3
# What one of ten leanings exceeds is at least this many scales.
LEAST_LEANING = 0.01
# Beyond as many scales a deviation says no more of the next.
MOST_CLEAN = 3.0


@jit
def measure(
    x: Float,
    z: Float,
    wider: Float,
    normal: Normal,
    state: State,
    s: int,
    past: np.ndarray,
    leanings: kernels.Single,
) -> int:
    """Measure the past of series `s` as `observe` would, a channel at a time.

    Fits what `jump`, `spread`, `unrest` and the leaning are measured by; leaves the state after
    the last sample.

    Parameters
    ----------
    x, z, wider : float64[R]
        Samples, deviations (NaN where there is none), and how wide the scale was.
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
    clean = np.empty(n)
    for k in range(n):
        clean[k] = z[k] if z[k] == z[k] else 0.0
    predicted = np.zeros(n)
    normal.surprise[s] = _fit_jump(clean, z, normal.memory[s], predicted)
    for c in (SPIKE, JUMP, SUSTAINED, SPREAD):
        past[c] = np.nan
    _measure_levels(clean, z, predicted, normal.surprise[s], past)
    for k in range(min(ORDER, n)):
        state.recent[s, k] = clean[n - 1 - k]

    state.lean[s] = _measure_lean(clean, z, normal.fade[s, 1], normal.lean[s], leanings)
    state.unrest[s] = _measure_unrest(z, normal.fade[s, 0], past[UNREST])
    rest = histograms.positive_quantile(past[UNREST], 0.5)
    normal.rest[s] = rest if rest == rest else 0.0

    places, samples, widths = _present(z, x, wider)
    state.last[s] = samples[-1] if samples.shape[0] > 0 else np.nan
    m = max(places.shape[0] - 1, 0)
    steps = np.empty(m)
    for j in range(m):
        steps[j] = abs(samples[j + 1] - samples[j]) / widths[j + 1]
    for j in range(min(SPREAD_STEPS, m)):
        state.steps[s, j] = steps[m - 1 - j]
    relative = np.empty(max(m - SPREAD_STEPS, 0), np.float32)
    for i in range(m - SPREAD_STEPS):
        total = 0.0
        for j in range(SPREAD_STEPS):
            total += steps[i + SPREAD_STEPS - j]
        relative[i] = total / SPREAD_STEPS / normal.scale[s] + FLAT
    _fit_spread(relative, normal.spread[s])
    for i in range(m - SPREAD_STEPS):
        past[SPREAD, places[i + SPREAD_STEPS + 1]] = relative[i]
    # The first samples have no past to be measured by.
    return int((places >= SPREAD_STEPS).sum())


@jit
def _measure_levels(
    clean: Float, z: Float, predicted: Float, surprise: float, past: np.ndarray
) -> None:
    """Write the magnitudes of spike, jump and sustained, in straight code without a branch."""
    spike, jump, sustained = past[SPIKE], past[JUMP], past[SUSTAINED]
    # Views that begin where each loop does: an index that may be negative is no vector operation.
    spike, jump, sustained = spike[SPREAD_STEPS:], jump[SPREAD_STEPS:], sustained[SPREAD_STEPS:]
    z, predicted = z[SPREAD_STEPS:], predicted[SPREAD_STEPS:]
    clean = clean[SPREAD_STEPS - SUSTAINED_STEPS + 1 :]
    for k in range(z.shape[0]):
        v = z[k]
        least = v if v < 0.0 else 0.0
        most = v if v > 0.0 else 0.0
        news = v - predicted[k]
        news = news if news > least else least
        news = news if news < most else most
        total = 0.0
        for i in range(SUSTAINED_STEPS):
            total += clean[k + SUSTAINED_STEPS - 1 - i]
        spike[k] = abs(v)
        jump[k] = abs(news) / surprise if v == v else np.nan
        sustained[k] = abs(total) / SUSTAINED_STEPS if v == v else np.nan


@jit
def _measure_unrest(z: Float, fade: float, past: np.ndarray) -> float:
    """Write the unrest at each sample, NaN where there is none, and return the last."""
    unrest = 0.0
    for k in range(z.shape[0]):
        known = z[k] == z[k]
        unrest = restless(unrest, z[k], fade) if known else unrest
        past[k] = unrest if known else np.nan
    return unrest


@jit
def _measure_lean(
    clean: Float, z: Float, fade: float, fitted: Float, leanings: kernels.Single
) -> float:
    """Write the leaning at each sample, NaN where there is none, and return the last lean."""
    n = z.shape[0]
    lean = 0.0
    for k in range(n):
        lean = leant(lean, clean[k], fade)
        leanings[k] = lean
    leanings[:SPREAD_STEPS] = np.nan
    means = clean[SPREAD_STEPS - SUSTAINED_STEPS + 1 :]
    for k in range(n - SPREAD_STEPS):
        total = 0.0
        for i in range(SUSTAINED_STEPS):
            total += means[k + i]
        both = leaning(total / SUSTAINED_STEPS, leanings[SPREAD_STEPS + k])
        known = z[SPREAD_STEPS + k] == z[SPREAD_STEPS + k]
        leanings[SPREAD_STEPS + k] = both if known else np.nan
    unit = histograms.positive_quantile(leanings, LOW)
    fitted[4] = max(unit, LEAST_LEANING) if unit == unit else 1.0
    leanings /= np.float32(fitted[4])
    return lean


@jit
def _present(z: Float, x: Float, wider: Float) -> tuple[Int, Float, Float]:
    """Where `z` is known, and what `x` and `wider` are there."""
    n = z.shape[0]
    places = np.empty(n, np.int64)
    samples = np.empty(n)
    widths = np.empty(n)
    m = 0
    for k in range(n):
        # Written either way, and over again where `z` is missing: a branch would cost more.
        places[m] = k
        samples[m] = x[k]
        widths[m] = wider[k]
        m += z[k] == z[k]
    return places[:m], samples[:m], widths[:m]


@jit
def _fit_jump(clean: Float, z: Float, memory: Float, predicted: Float) -> float:
    """Fit and apply the autoregression; return the usual size of what it leaves.

    What is missing in `z` becomes what was predicted, in `clean`.
    """
    n = clean.shape[0]
    clipped = np.empty(n)
    for k in range(n):
        v = clean[k] if clean[k] < MOST_CLEAN else MOST_CLEAN
        clipped[k] = v if v > -MOST_CLEAN else -MOST_CLEAN
    kernels.autoregression(clipped, ORDER, memory)
    for k in range(n):
        if math.isnan(z[k]):
            clean[k] = 0.0
            for i in range(min(ORDER, k)):
                clean[k] += memory[i] * clean[k - 1 - i]
    for k in range(1, min(ORDER, n)):
        for i in range(k):
            predicted[k] += memory[i] * clean[k - 1 - i]
    # All weights of a sample in one pass: the constant count of them becomes straight code.
    for k in range(n - ORDER):
        total = 0.0
        for i in range(ORDER):
            total += memory[i] * clean[k + ORDER - 1 - i]
        predicted[k + ORDER] = total
    errors = np.abs(z - predicted)
    errors[:ORDER] = np.nan
    cap = histograms.positive_quantile(errors, 0.99)
    power = 0.0
    for k in range(n):
        e = errors[k] if errors[k] < cap else cap
        e = e if errors[k] == errors[k] else 0.0
        power += e * e
    number = histograms.known_in(errors)
    return max(math.sqrt(power / number), LEAST_SURPRISE) if number > 0 else 1.0


@jit
def _fit_spread(relative: kernels.Single, spread: Float) -> None:
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
