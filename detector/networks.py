"""Compiled medians of three, four, seven or twelve values: sorting networks in registers.

A loop that calls one of them for each column has no branch, so it compiles to vector minima and
maxima. NaN is a missing value: it counts as infinity while sorting, and the median is picked by
how many are left. The networks are those of Knuth's The Art of Computer Programming 5.3.4; what
they do for the upper half is not used, and the compiler leaves it out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from detector.kernels import inlined

# As float32, which widen to whatever the values are: a float64 would make the values wide.
N: tuple[Any, ...] = tuple(np.float32(n) for n in range(13))
HALF: Any = np.float32(0.5)
LAST: Any = np.float32(np.inf)
MISSING: Any = np.float32(np.nan)


@inlined
def _known(a: float) -> Any:
    return N[1] if a == a else N[0]


@inlined
def _or_last(a: float) -> Any:
    return a if a == a else LAST


@inlined
def _pair(a: float, b: float) -> tuple[float, float]:
    return (a if a < b else b), (b if a < b else a)


@inlined
def median3(a: float, b: float, c: float) -> Any:
    """Median of the values that are not NaN; NaN when there is none."""
    n = _known(a) + _known(b) + _known(c)
    a, b, c = _or_last(a), _or_last(b), _or_last(c)
    a, b = _pair(a, b)
    b, c = _pair(b, c)
    a, b = _pair(a, b)
    low = b if n >= N[3] else a
    high = b if n >= N[2] else a
    return HALF * low + HALF * high if n > N[0] else MISSING


@inlined
def median4(a: float, b: float, c: float, d: float) -> Any:
    """Median of the values that are not NaN; NaN when there is none."""
    n = _known(a) + _known(b) + _known(c) + _known(d)
    a, b, c, d = _or_last(a), _or_last(b), _or_last(c), _or_last(d)
    a, b = _pair(a, b)
    c, d = _pair(c, d)
    a, c = _pair(a, c)
    b, d = _pair(b, d)
    b, c = _pair(b, c)
    low = b if n >= N[3] else a
    high = c if n >= N[4] else (b if n >= N[2] else a)
    return HALF * low + HALF * high if n > N[0] else MISSING


@inlined
def median7(a: float, b: float, c: float, d: float, e: float, f: float, g: float) -> Any:
    """Median of the values that are not NaN; NaN when there is none."""
    n = _known(a) + _known(b) + _known(c) + _known(d) + _known(e) + _known(f) + _known(g)
    a, b, c, d = _or_last(a), _or_last(b), _or_last(c), _or_last(d)
    e, f, g = _or_last(e), _or_last(f), _or_last(g)
    (a, g), (c, d), (e, f) = _pair(a, g), _pair(c, d), _pair(e, f)
    (a, c), (b, e), (d, g) = _pair(a, c), _pair(b, e), _pair(d, g)
    (a, b), (c, f), (d, e) = _pair(a, b), _pair(c, f), _pair(d, e)
    (b, c), (e, g) = _pair(b, c), _pair(e, g)
    (c, d), (e, f) = _pair(c, d), _pair(e, f)
    (b, c), (d, e) = _pair(b, c), _pair(d, e)
    low = b if n >= N[3] else a
    low = c if n >= N[5] else low
    low = d if n >= N[7] else low
    high = b if n >= N[2] else a
    high = c if n >= N[4] else high
    high = d if n >= N[6] else high
    return HALF * low + HALF * high if n > N[0] else MISSING


@inlined
def median12(
    a: float, b: float, c: float, d: float, e: float, f: float,
    g: float, h: float, i: float, j: float, k: float, m: float,
) -> Any:  # fmt: skip
    """Median of the values that are not NaN; NaN when there is none."""
    n = _known(a) + _known(b) + _known(c) + _known(d) + _known(e) + _known(f)
    n += _known(g) + _known(h) + _known(i) + _known(j) + _known(k) + _known(m)
    a, b, c, d = _or_last(a), _or_last(b), _or_last(c), _or_last(d)
    e, f, g, h = _or_last(e), _or_last(f), _or_last(g), _or_last(h)
    i, j, k, m = _or_last(i), _or_last(j), _or_last(k), _or_last(m)
    (a, i), (b, h), (c, g), (d, m) = _pair(a, i), _pair(b, h), _pair(c, g), _pair(d, m)
    (e, k), (f, j), (a, b) = _pair(e, k), _pair(f, j), _pair(a, b)
    (c, f), (d, e), (g, j), (h, i) = _pair(c, f), _pair(d, e), _pair(g, j), _pair(h, i)
    (k, m), (a, c), (b, g) = _pair(k, m), _pair(a, c), _pair(b, g)
    (f, k), (j, m), (a, d), (b, c) = _pair(f, k), _pair(j, m), _pair(a, d), _pair(b, c)
    (e, g), (f, h), (i, m), (j, k) = _pair(e, g), _pair(f, h), _pair(i, m), _pair(j, k)
    (b, e), (d, f), (g, i), (h, k) = _pair(b, e), _pair(d, f), _pair(g, i), _pair(h, k)
    (b, d), (c, f), (g, j) = _pair(b, d), _pair(c, f), _pair(g, j)
    (c, d), (e, f), (g, h) = _pair(c, d), _pair(e, f), _pair(g, h)
    (e, g), (f, h) = _pair(e, g), _pair(f, h)
    (d, e), (f, g) = _pair(d, e), _pair(f, g)
    low = b if n >= N[3] else a
    low = c if n >= N[5] else low
    low = d if n >= N[7] else low
    low = e if n >= N[9] else low
    low = f if n >= N[11] else low
    high = b if n >= N[2] else a
    high = c if n >= N[4] else high
    high = d if n >= N[6] else high
    high = e if n >= N[8] else high
    high = f if n >= N[10] else high
    high = g if n >= N[12] else high
    return HALF * low + HALF * high if n > N[0] else MISSING
