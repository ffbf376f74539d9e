"""What the extremes of the past say: what is far beyond them, however wide the band (outages,
runaways, lines gone still), and what is not, however rare (an event now and then).

Letters: as in `detector.channels`.
"""

from __future__ import annotations

import numpy as np

from detector import kernels
from detector.channels import ORDER, SPREAD_STEPS, Limits, push
from detector.kernels import jit
from detector.series import Float

# Nine of ten days do not go beyond: one with an incident in it does not set the mark.
DAYS_WITHIN = 0.9
# Far is half of the value where it falls, and half of the usual range where it rises.
FAR = 0.5
# Samples above zero are events where at most this share of all are, few of these foreseen, and
# they last ten minutes at most, or two samples: a rate shows one for as long as its window is.
SPARSE = 0.2
FORESEEN = 0.2
EVENT_DAY_SHARE = 144
# Before a physical limit, far is at least this share of what it is elsewhere.
NEAR = 0.5
# A series that moves in steps of one size: most of its moves, and seldom, over a range of many.
ALIKE = 0.9
LEAST_STEPS = 5.0
# As many equal samples in a row may be chance.
LEAST_RUN = 7.0
# Beyond the upper mark the noise is not known: far is so many times as far again.
UNKNOWN = 2.0
# It says no more beyond twice that.
MOST = 2.0


