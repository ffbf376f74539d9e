"""Compiled medians over cycles and blocks, and what smooths before them.

Each routine has a naive twin in tests/naive.py. NaN is a missing sample everywhere.
"""

from __future__ import annotations

import numpy as np

from detector.kernels import jit
from detector.series import Float


@jit
def column_medians(rows: Float, out: Float) -> None:
    """Median of each column, NaN left out, NaN where a column has no value.

    Parameters
    ----------
    rows : float64[M, W]
        M values for each of W columns; used as scratch.
    out : float64[W]
        Output.

    Notes
    -----
    O(M**2 * W) exchanges without a branch, which compile to vector minima and maxima: for the
    M of 4 to 24 that occur this beats a sort of each column by an order of magnitude.
    """
    m, width = rows.shape
    count = np.zeros(width, np.int64)
    for i in range(m):
        for c in range(width):
            v = rows[i, c]
            known = v == v
            count[c] += known
            rows[i, c] = v if known else np.inf
    # After pass i the row i holds the i-th smallest; nothing beyond the middle is asked for.
    for i in range(m // 2 + 1):
        for j in range(m - 1, i, -1):
            for c in range(width):
                a = rows[j - 1, c]
                b = rows[j, c]
                rows[j - 1, c] = a if a < b else b
                rows[j, c] = b if a < b else a
    for c in range(width):
        n = count[c]
        low = rows[(n - 1) // 2, c] if n > 0 else np.nan
        out[c] = 0.5 * low + 0.5 * rows[n // 2, c] if n > 0 else np.nan


@jit
def left_out_medians(x: Float, period: int, most: int, out: Float) -> None:
    """Median of the same slot over other cycles than the sample's own.

    The `most` cycles before it count; the first cycles of the history, which have fewer, are
    filled up with later ones. So every sample is judged by as much as the model knows now, and
    none by itself.

    Parameters
    ----------
    x : float64[T]
        Samples; T is a multiple of `period`.
    period, most : int
        Samples per cycle, and cycles to be used.
    out : float64[T]
        Output; NaN where no other cycle has a sample.
    """
    cycles = x.shape[0] // period
    first = 0
    while first < cycles and np.isnan(x[first * period : (first + 1) * period]).all():
        first += 1
    rows = np.empty((most, period))
    out[: first * period] = np.nan
    for c in range(first, cycles):
        m = 0
        for k in range(c - 1, first - 1, -1):
            if m < most:
                rows[m] = x[k * period : (k + 1) * period]
                m += 1
        for k in range(c + 1, cycles):
            if m < most:
                rows[m] = x[k * period : (k + 1) * period]
                m += 1
        if m == 0:
            out[c * period : (c + 1) * period] = np.nan
        else:
            column_medians(rows[:m], out[c * period : (c + 1) * period])


@jit
def cycle_medians(x: Float, period: int, most: int, out: Float) -> None:
    """Median of each slot over the last `most` cycles, float64[period]; slot 0 is that of x[0]."""
    cycles = x.shape[0] // period
    m = min(most, cycles)
    rows = np.empty((m, period))
    for k in range(m):
        c = cycles - 1 - k
        rows[k] = x[c * period : (c + 1) * period]
    column_medians(rows, out)


@jit
def block_medians(x: Float, block: int) -> Float:
    """Median of each `block` samples, counted from the end, float64[T // block]."""
    count = x.shape[0] // block
    skip = x.shape[0] - count * block
    rows = np.empty((block, count))
    for b in range(count):
        for i in range(block):
            rows[i, b] = x[skip + b * block + i]
    out = np.empty(count)
    column_medians(rows, out)
    return out


@jit
def trailing_levels(medians: Float, blocks: int, least: int, out: Float) -> None:
    """Median of the `blocks` block medians before each block, and after the last one.

    Parameters
    ----------
    medians : float64[B]
    blocks, least : int
        Block medians looked back, and the fewest that are enough; with fewer the last known
        level stays (NaN before the first).
    out : float64[B + 1]
        Output.

    Notes
    -----
    The last medians are kept in order; each block takes one out and puts one in, O(blocks).
    """
    count = medians.shape[0]
    ordered = np.empty(blocks + 1)
    known = 0
    last = np.nan
    for b in range(count + 1):
        if b > 0 and medians[b - 1] == medians[b - 1]:
            i = known
            while i > 0 and ordered[i - 1] > medians[b - 1]:
                ordered[i] = ordered[i - 1]
                i -= 1
            ordered[i] = medians[b - 1]
            known += 1
        if b > blocks and medians[b - 1 - blocks] == medians[b - 1 - blocks]:
            i = 0
            while ordered[i] != medians[b - 1 - blocks]:
                i += 1
            known -= 1
            for j in range(i, known):
                ordered[j] = ordered[j + 1]
        if known >= least:
            last = 0.5 * ordered[(known - 1) // 2] + 0.5 * ordered[known // 2]
        out[b] = last


@jit
def running_mean(x: Float, half: int, out: Float) -> None:
    """Mean of each sample and its `half` neighbours on both sides, NaN left out."""
    n = x.shape[0]
    for t in range(n):
        total = 0.0
        m = 0
        for j in range(max(t - half, 0), min(t + half + 1, n)):
            known = x[j] == x[j]
            total += x[j] if known else 0.0
            m += known
        out[t] = total / m if m > 0 else np.nan
