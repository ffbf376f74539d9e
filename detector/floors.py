"""Which deviations a policy lets count: their direction, its floors, and the slow trend.

Letters: as in `detector.channels`.
"""

from __future__ import annotations

import math

from detector.channels import TREND_EDGE
from detector.kernels import jit
from detector.levels import middle
from detector.series import Float, Int

# The trend says no more beyond twice its edge.
TREND_LIMIT = 2.0


@jit
def heard(signed: float, signs: Int) -> bool:
    """Whether a channel that points this way counts."""
    return bool(signs[0 if signed >= 0.0 else 1] == 1)


@jit
def passes(deviation: float, margin: float, signs: Int) -> bool:
    """Whether a deviation passes the floors in a direction that counts."""
    above = signs[0] == 1
    below = signs[1] == 1
    if deviation > 0.0:
        return bool(deviation >= margin and above)
    if deviation < 0.0:
        return bool(-deviation >= margin and below)
    # Exactly as expected: only a policy without floor lets other channels speak.
    return bool(margin == 0.0 and above and below)


@jit
def trend_of(move: float, unit: float, blocks: Float, level: float, signs: Int) -> float:
    """The day's level against that of the weeks, 1 at the edge of normal; no more than the last
    hour is away from there.

    Parameters
    ----------
    move, unit : float
        How far the day's level is from that of the weeks, and how far it usually is.
    blocks : float64[B]
        Medians of the last hours' residuals.
    level : float
        Near their median.
    signs : int64[2]
        Directions that count.
    """
    if math.isnan(move) or not signs[0 if move > 0.0 else 1]:
        return 0.0
    away = abs(move)
    if away > unit:
        # The day's level takes half a day to return; the last hour's place in it does not.
        now = move + blocks[-1] - middle(blocks, level)
        if now == now:
            away = min(away, max(now if move > 0.0 else -now, 0.0))
    trend: float = min(away / unit / TREND_EDGE, TREND_LIMIT)
    return trend
