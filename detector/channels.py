"""The channels: what each of them measures, and its calibration on the past.

A channel turns the newest samples into a magnitude; its rarity against its own past is its
evidence (see `kernels.tail_evidence`). Level channels look at the deviation from the expected
value: `spike` (this sample), `jump` (what the last minutes did not predict), `sustained` (mean
of five), `trend` (the level of the day against that of the weeks). Memory channels look at a
window: `spread` (steps from sample to sample, flat lines included), `novelty` (the last
deviations unlike any window of the past), `shape` (the same for the coarse course of six hours).

Letters: S series, T steps, R samples of the calibration window, C channels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from detector import kernels, names
from detector.kernels import Z_LIMIT, jit, tail_evidence
from detector.series import Float, Int

SPIKE, JUMP, SUSTAINED, TREND, SPREAD, NOVELTY, SHAPE = range(len(names.CHANNELS))
CHANNELS = len(names.CHANNELS)
# Weight of each channel in the mean square. A spike is a jump as well, so it counts little by
# itself; the trend stands beside the mean (see `score`).
WEIGHTS = np.array([0.25, 1.5, 1.0, 0.0, 1.0, 1.0, 1.0])
# Evidence is this slope times log1p(magnitude) while the past is short.
PRIOR = 2.0
# Samples of the past at which calibration and prior weigh a quarter and three quarters.
TRUST_SAMPLES = 300
SUSTAINED_STEPS = 5
SPREAD_STEPS = 10
# The jump is what this many past deviations do not predict.
ORDER = 12
# Windows of the past kept as references, and windows compared with them for calibration.
REFERENCES = 200
QUERIES = 200
# The coarse course: twelve blocks of half an hour, on grids of at most a quarter of an hour.
SHAPE_BLOCKS = 12
SHAPE_SECONDS = 1800
SHAPE_GRID = 900
# One robust standard deviation of log spread is at least this.
LEAST_LOG_SPREAD = 0.3
# A day's level this many usual deviations from that of the weeks is the edge of normal.
TREND_EDGE = 5.0


class Normal(NamedTuple):
    """What the fold knows of S series between two boundaries.

    table : float64[S, P], forecast by slot of the week; scale : float64[S]; growth : float64[S, 2];
    memory : float64[S, ORDER], weights that predict a deviation from the last ones;
    surprise : float64[S], standard deviation of what they do not predict;
    spread : float64[S, 2], median and deviation of log mean absolute steps;
    windows : float32[S, M, REFERENCES], novelty's references; known : int64[S, 2], references of
    novelty and shape; courses : float32[S, SHAPE_BLOCKS, REFERENCES]; middle : float64[S, 2],
    centre and unit of courses; tails : float64[S, C, 4]; trust : float64[S];
    edge : float64[S], evidence that scores 1; reference : float64[S, 2], see `Baseline`;
    band : float64[S, 2], deviation in scales, above and below, that scores 1 when held for five
    steps.
    """

    table: Float
    scale: Float
    growth: Float
    memory: Float
    surprise: Float
    spread: Float
    windows: np.ndarray
    known: Int
    courses: np.ndarray
    middle: Float
    tails: Float
    trust: Float
    edge: Float
    reference: Float
    band: Float


class State(NamedTuple):
    """What a fold carries from step to step; advanced in place.

    blocks, raw : float64[S, 24], medians of the last hours' residuals and samples;
    hour : float64[S, 2, B], the current hour's; filled : int64[S, 2], how many of them;
    level : float64[S, 2], median of `blocks` and of `raw`;
    recent : float64[S, ORDER], last deviations in scales, newest first;
    steps : float64[S, SPREAD_STEPS], last absolute steps, newest first; last : float64[S];
    course : float64[S, SHAPE_BLOCKS], coarse block means, newest first;
    block : float64[S, 4], id, sum and count of the current coarse block, evidence of the last;
    flags : int64[S, 3], 1 in an episode (2 while a window still holds the last one), calm steps
    in a row, steps since the last episode;
    silent : int64[S], steps in a row without any sample.
    """

    blocks: Float
    raw: Float
    hour: Float
    filled: Int
    level: Float
    recent: Float
    steps: Float
    last: Float
    course: Float
    block: Float
    flags: Int
    silent: Int


class Limits(NamedTuple):
    """A policy as numbers: signs of deviations that count, floors, physical limits, trend or not.

    signs : int64[2], floors : float64[2], limits : float64[2], trend : bool.
    """

    signs: Int
    floors: Float
    limits: Float
    trend: bool


def window_length(step: int) -> int:
    """Return how many deviations a novelty window holds: ten, fewer on grids of hours."""
    return min(max(86_400 // step // 24, 4), 10)


def memory_length(step: int, shaped: bool) -> int:
    """Return how many steps the longest window of a channel looks back."""
    course = SHAPE_BLOCKS * SHAPE_SECONDS // step if shaped else 0
    return max(course, window_length(step), SPREAD_STEPS)


@jit
def observe(
    z: float,
    x: float,
    widening: float,
    normal: Normal,
    state: State,
    s: int,
    magnitudes: Float,
    weights: Float,
) -> None:
    """Take in one present sample of series `s` and measure the first channels.

    Parameters
    ----------
    z : float
        Deviation in scales, clipped.
    x : float
        The sample itself.
    widening : float
        How much wider than its pivot's the scale is now.
    magnitudes : float64[C]
        Output: spike, jump, sustained and spread; their signs say the direction.
    """
    recent = state.recent[s]
    steps = state.steps[s]
    predicted = 0.0
    for k in range(ORDER):
        predicted += weights[k] * recent[k]
    push(recent, z)
    mean = 0.0
    for k in range(SUSTAINED_STEPS):
        mean += recent[k]
    # A move towards the expected value is no news, nor is the echo of an incident just over.
    jump = z - predicted
    jump = min(max(jump, min(z, 0.0)), max(z, 0.0)) / normal.surprise[s]
    last = state.last[s]
    if last == last:
        push(steps, abs(x - last) / widening)
    state.last[s] = x
    magnitudes[SPIKE] = z
    magnitudes[JUMP] = jump
    magnitudes[SUSTAINED] = mean / SUSTAINED_STEPS
    magnitudes[SPREAD] = (log_spread(steps, normal.scale[s]) - normal.spread[s, 0]) / normal.spread[
        s, 1
    ]


@jit
def push(ring: Float, value: float) -> None:
    """Put a value in front; the oldest falls off."""
    for k in range(ring.shape[0] - 1, 0, -1):
        ring[k] = ring[k - 1]
    ring[0] = value


@jit
def log_spread(steps: Float, scale: float) -> float:
    """Logarithm of the mean absolute step, a flat line being a thousandth of the scale."""
    total = 0.0
    for k in range(SPREAD_STEPS):
        total += steps[k]
    return math.log(total / SPREAD_STEPS / scale + 1e-3)


@jit
def combined(evidence: Float, shaped: bool) -> float:
    """Weighted mean square of the evidence; `shape` is left out where the grid is too coarse."""
    power = 0.0
    total = 0.0
    for c in range(CHANNELS):
        w = WEIGHTS[c] if (shaped or c != SHAPE) else 0.0
        power += w * evidence[c] * evidence[c]
        total += w
    return power / total


@jit
def interpolated(values: Float, table: Float, level: float, cell: int, first: int) -> float:
    """Expected value at a cell of the profile grid: of the history, or of the forecast."""
    i = cell - first
    if 0 <= i < values.shape[0]:
        return float(values[i])
    return float(table[cell % table.shape[0]] + level) if i >= 0 else np.nan


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
    ready: np.ndarray,
) -> None:
    """Fit channels, tails and band of all series, and start their fold; both are written.

    Parameters
    ----------
    history, expected : float64[S, T]
        Samples and left-out expectations on the profile grid.
    first : int
        Cell of the profile grid, local time, of the first of them.
    recent : float64[S, R]
        Samples on the step grid up to the boundary.
    local : int64[R]
        Their local times in seconds.
    step, profile : int
        Seconds.
    """
    width = normal.windows.shape[1]
    day = max(86_400 // step, 1)
    count = recent.shape[1]
    z = np.empty(count)
    wider = np.empty(count)
    magnitudes = np.empty(CHANNELS)
    past = np.empty((CHANNELS, count), np.float32)
    distances = np.empty(REFERENCES, np.float32)
    for s in range(recent.shape[0]):
        if not ready[s]:
            continue
        scale = normal.scale[s]
        for k in range(count):
            cell = local[k] // profile
            part = (local[k] - cell * profile) / profile
            a = interpolated(expected[s], normal.table[s], state.level[s, 0], cell, first)
            if part > 0.0:
                b = interpolated(expected[s], normal.table[s], state.level[s, 0], cell + 1, first)
                a += part * (b - a)
            wider[k] = kernels.widening(a, normal.growth[s])
            z[k] = min(max((recent[s, k] - a) / (scale * wider[k]), -Z_LIMIT), Z_LIMIT)
        _fit_jump(z, normal.memory[s], normal.surprise[s : s + 1])
        past[:] = np.nan
        known = 0
        for k in range(count):
            x = recent[s, k]
            if z[k] == z[k]:
                observe(z[k], x, wider[k], normal, state, s, magnitudes, normal.memory[s])
                if k >= SPREAD_STEPS:
                    known += 1
                    for c in (SPIKE, JUMP, SUSTAINED):
                        past[c, k] = abs(magnitudes[c])
                    past[SPREAD, k] = magnitudes[SPREAD]
            else:
                push(state.recent[s], 0.0)
        _fit_spread(past[SPREAD], normal.spread[s])
        for c in (SPIKE, JUMP, SUSTAINED, SPREAD):
            kernels.fit_tail(past[c], day, normal.tails[s, c])
        normal.trust[s] = (known / (known + TRUST_SAMPLES)) ** 2
        queries = _fit_windows(z, width, day, normal, s, distances)
        kernels.fit_tail(queries, queries.shape[0] + 1, normal.tails[s, NOVELTY])
        if normal.courses.shape[1] > 1:
            queries = _fit_courses(history[s], first, profile, normal, state, s, distances)
            kernels.fit_tail(queries, queries.shape[0] + 1, normal.tails[s, SHAPE])
            if normal.known[s, 1] > 0:
                far = kernels.novelty(
                    state.course[s], normal.courses[s], normal.known[s, 1], distances
                )
                state.block[s, 3] = tail_evidence(
                    far, normal.tails[s, SHAPE], normal.trust[s], PRIOR
                )
        _fit_band(normal, state, s, distances)


@jit
def _fit_jump(z: Float, memory: Float, surprise: Float) -> None:
    clipped = np.empty(z.shape[0])
    for k in range(z.shape[0]):
        clipped[k] = min(max(z[k], -3.0), 3.0) if z[k] == z[k] else 0.0
    kernels.autoregression(clipped, ORDER, memory)
    errors = np.empty(z.shape[0])
    n = 0
    for k in range(ORDER, z.shape[0]):
        if z[k] == z[k]:
            predicted = 0.0
            for i in range(ORDER):
                v = z[k - 1 - i]
                predicted += memory[i] * v if v == v else 0.0
            errors[n] = abs(z[k] - predicted)
            n += 1
    surprise[0] = 1.0
    if n > 0:
        cap = kernels.quantile(errors[:n], 0.99)
        power = 0.0
        for k in range(n):
            e = min(errors[k], cap)
            power += e * e
        surprise[0] = max(math.sqrt(power / n), 0.02)


@jit
def _fit_spread(logs: kernels.Single, spread: Float) -> None:
    """Median and robust deviation of log spreads, which become magnitudes in place."""
    known = logs[~np.isnan(logs)].astype(np.float64)
    if known.shape[0] > 0:
        spread[0] = kernels.quantile(known, 0.5)
        deviation = kernels.quantile(np.abs(known - spread[0]), 0.5)
        spread[1] = max(1.4826 * deviation, LEAST_LOG_SPREAD)
        for k in range(logs.shape[0]):
            logs[k] = abs(logs[k] - spread[0]) / spread[1]


@jit
def _fit_windows(
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
        usable = 0
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
def _fit_courses(
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
    low, middle, high = (
        kernels.quantile(known, 0.05),
        kernels.quantile(known, 0.5),
        kernels.quantile(known, 0.95),
    )
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
    for q in range(QUERIES):
        at = min(int((q + 0.5) * full / QUERIES), full - 1)
        limit = full - 1 - ((full - 1 - at) // day + 1) * day
        usable = 0
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


@jit
def _fit_band(normal: Normal, state: State, s: int, distances: kernels.Single) -> None:
    """Solve for the deviation that, held for five steps after calm ones, scores 1."""
    width = normal.windows.shape[1]
    for side in range(2):
        sign = 1.0 - 2.0 * side
        low = 0.0
        high = Z_LIMIT
        if held_score(sign * high, normal, s, width, distances) < 1.0:
            normal.band[s, side] = np.inf
            continue
        for _ in range(10):
            middle = 0.5 * (low + high)
            if held_score(sign * middle, normal, s, width, distances) < 1.0:
                low = middle
            else:
                high = middle
        normal.band[s, side] = high


@jit
def held_score(z: float, normal: Normal, s: int, width: int, distances: kernels.Single) -> float:
    """Highest score of a deviation of `z` scales held for five steps on a calm series.

    Calm: no deviation before, steps as wide as usual, a usual course.
    """
    usual = max(math.exp(normal.spread[s, 0]) - 1e-3, 0.0) * normal.scale[s]
    recent = np.zeros(ORDER)
    steps = np.full(SPREAD_STEPS, usual)
    evidence = np.zeros(CHANNELS)
    window = np.zeros(width)
    top = 0.0
    for k in range(SUSTAINED_STEPS):
        predicted = 0.0
        for i in range(ORDER):
            predicted += normal.memory[s, i] * recent[i]
        push(recent, z)
        push(steps, usual + (abs(z) * normal.scale[s] if k == 0 else 0.0))
        jump = (z - predicted) / normal.surprise[s]
        mean = z * (k + 1) / SUSTAINED_STEPS
        width_now = (log_spread(steps, normal.scale[s]) - normal.spread[s, 0]) / normal.spread[s, 1]
        trust = normal.trust[s]
        evidence[SPIKE] = tail_evidence(abs(z), normal.tails[s, SPIKE], trust, PRIOR)
        evidence[JUMP] = (
            tail_evidence(abs(jump), normal.tails[s, JUMP], trust, PRIOR) if jump * z > 0.0 else 0.0
        )
        evidence[SUSTAINED] = tail_evidence(abs(mean), normal.tails[s, SUSTAINED], trust, PRIOR)
        evidence[SPREAD] = tail_evidence(abs(width_now), normal.tails[s, SPREAD], trust, PRIOR)
        if normal.known[s, 0] > 0:
            for i in range(width):
                window[i] = recent[i]
            far = kernels.novelty(window, normal.windows[s], normal.known[s, 0], distances)
            evidence[NOVELTY] = tail_evidence(far, normal.tails[s, NOVELTY], trust, PRIOR)
        score = math.sqrt(combined(evidence, normal.courses.shape[1] > 1)) / normal.edge[s]
        top = max(top, score)
    return top
