"""How the channels make one score: their weights, what a window may say, and the smoothing.

Letters: as in `detector.channels`.
"""

from __future__ import annotations

import numpy as np

from detector.channels import (
    CHANNELS,
    LOUD_STEPS,
    NOVELTY,
    SHAPE,
    SPIKE,
    SPREAD,
    SUSTAINED,
    SUSTAINED_STEPS,
    TREND,
    UNREST,
    push,
)
from detector.kernels import jit
from detector.series import Float

# Weights in the mean square where deviations are white noise, and where the last ones predict the
# next: there a jump is news as a spike is not. Rounded from a random search over all sets of
# `make bench` at once. The trend stands beside the mean (see `score`).
WHITE = np.array([1.0, 0.6, 1.5, 0.0, 2.0, 1.0, 1.2, 1.8])
PREDICTABLE = np.array([0.1, 2.1, 0.6, 0.0, 1.3, 1.25, 0.7, 0.0])
# Between these shares of a deviation that stay unpredicted, both count.
LEAST_WHITE, MOST_PREDICTABLE = 0.95, 0.8
# Where a step is a quarter of an hour at most, a score is the largest of the last three, each
# smoothed: the newest sample has this weight, white and predictable, and three share the rest.
NEWEST = np.array([0.95, 0.65])
# What novelty and shape may say beyond what the last samples say by themselves.
ALONE = 3.0
# Samples say this much of nothing, when echoes are weighed.
NOISE = 1.0
# Steps back in which a deviation is not over.
ECHO_STEPS = 3


@jit
def weigh(surprise: float, shaped: bool, weights: Float) -> float:
    """Write the weights of the channels, which sum to 1; return that of the newest score.

    `surprise` is the share of a deviation that the last ones do not predict; without `shaped`
    there is no channel of that name.
    """
    white = (surprise - MOST_PREDICTABLE) / (LEAST_WHITE - MOST_PREDICTABLE)
    white = min(max(white, 0.0), 1.0)
    for c in range(CHANNELS):
        weights[c] = white * WHITE[c] + (1.0 - white) * PREDICTABLE[c]
    if not shaped:
        weights[SHAPE] = 0.0
        weights[UNREST] = 0.0
    weights /= weights.sum()
    newest: float = white * NEWEST[0] + (1.0 - white) * NEWEST[1]
    return newest


@jit
def combined(evidence: Float, weights: Float, count: int) -> float:
    """Weighted mean square of the evidence of the first `count` channels."""
    power = 0.0
    total = 0.0
    for c in range(count):
        power += weights[c] * evidence[c] * evidence[c]
        total += weights[c]
    return power / total


@jit
def hush(evidence: Float, loud: Float, shaped: bool) -> None:
    """Let windows tell no old news; evidence is changed in place.

    A window holds an incident for some time after its end. So `novelty` and `shape` say little
    more than the last samples do by themselves; and on coarse grids, where a window is half a
    day, `spread` falls with the deviation that made it.

    Parameters
    ----------
    evidence : float64[C]
    loud : float64[LOUD_STEPS]
        The larger evidence of `spike` and of the mean of five at the last steps, newest first,
        before this one; it is taken in.
    """
    push(loud, max(evidence[SPIKE], evidence[SUSTAINED]))
    limit = ALONE + loud[:SUSTAINED_STEPS].max()
    evidence[NOVELTY] = min(evidence[NOVELTY], limit)
    evidence[SHAPE] = min(evidence[SHAPE], limit)
    evidence[UNREST] = min(evidence[UNREST], limit)
    if not shaped:
        evidence[SPREAD] *= (loud[:ECHO_STEPS].max() + NOISE) / (loud[:LOUD_STEPS].max() + NOISE)


@jit
def smoothed(score: float, newest: float, scores: Float) -> float:
    """Take in the newest score and return what is said of the series, see `NEWEST`."""
    push(scores[0], score)
    push(scores[1], newest * score + (1.0 - newest) * scores[0].mean())
    return float(scores[1].max())


@jit
def share(found: Float, weights: Float, far: float, said: int, edge: float, out: Float) -> None:
    """Write each channel's share of the squared score; what is `far` adds to channel `said`."""
    total = 0.0
    for c in range(CHANNELS):
        out[c] = weights[c] * found[c] * found[c] / (edge * edge)
        if c == TREND:
            out[c] = found[c] * found[c]
        total += out[c]
    rest = max(far * far - total, 0.0)
    out[said] += rest
    total += rest
    for c in range(CHANNELS):
        out[c] = out[c] / total if total > 0.0 else 1.0 / CHANNELS
