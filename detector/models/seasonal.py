"""The default model: a blend of robust day and week profiles with the level of the last day.

Six experts give an expected value: the level of the last day alone; that level plus the median
of the same slot of the last seven days or four weeks, each smoothed over neighbouring slots or
not; and the level times the median ratio of that slot, for seasons that grow with the level.
They are blended by their past error. Each past sample is judged with its own cycle left out and
under the experts as weighted now, never as the model saw it when it knew less.
"""

from __future__ import annotations

import math

import numpy as np

from detector import histograms, kernels, medians
from detector.kernels import Single, jit
from detector.medians import TILE
from detector.models.baseline import DAY, WEEK, Baseline, experience, level_blocks
from detector.models.experts import EXPERTS, forecasts_of, weights_of
from detector.models.habits import punctual, slope_of
from detector.networks import MISSING, N
from detector.series import Float, SeriesMatrix

# The scale is a standard deviation of two weeks, winsorised at this quantile of |residual|.
SCALE_DAYS = 14
WINSOR_QUANTILE = 0.99
# The scale is never below these shares of a week's range and magnitude: the smallest change
# worth a human's time.
RANGE_FLOOR = 0.01
MAGNITUDE_FLOOR = 0.002
# The scale can follow the expected value only where that varies by this factor.
LEAST_GROWTH = 1.3
LEAST_EXPONENT = 0.5
# What is compared is the tail: nights with a quiet middle and loud bursts are no quiet nights. Of
# counts the tail grows with the root, and the middle as much.
GROWTH_SHARES = np.array([0.5, 0.98])
COUNTS_EXPONENT, ALIKE = 0.4, 0.1
# The middles of the low and high third of what is expected, and what parts the thirds.
SIXTHS = np.arange(1, 6) / 6.0
# The fit is made in float32, whose last digit is far below the floors of the scale: of values no
# larger than that, in units of a power of two where they are.
LARGEST, MOST_HALVINGS = 1e30, 1000
# A series says nothing before it has been seen for a day, in at least this many samples.
LEAST_SECONDS = DAY
LEAST_SAMPLES = 20


