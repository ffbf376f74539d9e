"""What is expected of a series at a step, and how far from there is normal.

Letters: as in `detector.channels`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from detector import kernels
from detector.channels import FLAT, IN_USE, ORDER, Limits, Normal, State
from detector.clock import around
from detector.episodes import LEAVE
from detector.extremes import edges
from detector.kernels import bare
from detector.levels import level_of
from detector.series import Bool, Float, Int


class Calendar(NamedTuple):
    """Where T steps lie on the profile grid; the same for all series.

    position : int64[T], profile slots since the boundary, negative before it;
    before, slot, after : int64[T], the slot of the week and those around it;
    part : float64[T], how far into its slot a step is, 0 to
    less than 1; taking : bool[T], a step that is on the profile grid, and not before the boundary;
    ending : bool[T], one in the last slot of its hour.
    """

    position: Int
    before: Int
    slot: Int
    after: Int
    part: Float
    taking: Bool
    ending: Bool


class Expectation(NamedTuple):
    """What is expected of one sample; in its unit, but for `widening`.

    season : by the slot alone; centre : with the level, within the physical limits;
    up, down : how much further the slots around lie;
    scale : usual size of a deviation; widening : of it, against that at the pivot;
    step : usual step from sample to sample;
    moved : how far the centre moved since the last step, beyond a few usual steps;
    margin : less than that is no deviation; above, below : more than that is beyond the band.
    """

    season: float
    centre: float
    up: float
    down: float
    scale: float
    widening: float
    step: float
    moved: float
    margin: float
    above: float
    below: float


# A centre that moves by more than so many usual steps of the series makes a jump that is not the
# series'.
STEPS_MOVED = 3.0


def calendar_of(
    times: Int, local: Int, profile: int, boundary: int, week: int, hour: int
) -> Calendar:
    """Place steps on the profile grid.

    Parameters
    ----------
    times, local : int64[T]
        Unix seconds of the steps, and what the clocks of the signal's time zone show.
    profile, boundary : int
        Seconds of the profile grid; unix seconds of the boundary the fit belongs to.
    week, hour : int
        Slots of each.
    """
    cells = local // profile
    positions = (times - boundary) // profile
    return Calendar(
        position=positions,
        before=(cells - 1) % week,
        slot=cells % week,
        after=(cells + 1) % week,
        part=(local - cells * profile) / profile,
        taking=(times % profile == 0) & (times >= boundary),
        ending=(positions + 1) % hour == 0,
    )


@bare
def expect(
    x: float,
    calendar: Calendar,
    t: int,
    normal: Normal,
    limits: Limits,
    state: State,
    s: int,
    far: Float,
) -> Expectation:
    """Say what is expected of sample `x` of series `s` at step `t`.

    Which level it is held to is decided here, missing or muted as it may be; `state` keeps that and
    the expected value, and its last deviations are held to the level now in use. `far` is written:
    the values from which on a sample is too far, float64[2, 2], see `extremes.edges`.
    """
    table = normal.table[s]
    # A slot stands for the next time it comes: before the boundary the series was lower.
    k = calendar.position[t]
    season, up, down = around(
        table[calendar.before[t]] - (normal.slope[s] if k < 1 else 0.0),
        table[calendar.slot[t]] - (normal.slope[s] if k < 0 else 0.0),
        table[calendar.after[t]] - (normal.slope[s] if k < -1 else 0.0),
        calendar.part[t],
        normal.scale[s] if normal.courses.shape[1] > 1 else np.inf,
    )
    width = normal.widths[s, calendar.slot[t]]
    flags = state.flags[s]
    in_use = flags[IN_USE]
    apart = kernels.widening(season + state.level[s, 0], normal.growth[s]) * width
    apart = max(apart * LEAVE * normal.scale[s] * normal.band[s].max(), limits.floors[0])
    level = level_of(x - season, state.level[s, 0], state.usual[s], apart, flags)
    centre = min(max(season + level, limits.limits[0]), limits.limits[1])
    widening = kernels.widening(centre, normal.growth[s]) * width
    scale = normal.scale[s] * widening
    if flags[IN_USE] != in_use:
        # The last deviations were held to the other level.
        other = state.usual[s] if in_use == 1 else state.level[s, 0]
        for i in range(ORDER):
            state.recent[s, i] += (other - level) / scale
        state.lean[s] = 0.0
    step = max(math.exp(normal.spread[s, 0]) - FLAT, 0.0) * scale
    moved = abs(centre - state.centre[s]) - STEPS_MOVED * step
    state.centre[s] = centre
    edges(centre, step, normal.reach[s], limits, far)
    margin = max(limits.floors[0], limits.floors[1] * abs(centre), normal.grain[s])
    above = max(min(normal.band[s, 0] * scale, far[0, 0] - centre), margin)
    below = max(min(normal.band[s, 1] * scale, centre - far[1, 0]), margin)
    return Expectation(season, centre, up, down, scale, widening, step, moved, margin, above, below)
