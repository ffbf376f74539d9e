"""What lies far beyond all of the past, however wide the band: outages, runaways, lines gone still.

Letters: as in `detector.channels`.
"""

from __future__ import annotations

import numpy as np

from detector import kernels
from detector.channels import Limits
from detector.kernels import jit
from detector.series import Float

# Nine of ten days do not go beyond: one with an incident in it does not set the mark.
DAYS_WITHIN = 0.9
# Far is half of the value where it falls, and half of the usual range where it rises.
FAR = 0.5
# As many equal samples in a row may be chance.
LEAST_RUN = 7.0
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
        high = -np.inf
        low = np.inf
        for t in range(max(x.shape[0] - (d + 1) * day, 0), x.shape[0] - d * day):
            v = x[t]
            high = v if v > high else high
            low = v if v < low else low
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
    last = np.nan
    run = 0
    for d in range(days - 1, -1, -1):
        most = 0
        for t in range(max(n - (d + 1) * day, 0), n - d * day):
            v = x[t]
            known = v == v
            run = run + 1 if v == last else (1 if known else run)
            last = v if known else last
            most = run if known and run > most else most
        longest[d] = most
    known = longest[longest > 0.0]
    if known.shape[0] == 0:
        return np.inf, 0
    usual = kernels.quantile(known, DAYS_WITHIN)
    return max(2.0 * usual, LEAST_RUN) / sensitivity, run


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
    rise = reach[0, 1]
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
    far = 0.0
    if edge[0, 0] < np.inf:
        far = 1.0 + (x - edge[0, 0]) / edge[0, 1]
    if edge[1, 0] > -np.inf:
        far = max(far, 1.0 + (edge[1, 0] - x) / edge[1, 1])
    return min(max(far, 0.0), MOST)
