"""The references of the memory channels: windows of the past that a new one is compared with.

Letters: as in `detector.channels`.
"""

from __future__ import annotations

import math

import numpy as np

from detector import histograms, kernels, neighbours, tails
from detector.channels import (
    PRIOR,
    REFERENCES,
    SHAPE_BLOCKS,
    SHAPE_SECONDS,
    Normal,
    State,
)
from detector.kernels import PIECE, Single, jit
from detector.series import Float

# Windows of the past that are compared with the references, to learn how far is usual.
QUERIES = 200
# Samples whose quantiles say where a course is and how wide it swings.
PLENTY = 2000
# A course swings by so many of its units at most.
MOST_SCALED = 1e6


@jit
def fit_windows(z: Single, width: int, day: int, normal: Normal, s: int) -> Single:
    """Choose references of `novelty`, and return its magnitudes for windows of the past.

    Each window is compared with references of days before its own only, as live ones are.
    """
    n = z.shape[0]
    available = n - width
    normal.known[s, 0] = 0
    if available < REFERENCES // 8:
        return np.empty(0, np.float32)
    number = min(REFERENCES, available)
    windows = normal.windows[s]
    for r in range(number):
        at = _place(r, number, width, available)
        for i in range(width):
            v = z[at - i]
            windows[i, r] = v if v == v else 0.0
    normal.known[s, 0] = number
    queries = np.empty((width, QUERIES), np.float32)
    for q in range(QUERIES):
        at = _query(q, n)
        for i in range(width):
            v = z[max(at - i, 0)]
            queries[i, q] = v if v == v else 0.0
    distances = _distances(queries, windows, number, width, n, day)
    for q in range(QUERIES):
        if math.isnan(z[_query(q, n)]):
            distances[q] = np.nan
    return distances


@jit
def fit_courses(x: Float, profile: int, normal: Normal, state: State, s: int) -> Single:
    """The same for `shape`: means of half hours, centred and scaled; starts the current course."""
    size = SHAPE_SECONDS // profile
    begin = 0
    while begin < x.shape[0] and math.isnan(x[begin]):
        begin += 1
    x = x[begin:]
    n = x.shape[0]
    if n < 2:
        return np.empty(0, np.float32)
    some = x[:: max(n // PLENTY, 1)]
    low, middle, high = kernels.three_quantiles(histograms.known_of(some), 0.05, 0.5, 0.95)
    unit = max((high - low) / 3.3, normal.scale[s])
    normal.middle[s, 0] = middle
    normal.middle[s, 1] = unit
    known = np.empty(n)
    centre = normal.middle[s]
    last = x[0]
    for t in range(n):
        # The last one stands for a sample that is missing.
        last = x[t] if x[t] == x[t] else last
        known[t] = last
    course = state.course[s]
    for i in range(course.shape[0]):
        course[i] = scaled(known[max(n - 1 - i, 0)], centre)
    width = SHAPE_BLOCKS * size
    available = n - width
    if available < REFERENCES // 8 * size:
        return np.empty(0, np.float32)
    number = min(REFERENCES, available // size)
    means = _trailing_means(known, centre, size)
    courses = normal.courses[s]
    for r in range(number):
        at = _place(r, number, width, available)
        for i in range(SHAPE_BLOCKS):
            courses[i, r] = means[at - i * size]
    normal.known[s, 1] = number
    queries = np.empty((SHAPE_BLOCKS, QUERIES), np.float32)
    for q in range(QUERIES):
        at = max(_query(q, n), width - 1)
        for i in range(SHAPE_BLOCKS):
            queries[i, q] = means[at - i * size]
    return _distances(queries, courses, number, width, n, 86_400 // profile)


@jit
def _query(q: int, n: int) -> int:
    """Newest of `n` samples in the window of the past with this number."""
    return min(int((q + 0.5) * n / QUERIES), n - 1)


@jit
def _distances(
    queries: Single, references: Single, number: int, width: int, n: int, day: int
) -> Single:
    """How far each query is from the references of days before its own; NaN where too few are."""
    # The last sample of the days before each query's own.
    before = np.empty(QUERIES, np.int64)
    for q in range(QUERIES):
        before[q] = n - 1 - ((n - 1 - _query(q, n)) // day + 1) * day
    begins = np.empty(number, np.int64)
    q = 0
    for r in range(number):
        at = _place(r, number, width, n - width)
        while q < QUERIES and at > before[q]:
            q += 1
        begins[r] = q
    distances = np.empty(QUERIES, np.float32)
    neighbours.novelties(queries, references, begins, distances)
    few = max(number // 8, 6)
    distances[: begins[few - 1] if number >= few else QUERIES] = np.nan
    return distances


@jit
def _place(r: int, number: int, width: int, available: int) -> int:
    """Newest sample of reference `r`: they are spread evenly over the past."""
    return width - 1 + r * (available - 1) // max(number - 1, 1)


@jit
def scaled(x: float, middle: Float) -> float:
    """A sample of a course around its centre, in its unit."""
    v = (x - middle[0]) / middle[1]
    v = v if v < MOST_SCALED else MOST_SCALED
    return v if v > -MOST_SCALED else -MOST_SCALED


@jit
def _trailing_means(values: Float, centre: Float, size: int) -> Single:
    """Means of the `size` scaled values up to each, what `course_of` has of them; float32[N].

    The first, before which there are fewer, are too small.
    """
    n = values.shape[0]
    parts = np.empty(n, np.float32)
    means = np.zeros(n, np.float32)
    # As `scaled`, but for the divisions.
    middle, unit, share = centre[0], 1.0 / centre[1], 1.0 / size
    for t in range(n):
        v = (values[t] - middle) * unit
        v = v if v < MOST_SCALED else MOST_SCALED
        parts[t] = (v if v > -MOST_SCALED else -MOST_SCALED) * share
    for begin in range(0, n, PIECE):
        for k in range(size):
            first = max(begin, k)
            earlier, here = parts[first - k :], means[first : begin + PIECE]
            for i in range(here.shape[0]):
                here[i] += earlier[i]
    return means


@jit
def course_of(course: Float, window: Float) -> None:
    """Write the means of the half hours of a course, newest first, into `window`."""
    size = course.shape[0] // SHAPE_BLOCKS
    for i in range(SHAPE_BLOCKS):
        total = 0.0
        for k in range(i * size, (i + 1) * size):
            total += course[k]
        window[i] = total / size


@jit
def course_evidence(
    course: Float,
    courses: np.ndarray,
    known: int,
    tail: Float,
    trust: float,
    window: Float,
    distances: Single,
) -> float:
    """How rare the course of the last six hours is; 0 where there is nothing to compare it with.

    `window`, float64[SHAPE_BLOCKS], and `distances` are room for it.
    """
    if known == 0:
        return 0.0
    course_of(course, window)
    far = neighbours.novelty(window, courses, known, distances)
    return float(tails.tail_evidence(far, tail, trust, PRIOR))
