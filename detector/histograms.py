"""Quantiles of many values in linear time, from a histogram over the bits of a float32.

Each routine has a naive twin in tests/naive.py. NaN is a missing sample everywhere.
"""

from __future__ import annotations

import math

import numpy as np

from detector.kernels import Single, jit, quantile

# Quantiles are read off a histogram over the bits of a float32: 32 buckets an octave.
BUCKETS = 1280
FIRST_BUCKET = (127 - 20) << 5
SHIFT = 18
# Values that are compared side by side.
LANES = 16


@jit
def bucket(bits: int) -> int:
    """Return the histogram bucket of a non-negative float32 given by its bits."""
    return min(max((bits >> SHIFT) - FIRST_BUCKET, 0), BUCKETS - 1)


@jit
def histogram(values: Single) -> np.ndarray:
    """Count values that are not negative by `bucket`, int64[BUCKETS + 1]; the last are NaN.

    Notes
    -----
    Four histograms are filled in turn: an increment need not wait for the one before it.
    """
    n = values.shape[0]
    bits = values.view(np.int32)
    places = np.empty(n, np.int32)
    for i in range(n):
        places[i] = bucket(bits[i]) if values[i] == values[i] else BUCKETS
    counts = np.zeros((4, BUCKETS + 1), np.int32)
    for i in range(n // 4):
        for k in range(4):
            counts[k, places[4 * i + k]] += 1
    for i in range(n // 4 * 4, n):
        counts[0, places[i]] += 1
    total = np.empty(BUCKETS + 1, np.int64)
    for b in range(BUCKETS + 1):
        total[b] = counts[0, b] + counts[1, b] + counts[2, b] + counts[3, b]
    return total


@jit
def histogram_quantile(counts: np.ndarray, total: int, q: float) -> float:
    """Quantile of a histogram over `bucket`, linear inside a bucket (within 3 %)."""
    target = q * total
    seen = 0.0
    for b in range(BUCKETS):
        if counts[b] > 0 and seen + counts[b] >= target:
            octave = (b + FIRST_BUCKET) >> 5
            part = ((b + FIRST_BUCKET) & 31) + (target - seen) / counts[b]
            value: float = math.ldexp(1.0 + part / 32.0, octave - 127)
            return value if b > 0 else 0.0
        seen += counts[b]
    return 0.0


@jit
def largest_of(values: np.ndarray) -> float:
    """Largest of values that are not negative, NaN left out; 0 when there is none.

    Notes
    -----
    In lanes: a single maximum would wait for the comparison before it.
    """
    lanes = np.zeros(LANES, values.dtype)
    whole = values.shape[0] // LANES * LANES
    for i in range(0, whole, LANES):
        for k in range(LANES):
            v = values[i + k]
            lanes[k] = v if v > lanes[k] else lanes[k]
    for i in range(whole, values.shape[0]):
        v = values[i]
        lanes[0] = v if v > lanes[0] else lanes[0]
    largest = 0.0
    for k in range(LANES):
        largest = max(largest, float(lanes[k]))
    return largest


@jit
def positive_quantile(values: np.ndarray, q: float) -> float:
    """Quantile of values that are not negative, NaN left out, within 3 % and in linear time.

    A histogram over forty octaves below the largest value; where the quantile lies below them
    all, it is searched for exactly.
    """
    largest = largest_of(values)
    total = 0
    for v in values:
        total += v == v
    if total == 0:
        return np.nan
    unit = 2.0**20 / largest if largest > 0.0 else 0.0
    if not 0.0 < unit < np.inf:
        return quantile(values[~np.isnan(values)], q)
    scaled = np.empty(values.shape[0], np.float32)
    for i in range(values.shape[0]):
        scaled[i] = values[i] * unit
    counts = histogram(scaled)
    found = histogram_quantile(counts, total, q) / unit
    return found if found > 0.0 else quantile(values[~np.isnan(values)], q)
