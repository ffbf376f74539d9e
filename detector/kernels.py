"""Compiled loops shared by fits and scoring: quantiles, tails, autoregression, novelty.

Each routine has a naive twin in tests/naive.py. NaN is a missing sample everywhere.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from detector.series import Float

Single = npt.NDArray[np.float32]

# Sums may be reordered, so that they become vector operations; NaN and infinity keep their meaning.
FAST = {"reassoc", "contract", "nsz"}
jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)

# |z| beyond this says no more; it keeps one absurd sample from ruling a mean or a distance.
Z_LIMIT = 20.0
# Rarity, in decades, is cut off here.
EVIDENCE_LIMIT = 12.0
# An expected value is taken for no less, and no more, than these shares of the usual one when the
# scale follows it.
NARROWEST, WIDEST = 0.05, 20.0
# Two quantiles of the past, a decade apart, carry the tail of a channel.
LOW, HIGH = 0.90, 0.99
# One decade of rarity is at least this far on the log1p axis: a past without any tail must not
# make the edge touch the noise.
LEAST_DECADE = 0.35
# The rarest thing the past shows often enough to count: a largest value of a day that every
# fourth day reaches.
KNOT = 0.75
KNOT_RATE = -math.log(KNOT)
# It counts where the largest of all days is hardly larger, on the log1p axis: what comes back
# alike belongs to the series, incidents differ.
PLATEAU = 0.3
LEAST_DAYS = 3
# Quantiles are read off a histogram over the bits of a float32: 32 buckets an octave.
BUCKETS = 1280
FIRST_BUCKET = (127 - 20) << 5
SHIFT = 18
# Samples of a series that are in the fastest cache together with what is made of them.
PIECE = 1024
# Values that are compared side by side.
LANES = 16


@jit
def quantile(values: Float, q: float) -> float:
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
def three_quantiles(values: Float, low: float, middle: float, high: float) -> Float:
    """Three ascending quantiles, as `quantile` has each, from one partition; float64[3]."""
    n = values.shape[0]
    out = np.full(3, np.nan)
    if n == 0:
        return out
    at = np.array([low, middle, high]) * (n - 1)
    places = np.empty(6, np.int64)
    for k in range(3):
        places[2 * k] = int(at[k])
        places[2 * k + 1] = min(int(at[k]) + 1, n - 1)
    ordered = np.partition(values, places)
    for k in range(3):
        below = ordered[places[2 * k]]
        out[k] = below + (at[k] - places[2 * k]) * (ordered[places[2 * k + 1]] - below)
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


@jit
def fit_tail(magnitudes: np.ndarray, day: int, tail: Float) -> None:
    """Fit the tail of a channel's past magnitudes, for `tail_evidence`.

    Parameters
    ----------
    magnitudes : float32[N]
        Not negative, oldest first; NaN is skipped.
    day : int
        Samples per day.
    tail : float64[4]
        Output: log1p of the 90 % quantile; distance to the 99 % quantile; log1p of the largest
        value that every fourth day reaches, and its rarity in decades. Both are infinite while
        fewer than three days are known, and where some day reached much more.
    """
    n = magnitudes.shape[0]
    counts = histogram(magnitudes)
    total = n - counts[BUCKETS]
    low = math.log1p(histogram_quantile(counts, total, LOW))
    high = math.log1p(histogram_quantile(counts, total, HIGH))
    tail[0] = low
    tail[1] = max(high - low, LEAST_DECADE)
    tail[2] = np.inf
    tail[3] = np.inf
    days = n // day
    if days >= LEAST_DAYS:
        largest = np.zeros(days)
        m = 0
        for d in range(days):
            part = magnitudes[n - (d + 1) * day : n - d * day]
            if not np.isnan(part).all():
                largest[m] = largest_of(part)
                m += 1
        if m >= LEAST_DAYS:
            knot = math.log1p(quantile(largest[:m], KNOT))
            if math.log1p(largest[:m].max()) - knot < PLATEAU:
                tail[2] = knot
                tail[3] = math.log10(max(day / KNOT_RATE, 10.0))


@jit
def tail_evidence(magnitude: float, tail: Float, trust: float, prior: float) -> float:
    """How rare a magnitude is, in decades: about -log10 of its tail probability.

    The tail of log1p(magnitude) is exponential through two quantiles of the past; what every
    fourth day shows is no rarer than that. While the past is short a fixed prior has the say::

        rarity   = 1 + (g - tail[0]) / tail[1]                     with g = log1p(magnitude)
        rarity   = min(rarity, tail[3] + max(g - tail[2], 0) / tail[1])
        evidence = trust * rarity + (1 - trust) * prior * g

    Parameters
    ----------
    magnitude : float
        Not negative.
    tail : float64[4]
        From `fit_tail`.
    trust : float
        Weight of the past against the prior, 0..1.
    prior : float
        Slope of the prior.
    """
    g = math.log1p(magnitude)
    rarity = 1.0 + (g - tail[0]) / tail[1]
    if rarity > tail[3]:
        rarity = min(rarity, tail[3] + max(g - tail[2], 0.0) / tail[1])
    value = trust * rarity + (1.0 - trust) * prior * g
    evidence: float = min(max(value, 0.0), EVIDENCE_LIMIT)
    return evidence


@jit
def autoregression(z: Float, order: int, weights: Float) -> None:
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
            total = 0.0
            now = z[max(begin, k) : begin + PIECE]
            past = z[max(begin, k) - k :]
            for t in range(now.shape[0]):
                total += now[t] * past[t]
            products[k] += total
    weights[:] = 0.0
    if not products[0] > 0.0:
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


@jit
def novelty(window: Float, references: Single, count: int, distances: Single) -> float:
    """Distance of a window to its fifth nearest reference.

    Parameters
    ----------
    window : float64[M]
    references : float32[M, R]
        Windows of the past as columns, so that the loop over them is a vector operation.
    count : int
        References in use, the first columns; with fewer than five nothing is novel.
    distances : float32[R]
        Scratch.
    """
    if count < 5:
        return 0.0
    for r in range(count):
        distances[r] = np.float32(0.0)
    # Two rows a pass: half the passes over the distances, summed in the same order.
    pairs = window.shape[0] // 2 * 2
    for i in range(0, pairs, 2):
        w, v = np.float32(window[i]), np.float32(window[i + 1])
        row, next_row = references[i], references[i + 1]
        for r in range(count):
            d = w - row[r]
            f = v - next_row[r]
            near = distances[r] + d * d
            distances[r] = near + f * f
    for i in range(pairs, window.shape[0]):
        w = np.float32(window[i])
        row = references[i]
        for r in range(count):
            d = w - row[r]
            distances[r] += d * d
    # The nearest of every eight references first: the five nearest of all are among those of the
    # five eights whose nearest are nearest.
    eighth = count // 8
    for k in range(1, 8):
        for r in range(eighth):
            u = distances[r]
            v = distances[k * eighth + r]
            distances[r] = u if u < v else v
            distances[k * eighth + r] = v if u < v else u
    a = b = c = d4 = e = np.float32(np.inf)
    for r in range(eighth):
        a, b, c, d4, e = _nearer(distances[r], a, b, c, d4, e)
    limit = e
    for r in range(eighth):
        if distances[r] <= limit:
            for k in range(1, 8):
                a, b, c, d4, e = _nearer(distances[k * eighth + r], a, b, c, d4, e)
    for r in range(8 * eighth, count):
        a, b, c, d4, e = _nearer(distances[r], a, b, c, d4, e)
    distance: float = math.sqrt(e)
    return distance


@jit
def _nearer(
    v: np.float32, a: np.float32, b: np.float32, c: np.float32, d: np.float32, e: np.float32
) -> tuple[np.float32, np.float32, np.float32, np.float32, np.float32]:
    """Put a value among the five smallest, in order, without a branch."""
    f = d if d > v else v
    e = e if e < f else f
    f = c if c > v else v
    d = d if d < f else f
    f = b if b > v else v
    c = c if c < f else f
    f = a if a > v else v
    b = b if b < f else f
    return (a if a < v else v), b, c, d, e
