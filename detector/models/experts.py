"""The six experts of the default model: what each expects, and how far it is believed.

The level of the last day alone; that level plus the median of the same slot of the last seven days
or four weeks, each smoothed over neighbouring slots or not; and the level times the median ratio
of that slot of the week (of the day, while two weeks are all there is), for seasons that grow with
the level. Steady growth is taken out before, and put back after. Letters: E experts, T samples, P
slots a week.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from detector import histograms, medians
from detector.kernels import Single, jit
from detector.networks import MISSING, N
from detector.series import Float

EXPERTS = 6
# Cycles a profile remembers.
DAYS, WEEKS = 7, 4
# Up to so many weeks a ratio is one by slot of the day.
YOUNG_WEEKS = 2
# Neighbouring slots pooled on each side: a quarter of an hour in all at a minute's grid, about
# half an hour at five minutes.
MOST_POOLED = 7
# Power of the inverse error in the blend: the best expert rules, near ties are averaged.
BLEND_POWER = 6
# Errors above five times the last-day level's own median error say nothing about a profile, if
# not each week has them: an incident does not come back, a nightly job does.
ERROR_CAP = 5.0
# Days after which a past error counts half.
ERROR_HALF_LIFE = 7.0
# No error is larger, so that nothing times zero is zero.
LARGEST = 1e32
# Older ones do not count at all.
ERROR_DAYS = 28
# Share of positive samples from which seasons may grow with the level.
POSITIVE = 0.98
# A sample further above the level than this says nothing of a season.
MOST_RATIO = 1e6
# One in so many block medians is enough for a level.
ENOUGH_BLOCKS = 4


@jit
def forecasts_of(
    x: Single,
    hourly: Single,
    day: int,
    week: int,
    level: int,
    block: int,
    slope: float,
    forecasts: Single,
    latest: Single,
) -> None:
    """Write each expert's left-out forecasts and its table.

    Parameters
    ----------
    x : float32[T]
        Samples in whole weeks.
    hourly : float32[B]
        Their block medians.
    day, week : int
        Samples of each.
    level, block : int
        Blocks that make a level, and samples of a block.
    slope : float
        Steady move of a week.
    forecasts : float32[E, T]
        Output; NaN where an expert has no say.
    latest : float32[E, P]
        Output: what each expects next, by slot.
    """
    n = x.shape[0]
    per_week = week // day
    rise = slope / week
    if rise != 0.0:
        # As if all had been at the level of now: else a median of weeks, and the level beside it,
        # would be off from where the weeks that it is taken of change.
        x, hourly = x.copy(), hourly.copy()
        _tilt(-rise, n, x)
        _tilt(-rise * block, hourly.shape[0], hourly)
    smooth = np.empty(n, np.float32)
    medians.running_mean(x, min(day // 96, MOST_POOLED), smooth)
    blocks = n // block
    skip = n - blocks * block
    levels = np.empty(blocks + 1, np.float32)
    day_table = np.empty(day, np.float32)
    spare = np.empty(n, np.float32)

    medians.trailing_levels(hourly, level, level // ENOUGH_BLOCKS, levels)
    _spread_levels(levels, block, skip, forecasts[0])
    latest[0] = levels[blocks]
    own = levels[blocks]

    for e in (1, 2):
        if e == 1:
            medians.left_out_medians(smooth, day, DAYS, forecasts[e])
            medians.cycle_medians(smooth, day, DAYS, day_table)
            for w in range(per_week):
                latest[e, w * day : (w + 1) * day] = day_table
            medians.left_out_medians(x, day, DAYS, forecasts[e + 2])
            medians.cycle_medians(x, day, DAYS, day_table)
            for w in range(per_week):
                latest[e + 2, w * day : (w + 1) * day] = day_table
        else:
            medians.left_out_medians(smooth, week, WEEKS, forecasts[e])
            medians.cycle_medians(smooth, week, WEEKS, latest[e])
            medians.left_out_medians(x, week, WEEKS, forecasts[e + 2])
            medians.cycle_medians(x, week, WEEKS, latest[e + 2])
        for t in range(n):
            spare[t] = x[t] - forecasts[e, t]
        above = medians.block_medians(spare, block)
        medians.trailing_levels(above, level, level // ENOUGH_BLOCKS, levels)
        _spread_levels(levels, block, skip, spare)
        for k in (e, e + 2):
            _add(spare, forecasts[k])
            _move(levels[blocks], latest[k])
    if rise != 0.0:
        _tilt(rise, n, x)
        _tilt(rise, n, smooth)
        for e in range(EXPERTS - 1):
            _tilt(rise, n, forecasts[e])
            _tilt(rise, 0, latest[e])

    positive = 0
    present = 0
    for t in range(n):
        present += x[t] == x[t]
        positive += x[t] > 0.0
    if positive >= POSITIVE * present and own > 0.0:
        # A forecast for a day is made with the level at its begin, the next one with that of now.
        begins = np.empty(n // day + 1, np.float32)
        for d in range(begins.shape[0]):
            fresh = _fresh(hourly, (d * day - skip) // block, level)
            begins[d] = (forecasts[0, d * day] if d * day < n else own) if fresh else MISSING
        for d in range(n // day):
            limit = np.float32(MOST_RATIO) * begins[d]
            for t in range(d * day, (d + 1) * day):
                smooth[t] = smooth[t] / begins[d] if abs(smooth[t]) < limit else MISSING
        begun = 0
        while begun < n and x[begun] != x[begun]:
            begun += 1
        young = n - begun <= YOUNG_WEEKS * week
        period, most = (day, DAYS) if young else (week, WEEKS)
        medians.left_out_medians(smooth, period, most, forecasts[5])
        for d in range(n // day):
            _grow(begins[d], forecasts[5, d * day : (d + 1) * day])
        # The level of now says little of the day after next, which may be a Monday.
        latest[5, day + 1 :] = np.nan
        tomorrow = latest[5, : day + 1]
        medians.cycle_medians(smooth, period, most, tomorrow[:period])
        if young:
            tomorrow[day] = tomorrow[0]
        _grow(begins[n // day], tomorrow)
        tomorrow[day:] += np.float32(slope / per_week)
    else:
        forecasts[5] = np.nan
        latest[5] = np.nan


@jit
def _fresh(hourly: Single, end: int, level: int) -> bool:
    """Whether the level at a block is that of the blocks before it, not an older one kept.

    A ratio to the level of a Sunday says nothing of a Monday that comes after a gap, to which the
    level of the Friday was kept.
    """
    known = 0
    for b in range(max(end - level, 0), end):
        known += hourly[b] == hourly[b]
    return known >= level // ENOUGH_BLOCKS


@jit
def _spread_levels(levels: Single, block: int, skip: int, out: Single) -> None:
    """Give each sample the level of its block."""
    out[:skip] = np.nan
    for b in range((out.shape[0] - skip) // block):
        out[skip + b * block : skip + (b + 1) * block] = levels[b]


@jit
def _tilt(by: float, end: int, out: Single) -> None:
    """Add a line that is 0 at the place `end`."""
    for t in range(out.shape[0]):
        out[t] += np.float32(by * (t - end))


@jit
def _add(values: Single, out: Single) -> None:
    # Loops in full: what numpy's operators become is general, and slower by half.
    for t in range(out.shape[0]):
        out[t] += values[t]


@jit
def _move(by: np.floating[Any], out: Single) -> None:
    for t in range(out.shape[0]):
        out[t] += by


@jit
def _grow(by: np.floating[Any], out: Single) -> None:
    for t in range(out.shape[0]):
        out[t] *= by


@jit
def weights_of(x: Single, forecasts: Single, day: int) -> Float:
    """Weight experts by the inverse of their error relative to the last-day level's.

    Each expert is compared on the samples it has a say on, at least half a day of them.
    """
    n = x.shape[0]
    plain = np.abs(x - forecasts[0])
    cap = max(ERROR_CAP * histograms.positive_quantile(plain, 0.5), _every_week(plain, 7 * day))
    if not cap > 0.0:
        cap = np.inf
    # Without NaN and branches the sums become vector operations.
    most = np.float32(min(cap, LARGEST))
    usual = np.empty(n, np.float32)
    counts = np.zeros(n, np.float32)
    days = n // day
    for d in range(max(days - ERROR_DAYS, 0), days):
        counts[d * day : (d + 1) * day] = 0.5 ** ((days - d) / ERROR_HALF_LIFE)
    for t in range(n):
        usual[t] = plain[t] if plain[t] < most else most
        counts[t] = counts[t] if plain[t] == plain[t] else N[0]
    ratio = np.full(EXPERTS, np.nan)
    for e in range(EXPERTS):
        error, base, common = _errors(x, forecasts[e], counts, usual, most)
        if common > 0 and (e == 0 or 2 * common >= day):
            tiny = 1e-9 * cap if cap < np.inf else 1e-300
            ratio[e] = (error + tiny) / (base + tiny)
    best = np.inf
    for e in range(EXPERTS):
        if ratio[e] < best:
            best = ratio[e]
    weight = np.zeros(EXPERTS)
    for e in range(EXPERTS):
        if ratio[e] == ratio[e]:
            weight[e] = (best / ratio[e]) ** BLEND_POWER if ratio[e] > 0.0 else 1.0
    return weight


@jit
def _every_week(errors: Single, week: int) -> float:
    """Largest error that each week has, of two or more; 0 where none is known."""
    least = np.inf
    weeks = 0
    for w in range(errors.shape[0] // week):
        most = histograms.largest_of(errors[w * week : (w + 1) * week])
        if most > 0.0:
            weeks += 1
            least = min(least, most)
    return least if weeks > 1 else 0.0


@jit
def _errors(
    x: Single, forecast: Single, counts: Single, usual: Single, most: np.float32
) -> tuple[np.float32, np.float32, np.float32]:
    """Return summed errors of a forecast and of the level, and the samples that have both.

    Parameters
    ----------
    x, forecast : float32[T]
    counts, usual : float32[T]
        How much the error of the level counts, nothing where there is none, and that error, no
        more than `most`.
    most : float32
        Errors beyond it count as much.
    """
    error, base, common = N[0], N[0], N[0]
    for t in range(x.shape[0]):
        v = abs(x[t] - forecast[t])
        count = counts[t] if v == v else N[0]
        v = v if v < most else most
        error += count * v
        base += count * usual[t]
        common += N[1] if count > N[0] else N[0]
    return error, base, common