def fit(history: SeriesMatrix) -> Baseline:
    """Learn profiles, levels and scale of each series from its history.

    Parameters
    ----------
    history : SeriesMatrix
        [S, T] samples on the profile grid, all before the boundary. NaN samples are skipped.

    Returns
    -------
    Baseline

    Notes
    -----
    One series at a time stays in the cache; O(T) with T of four weeks at five minutes.
    """
    count, samples = history.values.shape
    day, week = DAY // history.step, WEEK // history.step
    padding = -samples % week
    first = (int(history.times[0]) // history.step - padding) % week if samples else 0
    table = np.empty((count, week))
    level, block = level_blocks(day)
    blocks = np.full((count, level), np.nan)
    expected = np.empty((count, samples))
    scale = np.full(count, np.nan)
    growth = np.tile([0.0, 1.0], (count, 1))
    reference = np.full((count, 2), np.nan)
    slope = np.zeros(count)
    # Rows of all experts are large enough to be mapped anew each time: the series share them.
    forecasts = np.empty((EXPERTS, samples + padding), np.float32)
    latest = np.empty((EXPERTS, week), np.float32)
    number = np.zeros(count, np.int64)
    seconds = np.zeros(count)
    for s in range(count):
        number[s], steps = experience(history.values[s], day)
        seconds[s] = steps * float(history.step)
        if number[s] == 0:
            table[s], expected[s] = np.nan, np.nan
            continue
        fit_series(
            history.values[s], padding, first, day, block, table[s], blocks[s], expected[s],
            scale[s : s + 1], growth[s], reference[s], slope[s : s + 1], forecasts, latest,
        )  # fmt: skip
    ready = (seconds >= LEAST_SECONDS - history.step) & (number >= LEAST_SAMPLES)
    return Baseline(
        labels=history.labels,
        profile=history.step,
        table=table,
        blocks=blocks,
        expected=expected,
        scale=scale,
        growth=growth,
        reference=reference,
        slope=slope,
        seconds=seconds,
        samples=number,
        ready=ready & np.isfinite(scale),
    )


@jit
def fit_series(
    values: Float,
    padding: int,
    first: int,
    day: int,
    block: int,
    table: Float,
    blocks: Float,
    expected: Float,
    scale: Float,
    growth: Float,
    reference: Float,
    slope: Float,
    forecasts: Single,
    latest: Single,
) -> None:
    """Fit one series; outputs as in `Baseline`, NaN on entry.

    Parameters
    ----------
    values : float64[T]
    padding : int
        Missing samples to be put in front to make whole weeks.
    first : int
        Slot of the week of the first sample after padding.
    day : int
        Samples per day D.
    block : int
        Samples whose median counts for the level.
    forecasts, latest : float32[E, padding + T], float32[E, P]
        Scratch.
    """
    week = 7 * day
    n = values.shape[0] + padding
    x = np.full(n, np.nan, np.float32)
    x[padding:] = values
    unit = 1.0
    if histograms.largest_of(np.abs(x)) > LARGEST:
        unit = _unit(values)
        values = np.clip(values * unit, -LARGEST, LARGEST)
        x[padding:] = values
    hourly = medians.block_medians(x, block)
    daily = medians.block_medians(hourly, max(day // block, 1))
    slope[0] = slope_of(daily)
    forecasts_of(x, hourly, day, week, blocks.shape[0], block, slope[0], forecasts, latest)

    weight = weights_of(x, forecasts, day)
    _blend(forecasts, padding, weight, expected)
    blended = np.empty(week)
    _blend(latest, 0, weight, blended)
    table[first:] = blended[: week - first]
    table[:first] = blended[week - first :]

    punctual(x, padding, first, week, expected, table)

    last = np.empty(blocks.shape[0] * block)
    for i in range(last.shape[0]):
        t = n - last.shape[0] + i
        known = t >= padding
        last[i] = values[t - padding] - table[(first + t) % week] + slope[0] if known else np.nan
    blocks[:] = medians.block_medians(last, block)
    recent = expected[max(n - padding - SCALE_DAYS * day, 0) :]
    errors = np.empty(recent.shape[0], np.float32)
    measured = values[values.shape[0] - recent.shape[0] :]
    for t in range(errors.shape[0]):
        errors[t] = abs(measured[t] - recent[t])
    _growth(errors, recent, growth)
    scale[0] = _scale(x, errors, recent, growth, day)
    _reference(daily, reference)
    if unit != 1.0:
        for out in (table, blocks, expected, scale, reference, slope, growth[1:]):
            out *= 1.0 / unit


@jit
def _unit(values: Float) -> float:
    """A power of two that brings the middle of the absolute values into the range of float32.

    Not the largest of them: one absurd sample sets no unit, and is cut off.
    """
    middle = kernels.quantile(np.abs(values[~np.isnan(values)]), 0.5)
    return 0.5 ** min(math.ceil(math.log2(middle)), MOST_HALVINGS) if middle > LARGEST else 1.0


@jit
def _blend(rows: Single, first: int, weight: Float, out: Float) -> None:
    """Mean of the experts' rows by their weights, from the first place on, NaN where all are."""
    total = np.empty(TILE, np.float32)
    for begin in range(0, out.shape[0], TILE):
        part = out[begin : begin + TILE]
        part[:] = 0.0
        total[:] = 0.0
        for e in range(EXPERTS):
            row = rows[e, first + begin :]
            w = np.float32(weight[e])
            if w > 0.0:
                for t in range(part.shape[0]):
                    known = row[t] == row[t]
                    total[t] += w if known else N[0]
                    part[t] += w * row[t] if known else N[0]
        for t in range(part.shape[0]):
            part[t] = part[t] / total[t] if total[t] > N[0] else MISSING


@jit
def _growth(errors: Single, expected: Float, growth: Float) -> None:
    """Choose how the scale follows what is expected: residuals of its low and high third tell."""
    if histograms.known_in(errors) < LEAST_SAMPLES * 5:
        return
    e = np.empty(errors.shape[0], np.float32)
    for t in range(e.shape[0]):
        value = expected[t] if expected[t] > 0.0 else 0.0
        e[t] = value if errors[t] == errors[t] else MISSING
    sixths = histograms.positive_quantiles(e, SIXTHS)
    low, high = sixths[0], sixths[4]
    if not (low > 0.0 and high > LEAST_GROWTH * low):
        return
    narrow = histograms.positive_quantiles(_where(e, -np.inf, sixths[1], errors), GROWTH_SHARES)
    wide = histograms.positive_quantiles(_where(e, sixths[3], np.inf, errors), GROWTH_SHARES)
    if not (narrow[1] > 0.0 and wide[1] > 0.0):
        return
    usual, tail = np.log(wide / narrow) / math.log(high / low)
    counts = tail > COUNTS_EXPONENT and abs(tail - usual) < ALIKE
    growth[0] = 0.5 if tail > LEAST_EXPONENT or counts else 0.0
    growth[1] = sixths[2]


@jit
def _where(e: Single, least: float, most: float, errors: Single) -> Single:
    """The errors where `e` lies between two values, both included; NaN elsewhere."""
    found = np.empty(e.shape[0], np.float32)
    low, high = np.float32(least), np.float32(most)
    for t in range(e.shape[0]):
        found[t] = errors[t] if low <= e[t] and e[t] <= high else MISSING
    return found


@jit
def _scale(x: Single, a: Single, expected: Float, growth: Float, day: int) -> float:
    """Return the winsorised standard deviation of the residuals, whose sizes are `a` (scratch); not
    below the floors of x."""
    n = x.shape[0]
    if growth[0] > 0.0:
        wider = np.empty(a.shape[0], np.float32)
        kernels.widenings(expected, growth, wider)
        for t in range(a.shape[0]):
            a[t] /= wider[t]
    cap = histograms.positive_quantile(a, WINSOR_QUANTILE)
    if math.isnan(cap):
        return np.nan
    known = histograms.known_in(a)
    # Squares of shares: those of the values themselves would leave the floating range.
    power = N[0]
    if cap > 0.0:
        unit = np.float32(1.0 / cap)
        for t in range(a.shape[0]):
            share = a[t] * unit
            share = share if share < N[1] else N[1]
            power += share * share if a[t] == a[t] else N[0]
    week = x[max(n - 7 * day, 0) :]
    week = histograms.known_of(week)
    if week.shape[0] == 0:
        week = histograms.known_of(x)
    low, middle, high = kernels.three_quantiles(week, 0.05, 0.5, 0.95)
    scale: float = max(
        cap * math.sqrt(power / max(known, 1)),
        RANGE_FLOOR * (high - low),
        MAGNITUDE_FLOOR * abs(middle),
        1e-12,
    )
    return scale


@jit
def _reference(daily: Single, reference: Float) -> None:
    """Median and robust spread of the daily medians."""
    daily = daily[~np.isnan(daily)]
    if daily.shape[0] > 0:
        reference[0] = kernels.quantile(daily, 0.5)
        reference[1] = 1.4826 * kernels.quantile(np.abs(daily - reference[0]), 0.5)
