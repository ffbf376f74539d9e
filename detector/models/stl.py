"""Seasonal-trend decomposition by LOESS: statsmodels' MSTL on hourly medians.

The decomposition gives the season only. Its trend looks into the future, so the level is that of
the last day, as in the other models.
"""

from __future__ import annotations

import numpy as np

from detector import medians
from detector.models import zscore
from detector.models.baseline import Baseline
from detector.models.seasonal import SCALE_DAYS, WINSOR_QUANTILE
from detector.models.univariate import Fit, fit_each, slots, trailing_level
from detector.series import Float, SeriesMatrix

# Cells per day of the grid the decomposition works on: hours (see DECISIONS.md 21).
CELLS = 24
# Days and weeks over which a season is smoothed: the windows that MSTL proposes for two seasons.
WINDOWS = (11, 15)
# A decomposition of mostly invented cells would say little about the series.
LEAST_SHARE = 0.5
# An incident is a cell so many usual deviations from the others of its slot, three or more in all,
# and such a share of what nine in ten cells stay within.
FAR, LEAST_CYCLES, LEAST_FAR = 9.0, 3, 0.05
# A cell that is all of its own season would have an infinite honest residual.
MOST_LEVERAGE = 0.9


def fit(history: SeriesMatrix) -> Baseline:
    """Learn the season of each series: of the week beyond two weeks, of the day beyond two days.

    With less, or with more than half of the hours missing, it is `zscore`.

    Parameters
    ----------
    history : SeriesMatrix
        [S, T] samples on the profile grid, all before the boundary; NaN is skipped.

    Returns
    -------
    Baseline
        `expected` is free of the sample's own cycle: see `_decompose`.

    References
    ----------
    Cleveland et al., STL (1990), J. Official Statistics 6(1); Bandara et al., MSTL (2021),
    arXiv:2107.13462.
    """
    return fit_each(history, fit_one)


