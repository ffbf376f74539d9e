"""What goes by the clock: hours that are noisier than others, jobs a little early or late.

Letters: T samples on the profile grid, P of them a week.
"""

from __future__ import annotations

import numpy as np

from detector import kernels
from detector.kernels import Single, inlined, jit
from detector.series import Float

# Days that tell how noisy a time of day is, and how many of them it takes to know.
DAYS, LEAST_DAYS = 14, 4
# The same of weeks.
WEEKS, LEAST_WEEKS = 4, 3
# Slots before and after that count as the same time of day.
NEIGHBOURS = 2
# Deviations of so many scales are usual at any time.
USUAL = 3.0
# Of a slot and its neighbours the largest is beyond this in three weeks only by a habit, and the
# least of these three is so many usual deviations of such a time.
FAR, LEAST_OF_THREE = 3.0, 0.85
WIDEST = 1e4
UNKNOWN = np.float32(-1.0)


@jit
def fit_widths(
    x: Float, expected: Float, growth: Float, scale: float, first: int, day: int, widths: Single
) -> None:
    """Learn how much wider than usual the scale is at each time of the day and of the week.

    By the day, the largest deviation near a slot that a quarter of the days pass, less what is
    usual at any time: a job whose end comes when it will, a cache that fills at eight. By the week,
    what three of four reach: a job that does more in one week than in another. What fewer have
    does not widen it, so incidents do not.

    Parameters
    ----------
    x, expected : float64[T]
        Samples and left-out expectations.
    growth : float64[2]
        See `kernels.widening`.
    scale : float
        The usual size of deviations.
    first : int
        Cell of the profile grid, local time, of the first sample.
    day : int
        Slots of a day.
    widths : float32[P]
        Output: factors of the scale by slot of the week, at least 1; 1 while less than four days
        are known.
    """
    widths[:] = 1.0
    week = widths.shape[0]
    days, weeks = min(x.shape[0] // day, DAYS), min(x.shape[0] // week, WEEKS)
    begin = x.shape[0] - max(days * day, weeks * week)
    worst = _worst(x[begin:], expected[begin:], growth, scale)
    # The next sample's slot: cycles are counted from the end.
    slot = first + x.shape[0]
    if days >= LEAST_DAYS:
        passed = _passed(worst, days, day, 0, LEAST_DAYS)
        for k in range(week):
            wide = passed[k % day] - USUAL
            widths[(slot + k) % week] = min(max(wide, 1.0), WIDEST)
    if weeks >= LEAST_WEEKS:
        passed = _passed(worst, weeks, week, LEAST_WEEKS - 1, LEAST_WEEKS)
        for k in range(week):
            if passed[k] > FAR:
                wide = min(passed[k] / LEAST_OF_THREE, WIDEST)
                widths[(slot + k) % week] = max(widths[(slot + k) % week], wide)


@jit
def _worst(x: Float, expected: Float, growth: Float, scale: float) -> Single:
    """Largest deviation near each sample in scales, UNKNOWN where there is none."""
    n = x.shape[0]
    wider = np.empty(n, np.float32)
    kernels.widenings(expected, growth, wider)
    share = 1.0 / scale
    deviation = np.empty(n, np.float32)
    for t in range(n):
        deviation[t] = abs(x[t] - expected[t]) * share
    for t in range(n):
        v = deviation[t] / wider[t]
        deviation[t] = v if v == v else UNKNOWN
    worst = deviation.copy()
    for k in range(1, NEIGHBOURS + 1):
        later = deviation[k:]
        for t in range(n - k):
            worst[t] = worst[t] if worst[t] > later[t] else later[t]
        near = worst[k:]
        for t in range(n - k):
            near[t] = near[t] if near[t] > deviation[t] else deviation[t]
    return worst


@jit
def _passed(worst: Single, cycles: int, period: int, fewest: int, least: int) -> Single:
    """Return what a quarter of the last cycles pass at each slot, `fewest` at least.

    float32[period]; 0 where fewer than `least` cycles are known.
    """
    rows = worst[worst.shape[0] - cycles * period :].copy().reshape((cycles, period))
    # After pass i the row i holds the i-th largest of each slot; no later one is asked for.
    for i in range(max(cycles // 4, fewest) + 1):
        for j in range(cycles - 1, i, -1):
            for t in range(period):
                a = rows[j - 1, t]
                b = rows[j, t]
                rows[j - 1, t] = a if a > b else b
                rows[j, t] = b if a > b else a
    known = np.zeros(period, np.int64)
    for c in range(cycles):
        for t in range(period):
            known[t] += rows[c, t] >= 0.0
    passed = np.zeros(period, np.float32)
    for t in range(period):
        if known[t] >= least:
            passed[t] = rows[max(known[t] // 4, fewest), t]
    return passed


@inlined
def around(
    before: float, now: float, after: float, part: float, slack: float
) -> tuple[float, float, float]:
    """Return what is expected at a moment, and how far above and below it the slots around lie.

    What comes by the clock comes a little early or late: between the values of the slots on both
    sides, everything is as expected.

    Parameters
    ----------
    before, now, after : float
        Expected values of three slots in a row; NaN where nothing is known.
    part : float
        How far the moment is into the slot, 0 to less than 1.
    slack : float
        What the slots around lie further away than counts, from there on.
    """
    # Choices without a branch: a loop of them becomes vector operations.
    value = now + part * (after - now) if part > 0.0 else now
    later = after if after == after else now
    earlier = before if part <= 0.0 and before == before else now
    high = later if later > now else now
    high = earlier if earlier > high else high
    low = later if later < now else now
    low = earlier if earlier < low else low
    up, down = high - value - slack, value - low - slack
    return value, up if up > 0.0 else 0.0, down if down > 0.0 else 0.0


@inlined
def unforeseen(deviation: float, up: float, down: float) -> float:
    """What is left of a deviation from what is expected around its time, see `around`."""
    foreseen = deviation if deviation < up else up
    return deviation - (foreseen if foreseen > -down else -down)
