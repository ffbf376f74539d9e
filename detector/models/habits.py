"""What a series does each week and for good: jobs of an hour, and growth.

Letters: T samples, P slots a week.
"""

from __future__ import annotations

import numpy as np

from detector import histograms, kernels
from detector.kernels import Single, jit
from detector.models.experts import WEEKS
from detector.networks import MISSING, N
from detector.series import Float

# A slope has been there for two weeks, each of whose days has moved by more than this share of
# the largest move since a week before.
SLOPE_DAYS = 14
STEADY = 0.5
# What comes by the clock of the week has deviated by so many usual deviations in so many weeks.
PUNCTUAL, PUNCTUAL_WEEKS = 9.0, 3
HALF_HOURS = 7 * 48


@jit
def punctual(x: Single, padding: int, first: int, week: int, expected: Float, table: Float) -> None:
    """Add to a slot of the week what each week had there beyond the blend, in place.

    The experts are weighted for all slots alike, and a job of an hour a week has no say. What is
    added is the median of the weeks' deviations, where all of three or more lie far on one side,
    or their means of the half hour do.
    """
    weeks = min(x.shape[0] // week, WEEKS)
    if weeks < PUNCTUAL_WEEKS:
        return
    begin = x.shape[0] - weeks * week
    # By slot of the week, so that half hours are those of the clock whenever the fit is made.
    r = np.full((weeks, week), np.nan, np.float32)
    for w in range(weeks):
        start = begin + w * week
        _differ(x, expected, padding, start, r[w, first:])
        _differ(x, expected, padding, start + week - first, r[w, :first])
    least, most = _one_sided(r)
    far = PUNCTUAL * histograms.positive_quantile(np.abs(r).ravel(), 0.5)
    size = max(week // HALF_HOURS, 1)
    means = _means(r, size)
    low, high = _one_sided(means)
    wide = PUNCTUAL * histograms.positive_quantile(np.abs(means).ravel(), 0.5)
    for slot in range(week):
        h = min(slot // size, low.shape[0] - 1)
        above = least[slot] > N[0] and (least[slot] > far or low[h] > wide)
        below = most[slot] < N[0] and (most[slot] < -far or high[h] < -wide)
        if above or below:
            more = kernels.quantile(histograms.known_of(r[:, slot].copy()), 0.5)
            table[slot] += more
            for w in range(weeks):
                t = begin + w * week + (slot - first) % week
                if t >= padding:
                    expected[t - padding] += more


@jit
def _differ(x: Single, expected: Float, padding: int, start: int, row: Single) -> None:
    """Write by how much samples differ from what was expected; those of the padding stay."""
    missing = min(max(padding - start, 0), row.shape[0])
    here, row = x[start + missing :], row[missing:]
    foreseen = expected[start + missing - padding :]
    for i in range(row.shape[0]):
        row[i] = here[i] - foreseen[i]


@jit
def _one_sided(rows: Single) -> tuple[Single, Single]:
    """Smallest and largest of each column, NaN left out; zeros where too few weeks are known."""
    width = rows.shape[1]
    known = np.zeros(width, np.int32)
    least = np.full(width, np.inf, np.float32)
    most = np.full(width, -np.inf, np.float32)
    for w in range(rows.shape[0]):
        row = rows[w]
        for i in range(width):
            v = row[i]
            known[i] += v == v
            least[i] = v if v < least[i] else least[i]
            most[i] = v if v > most[i] else most[i]
    for i in range(width):
        least[i] = least[i] if known[i] >= PUNCTUAL_WEEKS else N[0]
        most[i] = most[i] if known[i] >= PUNCTUAL_WEEKS else N[0]
    return least, most


@jit
def _means(rows: Single, size: int) -> Single:
    """Mean of every `size` columns, NaN left out."""
    means = np.empty((rows.shape[0], rows.shape[1] // size), np.float32)
    for w in range(rows.shape[0]):
        for h in range(means.shape[1]):
            total, number = N[0], N[0]
            for i in range(h * size, (h + 1) * size):
                v = rows[w, i]
                total += v if v == v else N[0]
                number += N[1] if v == v else N[0]
            means[w, h] = total / number if number > N[0] else MISSING
    return means


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
