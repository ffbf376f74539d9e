"""Quantiles of many values in linear time, as a histogram over the bits of a float32 has them.

Each routine has a naive twin in tests/naive.py. NaN is a missing sample everywhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from detector.kernels import Real, Single, jit, quantile
from detector.series import Float

# Quantiles are those of a histogram over the bits of a float32: 32 buckets an octave.
BUCKETS = 1280
FIRST_BUCKET = (127 - 20) << 5
SHIFT = 18
# As many values are counted in sixteen bits.
COUNTED = 2**14
# What counts beside float32.
ZERO: Any = np.float32(0.0)
ONE: Any = np.float32(1.0)
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
def known_in(values: Real) -> int:
    """How many values are not NaN."""
    # In float32, as wide as most values, and exact up to millions; by index, or it would be no
    # vector operation.
    known = ZERO
    for i in range(values.shape[0]):
        known += ONE if values[i] == values[i] else ZERO
    return int(known)


@jit
def known_of(values: Real) -> Real:
    """The values that are not NaN, in order."""
    found = np.empty(values.shape[0], values.dtype)
    m = 0
    for i in range(values.shape[0]):
        # Written either way, and over again where it is missing: a branch would cost more.
        found[m] = values[i]
        m += values[i] == values[i]
    return found[:m]


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
    return float(positive_quantiles(values, np.array([q]))[0])


@jit
def positive_quantiles(values: Single, shares: Float) -> Float:
    """Some quantiles as `positive_quantile` has each; float64[Q] for float64[Q]."""
    found = np.full(shares.shape[0], np.nan)
    largest = largest_of(values)
    if math.isnan(largest):
        return found
    unit: Any = np.float32(2.0**20 / largest if largest > 0.0 else 0.0)
    if not 0.0 < unit < np.inf:
        for k in range(shares.shape[0]):
            found[k] = quantile(known_of(values), shares[k])
        return found
    scaled = np.empty(values.shape[0], np.float32)
    for i in range(values.shape[0]):
        scaled[i] = values[i] * unit
    buckets = buckets_of(scaled)
    for k in range(shares.shape[0]):
        inside = histogram_quantile(buckets, shares[k]) / unit
        found[k] = inside if inside > 0.0 else quantile(known_of(values), shares[k])
    return found
