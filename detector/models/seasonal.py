"""The default model: robust day and week profiles with a one-day level, on one slow scale.

Three experts give an expected value: the level of the last day alone, the same slot of past
days, the same slot of past weeks; each of the latter two with its own one-day level. They are
blended by their past error. Residuals of the past are computed with the sample's own day or week
left out and under the experts as fitted now, never kept from when the model knew less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector import kernels
from detector.series import Float, Labels, SeriesMatrix

DAY = 86_400
WEEK = 7 * DAY
EXPERTS = ("none", "day", "week")

# Fewest cycles before a profile says anything: one could not be checked against another.
LEAST_CYCLES = 2
# Neighbouring slots are pooled over about a quarter of an hour: less noise, hardly any blur.
POOL_SECONDS = 600
# Power of the inverse error in the blend: the best expert rules, near ties are averaged.
BLEND_POWER = 4.0
# Errors above five times the last-day level's own median error say nothing about a profile.
ERROR_CAP = 5.0
# The scale is a standard deviation winsorised at this quantile of |residual|.
WINSOR_QUANTILE = 0.99
# The scale is never below these shares of the series' range and magnitude: the smallest change
# worth a human's time.
RANGE_FLOOR = 0.01
MAGNITUDE_FLOOR = 0.002
# A series says nothing before it has been seen for a day, in at least this many samples.
LEAST_SECONDS = DAY
LEAST_SAMPLES = 20


@dataclass(frozen=True)
class Baseline:
    """What is normal for S series, learnt from the history before a boundary.

    Parameters
    ----------
    labels : tuple of Labels
        S label sets.
    profile : int
        Seconds of the profile grid.
    day : float64[S, DAY / profile]
        Median of each slot of the day.
    week : float64[S, WEEK / profile]
        Median of each slot of the week.
    weight : float64[S, 3]
        Blend of `EXPERTS`; rows sum to one, or are zero where nothing is known.
    ring : float64[S, 3, DAY / profile]
        Residuals of the last day per expert, at index ``slot of the day``.
    level : float64[S, 3]
        Median of `ring`.
    scale : float64[S]
        One winsorised standard deviation of the residuals.
    seconds : float64[S]
        Span from the first to the last sample of the history.
    samples : int64[S]
        Samples in the history.
    ready : bool[S]
        False while there is too little history to say anything.
    """

    labels: tuple[Labels, ...]
    profile: int
    day: Float
    week: Float
    weight: Float
    ring: Float
    level: Float
    scale: Float
    seconds: Float
    samples: np.ndarray[tuple[int], np.dtype[np.int64]]
    ready: np.ndarray[tuple[int], np.dtype[np.bool_]]


def fit(history: SeriesMatrix) -> tuple[Baseline, Float]:
    """Learn profiles, levels and scale of each series from its history.

    Parameters
    ----------
    history : SeriesMatrix
        [S, T] samples on the profile grid, all before the boundary. NaN samples are skipped.

    Returns
    -------
    Baseline
    z : float64[S, T]
        Residuals of the history in scales; NaN where there is no sample or no expectation.
    """
    profile, count = history.step, len(history.labels)
    slots_day, slots_week = DAY // profile, WEEK // profile
    z = np.full(history.values.shape, np.nan)
    base = Baseline(
        labels=history.labels,
        profile=profile,
        day=np.full((count, slots_day), np.nan),
        week=np.full((count, slots_week), np.nan),
        weight=np.zeros((count, 3)),
        ring=np.full((count, 3, slots_day), np.nan),
        level=np.full((count, 3), np.nan),
        scale=np.full(count, np.nan),
        seconds=np.zeros(count),
        samples=np.isfinite(history.values).sum(axis=1),
        ready=np.zeros(count, bool),
    )
    for s in range(count):
        if base.samples[s]:
            z[s] = _fit_one(history, s, base)
    return base, z


def _fit_one(history: SeriesMatrix, s: int, base: Baseline) -> Float:
    """Fill row `s` of `base`; return its residuals in scales, float64[T]."""
    x, times, profile = history.values[s], history.times, history.step
    seen = times[np.isfinite(x)]
    base.seconds[s] = seen[-1] - seen[0]
    half = max(POOL_SECONDS // (2 * profile), 0)
    cell = int(times[0]) // profile
    slots_day, slots_week = base.day.shape[1], base.week.shape[1]
    day, day_out = kernels.slot_medians(x, cell % slots_day, slots_day, half, LEAST_CYCLES)
    week, week_out = kernels.slot_medians(x, cell % slots_week, slots_week, 2 * half, LEAST_CYCLES)
    base.day[s], base.week[s] = day, week

    least = max(slots_day // 24, 1)
    past = (np.zeros_like(x), day_out, week_out)
    levels = np.array([kernels.trailing_median(x - p, slots_day, least) for p in past])
    expected = np.array(past) + levels
    error = np.abs(x - expected)
    weight = _blend(error)
    base.weight[s] = weight
    usable = np.where(np.isfinite(expected), weight[:, None], 0.0)
    total = usable.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = x - (usable * np.nan_to_num(expected)).sum(axis=0) / total
    base.scale[s] = _scale(x, r)

    # The last day under the profiles as the future will see them, own cycle included.
    slots = (cell + np.arange(len(x)))[-slots_day:]
    last = x[-slots_day:]
    for e, season in enumerate((0.0, day[slots % slots_day], week[slots % slots_week])):
        base.ring[s, e, slots % slots_day] = last - season
        kept = base.ring[s, e][np.isfinite(base.ring[s, e])]
        base.level[s, e] = np.median(kept) if len(kept) >= least else np.nan
    base.ready[s] = (
        base.seconds[s] >= LEAST_SECONDS - profile
        and base.samples[s] >= LEAST_SAMPLES
        and bool(np.isfinite(base.scale[s]))
    )
    residual: Float = r / base.scale[s]
    return residual


def _blend(error: Float) -> Float:
    """Weight experts by the inverse of their mean winsorised error over common samples.

    Parameters
    ----------
    error : float64[3, T]
        Absolute errors; NaN where an expert has no say.

    Returns
    -------
    float64[3]
        Weights that sum to one; zero for an expert that never had a say.
    """
    has_say = np.isfinite(error).any(axis=1)
    if not has_say.any():
        return np.zeros(len(error))
    common = np.isfinite(error[has_say]).all(axis=0)
    if not common.any():
        return np.where(np.arange(len(error)) == np.argmax(has_say), 1.0, 0.0)
    shared = error[:, common]
    cap = ERROR_CAP * max(float(np.median(shared[np.argmax(has_say)])), 1e-12)
    mean = np.where(has_say, np.minimum(shared, cap).mean(axis=1), np.inf)
    best = mean.min()
    # Ratios to the best keep the power within floating range for any unit.
    weight = (max(best, 1e-300) / np.maximum(mean, 1e-300)) ** BLEND_POWER
    normalised: Float = weight / weight.sum()
    return normalised


def _scale(x: Float, r: Float) -> float:
    """Return the winsorised standard deviation of residuals `r`, not below the floors of `x`."""
    a = np.abs(r[np.isfinite(r)])
    if len(a) == 0:
        return np.nan
    cap = np.quantile(a, WINSOR_QUANTILE)
    # Squares of shares: those of the values themselves would leave the floating range.
    share = np.minimum(a / cap, 1.0) if cap > 0 else np.zeros(1)
    low, mid, high = np.nanquantile(x, [0.05, 0.5, 0.95])
    return float(
        max(
            cap * np.sqrt(np.mean(share**2)),
            RANGE_FLOOR * (high - low),
            MAGNITUDE_FLOOR * abs(mid),
            1e-12,
        )
    )
