"""The channels: what each of them measures.

A channel turns the newest samples into a magnitude; its rarity against its own past is its
evidence (see `tails.tail_evidence`). Level channels look at the deviation from the expected
value: `spike` (this sample), `jump` (what the last minutes did not predict), `sustained` (mean
of five, or where the last hour leans to), `trend` (the level of the day against that of the
weeks). Memory channels look at a window: `spread` (steps from sample to sample, flat lines
included), `novelty` (the last deviations unlike any window of the past), `shape` (the same for the
coarse course of six hours), `unrest` (how large the deviations of the last hours are on the whole).

Letters: S series, T steps, R samples of the calibration window, C channels.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from detector import names
from detector.kernels import jit
from detector.networks import N
from detector.series import Float, Int

SPIKE, JUMP, SUSTAINED, TREND, SPREAD, NOVELTY, SHAPE, UNREST = range(len(names.CHANNELS))
CHANNELS = len(names.CHANNELS)
# The first so many channels are of levels; the first so many remember no more than some steps.
OF_LEVELS, SHORT = 3, 6
# Places in `State.flags`.
MODE, CALM_STEPS, PASSED, OTHER_STEPS, IN_USE, MISSING_STEPS = range(6)
# Evidence is this slope times log1p(magnitude) while the past is short.
PRIOR = 2.0
SUSTAINED_STEPS = 5
SPREAD_STEPS = 10
# Steps whose evidence is kept: those of the scores for smoothing, those of the level channels.
SMOOTHED_STEPS = 3
LOUD_STEPS = 10
# The jump is what this many past deviations do not predict.
ORDER = 12
# Windows of the past kept as references.
REFERENCES = 200
# A flat line is as wide as this share of the scale.
FLAT = 1e-3
# The coarse course: twelve blocks of half an hour, on grids of at most a quarter of an hour.
SHAPE_BLOCKS = 12
SHAPE_SECONDS = 1800
SHAPE_GRID = 900
# Unrest is an exponential mean with half the course as its time constant, of deviations of so many
# scales at most.
UNREST_MOST: Any = np.float32(10.0)
# The last hour leans to where the exponential mean of its deviations is, with this time constant in
# seconds (two steps at least), of so many scales at most: what is larger speaks for itself.
LEAN_SECONDS = 3600
LEAN_MOST: Any = np.float32(3.0)
# A day's level this many usual deviations from that of the weeks is the edge of normal.
TREND_EDGE = 5.0


class Normal(NamedTuple):
    """What the fold knows of S series between two boundaries.

    table : float64[S, P], forecast by slot of the week; slope : float64[S], steady move of a week;
    scale : float64[S]; growth : float64[S, 2];
    widths : float32[S, P], of the scale by slot of the week, see `clock.fit_widths`;
    memory : float64[S, ORDER], weights that predict a deviation from the last ones;
    surprise : float64[S], standard deviation of what they do not predict;
    weights : float64[S, C], of the channels, sum 1; newest : float64[S], weight of the newest
    score in smoothing;
    spread : float64[S, 2], median and deviation of log mean absolute steps;
    windows : float32[S, M, REFERENCES], novelty's references; known : int64[S, 2], references of
    novelty and shape; courses : float32[S, SHAPE_BLOCKS, REFERENCES]; middle : float64[S, 2],
    centre and unit of courses; tails : float64[S, C, 4]; trust : float64[S];
    fade : float64[S, 2], share of the newest deviation in the unrest and in the lean;
    rest : float64[S], usual unrest; lean : float64[S, 5], tail of the leaning and its unit;
    edge : float64[S], evidence that scores 1; reference : float64[S, 2], see `Baseline`;
    reach : float64[S, 2, 2], extremes of the past, see `extremes.fit_reach`;
    crowd : float64[S, 2], events that are too many, see `extremes.fit_crowd`;
    patience : float64[S], equal samples in a row that score 1, see `extremes.fit_patience`;
    grain : float64[S], less than that is no deviation, see `extremes.fit_grain`;
    band : float64[S, 2], deviation in scales, above and below, that scores 1 when held for five
    steps.
    """

    table: Float
    slope: Float
    scale: Float
    growth: Float
    widths: np.ndarray
    memory: Float
    surprise: Float
    weights: Float
    newest: Float
    spread: Float
    windows: np.ndarray
    known: Int
    courses: np.ndarray
    middle: Float
    tails: Float
    trust: Float
    fade: Float
    rest: Float
    lean: Float
    edge: Float
    reference: Float
    reach: Float
    crowd: Float
    patience: Float
    grain: Float
    band: Float


class State(NamedTuple):
    """What a fold carries from step to step; advanced in place.

    blocks, raw : float64[S, B], medians of the last hours' residuals and samples;
    hour : float64[S, 2, N], samples of the current block of N; filled : int64[S, 2], how many;
    level : float64[S, 2], median of `blocks` and of `raw` (see `baseline.level_blocks`);
    recent : float64[S, ORDER], last deviations in scales, newest first;
    steps : float64[S, SPREAD_STEPS], last absolute steps, newest first;
    last, centre : float64[S], the last sample, and the last expected value;
    course : float64[S, N], samples of the last six hours on the profile grid, centred and scaled,
    newest first; shape : float64[S], evidence of that course;
    unrest : float64[S], mean size of the last hours' deviations, see `restless`;
    lean : float64[S], mean of the last hour's deviations since the last episode, see `leant`;
    scores : float64[S, 2, SMOOTHED_STEPS], last scores before and after smoothing, newest first;
    loud : float64[S, LOUD_STEPS], larger evidence of spike and sustained, newest first;
    flags : int64[S, 6]: `MODE`, see `episodes`; `CALM_STEPS`, that were not taken back; `PASSED`,
    steps since the last episode (inside one: hours of it); `OTHER_STEPS` of the episode, not calm;
    `IN_USE`, 1 while the level is the week's; `MISSING_STEPS` in a row, muted ones too;
    silent : int64[S], steps in a row without any sample;
    run : int64[S], equal samples in a row;
    week : float64[S, 168], medians of the last week's residuals, by the hour, oldest first;
    usual : float64[S], their median.
    """

    blocks: Float
    raw: Float
    hour: Float
    filled: Int
    level: Float
    recent: Float
    steps: Float
    last: Float
    centre: Float
    course: Float
    shape: Float
    unrest: Float
    lean: Float
    scores: Float
    loud: Float
    flags: Int
    silent: Int
    run: Int
    week: Float
    usual: Float


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
        Output: spike, jump, sustained, spread and unrest; the signs of the first three say the
        direction.
    """
    recent = state.recent[s]
    steps = state.steps[s]
    expected = predicted(recent, normal.memory[s])
    push(recent, z)
    mean = 0.0
    for k in range(SUSTAINED_STEPS):
        mean += recent[k]
    # A move towards the expected value is no news, nor is the echo of an incident just over.
    jump = z - expected
    jump = min(max(jump, min(z, 0.0)), max(z, 0.0)) / normal.surprise[s]
    last = state.last[s]
    if last == last:
        push(steps, abs(x - last) / widening)
    state.last[s] = x
    magnitudes[SPIKE] = z
    magnitudes[JUMP] = jump
    magnitudes[SUSTAINED] = mean / SUSTAINED_STEPS
    state.unrest[s] = restless(state.unrest[s], z, normal.fade[s, 0])
    state.lean[s] = leant(state.lean[s], z, normal.fade[s, 1])
    magnitudes[UNREST] = state.unrest[s]
    magnitudes[SPREAD] = (log_spread(steps, normal.scale[s]) - normal.spread[s, 0]) / normal.spread[
        s, 1
    ]


