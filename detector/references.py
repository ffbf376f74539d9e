"""The references of the memory channels: windows of the past that a new one is compared with.

Letters: as in `detector.channels`.
"""

from __future__ import annotations

import math

import numpy as np

from detector import kernels
from detector.channels import REFERENCES, SHAPE_BLOCKS, SHAPE_SECONDS, Normal, State
from detector.kernels import jit
from detector.series import Float

# Windows of the past that are compared with the references, to learn how far is usual.
QUERIES = 200


@jit
def fit_windows(
    z: Float, width: int, day: int, normal: Normal, s: int, distances: kernels.Single
) -> np.ndarray:
    """Choose references of `novelty`, and return its magnitudes for windows of the past.

    Each window is compared with references of days before its own only, as live ones are.
    """
    n = z.shape[0]
    available = n - width
    queries = np.full(QUERIES, np.nan, np.float32)
    if available < REFERENCES // 8:
        normal.known[s, 0] = 0
        return queries
    number = min(REFERENCES, available)
    window = np.empty(width)
    usable = 0
    for r in range(number):
        at = width - 1 + r * (available - 1) // max(number - 1, 1)
        for i in range(width):
            v = z[at - i]
            normal.windows[s, i, r] = v if v == v else 0.0
    normal.known[s, 0] = number
    for q in range(QUERIES):
        at = min(int((q + 0.5) * n / QUERIES), n - 1)
        if at < width - 1 or math.isnan(z[at]):
            continue
        limit = n - 1 - ((n - 1 - at) // day + 1) * day
        while (
            usable < number and width - 1 + usable * (available - 1) // max(number - 1, 1) <= limit
        ):
            usable += 1
        if usable >= max(number // 8, 6):
            for i in range(width):
                v = z[at - i]
                window[i] = v if v == v else 0.0
            queries[q] = kernels.novelty(window, normal.windows[s], usable, distances)
    return queries


@jit
def fit_courses(
    x: Float,
    first: int,
    profile: int,
    normal: Normal,
    state: State,
    s: int,
    distances: kernels.Single,
) -> np.ndarray:
    """The same for `shape`: means of half hours, centred and scaled; starts the current course."""
    size = SHAPE_SECONDS // profile
    queries = np.full(QUERIES, np.nan, np.float32)
    start = first // size
    n = (first + x.shape[0] - 1) // size - start + 1
    means = np.full(n, np.nan)
    numbers = np.zeros(n, np.int64)
    for t in range(x.shape[0]):
        if x[t] == x[t]:
            b = (first + t) // size - start
            means[b] = x[t] if numbers[b] == 0 else means[b] + x[t]
            numbers[b] += 1
    begin = n
    last = np.nan
    for b in range(n):
        if numbers[b] > 0:
            last = means[b] / numbers[b]
            begin = min(begin, b)
        means[b] = last
    known = means[begin:]
    if known.shape[0] < 2:
        return queries
    low, middle, high = kernels.three_quantiles(known, 0.05, 0.5, 0.95)
    unit = max((high - low) / 3.3, normal.scale[s])
    normal.middle[s, 0] = middle
    normal.middle[s, 1] = unit
    for i in range(known.shape[0]):
        known[i] = min(max((known[i] - middle) / unit, -1e6), 1e6)
    # The last block may be half full at the boundary: it is the current one.
    full = known.shape[0] - (1 if (first + x.shape[0]) % size else 0)
    if full < known.shape[0]:
        state.block[s, 0] = start + n - 1
        state.block[s, 1] = (known[full] * unit + middle) * numbers[n - 1]
        state.block[s, 2] = numbers[n - 1]
    for i in range(SHAPE_BLOCKS):
        if full - 1 - i >= 0:
            state.course[s, i] = known[full - 1 - i]
    available = full - SHAPE_BLOCKS
    if available < REFERENCES // 8:
        return queries
    number = min(REFERENCES, available)
    for r in range(number):
        at = SHAPE_BLOCKS - 1 + r * (available - 1) // max(number - 1, 1)
        for i in range(SHAPE_BLOCKS):
            normal.courses[s, i, r] = known[at - i]
    normal.known[s, 1] = number
    day = 86_400 // SHAPE_SECONDS
    window = np.empty(SHAPE_BLOCKS)
    usable = 0
    for q in range(QUERIES):
        at = min(int((q + 0.5) * full / QUERIES), full - 1)
        limit = full - 1 - ((full - 1 - at) // day + 1) * day
        while (
            usable < number
            and SHAPE_BLOCKS - 1 + usable * (available - 1) // max(number - 1, 1) <= limit
        ):
            usable += 1
        if at >= SHAPE_BLOCKS - 1 and usable >= max(number // 8, 6):
            for i in range(SHAPE_BLOCKS):
                window[i] = known[at - i]
            queries[q] = kernels.novelty(window, normal.courses[s], usable, distances)
    return queries