@jit
def fit_reach(x: Float, day: int, sensitivity: float, reach: Float) -> None:
    """Learn where the extremes of the past are, and how far beyond is too far.

    Parameters
    ----------
    x : float64[T]
        Samples.
    day : int
        Samples per day.
    sensitivity : float
        Of the policy: with half of it far is twice as far.
    reach : float64[2, 2]
        Output. Above: the mark, and the distance from there that scores 1. Below: the mark, and
        the share of it that scores 1. NaN where the past has no extreme.
    """
    reach[:] = np.nan
    days = -(-x.shape[0] // day)
    highest = np.empty(days)
    lowest = np.empty(days)
    known = 0
    for d in range(days):
        low, high = kernels.range_of(x[max(x.shape[0] - (d + 1) * day, 0) : x.shape[0] - d * day])
        if high >= low:
            highest[known] = high
            lowest[known] = low
            known += 1
    if known == 0:
        return
    high = kernels.quantile(highest[:known], DAYS_WITHIN)
    low = kernels.quantile(lowest[:known], 1.0 - DAYS_WITHIN)
    reach[0, 0] = high
    reach[0, 1] = FAR * (high - low) / sensitivity
    reach[1, 0] = low
    reach[1, 1] = FAR / sensitivity


@jit
def fit_crowd(x: Float, expected: Float, day: int, sensitivity: float, crowd: Float) -> None:
    """Learn how much of what comes now and then, unforeseen, is too much at a time.

    A line of zeros with a short event here and there: each is rare, and none of them is news.
    More of them are, close to each other: two large ones, as one in ten is, beyond what nine of
    ten days have; and one that does not end.

    Parameters
    ----------
    x, expected : float64[R]
        Samples on the step grid, and what was expected of them.
    day : int
        Samples per day.
    sensitivity : float
        Of the policy.
    crowd : float64[2]
        Output, for `alone`: what is too much, in the unit of the samples, and how many samples
        an event may last, twice the usual; zeros for a series of another kind.
    """
    crowd[:] = 0.0
    n = x.shape[0]
    known = 0
    negative = 0
    number = 0
    for t in range(n):
        known += x[t] == x[t]
        negative += x[t] < 0.0
        number += x[t] > 0.0
    if negative > 0 or number == 0 or number > SPARSE * known:
        return
    foreseen = 0
    for t in range(n):
        foreseen += (x[t] > 0.0) & (expected[t] > 0.5 * x[t])
    if foreseen > FORESEEN * number:
        return
    days = -(-n // day)
    most = np.zeros(days)
    longest = np.zeros(days)
    steps = np.zeros(SPREAD_STEPS)
    last = np.nan
    run = 0
    for t in range(n):
        if x[t] == x[t]:
            push(steps, abs(x[t] - last) if last == last else 0.0)
            last = x[t]
            run = run + 1 if last > 0.0 else 0
            d = (n - 1 - t) // day
            most[d] = max(most[d], gathered(last, steps))
            longest[d] = max(longest[d], run)
    lasting = kernels.quantile(longest[longest > 0.0], 0.5)
    if lasting <= max(day // EVENT_DAY_SHARE, 2):
        large = kernels.quantile(x[x > 0.0], DAYS_WITHIN)
        crowd[0] = (kernels.quantile(most, DAYS_WITHIN) + 2.0 * large) / sensitivity
        crowd[1] = 2.0 * lasting


@jit
def alone(x: float, recent: Float, steps: Float, crowd: Float) -> bool:
    """Whether a sample is at most one of those events that come now and then.

    Parameters
    ----------
    x : float
        The sample.
    recent, steps : float64[ORDER], float64[SPREAD_STEPS]
        Deviations and absolute steps, newest first, those of the sample included.
    crowd : float64[2]
        From `fit_crowd`.
    """
    if not gathered(x, steps) < crowd[0]:
        return False
    lasting = min(int(crowd[1]), ORDER - 1) + 1
    return bool(recent[:lasting].min() <= 0.0)


@jit
def gathered(x: float, steps: Float) -> float:
    """Sum of the events in the last steps: each goes up once and down once, but for the last."""
    total: float = steps.sum() + x
    return 0.5 * total


@jit
def fit_patience(x: Float, day: int, sensitivity: float) -> tuple[float, int]:
    """Learn how many equal samples in a row are too many, and how many there are now.

    Twice the longest run that nine of ten days do not pass, at least `LEAST_RUN`; samples that are
    missing neither end a run nor lengthen it.

    Parameters
    ----------
    x : float64[R]
        Samples on the step grid.
    day : int
        Samples per day.
    """
    n = x.shape[0]
    days = -(-n // day)
    longest = np.zeros(days)
    before = np.empty(n)
    last = np.nan
    for t in range(n):
        before[t] = last
        last = x[t] if x[t] == x[t] else last
    run = 0
    for d in range(days - 1, -1, -1):
        begin, end = max(n - (d + 1) * day, 0), n - d * day
        here, earlier = x[begin:end], before[begin:end]
        some = 0
        equal = 0
        for t in range(here.shape[0]):
            some += here[t] == here[t]
            equal += here[t] == earlier[t]
        most = 1 if some > 0 else 0
        if equal > 0:
            for t in range(here.shape[0]):
                if here[t] == here[t]:
                    run = run + 1 if here[t] == earlier[t] else 1
                    most = max(most, run)
        elif some > 0:
            # As it is on most days of most series.
            run = 1
        longest[d] = most
    known = longest[longest > 0.0]
    if known.shape[0] == 0:
        return np.inf, 0
    usual = kernels.quantile(known, DAYS_WITHIN)
    return max(2.0 * usual, LEAST_RUN) / sensitivity, run


@jit
def fit_grain(x: Float) -> float:
    """The step of a series that moves by one size now and then, over a range of several; else 0.

    Days left, replicas: how such a line is forecast between its steps says nothing, and less than
    one step is no deviation.

    Parameters
    ----------
    x : float64[R]
        Samples on the step grid.
    """
    known = 0
    moves = 0
    # Those between neighbours alone tell at once that most series are of another kind.
    for t in range(1, x.shape[0]):
        known += x[t] == x[t]
        moves += abs(x[t] - x[t - 1]) > 0.0
    if moves > SPARSE * known:
        return 0.0
    known = 0
    moves = 0
    grain = np.inf
    low = np.inf
    high = -np.inf
    for alike in (False, True):
        last = np.nan
        found = 0
        for t in range(x.shape[0]):
            if x[t] == x[t]:
                step = abs(x[t] - last) if last == last else 0.0
                last = x[t]
                if alike:
                    found += 0.0 < step <= 1.001 * grain
                elif step > 0.0:
                    moves += 1
                    grain = min(grain, step)
                known += not alike
                low = min(low, last)
                high = max(high, last)
        if moves == 0 or moves > SPARSE * known or high - low < LEAST_STEPS * grain:
            return 0.0
    return grain if found >= ALIKE * moves else 0.0


@jit
def edges(centre: float, step: float, reach: Float, limits: Limits, out: Float) -> None:
    """Say beyond which values a sample is too far.

    Counted from the marks, or from the expected value where that is beyond them. Nothing is far
    that a usual step leads to, and nothing falls that was at zero before.

    Parameters
    ----------
    centre, step : float
        Expected value, and the usual size of a step from sample to sample.
    reach : float64[2, 2]
        From `fit_reach`.
    out : float64[2, 2]
        Output, above and below: the value, infinite where nothing is too far, and its distance
        from where counting begins.
    """
    mark = max(reach[0, 0], centre)
    rise = reach[0, 1] + UNKNOWN * (mark - reach[0, 0])
    # What nothing can reach would never be far: half-way to the physical limit is, if that is no
    # small part of the usual range.
    rise = min(rise, max(FAR * (limits.limits[1] - mark), NEAR * reach[0, 1]))
    known = limits.signs[0] == 1 and rise > step
    out[0, 0] = mark + rise if known else np.inf
    out[0, 1] = rise
    mark = min(reach[1, 0], centre)
    fall = reach[1, 1] * mark
    known = limits.signs[1] == 1 and fall > step
    out[1, 0] = mark - fall if known else -np.inf
    out[1, 1] = fall


@jit
def beyond(x: float, edge: Float) -> float:
    """How far a sample is beyond the past, by `edges`: 1 at the edge, 0 at the mark and within."""
    high, rise, low, fall = edge[0, 0], edge[0, 1], edge[1, 0], edge[1, 1]
    far = 0.0
    if high < np.inf:
        far = 1.0 + (x - high) / rise
    if low > -np.inf:
        far = max(far, 1.0 + (low - x) / fall)
    return min(max(far, 0.0), MOST)