def fit_one(x: Float, first: int, day: int) -> Fit:
    """Fit one series; see `univariate.fit_each`."""
    cells = max(n for n in range(1, CELLS + 1) if day % n == 0)
    per = day // cells
    lead = first % per
    padded = np.full(-(-(lead + len(x)) // per) * per, np.nan)
    padded[lead : lead + len(x)] = x
    y = medians.block_medians(padded, per)
    present = np.flatnonzero(np.isfinite(y))
    begin, end = present[0], present[-1] + 1
    y = y[begin:end]
    periods = [p for p in (cells, 7 * cells) if p > 1 and len(y) > 2 * p]
    centre = np.median(y[np.isfinite(y)])
    spread = np.quantile(np.abs(y[np.isfinite(y)] - centre), 0.9)
    enough = len(present) >= LEAST_SHARE * len(y)
    # A spread that is nothing beside the largest value would leave the floating range.
    if not periods or not enough or not spread > 1e-9 * np.max(np.abs(y[np.isfinite(y)] - centre)):
        return zscore.fit_one(x, first, day)
    cell = first // per + begin
    y = _without_incidents((y - centre) / spread, cells, periods[-1])
    left_out, ahead = _decompose(y, int(cell), cells, periods)

    # From the middles of the cells to the samples between them.
    at = (np.arange(len(x)) + lead + 0.5) / per - 0.5
    season = spread * np.interp(at, np.arange(begin, end), left_out)
    level, _ = trailing_level(x - season, day)
    expected = season + level
    week = (np.arange(7 * day) + 0.5) / per - 0.5
    table = spread * np.interp(week, np.arange(7 * cells), ahead, period=7 * cells)
    _, newest = trailing_level(x - table[slots(first, len(x), day)], day)
    return Fit(table + newest, expected, _winsorised((x - expected)[-SCALE_DAYS * day :]))


def _without_incidents(y: Float, day: int, period: int) -> Float:
    """Return the cells with those missing that the other cycles have nothing like.

    The first smoothing of four cycles is close to their mean: one that is far off makes all four
    residuals large, the robust weights of all become nothing, and the incident is the season.
    """
    import pandas

    cells = pandas.Series(y)
    level = cells.rolling(day + 1, center=True, min_periods=1).median()
    cycles = (cells - level).groupby(np.arange(len(y)) % period)
    off = (cells - level - cycles.transform("median")).abs()
    enough = cycles.transform("count") >= LEAST_CYCLES
    known: Float = np.where(enough & (off > max(FAR * off.median(), LEAST_FAR)), np.nan, y)
    return known


def _decompose(y: Float, cell: int, day: int, periods: list[int]) -> tuple[Float, Float]:
    """Return the season of each cell with its own cycle left out, and that of the week to come.

    The residuals of a decomposition are too small: each cell has a share h in its own season. The
    season is made a local constant over cycles, a linear smoother, for which leaving the cell
    out turns the residual r into ``r / (1 - h)`` exactly; with two seasons the shares multiply.

    Parameters
    ----------
    y : float64[N]
        Centred and scaled cells; NaN where one is missing.
    cell : int
        Cells between the epoch and the first one.
    day : int
        Cells per day.
    periods : list of int
        Cells per season, ascending.

    Returns
    -------
    left_out : float64[N]
    ahead : float64[7 * day]
        The last cycle's season, by slot of the week.
    """
    # Heavy, and loads pandas.
    from statsmodels.tsa.seasonal import MSTL

    windows = WINDOWS[-len(periods) :] if len(periods) > 1 or periods[0] > day else WINDOWS[:1]
    # LOESS of trend and low pass at every sixth hour, straight lines between: a tenth of the
    # time, the season differs by less than a hundredth of the noise.
    jump = max(day // 4, 1)
    result = MSTL(
        _filled(y, cell, day),
        periods=tuple(periods),
        windows=windows,
        stl_kwargs={
            "robust": True,
            "seasonal_deg": 0,
            "trend_jump": jump,
            "low_pass_jump": jump,
            "inner_iter": 2,
            "outer_iter": 5,
        },
    ).fit()
    seasons = np.reshape(result.seasonal, (len(y), len(periods)))
    kept = np.ones(len(y))
    for period, window in zip(periods, windows, strict=True):
        kept *= 1.0 - _leverage(np.asarray(result.weights), period, window)
    residual = np.where(np.isfinite(y), result.resid, 0.0)
    left_out = seasons.sum(axis=1) - residual * (1.0 / kept - 1.0)
    ahead = np.zeros(7 * day)
    for i, period in enumerate(periods):
        newest = np.empty(period)
        newest[(cell + np.arange(len(y) - period, len(y))) % period] = seasons[-period:, i]
        ahead += np.tile(newest, 7 * day // period)
    return left_out, ahead


def _leverage(weights: Float, period: int, window: int) -> Float:
    """Return each cell's share in its own season, float64[N].

    The tricube weights of STL's smoothing over the cycles of one slot (Cleveland 1990, section
    2.2), times the robustness weights.
    """
    share = np.empty(len(weights))
    for slot in range(period):
        own = weights[slot::period]
        n = len(own)
        cycles = np.arange(n)
        left = np.clip(cycles - window // 2, 0, max(n - window, 0))
        right = np.minimum(left + window, n) - 1
        reach = np.maximum(cycles - left, right - cycles) + max(window - n, 0) // 2
        distance = np.abs(cycles[:, None] - cycles) / reach[:, None]
        inside = (cycles >= left[:, None]) & (cycles <= right[:, None])
        near = np.where(inside, np.clip(1.0 - distance**3, 0.0, None) ** 3, 0.0)
        total = near @ own
        share[slot::period] = np.divide(own, total, out=np.ones(n), where=total > 0)
    return np.minimum(share, MOST_LEVERAGE)


def _filled(y: Float, cell: int, day: int) -> Float:
    """Return the cells with missing ones put in: the usual slot of the day on a straight line."""
    slot = (cell + np.arange(len(y))) % day
    usual = np.full(day, np.nan)
    for i in range(day):
        known = y[slot == i]
        known = known[np.isfinite(known)]
        if len(known):
            usual[i] = np.median(known)
    has = np.flatnonzero(np.isfinite(usual))
    usual = np.interp(np.arange(day), has, usual[has], period=day)
    rest = y - usual[slot]
    known = np.isfinite(rest)
    cells = np.arange(len(y))
    filled: Float = np.where(known, y, usual[slot] + np.interp(cells, cells[known], rest[known]))
    return filled


def _winsorised(residual: Float) -> float:
    """Return the winsorised standard deviation of a residual; NaN when it is empty."""
    off = np.abs(residual[np.isfinite(residual)])
    if not len(off):
        return np.nan
    cap = np.quantile(off, WINSOR_QUANTILE)
    # Squares of shares: those of the values themselves would leave the floating range.
    return float(cap * np.sqrt(np.mean((np.minimum(off, cap) / cap) ** 2))) if cap > 0 else 0.0
