"""Makes one baseline of the fits of single series: what `zscore` and `stl` have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from detector import medians
from detector.models.baseline import DAY, WEEK, Baseline, experience, level_blocks
from detector.models.experts import ENOUGH_BLOCKS
from detector.models.seasonal import (
    LEAST_SAMPLES,
    LEAST_SECONDS,
    MAGNITUDE_FLOOR,
    RANGE_FLOOR,
)
from detector.series import Float, SeriesMatrix

# Makes the median of absolute deviations the standard deviation of Gaussian noise.
GAUSSIAN = 1.4826


@dataclass(frozen=True)
class Fit:
    """What is learnt from one series of T samples, with P slots a week; as in `Baseline`.

    Parameters
    ----------
    table : float64[P]
    expected : float64[T]
    scale : float
        Before the floors; NaN without any residual.
    """

    table: Float
    expected: Float
    scale: float


def fit_each(history: SeriesMatrix, fit_one: Callable[[Float, int, int], Fit]) -> Baseline:
    """Fit the series of a history one by one.

    Parameters
    ----------
    history : SeriesMatrix
        [S, T] samples on the profile grid, all before the boundary; NaN is skipped.
    fit_one : callable
        Takes the samples float64[T] of a series that has some, the number of profile cells
        between the epoch and its first sample, and the number of samples per day.

    Returns
    -------
    Baseline
    """
    count, samples = history.values.shape
    profile = history.step
    known = np.isfinite(history.values)
    number = known.sum(axis=1)
    table = np.full((count, WEEK // profile), np.nan)
    day = DAY // profile
    level, size = level_blocks(day)
    blocks = np.full((count, level), np.nan)
    expected = np.full((count, samples), np.nan)
    scale = np.full(count, np.nan)
    reference = np.full((count, 2), np.nan)
    seconds = np.zeros(count)
    first = int(history.times[0]) // profile if samples else 0
    for s in np.flatnonzero(number):
        x = np.where(known[s], history.values[s], np.nan)
        _, steps = experience(x, day)
        seconds[s] = steps * profile
        fit = fit_one(x, first, day)
        table[s], expected[s] = fit.table, fit.expected
        scale[s] = np.maximum(fit.scale, least_scale(x, day))
        reference[s] = _reference(x, day)
        residual = x - fit.table[slots(first, samples, day)]
        newest = medians.block_medians(residual[-level * size :], size)
        blocks[s, level - len(newest) :] = newest
    ready = (seconds >= LEAST_SECONDS - profile) & (number >= LEAST_SAMPLES) & np.isfinite(scale)
    return Baseline(
        labels=history.labels,
        profile=profile,
        table=table,
        blocks=blocks,
        expected=expected,
        scale=scale,
        growth=np.tile([0.0, 1.0], (count, 1)),
        reference=reference,
        slope=np.zeros(count),
        seconds=seconds,
        samples=number,
        ready=ready,
    )


def trailing_level(x: Float, day: int) -> tuple[Float, float]:
    """Return the level of the day before each sample's block, and that at the end.

    Parameters
    ----------
    x : float64[T]
    day : int
        Samples per day.

    Returns
    -------
    float64[T]
        Median of the medians of the last blocks; where they are too few the last known one stays,
        NaN before the first.
    float
    """
    level, size = level_blocks(day)
    hourly = medians.block_medians(x, size)
    levels = np.empty(len(hourly) + 1)
    medians.trailing_levels(hourly, level, level // ENOUGH_BLOCKS, levels)
    out = np.full(len(x), np.nan)
    out[len(x) - len(hourly) * size :] = np.repeat(levels[:-1], size)
    return out, float(levels[-1])


def slots(first: int, samples: int, day: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the slot of the week of each sample, int64[T]; slot 0 begins a Thursday."""
    return (first + np.arange(samples)) % (7 * day)


def least_scale(x: Float, day: int) -> float:
    """Return the smallest change worth a human's time, from the newest week with samples."""
    known = x[-7 * day :][np.isfinite(x[-7 * day :])]
    known = known if len(known) else x[np.isfinite(x)]
    low, middle, high = np.quantile(known, [0.05, 0.5, 0.95])
    return float(max(RANGE_FLOOR * (high - low), MAGNITUDE_FLOOR * abs(middle), 1e-12))


def _reference(x: Float, day: int) -> tuple[float, float]:
    """Return median and robust spread of the daily medians, which are those of block medians."""
    _, size = level_blocks(day)
    daily = medians.block_medians(medians.block_medians(x, size), max(day // size, 1))
    daily = daily[np.isfinite(daily)]
    if not len(daily):
        return np.nan, np.nan
    middle = float(np.median(daily))
    return middle, GAUSSIAN * float(np.median(np.abs(daily - middle)))
