"""When an episode begins, goes on and ends. Letters: as in `detector.channels`."""

from __future__ import annotations

import numpy as np

from detector.channels import CALM_STEPS, MODE, OTHER_STEPS, PASSED, SUSTAINED_STEPS, State
from detector.kernels import jit
from detector.series import Int

# Modes of a series: nothing, inside an episode, windows that still hold the last one; and, before
# a boundary, perhaps inside an episode whose begin is out of sight.
CALM, EPISODE, SPENT, PERHAPS = 0, 1, 2, 3
# An episode ends when the score falls below this, or after a few steps inside this share of the
# band: a deviation along its edge goes on.
LEAVE = 0.65
# What the score of a deviation that does not count is capped at.
CAPPED = 0.99


@jit
def follow(
    value: float, calm: bool, uneasy: bool, loud: bool, news: bool, memory: int, flags: Int
) -> float:
    """Take the next step of a series in or out of an episode, and return what its score says.

    An episode ends after as many calm steps as it had others, and one, five at most: one bad
    sample is over at the second good one. An uneasy step takes one of them back, a loud one all.

    Parameters
    ----------
    value : float
        The score.
    calm, uneasy, loud : bool
        Whether the step is well inside the band; near its edge, or one of many that lie to one
        side; or beyond it.
    news : bool
        Whether the last samples alone are worth an episode, whatever a window still holds.
    memory : int
        Steps that the longest window of a channel looks back.
    flags : int64[6]
        Of the series, see `State`; changed in place.
    """
    if calm:
        flags[CALM_STEPS] += 1
    elif loud:
        flags[CALM_STEPS] = 0
    elif uneasy:
        flags[CALM_STEPS] = max(flags[CALM_STEPS] - 1, 0)
    flags[OTHER_STEPS] += not calm
    if flags[MODE] == PERHAPS:
        if flags[CALM_STEPS] >= SUSTAINED_STEPS:
            flags[MODE] = CALM
    elif flags[MODE] == EPISODE:
        if value < LEAVE or flags[CALM_STEPS] >= min(flags[OTHER_STEPS] + 1, SUSTAINED_STEPS):
            end(flags)
    else:
        flags[PASSED] += 1
        if flags[MODE] == SPENT and flags[PASSED] >= memory:
            flags[MODE] = CALM
        if value > 1.0 and (flags[MODE] == CALM or news):
            flags[MODE] = EPISODE
            flags[CALM_STEPS] = 0
            flags[PASSED] = 0
            flags[OTHER_STEPS] = 1
    return min(value, CAPPED) if flags[MODE] == SPENT else value


@jit
def end(flags: Int) -> None:
    """End an episode, where there is one: the windows that hold it are spent."""
    if flags[MODE] == EPISODE:
        flags[MODE] = SPENT
        flags[PASSED] = 0
    elif flags[MODE] == PERHAPS:
        flags[MODE] = CALM


def suspect(state: State) -> None:
    """Put each series where it may be inside an episode, until it shows that it is not."""
    state.flags[:, MODE] = PERHAPS


def settle(state: State, hours: Int) -> None:
    """Decide for each series that has shown nothing: enough steps that were not calm are one.

    `hours`, int64[S], have passed since an episode in course began, as far as that is known.
    """
    perhaps = state.flags[:, MODE] == PERHAPS
    lasting = state.flags[:, OTHER_STEPS] >= SUSTAINED_STEPS
    state.flags[perhaps, MODE] = np.where(lasting[perhaps], EPISODE, CALM)
    inside = state.flags[:, MODE] == EPISODE
    state.flags[inside, PASSED] = np.maximum(state.flags[:, PASSED], hours)[inside]
