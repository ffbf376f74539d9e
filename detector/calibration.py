"""The calibration of the channels on a series' own past: tails, references, band.

Letters: as in `detector.channels`.
"""

from __future__ import annotations

import numpy as np

from detector import kernels
from detector.band import fit_band
from detector.channels import (
    CHANNELS,
    JUMP,
    NOVELTY,
    PRIOR,
    REFERENCES,
    SHAPE,
    SHAPE_BLOCKS,
    SPIKE,
    SPREAD,
    SUSTAINED,
    UNREST,
    Normal,
    State,
)
from detector.clock import around, fit_widths, unforeseen
from detector.combination import weigh
from detector.extremes import fit_crowd, fit_grain, fit_patience, fit_reach
from detector.kernels import Z_LIMIT, Single, jit
from detector.measures import measure
from detector.networks import N
from detector.references import course_evidence, fit_courses, fit_windows
from detector.series import Float, Int
from detector.tails import LEAST_DECADE, LEAST_OF_HOURS, LEAST_OF_LEANINGS, fit_tail, tail_evidence

# Samples of the past at which calibration and prior weigh a quarter and three quarters.
TRUST_SAMPLES = 300


@jit
def calibrate(
    history: Float,
    expected: Float,
    first: int,
    recent: Float,
    local: Int,
    step: int,
    profile: int,
    normal: Normal,
    state: State,
    begin: int,
    ready: np.ndarray,
    sensitivity: float,
) -> None:
    """Fit channels, tails and band of some series, and start their fold; both are written.

    Parameters
    ----------
    history, expected : float64[N, T]
        Samples and left-out expectations on the profile grid.
    first : int
        Cell of the profile grid, local time, of the first of them.
    recent : float64[N, R]
        Samples on the step grid up to the boundary.
    local : int64[R]
        Their local times in seconds.
    step, profile : int
        Seconds.
    begin : int
        Where the N series begin among the S of `normal` and `state`.
    ready : bool[N]
        Those without are left out.
    sensitivity : float
        Of the policy.
    """
    width = normal.windows.shape[1]
    day = max(86_400 // step, 1)
    count = recent.shape[1]
    shaped = normal.courses.shape[1] > 1
    centre = np.empty(count)
    z = np.empty(count, np.float32)
    narrow = np.empty(count, np.float32)
    cells = local // profile
    # Expected values of all slots that the samples lie in, and of those around.
    lowest = cells.min() - 1 if count > 0 else 0
    row = np.empty(cells.max() + 2 - lowest if count > 0 else 0)
    places = cells - lowest
    # A sample a slot, as it is where the grids are the same and no clock was changed.
    consecutive = bool((places[1:] - places[:-1] == 1).all())
    slots = (cells % normal.table.shape[1]).astype(np.int32)
    parts = (local - cells * profile) / profile
    past = np.empty((CHANNELS, count), np.float32)
    leanings = np.empty(count, np.float32)
    blocks = np.empty(SHAPE_BLOCKS)
    distances = np.empty(REFERENCES, np.float32)
    for i in range(recent.shape[0]):
        if not ready[i]:
            continue
        s = begin + i
        scale, growth, widths = normal.scale[s], normal.growth[s], normal.widths[s]
        fit_widths(history[i], expected[i], growth, scale, first, 86_400 // profile, widths)
        level = state.level[s, 0]
        _expect(expected[i], normal.table[s], level, lowest - first, first, row)
        slack = scale if shaped else np.inf
        _deviations(recent[i], row, places, consecutive, parts, slack, 1.0 / scale, centre, z)
        fit_crowd(recent[i], centre, day, sensitivity, normal.crowd[s])
        _narrow(centre, growth, widths, slots, narrow)
        _clip(narrow, z)
        known = measure(recent[i], z, narrow, normal, state, s, past, leanings)
        for c in (SPIKE, JUMP, SUSTAINED, SPREAD, UNREST):
            least = LEAST_OF_HOURS if c == UNREST else LEAST_DECADE
            fit_tail(past[c], day, least, normal.tails[s, c])
        fit_tail(leanings, day, LEAST_OF_LEANINGS, normal.lean[s])
        normal.trust[s] = (known / (known + TRUST_SAMPLES)) ** 2
        normal.newest[s] = weigh(normal.surprise[s], shaped, normal.weights[s])
        _begin_loud(past, normal, s, state.loud[s])
        queries = fit_windows(z, width, day, normal, s)
        fit_tail(queries, queries.shape[0] + 1, LEAST_DECADE, normal.tails[s, NOVELTY])
        if shaped:
            queries = fit_courses(history[i], profile, normal, state, s)
            fit_tail(queries, queries.shape[0] + 1, LEAST_DECADE, normal.tails[s, SHAPE])
            if normal.known[s, 1] > 0:
                state.shape[s] = course_evidence(
                    state.course[s], normal.courses[s], normal.known[s, 1],
                    normal.tails[s, SHAPE], normal.trust[s], blocks, distances,
                )  # fmt: skip
        fit_band(normal, state, s, distances)
        fit_reach(history[i], 86_400 // profile, sensitivity, normal.reach[s])
        normal.grain[s] = fit_grain(recent[i])
        normal.patience[s], state.run[s] = fit_patience(recent[i], day, sensitivity)


@jit
def _expect(
    expected: Float, table: Float, level: float, begin: int, first: int, row: Float
) -> None:
    """Write what is expected in the cells from `begin` on: of the history, then of the forecast."""
    known = max(-begin, 0)
    row[:known] = np.nan
    past = min(max(expected.shape[0] - begin, known), row.shape[0])
    row[known:past] = expected[begin + known : begin + past]
    for i in range(past, row.shape[0]):
        row[i] = table[(first + begin + i) % table.shape[0]] + level


@jit
def _deviations(
    x: Float,
    row: Float,
    places: Int,
    consecutive: bool,
    parts: Float,
    slack: float,
    share: float,
    centre: Float,
    z: Single,
) -> None:
    """Write what was expected of each sample, and how far it is from what `around` allows."""
    count = x.shape[0]
    if consecutive and count > 0:
        before = row[places[0] - 1 :]
        now, after = before[1:], before[2:]
    else:
        before, now, after = np.empty(count), np.empty(count), np.empty(count)
        for k in range(count):
            i = places[k]
            before[k], now[k], after[k] = row[i - 1], row[i], row[i + 1]
    for k in range(count):
        centre[k], up, down = around(before[k], now[k], after[k], parts[k], slack)
        z[k] = unforeseen(x[k] - centre[k], up, down) * share


@jit
def _narrow(centre: Float, growth: Float, widths: Single, slots: Int, narrow: Single) -> None:
    """Write by how much each deviation is smaller in scales as wide as they were."""
    kernels.widenings(centre, growth, narrow)
    if widths.max() > 1.0:
        for k in range(narrow.shape[0]):
            narrow[k] *= widths[slots[k]]
    for k in range(narrow.shape[0]):
        narrow[k] = N[1] / narrow[k]


@jit
def _clip(narrow: Single, z: Single) -> None:
    """Turn deviations into those in scales as wide as they were, clipped, in place."""
    most = np.float32(Z_LIMIT)
    for k in range(z.shape[0]):
        v = z[k] * narrow[k]
        v = most if v > most else v
        z[k] = -most if v < -most else v


@jit
def _begin_loud(past: np.ndarray, normal: Normal, s: int, loud: Float) -> None:
    """Fill in what the level channels said at the last steps of the past."""
    n = past.shape[1]
    for k in range(min(loud.shape[0], n)):
        for c in (SPIKE, SUSTAINED):
            magnitude = past[c, n - 1 - k]
            if magnitude == magnitude:
                said = tail_evidence(magnitude, normal.tails[s, c], normal.trust[s], PRIOR)
                loud[k] = max(loud[k], said)
