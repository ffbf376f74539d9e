"""What goes by the clock: hours that are noisier than others, jobs a little early or late.

Letters: T samples on the profile grid, D of them a day.
"""

from __future__ import annotations

import numpy as np

from detector import kernels
from detector.kernels import inlined, jit
from detector.series import Float

# Days that tell how noisy a time of day is, and how many of them it takes to know.
DAYS = 14
LEAST_DAYS = 4
# Slots before and after that count as the same time of day.
NEIGHBOURS = 2
# Deviations of so many scales are usual at any time.
USUAL = 3.0
WIDEST = 1e4
UNKNOWN = np.float32(-1.0)


@jit
def fit_widths(
    x: Float, expected: Float, growth: Float, scale: float, first: int, widths: Float
) -> None:
    """Learn how much wider than usual the scale is at each time of day.

    The largest deviation near a slot that a quarter of the days pass, less what is usual at any
    time: a job whose end comes when it will, a cache that fills at eight. What fewer than a
    quarter of the days have does not widen it, so incidents do not.

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
    widths : float64[D]
        Output: factors of the scale, at least 1; 1 while less than four days are known.
    """
    widths[:] = 1.0
    day = widths.shape[0]
    days = min(x.shape[0] // day, DAYS)
    if days < LEAST_DAYS:
        return
    n = days * day
    begin = x.shape[0] - n
    x, expected = x[begin:], expected[begin:]
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
    rows = worst.reshape((days, day))
    # After pass i the row i holds the i-th largest of each slot; a quarter of them is enough.
    for i in range(days // 4 + 1):
        for j in range(days - 1, i, -1):
            for t in range(day):
                a = rows[j - 1, t]
                b = rows[j, t]
                rows[j - 1, t] = a if a > b else b
                rows[j, t] = b if a > b else a
    known = np.zeros(day, np.int64)
    for d in range(days):
        for t in range(day):
            known[t] += rows[d, t] >= 0.0
    for t in range(day):
        if known[t] >= LEAST_DAYS:
            usual = rows[known[t] // 4, t]
            widths[(first + begin + t) % day] = min(max(usual - USUAL, 1.0), WIDEST)


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
