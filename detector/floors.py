"""Which deviations a policy lets count: their direction, its floors, and the slow trend.

Letters: as in `detector.channels`.
"""

from __future__ import annotations

import math

from detector.channels import TREND_EDGE, Limits, Normal, State
from detector.kernels import jit
from detector.levels import middle

# The trend says no more beyond twice its edge.
TREND_LIMIT = 2.0


@jit
def heard(signed: float, limits: Limits) -> bool:
    """Whether a channel that points this way counts."""
    return bool(limits.signs[0 if signed >= 0.0 else 1] == 1)


@jit
def passes(deviation: float, margin: float, limits: Limits) -> bool:
    """Whether a deviation passes the floors in a direction that counts."""
    if deviation > 0.0:
        return bool(deviation >= margin and limits.signs[0] == 1)
    if deviation < 0.0:
        return bool(-deviation >= margin and limits.signs[1] == 1)
    # Exactly as expected: only a policy without floor lets other channels speak.
    return bool(margin == 0.0 and limits.signs[0] == 1 and limits.signs[1] == 1)


@jit
def trend_of(normal: Normal, state: State, limits: Limits, s: int) -> float:
    """The day's level against that of the weeks, 1 at the edge of normal; no more than the last
    hour is away from there."""
    move = state.level[s, 1] - normal.reference[s, 0]
    if not limits.trend or math.isnan(move):
        return 0.0
    if not limits.signs[0 if move > 0.0 else 1]:
        return 0.0
    unit = max(normal.reference[s, 1], normal.scale[s])
    away = abs(move)
    if away > unit:
        # The day's level takes half a day to return; the last hour's place in it does not.
        blocks = state.blocks[s]
        now = move + blocks[-1] - middle(blocks)
        if now == now:
            away = min(away, max(now if move > 0.0 else -now, 0.0))
    trend: float = min(away / unit / TREND_EDGE, TREND_LIMIT)
    return trend


@jit
def trend_counts(normal: Normal, state: State, limits: Limits, s: int) -> bool:
    """Whether the move of the level passes the floors."""
    usual = normal.reference[s, 0]
    margin = max(limits.floors[0], limits.floors[1] * abs(usual))
    return bool(limits.trend and passes(state.level[s, 1] - usual, margin, limits))
