"""What a series does each week and for good: jobs of an hour, and growth.

Letters: T samples, P slots a week.
"""

from __future__ import annotations

import numpy as np

from detector import histograms, kernels
from detector.kernels import Single, jit
from detector.models.experts import WEEKS
from detector.series import Float

# A slope has been there for two weeks, each of whose days has moved by more than this share of
# the largest move since a week before.
SLOPE_DAYS = 14
STEADY = 0.5
# What comes by the clock of the week has deviated by so many usual deviations in so many weeks.
PUNCTUAL, PUNCTUAL_WEEKS = 9.0, 3


@jit
def punctual(x: Single, padding: int, first: int, week: int, expected: Float, table: Float) -> None:
    """Add to a slot of the week what each week had there beyond the blend, in place.

    The experts are weighted for all slots alike, and a job of an hour a week has no say. What is
    added is the smallest of the weeks' deviations, where all of three or more lie far on one side.
    """
    weeks = min(x.shape[0] // week, WEEKS)
    if weeks < PUNCTUAL_WEEKS:
        return
    begin = x.shape[0] - weeks * week
    r = np.full((weeks, week), np.nan, np.float32)
    known = np.zeros(week, np.int32)
    least = np.full(week, np.inf, np.float32)
    most = np.full(week, -np.inf, np.float32)
    for w in range(weeks):
        missing = min(max(padding - begin - w * week, 0), week)
        here, row = x[begin + w * week + missing :], r[w, missing:]
        foreseen = expected[begin + w * week + missing - padding :]
        for i in range(row.shape[0]):
            row[i] = here[i] - foreseen[i]
        row = r[w]
        for i in range(week):
            v = row[i]
            known[i] += v == v
            least[i] = v if v < least[i] else least[i]
            most[i] = v if v > most[i] else most[i]
    far = PUNCTUAL * histograms.positive_quantile(np.abs(r).ravel(), 0.5)
    for i in range(week):
        if (least[i] > far or most[i] < -far) and known[i] >= PUNCTUAL_WEEKS:
            more = least[i] if least[i] > far else most[i]
            table[(first + i) % week] += more
            for w in range(weeks):
                t = begin + w * week + i
                if t >= padding:
                    expected[t - padding] += more


@jit
def slope_of(daily: Single) -> float:
    """Return how far the daily medians move in a week, where they have steadily moved one way.

    The smaller of what they usually moved from day to day, times seven, and from week to week, in
    the last `SLOPE_DAYS`; 0 where these disagree, or fewer days are known.
    """
    n = daily.shape[0]
    if n < SLOPE_DAYS + 7:
        return 0.0
    last = daily[n - SLOPE_DAYS :]
    by_day = 7.0 * (last - daily[n - SLOPE_DAYS - 1 : n - 1])
    by_week = last - daily[n - SLOPE_DAYS - 7 : n - 7]
    for sign in (1.0, -1.0):
        most = (sign * by_week).max()
        steady = (sign * by_week).min() > STEADY * most > 0.0
        # A weekend turns one of seven days' moves; a step a week, up a staircase, is no slope.
        if steady and (sign * by_day > 0.0).sum() > 0.75 * SLOPE_DAYS:
            fast = kernels.quantile(by_day, 0.5)
            slow = kernels.quantile(by_week, 0.5)
            if abs(fast) > STEADY * abs(slow):
                return float(fast if abs(fast) < abs(slow) else slow)
    return 0.0
