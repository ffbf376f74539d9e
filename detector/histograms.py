"""Quantiles of many values in linear time, as a histogram over the bits of a float32 has them.

Each routine has a naive twin in tests/naive.py. NaN is a missing sample everywhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from detector.kernels import Single, jit, quantile

# Quantiles are those of a histogram over the bits of a float32: 32 buckets an octave.
BUCKETS = 1280
FIRST_BUCKET = (127 - 20) << 5
SHIFT = 18
# As many values are counted in sixteen bits.
COUNTED = 2**14
# Bits of infinity, and all but that of the sign.
INFINITY, UNSIGNED = np.int32(0x7F800000), np.int32(0x7FFFFFFF)


@jit
def buckets_of(values: Single) -> np.ndarray:
    """Bucket of each value that is not negative, int16[N]; BUCKETS for NaN."""
    bits = values.view(np.int32)
    buckets = np.empty(values.shape[0], np.int16)
    for i in range(values.shape[0]):
        b = (bits[i] >> SHIFT) - FIRST_BUCKET
        b = b if b > 0 else 0
        b = b if b < BUCKETS - 1 else BUCKETS - 1
        buckets[i] = b if values[i] == values[i] else BUCKETS
    return buckets


@jit
def histogram_quantile(buckets: np.ndarray, q: float) -> float:
    """Quantile of the values in `buckets_of`, linear inside a bucket (within 3 %).

    0 where it lies in the first bucket, which has all that is smaller, and where nothing is known.

    Notes
    -----
    The histogram is never filled: an increment waits for the one before it, where counting what
    is below a bucket is a vector operation, and eleven of them find the bucket by bisection.
    """
    upto = _below(buckets, BUCKETS)
    target = q * upto
    seen = 0
    low = 0
    high = BUCKETS - 1
    while low < high:
        middle = (low + high) // 2
        count = _below(buckets, middle + 1)
        if count >= target:
            high = middle
            upto = count
        else:
            low = middle + 1
            seen = count
    if low == 0:
        return 0.0
    octave = (low + FIRST_BUCKET) >> 5
    part = ((low + FIRST_BUCKET) & 31) + (target - seen) / (upto - seen)
    value: float = math.ldexp(1.0 + part / 32.0, octave - 127)
    return value


@jit
def _below(buckets: np.ndarray, bucket: int) -> int:
    """How many values are in earlier buckets; counted in sixteen bits, most lanes at a time."""
    limit = np.int16(bucket)
    total = 0
    for begin in range(0, buckets.shape[0], COUNTED):
        part = buckets[begin : begin + COUNTED]
        count = np.int16(0)
        for i in range(part.shape[0]):
            count = np.int16(count + np.int16(part[i] < limit))
        total += int(count)
    return total


@jit
def known_in(values: Single) -> int:
    """How many values are not NaN."""
    # By index: a loop over the values themselves does not become vector operations.
    known = 0
    for i in range(values.shape[0]):
        known += values[i] == values[i]
    return known


@jit
def largest_of(values: Single) -> float:
    """Largest of values that are not negative, NaN left out; NaN when there is none.

    Notes
    -----
    Bits of such values are in the order of the values, and those of NaN behind infinity's; unlike
    values, whole numbers are compared in any order.
    """
    bits = values.view(np.int32)
    largest = np.int32(-1)
    for i in range(bits.shape[0]):
        b = bits[i] & UNSIGNED
        b = b if b <= INFINITY else np.int32(-1)
        largest = b if b > largest else largest
    if largest < 0:
        return np.nan
    return float(np.array([largest], np.int32).view(np.float32)[0])


@jit
def positive_quantile(values: Single, q: float) -> float:
    """Quantile of values that are not negative, NaN left out, within 3 % and in linear time.

    That of a histogram over forty octaves below the largest value; where it lies below them all,
    it is searched for exactly.
    """
    largest = largest_of(values)
    if math.isnan(largest):
        return np.nan
    unit: Any = np.float32(2.0**20 / largest if largest > 0.0 else 0.0)
    if not 0.0 < unit < np.inf:
        return quantile(values[~np.isnan(values)], q)
    scaled = np.empty(values.shape[0], np.float32)
    for i in range(values.shape[0]):
        scaled[i] = values[i] * unit
    found = histogram_quantile(buckets_of(scaled), q) / unit
    return found if found > 0.0 else quantile(values[~np.isnan(values)], q)
