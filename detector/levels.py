"""Levels learnt step by step: medians of the last hours, held while an episode lasts."""

from __future__ import annotations

import math

import numpy as np

from detector import kernels, medians
from detector.channels import IN_USE, MODE, PASSED, State
from detector.episodes import EPISODE
from detector.kernels import inlined, jit
from detector.series import Bool, Float, Int

# Hours that make the usual level: a week.
WEEK_BLOCKS = 7 * 24
# Values that are tried as the median, one after the other, from the one that is near it on.
MOST_PASSES = 8


@jit
def collect(x: float, residual: float, hour: Float, filled: Int) -> None:
    """Put a sample and its residual to those of the hour, float64[2, N]; `filled` says how many."""
    for k in range(2):
        v = residual if k == 0 else x
        if v == v and filled[k] < hour.shape[1]:
            hour[k, filled[k]] = v
            filled[k] += 1


@jit
def renew(state: State, s: int) -> None:
    """Renew the levels of series `s` when an hour is over.

    Medians need no weights: an incident of some hours is a minority of a level's blocks. Inside
    an episode the level is held, and with it the band, until it has lasted for half of them:
    then most of that time was spent there, and it is the level. The usual level of the week is
    never held.
    """
    inside = state.flags[s, MODE] == EPISODE
    if inside:
        state.flags[s, PASSED] += 1
    for k in range(2):
        ring = state.blocks[s] if k == 0 else state.raw[s]
        last = ring[-1]
        ring[:-1] = ring[1:]
        ring[-1] = median_near(state.hour[s, k, : state.filled[s, k]], last)
        state.filled[s, k] = 0
        if k == 0:
            week = state.week[s]
            week[:-1] = week[1:]
            week[-1] = ring[-1]
            state.usual[s] = middle(week, state.usual[s])
        lasting = 2 * state.flags[s, PASSED] >= ring.shape[0]
        if k == 1 or not inside or lasting:
            level = middle(ring, state.level[s, k])
            if level == level:
                state.level[s, k] = level


def learnt(state: State) -> Bool:
    """Whether the level of an episode that goes on has become the normal one, bool[S]."""
    inside, passed = state.flags[:, MODE] == EPISODE, state.flags[:, PASSED]
    changed: Bool = inside & (2 * passed >= state.blocks.shape[1])
    return changed


@jit
def middle(ring: Float, near: float = np.nan) -> float:
    """Median of a ring of block medians; NaN when fewer than a quarter are known.

    It is found sooner from a value that is `near` it.
    """
    known = 0
    for i in range(ring.shape[0]):
        known += ring[i] == ring[i]
    return median_near(ring, near) if 4 * known >= ring.shape[0] else np.nan


@jit
def median_near(values: Float, near: float) -> float:
    """Median of the values that are not NaN, looked for from a value `near` it on; NaN when there
    is none.

    Notes
    -----
    O(N) for each value between `near` and the median: one that is renewed is at most a few from
    the last one, where a partition takes ten times as long. It is left to one otherwise.
    """
    known = 0
    for i in range(values.shape[0]):
        known += values[i] == values[i]
    # The lower of the two in the middle comes after so many others.
    before = (known - 1) // 2
    for _ in range(MOST_PASSES if near == near and known > 0 else 0):
        below, up_to = 0, 0
        under, over = -np.inf, np.inf
        for i in range(values.shape[0]):
            v = values[i]
            below += v < near
            up_to += v <= near
        for i in range(values.shape[0]):
            v = values[i]
            less, more = v if v < near else -np.inf, v if v > near else np.inf
            under = less if less > under else under
            over = more if more < over else over
        if below <= before < up_to:
            return _half_way(near, near if before + 1 < up_to else over, known)
        if before == below - 1:
            return _half_way(under, near if below < up_to else over, known)
        near = under if before < below else over
    return float(kernels.quantile(values[~np.isnan(values)], 0.5))


@inlined
def _half_way(low: float, high: float, known: int) -> float:
    """Median of an odd or even number of values of which these are in the middle."""
    return low + 0.5 * (high - low) if known % 2 == 0 else low


@jit
def begin(history: Float, blocks: Float, raw: Float, level: Float) -> None:
    """Fill in the medians of the last day's hours, and both levels, of S series.

    Parameters
    ----------
    history : float64[S, T]
        Samples on the profile grid up to the boundary; T is a multiple of B, or too short.
    blocks : float64[S, B]
        Medians of the last hours' residuals.
    raw : float64[S, B]
        Output: the same of the samples; NaN on entry, and left so where the history is too short.
    level : float64[S, 2]
        Output: medians of both; 0 where the residuals say nothing, as the table stands at the
        last level that was known.
    """
    size = history.shape[1] // blocks.shape[1]
    for s in range(history.shape[0]):
        if size > 0:
            raw[s] = medians.block_medians(history[s], size)
        level[s, 0] = middle(blocks[s])
        level[s, 1] = middle(raw[s])
        if math.isnan(level[s, 0]):
            level[s, 0] = 0.0


@jit
def begin_week(
    history: Float,
    table: Float,
    slope: Float,
    first: int,
    size: int,
    week: Float,
    usual: Float,
) -> None:
    """Fill in the medians of the last week's hours, and the usual level, of S series.

    Parameters
    ----------
    history : float64[S, T]
        Samples on the profile grid up to the boundary.
    table : float64[S, P]
        Forecast by slot of the week.
    slope : float64[S]
        Steady move of a week.
    first : int
        Cell of the profile grid, local time, of the first sample.
    size : int
        Samples per hour.
    week : float64[S, WEEK_BLOCKS]
        Output: medians of the residuals, NaN where there are none.
    usual : float64[S]
        Output: their median, NaN where fewer than a quarter are known.
    """
    count, n = history.shape
    period = table.shape[1]
    last = np.full(WEEK_BLOCKS * size, np.nan)
    begin = max(last.shape[0] - n, 0)
    for s in range(count):
        at = begin
        while at < last.shape[0]:
            # As far as the table goes: without an index that wraps this is a vector operation.
            t = at + n - last.shape[0]
            slot = (first + t) % period
            part = last[at : at + period - slot]
            here, usually = history[s, t:], table[s, slot:]
            for i in range(part.shape[0]):
                part[i] = here[i] - usually[i] + slope[s]
            at += part.shape[0]
        week[s] = medians.block_medians(last, size)
        usual[s] = middle(week[s])


@jit
def level_of(residual: float, level: float, usual: float, apart: float, flags: Int) -> float:
    """The level a sample is compared with: the last day's, or the week's where it is back there.

    After an incident of a day the last day is no guide: what returns to where most of the week
    was is normal. The two are the same level unless they are further than `apart` from each other;
    then the one in use stays so until the other is nearer by as much, or a line between them would
    be held to the one and the other in turn.

    Parameters
    ----------
    residual : float
        The sample without its season.
    level, usual : float
        Levels of the day and of the week; NaN where the week is not known.
    flags : int64[6]
        Of the series; says which is in use, and is changed in place.
    """
    if not abs(usual - level) > apart:
        flags[IN_USE] = 0
        return level
    nearer = abs(residual - level) - abs(residual - usual)
    if nearer > apart:
        flags[IN_USE] = 1
    elif nearer < -apart:
        flags[IN_USE] = 0
    return usual if flags[IN_USE] == 1 else level
