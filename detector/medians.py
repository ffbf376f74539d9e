"""Compiled medians over cycles and blocks, and what smooths before them.

Each routine has a naive twin in tests/naive.py. NaN is a missing sample everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from detector.kernels import Real, inlined, jit
from detector.networks import HALF, LAST, MISSING, N, median3, median4, median7, median12
from detector.series import Int

# Samples that are summed together while they are in the fastest cache.
TILE = 512


@jit
def column_medians(rows: Real, out: Real) -> None:
    """Median of each column, NaN left out, NaN where a column has no value.

    Parameters
    ----------
    rows : float[M, W]
        M values for each of W columns; used as scratch.
    out : float[W]
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
def left_out_medians(x: Real, period: int, most: int, out: Real) -> None:
    """Median of the same slot over other cycles than the sample's own.

    The `most` cycles before it that have samples count; the first cycles of the history, which have
    fewer, are filled up with later ones. So every sample is judged by as much as the model knows
    now, and none by itself.

    Parameters
    ----------
    x : float[T]
        Samples; T is a multiple of `period`.
    period, most : int
        Samples per cycle, and cycles to be used.
    out : float[T]
        Output; NaN where no other cycle has a sample.
    """
    begins = _begins_of(x, period)
    others = np.empty(most, np.int64)
    first = begins[0] if begins.shape[0] > 0 else x.shape[0]
    out[:first] = np.nan
    for own in range(first, x.shape[0], period):
        m = 0
        for begin in begins[::-1]:
            if begin < own and m < most:
                others[m] = begin
                m += 1
        for begin in begins:
            if begin > own and m < most:
                others[m] = begin
                m += 1
        stretch_medians(x, others[:m], out[own : own + period])


@jit
def cycle_medians(x: Real, period: int, most: int, out: Real) -> None:
    """Median of each slot over the last `most` cycles that have samples, float[period].

    Slot 0 is that of x[0].
    """
    begins = _begins_of(x, period)
    stretch_medians(x, begins[max(begins.shape[0] - most, 0) :][::-1], out)


