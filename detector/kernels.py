"""Compiled loops shared by fits and scoring: quantiles, widening, logarithms, autoregression.

Each routine has a naive twin in tests/naive.py. NaN is a missing sample everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt

from detector import kernel_cache
from detector.series import Float, Int

Single = npt.NDArray[np.float32]
# What a routine takes in either precision: it is compiled for each.
Real = npt.NDArray[np.floating[Any]]
Routine = TypeVar("Routine", bound=Callable[..., Any])

kernel_cache.use()
# Sums may be reordered, so that they become vector operations; NaN and infinity keep their meaning.
FAST = {"reassoc", "contract", "nsz"}


def _compiler(**options: Any) -> Callable[[Routine], Routine]:
    made: Any = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST, **options)
    typed: Callable[[Routine], Routine] = made
    return typed


jit = _compiler(_nrt=True)
# Where a loop calls it, it must become part of that loop, however long it is.
inlined = _compiler(_nrt=True, forceinline=True)
# The same for the steps of the fold, which pass tuples of arrays on: references to arrays are not
# counted, as that took longer than all else they do. Their caller holds the arrays; they may not
# allocate any, which numba sees to.
bare = _compiler(_nrt=False, forceinline=True)

# |z| beyond this says no more; it keeps one absurd sample from ruling a mean or a distance.
Z_LIMIT = 20.0
# An expected value is taken for no less, and no more, than these shares of the usual one when the
# scale follows it.
NARROWEST, WIDEST = 0.05, 20.0
# Bits of a float32: of the root of a half, and those after the exponent.
ROOT_OF_HALF, MANTISSA = 0x3F3504F3, 0x7FFFFF
LOG_2 = np.float32(math.log(2.0))
# Of log(1 + f) / f, the highest power first.
LOG_SERIES = tuple(
    np.float32(c)
    for c in (
        0.0874394535, -0.143773306, 0.149490955, -0.16560696, 0.199569775, -0.250021535,
        0.333341833, -0.49999987, 0.999999974,
    )
)  # fmt: skip
# Bins in which values are counted before some of them are put in order.
BINS = 512
LEAST_POWER = 1e-290  # A sum of squares below has lost its digits: there is no variation.
# Values that are compared side by side.
LANES = 16
# Samples of a series that are in the fastest cache together with what is made of them.
PIECE = 1024


@jit
def quantile(values: Real, q: float) -> float:
    """Quantile of finite values with linear interpolation; NaN when there is none."""
    n = values.shape[0]
    if n == 0:
        return np.nan
    at = q * (n - 1)
    i = int(at)
    if i + 1 >= n:
        return float(np.max(values))
    ordered = np.partition(values, i + 1)
    high = ordered[i + 1]
    low = np.max(ordered[: i + 1])
    return float(low + (at - i) * (high - low))


@jit
def range_of(values: Real) -> tuple[Any, Any]:
    """Smallest and largest value, NaN left out; infinity and minus infinity when there is none."""
    # Side by side: a single extreme would wait for the comparison before it.
    lows, highs = np.full(LANES, np.inf, values.dtype), np.full(LANES, -np.inf, values.dtype)
    for begin in range(0, values.shape[0], LANES):
        here = values[begin : begin + LANES]
        for k in range(here.shape[0]):
            v = here[k]
            lows[k] = v if v < lows[k] else lows[k]
            highs[k] = v if v > highs[k] else highs[k]
    low, high = lows[0], highs[0]
    for k in range(1, LANES):
        low = lows[k] if lows[k] < low else low
        high = highs[k] if highs[k] > high else high
    return low, high


@jit
def three_quantiles(values: Real, low: float, middle: float, high: float) -> Float:
    """Three ascending quantiles, as `quantile` has each; float64[3].

    Notes
    -----
    Values are counted in bins of one width, and only those of the six bins that the quantiles lie
    in are put in order.
    """
    n = values.shape[0]
    out = np.full(3, np.nan)
    if n == 0:
        return out
    at = np.array([low, middle, high]) * (n - 1)
    places = np.empty(6, np.int64)
    for k in range(3):
        places[2 * k] = int(at[k])
        places[2 * k + 1] = min(int(at[k]) + 1, n - 1)
    least, most = range_of(values)
    unit = (BINS - 1) / (most - least)
    if not 0.0 < unit < np.inf:
        # All the same, or a range that no float holds.
        return _between(np.partition(values, places), places, at, out)
    bins = np.empty(n, np.int16)
    for t in range(n):
        bins[t] = int((values[t] - least) * unit)
    counts = np.zeros(BINS, np.int64)
    for t in range(n):
        counts[bins[t]] += 1
    wanted = np.zeros(BINS, np.bool_)
    before = 0
    left_out = 0
    first = 0
    for b in range(BINS):
        last = first
        while last < 6 and places[last] < before + counts[b]:
            places[last] -= left_out
            last += 1
        wanted[b] = last > first
        left_out += 0 if wanted[b] else counts[b]
        before += counts[b]
        first = last
    chosen = np.empty(n)
    m = 0
    for t in range(n):
        # Written either way, and over again where it is not wanted: a branch would cost more.
        chosen[m] = values[t]
        m += wanted[bins[t]]
    return _between(np.partition(chosen[:m], places), places, at, out)


@jit
def _between(ordered: Real, places: Int, at: Float, out: Float) -> Float:
    """Interpolate between the values at each pair of places."""
    for k in range(3):
        below = ordered[places[2 * k]]
        part = at[k] - int(at[k])
        out[k] = below + part * (ordered[places[2 * k + 1]] - below)
    return out


@jit
def widening(expected: float, growth: Float) -> float:
    """Factor by which the scale is wider at an expected value than at the pivot.

    Parameters
    ----------
    expected : float
    growth : float64[2]
        Exponent (0, 0.5 or 1) and pivot (positive where the exponent is).
    """
    if growth[0] == 0.0:
        return 1.0
    share = min(max(expected / growth[1], NARROWEST), WIDEST)
    return share if growth[0] == 1.0 else math.sqrt(share)


@jit
def widenings(expected: Float, growth: Float, out: Single) -> None:
    """`widening` at N expected values; its choice is made once, so these are vector operations."""
    if growth[0] == 0.0:
        out[:] = 1.0
        return
    unit = 1.0 / growth[1]
    for k in range(expected.shape[0]):
        share = expected[k] * unit
        share = share if share > NARROWEST else NARROWEST
        out[k] = share if share < WIDEST else WIDEST
    if growth[0] != 1.0:
        for k in range(expected.shape[0]):
            out[k] = math.sqrt(out[k])


@jit
def logarithms(values: Single) -> None:
    """Natural logarithms of positive normal numbers, in place, within 1e-6; NaN stays.

    Notes
    -----
    A number is ``2**e * (1 + f)`` with ``1 + f`` between the roots of a half and of two, and
    ``log(1 + f) / f`` a polynomial, fitted at Chebyshev's points to 1e-8. Without a branch or a
    call these are vector operations, where the library's logarithm takes one number at a time.
    """
    bits = values.view(np.int32)
    parts = np.empty(values.shape[0], np.float32)
    part_bits = parts.view(np.int32)
    for k in range(values.shape[0]):
        above = bits[k] - ROOT_OF_HALF
        part_bits[k] = (above & MANTISSA) + ROOT_OF_HALF
        e = np.float32(above >> 23)
        f = parts[k] - np.float32(1.0)
        log = np.float32(0.0)
        for c in LOG_SERIES:
            log = log * f + c
        log = log * f + e * LOG_2
        values[k] = log if values[k] == values[k] else values[k]


@jit
def autoregression(z: Real, order: int, weights: Float) -> None:
    """Weights of the last `order` values that predict the next best, by Levinson's recursion.

    Parameters
    ----------
    z : float64[N]
        Deviations without NaN, clipped by the caller.
    order : int
    weights : float64[order]
        Output, newest first; zeros for a series without any variation.
    """
    n = z.shape[0]
    products = np.zeros(order + 1)
    # A piece of the series at a time, which stays in the fastest cache for all lags.
    for begin in range(0, n, PIECE):
        for k in range(order + 1):
            total = np.float32(0.0)
            now = z[max(begin, k) : begin + PIECE]
            past = z[max(begin, k) - k :]
            for t in range(now.shape[0]):
                total += now[t] * past[t]
            products[k] += total
    weights[:] = 0.0
    if not products[0] > LEAST_POWER:
        return
    error = products[0] * 1.0001
    mirrored = np.empty(order)
    for i in range(order):
        rest = products[i + 1]
        for j in range(i):
            rest -= weights[j] * products[i - j]
        reflection = rest / error
        for j in range(i):
            mirrored[j] = weights[j] - reflection * weights[i - 1 - j]
        weights[:i] = mirrored[:i]
        weights[i] = reflection
        error *= 1.0 - reflection * reflection
        if not error > 0.0:
            return