@jit
def predicted(recent: Float, memory: Float) -> float:
    """The deviation that the last ones make likely; stands for a sample that is missing."""
    total = 0.0
    for k in range(ORDER):
        total += memory[k] * recent[k]
    return total


@jit
def own(jump: float, foreign: float) -> float:
    """What is left of a jump without the part that is not the series'.

    What was expected steps where the past of its profile does, and the series may stand still.
    """
    if not foreign > 0.0:
        return jump
    left = max(abs(jump) - foreign, 0.0)
    return left if jump > 0.0 else -left


@jit
def restless(unrest: float, z: float, fade: float) -> float:
    """The unrest after one more deviation of `z` scales."""
    size = abs(z)
    size = size if size < UNREST_MOST else UNREST_MOST
    faded: float = (N[1] - fade) * unrest + fade * size
    return faded


@jit
def leant(lean: float, z: float, fade: float) -> float:
    """The lean after one more deviation of `z` scales."""
    size = z if z < LEAN_MOST else LEAN_MOST
    size = size if size > -LEAN_MOST else -LEAN_MOST
    faded: float = (N[1] - fade) * lean + fade * size
    return faded


@jit
def leaning(mean: float, lean: float) -> float:
    """How far the last hour and the mean of five lean to one side."""
    # Choices without a branch: a loop of them becomes vector operations.
    far, near = abs(mean), abs(lean)
    near = near if near < far else far
    return near if mean * lean > 0.0 else 0.0


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
    return math.log(total / SPREAD_STEPS / scale + FLAT)