@jit
def _begins_of(x: Real, period: int) -> Int:
    """Where cycles begin that have samples: a week without says nothing of the one before."""
    begins = np.empty(x.shape[0] // period, np.int64)
    m = 0
    for begin in range(0, x.shape[0], period):
        k = begin
        while k < begin + period and x[k] != x[k]:
            k += 1
        begins[m] = begin
        m += k < begin + period
    return begins[:m]


@jit
def stretch_medians(x: Real, begins: Int, out: Real) -> None:
    """Median of each place over M stretches of `x`, NaN left out, as `column_medians` has it.

    Parameters
    ----------
    x : float[T]
    begins : int64[M]
        Where the stretches begin.
    out : float[W]
        Output; W is the length of the stretches. NaN where there is no value.

    Notes
    -----
    The M that occur every day, three and four weeks and seven days, are read where they are.
    """
    m = begins.shape[0]
    width = out.shape[0]
    if m == 0:
        out[:] = np.nan
    elif m == 3:
        a, b, c = (
            _stretch(x, begins[0], width),
            _stretch(x, begins[1], width),
            _stretch(x, begins[2], width),
        )
        for i in range(width):
            out[i] = median3(a[i], b[i], c[i])
    elif m == 4:
        a, b, c = (
            _stretch(x, begins[0], width),
            _stretch(x, begins[1], width),
            _stretch(x, begins[2], width),
        )
        d = _stretch(x, begins[3], width)
        for i in range(width):
            out[i] = median4(a[i], b[i], c[i], d[i])
    elif m == 7:
        a, b, c = (
            _stretch(x, begins[0], width),
            _stretch(x, begins[1], width),
            _stretch(x, begins[2], width),
        )
        d, e, f = (
            _stretch(x, begins[3], width),
            _stretch(x, begins[4], width),
            _stretch(x, begins[5], width),
        )
        g = _stretch(x, begins[6], width)
        for i in range(width):
            out[i] = median7(a[i], b[i], c[i], d[i], e[i], f[i], g[i])
    else:
        rows = np.empty((m, width), x.dtype)
        for k in range(m):
            rows[k] = x[begins[k] : begins[k] + width]
        column_medians(rows, out)


@jit
def _stretch(x: Real, begin: int, width: int) -> Real:
    return x[begin : begin + width]


@jit
def block_medians(x: Real, block: int) -> Real:
    """Median of each `block` samples, counted from the end, float[T // block]."""
    count = x.shape[0] // block
    last = x[x.shape[0] - count * block :]
    out = np.empty(count, x.dtype)
    if block == 12:
        _twelfths(last, out)
    else:
        column_medians(last.reshape(count, block).T.copy(), out)
    return out


@jit
def _twelfths(x: Real, out: Real) -> None:
    """Medians of every twelve samples, which are laid side by side for many blocks at a time."""
    w = TILE // 4
    rows = np.empty(12 * w, x.dtype)
    for begin in range(0, out.shape[0], w):
        part = out[begin : begin + w]
        here = x[12 * begin :]
        for b in range(part.shape[0]):
            for k in range(12):
                rows[k * w + b] = here[12 * b + k]
        for b in range(part.shape[0]):
            part[b] = median12(
                rows[b], rows[w + b], rows[2 * w + b], rows[3 * w + b], rows[4 * w + b],
                rows[5 * w + b], rows[6 * w + b], rows[7 * w + b], rows[8 * w + b],
                rows[9 * w + b], rows[10 * w + b], rows[11 * w + b],
            )  # fmt: skip


@jit
def trailing_levels(medians: Real, blocks: int, least: int, out: Real) -> None:
    """Median of the `blocks` block medians before each block, and after the last one.

    Parameters
    ----------
    medians : float[B]
    blocks, least : int
        Block medians looked back, and the fewest that are enough; with fewer the last known
        level stays (NaN before the first).
    out : float[B + 1]
        Output.

    Notes
    -----
    The last medians are kept in order; each block takes one out and puts one in, O(blocks).
    """
    count = medians.shape[0]
    # Behind a wall of its own, so that neither end needs a branch; infinity where nothing is,
    # which also stands for what is missing.
    ordered = np.full(blocks + 2, np.inf, medians.dtype)
    ordered[0] = -np.inf
    renewed = ordered.copy()
    known = 0
    last = MISSING
    for b in range(count + 1):
        old = medians[b - 1 - blocks] if b > blocks else MISSING
        new = medians[b - 1] if b > 0 else MISSING
        known += (new == new) - (old == old)
        old = old if old == old else LAST
        new = new if new == new else LAST
        for i in range(1, blocks + 1):
            # Neighbours once the old one is out; the new one goes between them, or stays away.
            low = ordered[i - 1] if ordered[i - 1] < old else ordered[i]
            high = ordered[i] if ordered[i] < old else ordered[i + 1]
            above = new if new > low else low
            renewed[i] = above if above < high else high
        ordered, renewed = renewed, ordered
        if known >= least:
            last = HALF * ordered[1 + (known - 1) // 2] + HALF * ordered[1 + known // 2]
        out[b] = last


@jit
def running_mean(x: Real, half: int, out: Real) -> None:
    """Mean of each sample and its `half` neighbours on both sides, NaN left out."""
    n = x.shape[0]
    # A margin of nothing on both sides, so that every sample has all its neighbours.
    values = np.zeros(n + 2 * half, x.dtype)
    known = np.zeros(n + 2 * half, np.float32)
    inner, there = values[half:], known[half:]
    for t in range(n):
        inner[t] = x[t] if x[t] == x[t] else N[0]
        there[t] = N[1] if x[t] == x[t] else N[0]
    if half == 3:
        # As it is at five minutes: in one pass.
        for t in range(n):
            number = _seven(known, t)
            out[t] = _seven(values, t) / number if number > N[0] else MISSING
        return
    total = np.empty(TILE, x.dtype)
    number_of = np.empty(TILE, np.float32)
    for begin in range(0, n, TILE):
        part = out[begin : begin + TILE]
        width = part.shape[0]
        total[:width] = values[begin : begin + width]
        number_of[:width] = known[begin : begin + width]
        for j in range(1, 2 * half, 2):
            more, others = values[begin + j :], known[begin + j :]
            for i in range(width):
                total[i] += more[i] + more[i + 1]
                number_of[i] += others[i] + others[i + 1]
        for i in range(width):
            part[i] = total[i] / number_of[i] if number_of[i] > N[0] else MISSING


@inlined
def _seven(v: Real, t: int) -> Any:
    return v[t] + v[t + 1] + v[t + 2] + v[t + 3] + v[t + 4] + v[t + 5] + v[t + 6]
