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
    Normal,
    State,
)
from detector.kernels import jit, logarithms
from detector.series import Float

# What the jump does not predict is at least this many scales.
LEAST_SURPRISE = 0.02
# One robust standard deviation of log spread is at least this.
LEAST_LOG_SPREAD = 0.3


@jit
def measure(
    x: Float,
    z: Float,
    wider: Float,
    normal: Normal,
    state: State,
    s: int,
    past: np.ndarray,
) -> int:
    """Measure the past of series `s` as `observe` would, a channel at a time.

    Fits what `jump` and `spread` are measured by and leaves the state after the last sample.

    Parameters
    ----------
    x, z, wider : float64[R]
        Samples, deviations (NaN where there is none), and how wide the scale was.
    past : float32[C, R]
        Output: magnitudes of spike, jump, sustained and spread, NaN where nothing is known.

    Returns
    -------
    int
        Samples that were measured.
    """
    n = z.shape[0]
    clean = np.where(np.isnan(z), 0.0, z)
    predicted = np.zeros(n)
    mean = np.zeros(n)
    normal.surprise[s] = _fit_jump(clean, z, normal.memory[s], predicted)
    for k in range(min(SUSTAINED_STEPS - 1, n)):
        for i in range(k + 1):
            mean[k] += clean[i]
    for k in range(n - SUSTAINED_STEPS + 1):
        sum_of_last = 0.0
        for i in range(SUSTAINED_STEPS):
            sum_of_last += clean[k + SUSTAINED_STEPS - 1 - i]
        mean[k + SUSTAINED_STEPS - 1] = sum_of_last
    known = 0
    past[:] = np.nan
    for k in range(SPREAD_STEPS, n):
        if z[k] == z[k]:
            known += 1
            jump = min(max(z[k] - predicted[k], min(z[k], 0.0)), max(z[k], 0.0))
            past[SPIKE, k] = abs(z[k])
            past[JUMP, k] = abs(jump) / normal.surprise[s]
            past[SUSTAINED, k] = abs(mean[k]) / SUSTAINED_STEPS
    for k in range(min(ORDER, n)):
        state.recent[s, k] = clean[n - 1 - k]

    steps = np.empty(n)
    places = np.empty(n, np.int64)
    m = 0
    last = np.nan
    for k in range(n):
        if z[k] == z[k]:
            if last == last:
                steps[m] = abs(x[k] - last) / wider[k]
                places[m] = k
                m += 1
            last = x[k]
    state.last[s] = last
    for j in range(min(SPREAD_STEPS, m)):
        state.steps[s, j] = steps[m - 1 - j]
    for i in range(m - SPREAD_STEPS):
        total = 0.0
        for j in range(SPREAD_STEPS):
            total += steps[i + SPREAD_STEPS - j]
        relative = total / SPREAD_STEPS / normal.scale[s] + FLAT
        past[SPREAD, places[i + SPREAD_STEPS]] = relative
    _fit_spread(past[SPREAD], normal.spread[s])
    return known


@jit
def _fit_jump(clean: Float, z: Float, memory: Float, predicted: Float) -> float:
    """Fit and apply the autoregression; return the usual size of what it leaves.

    What is missing in `z` becomes what was predicted, in `clean`.
    """
    n = clean.shape[0]
    clipped = np.minimum(np.maximum(clean, -3.0), 3.0)
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
    number = 0
    for k in range(n):
        known = errors[k] == errors[k]
        e = min(errors[k], cap) if known else 0.0
        power += e * e
        number += known
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
