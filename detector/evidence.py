"""How rare a sample is: it is taken in, and each channel's magnitude weighed against its past.

Letters: as in `detector.channels`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from detector import neighbours
from detector.channels import (
    CHANNELS,
    JUMP,
    NOVELTY,
    ORDER,
    PRIOR,
    REFERENCES,
    SHAPE,
    SHAPE_BLOCKS,
    SPIKE,
    SPREAD,
    SPREAD_STEPS,
    SUSTAINED,
    TREND,
    UNREST,
    Limits,
    Normal,
    State,
    leaning,
    leant,
    observe,
    own,
    predicted,
    push,
)
from detector.combination import hush
from detector.expectation import Expectation
from detector.extremes import MOST
from detector.floors import heard
from detector.kernels import Z_LIMIT, bare
from detector.references import course_evidence, scaled
from detector.series import Float
from detector.tails import tail_evidence


class Scratch(NamedTuple):
    """What is written anew at each step, allocated once.

    far : float64[2, 2], values that are too far, see `extremes.edges`;
    magnitudes, found : float64[C], of the channels, and their evidence in decades (that of the
    trend is 1 at its edge, and has no weight among them);
    window : float64[M], the last deviations; blocks : float64[SHAPE_BLOCKS], a course;
    distances : float32[REFERENCES].
    """

    far: Float
    magnitudes: Float
    found: Float
    window: Float
    blocks: Float
    distances: np.ndarray


class Sample(NamedTuple):
    """What else one sample shows.

    z : deviation in scales, clipped; still : whether it is the same as the last;
    stuck : samples in a row that are the same, 1 where they are too many; one that is missing
    neither ends a row nor lengthens it;
    lasting : evidence of where the last hour leans to.
    """

    z: float
    still: bool
    stuck: float
    lasting: float


def scratch_of(window: int) -> Scratch:
    """Return room for one series and step, with windows of so many deviations."""
    return Scratch(
        far=np.empty((2, 2)),
        magnitudes=np.zeros(CHANNELS),
        found=np.zeros(CHANNELS),
        window=np.empty(window),
        blocks=np.empty(SHAPE_BLOCKS),
        distances=np.empty(REFERENCES, np.float32),
    )


@bare
def pass_over(x: float, apart: bool, taking: bool, normal: Normal, state: State, s: int) -> None:
    """Take in a sample that is missing, or of which nothing is to be said.

    The windows get what was likely. What lies `apart`, muted or after an hour without samples, is
    not looked at: no step leads out of it.
    """
    if apart:
        state.last[s] = np.nan
        state.run[s] = 0
        state.lean[s] = 0.0
    elif x == x:
        state.last[s] = x
    likely = predicted(state.recent[s], normal.memory[s])
    push(state.recent[s], likely)
    state.lean[s] = leant(state.lean[s], likely, normal.fade[s, 1])
    push(state.loud[s], 0.0)
    state.scores[s] = 0.0
    if taking:
        push(state.course[s], state.course[s, 0])


@bare
def take_in(
    x: float,
    deviation: float,
    now: Expectation,
    taking: bool,
    normal: Normal,
    limits: Limits,
    state: State,
    s: int,
    scratch: Scratch,
) -> Sample:
    """Take in sample `x` of series `s`; `magnitudes` and `found` of `scratch` are written.

    The trend is left out: it is of the levels, not of samples.
    """
    magnitudes, found, tails = scratch.magnitudes, scratch.found, normal.tails[s]
    trust = normal.trust[s]
    z = min(max(deviation / now.scale, -Z_LIMIT), Z_LIMIT)
    still = x == state.last[s]
    state.run[s] = state.run[s] + 1 if still else 1
    # As with a flat line, standing still is a lack of something.
    stuck = min(state.run[s] / normal.patience[s], MOST) if limits.signs[1] == 1 else 0.0
    observe(z, x, now.widening, normal, state, s, magnitudes)
    foreign = np.inf if state.run[s] > ORDER else now.moved / now.scale / normal.surprise[s]
    magnitudes[JUMP] = own(magnitudes[JUMP], foreign)
    for c in (SPIKE, JUMP, SUSTAINED, SPREAD, UNREST):
        found[c] = tail_evidence(abs(magnitudes[c]), tails[c], trust, PRIOR)
    if SPREAD_STEPS <= state.run[s] < normal.patience[s]:
        # As many equal samples are no surprise here: all of its steps are nothing yet.
        found[SPREAD] = 0.0
    shaped = normal.courses.shape[1] > 1
    _remember(x, shaped and taking, normal, state, s, scratch)
    hush(found, state.loud[s], shaped)
    lasting = leaning(magnitudes[SUSTAINED], state.lean[s]) / normal.lean[s, 4]
    lasting = tail_evidence(lasting, normal.lean[s], trust, PRIOR)
    found[SUSTAINED] = max(found[SUSTAINED], lasting)
    found[TREND] = 0.0
    for c in (SPIKE, JUMP, SUSTAINED, SPREAD):
        if not heard(magnitudes[c], limits.signs):
            found[c] = 0.0
    if not heard(state.recent[s, : normal.windows.shape[1]].mean(), limits.signs):
        for c in (NOVELTY, SHAPE, UNREST):
            found[c] = 0.0
    return Sample(z, still, stuck, lasting)


@bare
def _remember(
    x: float, taking: bool, normal: Normal, state: State, s: int, scratch: Scratch
) -> None:
    """Compare the windows that end with this sample with those of the past."""
    tails, trust = normal.tails[s], normal.trust[s]
    scratch.found[NOVELTY] = 0.0
    if normal.known[s, 0] > 0:
        window = scratch.window
        for i in range(window.shape[0]):
            window[i] = state.recent[s, i]
        distance = neighbours.novelty(
            window, normal.windows[s], normal.known[s, 0], scratch.distances
        )
        scratch.found[NOVELTY] = tail_evidence(distance, tails[NOVELTY], trust, PRIOR)
    if taking:
        push(state.course[s], scaled(x, normal.middle[s]))
        state.shape[s] = course_evidence(
            state.course[s], normal.courses[s], normal.known[s, 1],
            tails[SHAPE], trust, scratch.blocks, scratch.distances,
        )  # fmt: skip
    scratch.found[SHAPE] = state.shape[s]
