"""The seven experts of the default model: what each expects, and how far it is believed.

The level of the last day alone; that level plus the median of the same slot of the last seven days
or four weeks, each smoothed over neighbouring slots or not; and the level times the median ratio
of that slot, for seasons that grow with the level. Letters: E experts, T samples, P slots a week.
"""

from __future__ import annotations

import numpy as np

from detector import histograms, medians
from detector.kernels import jit
from detector.series import Float

EXPERTS = 7
# Cycles a profile remembers.
DAYS, WEEKS = 7, 4
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
LARGEST = 1e308
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
    x: Float,
    day: int,
    week: int,
    level: int,
    block: int,
    slope: float,
    forecasts: Float,
    latest: Float,
) -> None:
    """Write each expert's left-out forecasts and its table.

    Parameters
    ----------
    x : float64[T]
        Samples in whole weeks.
    day, week : int
        Samples of each.
    level, block : int
        Blocks that make a level, and samples of a block.
    slope : float
        Steady move of a week.
    forecasts : float64[E, T]
        Output; NaN where an expert has no say.
    latest : float64[E, P]
        Output: what each expects next, by slot.
    """
    n = x.shape[0]
    per_week = week // day
    smooth = np.empty(n)
    medians.running_mean(x, min(day // 96, MOST_POOLED), smooth)
    blocks = n // block
    skip = n - blocks * block
    levels = np.empty(blocks + 1)
    day_table = np.empty(day)
    spare = np.empty(n)

    medians.trailing_levels(medians.block_medians(x, block), level, level // ENOUGH_BLOCKS, levels)
    _spread_levels(levels, block, skip, forecasts[0])
    for w in range(per_week):
        latest[0, w * day : (w + 1) * day] = levels[blocks] + w * slope / per_week
    own = levels[blocks]

    for e in (1, 2):
        if e == 1:
            medians.left_out_medians(smooth, day, DAYS, forecasts[e])
            medians.cycle_medians(smooth, day, DAYS, day_table)
            for w in range(per_week):
                latest[e, w * day : (w + 1) * day] = day_table + w * slope / per_week
            medians.left_out_medians(x, day, DAYS, forecasts[e + 2])
            medians.cycle_medians(x, day, DAYS, day_table)
            for w in range(per_week):
                latest[e + 2, w * day : (w + 1) * day] = day_table + w * slope / per_week
        else:
            medians.left_out_medians(smooth, week, WEEKS, forecasts[e])
            medians.cycle_medians(smooth, week, WEEKS, latest[e])
            medians.left_out_medians(x, week, WEEKS, forecasts[e + 2])
            medians.cycle_medians(x, week, WEEKS, latest[e + 2])
            if n // week <= WEEKS:
                # A median of one week more than what it is judged by lies half a week further back.
                latest[e] += 0.5 * slope
                latest[e + 2] += 0.5 * slope
        hourly = medians.block_medians(x - forecasts[e], block)
        medians.trailing_levels(hourly, level, level // ENOUGH_BLOCKS, levels)
        _spread_levels(levels, block, skip, spare)
        for k in (e, e + 2):
            forecasts[k] += spare
            latest[k] += levels[blocks]

    positive = 0
    present = 0
    for t in range(n):
        present += x[t] == x[t]
        positive += x[t] > 0.0
    if positive >= POSITIVE * present and own > 0.0:
        # The level at the begin of a day is what a forecast for that day is made with.
        for d in range(0, n, day):
            level = forecasts[0, d]
            limit = MOST_RATIO * level
            for t in range(d, d + day):
                smooth[t] = smooth[t] / level if abs(smooth[t]) < limit else np.nan
        medians.left_out_medians(smooth, day, DAYS, forecasts[5])
        medians.cycle_medians(smooth, day, DAYS, day_table)
        for w in range(per_week):
            latest[5, w * day : (w + 1) * day] = day_table
        medians.left_out_medians(smooth, week, WEEKS, forecasts[6])
        medians.cycle_medians(smooth, week, WEEKS, latest[6])
        for k in (5, 6):
            for d in range(0, n, day):
                forecasts[k, d : d + day] *= forecasts[0, d]
            latest[k] *= own
            latest[k, day:] += slope / per_week
            # The level of now says little of the day after next, which may be a Monday.
            latest[k, day + 1 :] = np.nan
    else:
        forecasts[5:] = np.nan
        latest[5:] = np.nan


@jit
def _spread_levels(levels: Float, block: int, skip: int, out: Float) -> None:
    """Give each sample the level of its block."""
    out[:skip] = np.nan
    for b in range((out.shape[0] - skip) // block):
        out[skip + b * block : skip + (b + 1) * block] = levels[b]


@jit
def weights_of(x: Float, forecasts: Float, day: int) -> Float:
    """Weight experts by the inverse of their error relative to the last-day level's.

    Each expert is compared on the samples it has a say on, at least half a day of them.
    """
    n = x.shape[0]
    plain = np.abs(x - forecasts[0])
    cap = max(ERROR_CAP * histograms.positive_quantile(plain, 0.5), _every_week(plain, 7 * day))
    if not cap > 0.0:
        cap = np.inf
    # Without NaN and branches the sums become vector operations.
    most = min(cap, LARGEST)
    present = np.empty(n)
    usual = np.empty(n)
    for t in range(n):
        present[t] = 1.0 if plain[t] == plain[t] else 0.0
        usual[t] = plain[t] if plain[t] < most else most
    ratio = np.full(EXPERTS, np.nan)
    days = n // day
    for e in range(EXPERTS):
        error = 0.0
        base = 0.0
        common = 0.0
        for d in range(max(days - ERROR_DAYS, 0), days):
            of_day = slice(d * day, (d + 1) * day)
            day_error, day_base, day_common = _errors(
                x[of_day], forecasts[e, of_day], present[of_day], usual[of_day], most
            )
            common += day_common
            fade = 0.5 ** ((days - d) / ERROR_HALF_LIFE)
            error += fade * day_error
            base += fade * day_base
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
def _every_week(errors: Float, week: int) -> float:
    """Largest error that each week has, of two or more; 0 where none is known."""
    least = np.inf
    weeks = 0
    for w in range(errors.shape[0] // week):
        most = 0.0
        for t in range(w * week, (w + 1) * week):
            most = errors[t] if errors[t] > most else most
        if most > 0.0:
            weeks += 1
            least = min(least, most)
    return least if weeks > 1 else 0.0


@jit
def _errors(
    x: Float, forecast: Float, present: Float, usual: Float, most: float
) -> tuple[float, float, float]:
    """Return summed errors of a forecast and of the level, and the samples that have both.

    Parameters
    ----------
    x, forecast : float64[D]
    present, usual : float64[D]
        1 where the level has an error, and that error, no more than `most`; 0 where it has none.
    most : float
        Errors beyond it count as much.
    """
    error = 0.0
    base = 0.0
    common = 0.0
    for t in range(x.shape[0]):
        v = abs(x[t] - forecast[t])
        both = present[t] if v == v else 0.0
        v = v if v < most else most
        error += both * v
        base += both * usual[t]
        common += both
    return error, base, common
