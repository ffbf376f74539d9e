"""What a model of one series hands to scoring: what it expected, what it expects next, its scale.

Every univariate model returns a `Baseline`; channels, calibration, band and episodes are the same
for all of them (see `detector.score`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector import histograms
from detector.kernels import jit
from detector.series import Float, Int, Labels

DAY = 86_400
WEEK = 7 * DAY
# The level of a series is the median of block medians: of the hours of a day, or of two days where
# an hour is one sample, since a few incidents are half of so few.
BLOCKS, MOST_BLOCKS = 24, 48


def level_blocks(day: int) -> tuple[int, int]:
    """Return how many blocks make a level, and how many samples a block, by samples per day."""
    size = max(day // BLOCKS, 1)
    return (BLOCKS if size > 1 else MOST_BLOCKS), size


@jit
def experience(values: Float, day: int) -> tuple[int, int]:
    """How many samples are known, and how many steps the last of them is after the first.

    No more than the days that have samples: who was away for two weeks has not seen them.
    """
    first, last = 0, values.shape[0] - 1
    while first < last and values[first] != values[first]:
        first += 1
    while last > first and values[last] != values[last]:
        last -= 1
    number, days = 0, 0
    for begin in range(first, last + 1, day):
        here = histograms.known_in(values[begin : begin + day])
        number += here
        days += here > 0
    return number, min(last - first, days * day)


@dataclass(frozen=True)
class Baseline:
    """What is normal for S series, learnt from the history before a boundary.

    Letters: T samples of the history on the profile grid, P = WEEK / profile slots.

    Parameters
    ----------
    labels : tuple of Labels
        S label sets.
    profile : int
        Seconds of the profile grid.
    table : float64[S, P]
        Forecast as of the boundary by slot of the week, local time; NaN where nothing is known.
    blocks : float64[S, B]
        Medians of the residuals against `table` over the last blocks before the boundary (see
        `level_blocks`), oldest first. Their median is the level that is added to `table` from
        then on.
    expected : float64[S, T]
        What the model would have expected at each sample of the history, had it not seen that
        sample's own cycle; NaN where it had no say.
    scale : float64[S]
        One slow, winsorised standard deviation of ``history - expected`` where the expected value
        is `growth`'s pivot, not below the floors.
    growth : float64[S, 2]
        How the scale grows with the expected value: exponent (0, 0.5 or 1: constant, as counts
        do, in proportion) and pivot (see `kernels.widening`).
    reference : float64[S, 2]
        Median and robust spread of the daily medians of the history, for slow trends.
    slope : float64[S]
        How far the series moves in a week, where it steadily moves one way: each slot of `table`
        stands for the next time it comes, and the samples before the boundary lie lower by that.
    seconds : float64[S]
        Span from the first to the last sample of the history.
    samples : int64[S]
        Samples in the history.
    ready : bool[S]
        False while there is too little history to say anything.
    """

    labels: tuple[Labels, ...]
    profile: int
    table: Float
    blocks: Float
    expected: Float
    scale: Float
    growth: Float
    reference: Float
    slope: Float
    seconds: Float
    samples: Int
    ready: np.ndarray[tuple[int], np.dtype[np.bool_]]
