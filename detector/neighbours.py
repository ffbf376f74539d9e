"""How far a window is from those of the past: the distance to its fifth nearest reference.

Each routine has a naive twin in tests/naive.py. NaN does not occur here.
"""

from __future__ import annotations

import math

import numpy as np

from detector.kernels import Single, inlined, jit
from detector.series import Float, Int

INFINITE = np.float32(np.inf)
# Windows compared side by side.
TILE = 40


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
                # Few of these are: here a branch is seldom wrong, and the order need not wait.
                if distances[k * eighth + r] < e:
                    a, b, c, d4, e = _nearer(distances[k * eighth + r], a, b, c, d4, e)
    for r in range(8 * eighth, count):
        a, b, c, d4, e = _nearer(distances[r], a, b, c, d4, e)
    distance: float = math.sqrt(e)
    return distance


@inlined
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


@jit
def novelties(windows: Single, references: Single, begins: Int, distances: Single) -> None:
    """`novelty` of Q windows at a time, each compared with some of the references.

    Parameters
    ----------
    windows : float32[M, Q]
        Windows as columns.
    references : float32[M, R]
        Windows of the past as columns.
    begins : int64[N]
        The first window that each of the first N references is compared with, ascending: it is
        with all from there on.
    distances : float32[Q]
        Output; infinite where there are fewer than five references.

    Notes
    -----
    O(M * N * Q) without a branch: some windows lie side by side, so both the sums and keeping the
    five smallest of them are vector operations. Later references than a window's are left out.
    """
    size, count = windows.shape
    quads = size // 4 * 4
    here = np.zeros((size, TILE), np.float32)
    a, b, c = _endless(TILE), _endless(TILE), _endless(TILE)
    d, e, far = _endless(TILE), _endless(TILE), _endless(TILE)
    for first in range(0, count, TILE):
        end = min(first + TILE, count)
        here[:, : end - first] = windows[:, first:end]
        for nearest in (a, b, c, d, e):
            nearest[:] = INFINITE
        for r in range(begins.shape[0]):
            if begins[r] >= end:
                break
            far[:] = np.float32(0.0)
            # Four rows a pass: fewer passes over the distances.
            for i in range(0, quads, 4):
                _add_squares(here, references, i, r, far)
            for i in range(quads, size - 1, 2):
                u, v = references[i, r], references[i + 1, r]
                for q in range(TILE):
                    f, g = here[i, q] - u, here[i + 1, q] - v
                    far[q] += f * f + g * g
            if size % 2:
                u = references[size - 1, r]
                for q in range(TILE):
                    f = here[size - 1, q] - u
                    far[q] += f * f
            for q in range(begins[r] - first):
                far[q] = INFINITE
            for q in range(TILE):
                a[q], b[q], c[q], d[q], e[q] = _nearer(far[q], a[q], b[q], c[q], d[q], e[q])
        for q in range(end - first):
            distances[first + q] = math.sqrt(e[q])


@inlined
def _add_squares(windows: Single, references: Single, i: int, r: int, far: Single) -> None:
    """Add to distances what four rows of windows differ from those of a reference."""
    s, t, u, v = references[i, r], references[i + 1, r], references[i + 2, r], references[i + 3, r]
    for q in range(TILE):
        e, f = windows[i, q] - s, windows[i + 1, q] - t
        g, h = windows[i + 2, q] - u, windows[i + 3, q] - v
        far[q] += e * e + f * f + g * g + h * h


@inlined
def _endless(count: int) -> Single:
    return np.full(count, INFINITE, np.float32)
