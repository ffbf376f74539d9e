"""What the evidence of one sample comes to: its score, and whether an episode goes on.

Letters: as in `detector.channels`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from detector.channels import (
    MODE,
    OF_LEVELS,
    PASSED,
    SHORT,
    SPIKE,
    SPREAD,
    SPREAD_STEPS,
    SUSTAINED,
    TREND,
    Limits,
    Normal,
    State,
)
from detector.combination import combined, smoothed
from detector.episodes import CAPPED, EPISODE, LEAVE
from detector.evidence import Sample, Scratch
from detector.expectation import Expectation
from detector.extremes import alone, beyond
from detector.floors import passes, trend_of
from detector.kernels import bare

# A shift goes on with a deviation of this share of what the last ones are on the whole.
STAYS = 0.5
# Beyond this share of the band a step is no sign of an end: half-way from where one is calm.
UNEASY = (1.0 + LEAVE) / 2.0


class Verdict(NamedTuple):
    """What is said of one sample.

    score : 1 at the edge of normal; calm, uneasy, loud, news : see `episodes.follow`;
    far : how far it is beyond all of the past, 1 at the edge; channel : that shows it.
    """

    score: float
    calm: bool
    uneasy: bool
    loud: bool
    news: bool
    far: float
    channel: int


@bare
def judge(
    x: float,
    deviation: float,
    now: Expectation,
    sample: Sample,
    normal: Normal,
    limits: Limits,
    state: State,
    s: int,
    scratch: Scratch,
) -> Verdict:
    """Judge a sample that has been taken in; the trend is added to `scratch.found`."""
    magnitudes, found = scratch.magnitudes, scratch.found
    edge = normal.edge[s]
    # An episode goes on down to a share of the floors, as it does of the band.
    held = LEAVE if state.flags[s, MODE] == EPISODE else 1.0
    trend, drifts = _slow(normal, limits, state, s, held)
    found[TREND] = trend
    floor = held * now.margin
    broader = state.steps[s].mean() * now.widening - now.step
    counts = drifts or (
        not alone(x, state.recent[s], state.steps[s], normal.crowd[s])
        and (
            passes(deviation, floor, limits.signs)
            or passes(magnitudes[SUSTAINED] * now.scale, floor, limits.signs)
            or (found[SPREAD] > edge and passes(broader, floor, limits.signs))
        )
    )
    power = combined(found, normal.weights[s], found.shape[0]) / (edge * edge)
    outside = beyond(x, scratch.far)
    far = max(outside, sample.stuck)
    score = max(math.sqrt(power + trend * trend), far)
    if normal.courses.shape[1] > 1:
        score = smoothed(score, normal.newest[s], state.scores[s])
    if not counts:
        score = min(score, CAPPED)

    # Calm: well inside the band, and not on a line that has gone flat. After five such steps the
    # mean of five is calm as well.
    inside = _within(deviation, now, 1.0)
    well = _within(deviation, now, LEAVE)
    narrow = magnitudes[SPREAD] < 0.0 and found[SPREAD] > edge
    flat = (sample.still and narrow) or sample.stuck >= 1.0
    rest = not flat and trend < LEAVE
    # A shift whose samples lie inside the band goes on where its last hour leans to.
    lean, lately = state.lean[s], state.recent[s].mean()
    usual = lately if abs(lately) > abs(lean) else lean
    leans = sample.lasting > edge and sample.z * usual > STAYS * usual * usual
    stays = sample.lasting > edge and sample.z * usual > usual * usual
    # Windows that still hold the last incident have no say on the next.
    passed = state.flags[s, PASSED] >= max(normal.windows.shape[1], SPREAD_STEPS)
    fresh = combined(found, normal.weights[s], SHORT if passed else OF_LEVELS)
    return Verdict(
        score=score,
        calm=rest and ((well and not leans) or not counts),
        uneasy=counts and (stays or not _within(deviation, now, UNEASY)),
        loud=not (rest and (inside or not counts)),
        news=(fresh > edge * edge and not inside) or trend > 1.0 or far > 1.0,
        far=far,
        channel=SPREAD if sample.stuck > outside else SPIKE,
    )


@bare
def _within(deviation: float, now: Expectation, share: float) -> bool:
    """Whether a deviation lies inside this share of the band."""
    return -share * now.below <= deviation <= share * now.above


@bare
def _slow(normal: Normal, limits: Limits, state: State, s: int, held: float) -> tuple[float, bool]:
    """The trend, 1 at the edge of normal, and whether it passes the floors."""
    if not limits.trend:
        return 0.0, False
    weeks = normal.reference[s, 0]
    move = state.level[s, 1] - weeks
    unit = max(normal.reference[s, 1], normal.scale[s])
    least = held * max(limits.floors[0], limits.floors[1] * abs(weeks))
    return (
        trend_of(move, unit, state.blocks[s], state.level[s, 0], limits.signs),
        passes(move, least, limits.signs),
    )
