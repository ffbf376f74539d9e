"""The references of the memory channels: windows of the past that a new one is compared with.

Letters: as in `detector.channels`.
"""

from __future__ import annotations

import math

import numpy as np

from detector import kernels, tails
from detector.channels import (
    PRIOR,
    REFERENCES,
    SHAPE_BLOCKS,
    SHAPE_SECONDS,
    Normal,
    State,
)
from detector.kernels import jit
from detector.series import Float

# Windows of the past that are compared with the references, to learn how far is usual.
QUERIES = 200
# Samples whose quantiles say where a course is and how wide it swings.
PLENTY = 2000


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
    windows = normal.windows[s]
    for r in range(number):
        at = _place(r, number, width, available)
        for i in range(width):
            v = z[at - i]
            windows[i, r] = v if v == v else 0.0
    normal.known[s, 0] = number
    usable = 0
    for q in range(QUERIES):
        at = min(int((q + 0.5) * n / QUERIES), n - 1)
        if at < width - 1 or math.isnan(z[at]):
            continue
        limit = n - 1 - ((n - 1 - at) // day + 1) * day
        while usable < number and _place(usable, number, width, available) <= limit:
            usable += 1
        if usable >= max(number // 8, 6):
            for i in range(width):
                v = z[at - i]
                window[i] = v if v == v else 0.0
            queries[q] = kernels.novelty(window, windows, usable, distances)
    return queries


@jit
def fit_courses(
    x: Float, profile: int, normal: Normal, state: State, s: int, distances: kernels.Single
) -> np.ndarray:
    """The same for `shape`: means of half hours, centred and scaled; starts the current course."""
    size = SHAPE_SECONDS // profile
    queries = np.full(QUERIES, np.nan, np.float32)
    known = _filled(x)
    n = known.shape[0]
    if n < 2:
        return queries
    low, middle, high = kernels.three_quantiles(known[:: max(n // PLENTY, 1)], 0.05, 0.5, 0.95)
    unit = max((high - low) / 3.3, normal.scale[s])
    normal.middle[s, 0] = middle
    normal.middle[s, 1] = unit
    sums = np.zeros(n + 1)
    centre = normal.middle[s]
    for t in range(n):
        known[t] = scaled(known[t], centre)
        sums[t + 1] = sums[t] + known[t]
    course = state.course[s]
    for i in range(course.shape[0]):
        course[i] = known[max(n - 1 - i, 0)]
    width = SHAPE_BLOCKS * size
    available = n - width
    if available < REFERENCES // 8 * size:
        return queries
    number = min(REFERENCES, available // size)
    window = np.empty(SHAPE_BLOCKS)
    courses = normal.courses[s]
    for r in range(number):
        _course_at(sums, _place(r, number, width, available), size, window)
        for i in range(SHAPE_BLOCKS):
            courses[i, r] = window[i]
    normal.known[s, 1] = number
    day = 86_400 // profile
    usable = 0
    for q in range(QUERIES):
        at = min(int((q + 0.5) * n / QUERIES), n - 1)
        limit = n - 1 - ((n - 1 - at) // day + 1) * day
        while usable < number and _place(usable, number, width, available) <= limit:
            usable += 1
        if at >= width - 1 and usable >= max(number // 8, 6):
            _course_at(sums, at, size, window)
            queries[q] = kernels.novelty(window, courses, usable, distances)
    return queries


@jit
def _place(r: int, number: int, width: int, available: int) -> int:
    """Newest sample of reference `r`: they are spread evenly over the past."""
    return width - 1 + r * (available - 1) // max(number - 1, 1)


@jit
def scaled(x: float, middle: Float) -> float:
    """A sample of a course around its centre, in its unit."""
    return float(min(max((x - middle[0]) / middle[1], -1e6), 1e6))


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
    distances: kernels.Single,
) -> float:
    """How rare the course of the last six hours is; 0 where there is nothing to compare it with."""
    if known == 0:
        return 0.0
    window = np.empty(SHAPE_BLOCKS)
    course_of(course, window)
    far = kernels.novelty(window, courses, known, distances)
    return float(tails.tail_evidence(far, tail, trust, PRIOR))


@jit
def _course_at(sums: Float, at: int, size: int, window: Float) -> None:
    """Write the same means as `course_of`, from running sums, for the course that ends at `at`."""
    for i in range(SHAPE_BLOCKS):
        end = at + 1 - i * size
        window[i] = (sums[end] - sums[end - size]) / size


@jit
def _filled(x: Float) -> Float:
    """From the first sample on, with the last one where one is missing."""
    begin = 0
    while begin < x.shape[0] and math.isnan(x[begin]):
        begin += 1
    out = x[begin:].copy()
    for t in range(1, out.shape[0]):
        if math.isnan(out[t]):
            out[t] = out[t - 1]
    return out
