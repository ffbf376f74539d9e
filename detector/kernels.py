"""Compiled loops over one series: slot medians, trailing medians and the scoring fold.

Each routine has a naive twin in tests/naive.py. NaN is a missing sample everywhere. Letters:
T times, P slots of a period, E experts, R ring of one day, C channels, W = 5 steps.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from detector.series import Float, Int

jit = numba.njit(cache=True, nogil=True, error_model="numpy")

SUSTAINED_STEPS = 5
# |z| beyond this says no more; it keeps one absurd sample from ruling the five-step mean.
Z_LIMIT = 50.0
# A channel's evidence (about -log10 of its tail probability) saturates here.
EVIDENCE_LIMIT = 8.0


@jit
def middle(sorted_values: Float, n: int) -> float:
    """Return the median of the first `n` ascending values; NaN when there is none."""
    if n == 0:
        return np.nan
    median: float = 0.5 * (sorted_values[(n - 1) // 2] + sorted_values[n // 2])
    return median


@jit
def slot_medians(x: Float, first: int, period: int, half: int, least: int) -> tuple[Float, Float]:
    """Median of each slot of a period over its cycles, and the same with the own cycle left out.

    A slot gathers its `half` neighbours on either side from every cycle. Leaving out the cycle
    a sample belongs to gives an honest residual: the sample did not shape its own expectation.

    Parameters
    ----------
    x : float64[T]
        Samples on the profile grid.
    first : int
        Slot of ``x[0]``, 0 <= first < period.
    period : int
        Slots per period P.
    half : int
        Neighbouring slots on each side.
    least : int
        Fewest cycles a slot needs; below it the result is NaN.

    Returns
    -------
    profile : float64[P]
        Median over all cycles.
    left_out : float64[T]
        Median over the other cycles, for each sample's own slot and cycle.

    Notes
    -----
    O(T * (2*half+1) * cycles) time, O(cycles * (2*half+1)) scratch.
    """
    n = x.shape[0]
    cycles = (first + n - 1) // period + 1
    width = 2 * half + 1
    profile = np.full(period, np.nan)
    left_out = np.full(n, np.nan)
    values = np.empty(cycles * width)
    owner = np.empty(cycles * width, np.int64)
    rest = np.empty(cycles * width)
    for slot in range(period):
        m = 0
        seen = 0
        for cycle in range(cycles):
            before = m
            for shift in range(-half, half + 1):
                t = cycle * period + slot + shift - first
                if 0 <= t < n and x[t] == x[t]:
                    values[m] = x[t]
                    owner[m] = cycle
                    m += 1
            if m > before:
                seen += 1
        if seen < least:
            continue
        order = np.argsort(values[:m])
        for i in range(m):
            rest[i] = values[order[i]]
        profile[slot] = middle(rest, m)
        for cycle in range(cycles):
            t = cycle * period + slot - first
            if t < 0 or t >= n:
                continue
            k = 0
            for i in range(m):
                if owner[order[i]] != cycle:
                    rest[k] = values[order[i]]
                    k += 1
            left_out[t] = middle(rest, k)
    return profile, left_out


@jit
def exchange(held: Float, n: int, old: float, new: float) -> int:
    """Replace `old` by `new` among the first `n` ascending values of `held`; NaN means none.

    Returns the new count. O(n) moves; `held` needs room for one value more than the count.
    """
    if old == old:
        i = np.searchsorted(held[:n], old)
        for j in range(i, n - 1):
            held[j] = held[j + 1]
        n -= 1
    if new == new:
        i = np.searchsorted(held[:n], new)
        for j in range(n, i, -1):
            held[j] = held[j - 1]
        held[i] = new
        n += 1
    return n


@jit
def trailing_median(x: Float, window: int, least: int) -> Float:
    """Median of the `window` samples before each one, the sample itself not included.

    Parameters
    ----------
    x : float64[T]
    window : int
        Samples looked back.
    least : int
        Fewest present samples; below it the last known median stays (NaN before the first).

    Returns
    -------
    float64[T]

    Notes
    -----
    One sorted window kept by insertion: O(T * window) moves, O(window) scratch.
    """
    n = x.shape[0]
    out = np.full(n, np.nan)
    held = np.empty(window + 1)
    m = 0
    last = np.nan
    for t in range(n):
        if m >= least:
            last = middle(held, m)
        out[t] = last
        old = x[t - window] if t >= window else np.nan
        m = exchange(held, m, old, x[t])
    return out


@jit
def tail_evidence(z: float, q95: float, decade: float, trust: float, prior: float) -> float:
    """About -log10 of the chance of a deviation `z` or more on one side of normal.

    log1p(z) has an exponential tail through the 95 % and 99.5 % quantiles of the past
    (one decade apart), blended with a fixed prior while the past is short::

        calibrated = -log10(0.05) + (log1p(z) - q95) / decade
        evidence   = trust * calibrated + (1 - trust) * prior * log1p(z)

    Parameters
    ----------
    z : float
        Deviation in scales, on the side in question; not positive means no evidence.
    q95, decade : float
        95 % quantile of log1p(z), and its distance to the 99.5 % quantile.
    trust : float
        Weight of the calibration, 0..1.
    prior : float
        Slope of the prior.
    """
    if not z > 0.0:
        return 0.0
    g = math.log1p(z)
    calibrated = 1.30103 + (g - q95) / decade
    value = trust * calibrated + (1.0 - trust) * prior * g
    return min(max(value, 0.0), EVIDENCE_LIMIT)


@jit
def fold(
    values: Float,
    times: Int,
    step: int,
    profile: int,
    day: Float,
    week: Float,
    weight: Float,
    scale: float,
    tails: Float,
    trust: float,
    prior: float,
    edge: float,
    band: Float,
    signs: Int,
    floors: Float,
    limits: Float,
    leave: float,
    ring: Float,
    level: Float,
    recent: Float,
    flags: Int,
    expected: Float,
    lower: Float,
    upper: Float,
    score: Float,
    evidence: Float,
    anomalous: Int,
) -> None:
    """Score one series step by step, then learn its level; state and outputs are written in place.

    Parameters
    ----------
    values, times : float64[T], int64[T]
        Samples and their unix seconds, `step` seconds apart.
    step, profile : int
        Seconds of the scoring cadence and of the profile grid (a multiple of step).
    day, week : float64[P]
        Seasonal profiles; NaN slots fall back to the remaining experts.
    weight : float64[3]
        Weight of the experts none, day, week; they sum to one.
    scale, trust, prior, edge : float
        Residual scale, and the calibration of `tail_evidence`; a score of 1 is `edge` evidence.
    tails : float64[2, 2]
        (q95, decade) of deviations above and below.
    band : float64[2]
        Deviation above and below, in the series' unit, that scores 1 when held.
    signs : int64[2]
        1 where a deviation above (below) counts.
    floors, limits : float64[2]
        (min_abs, min_rel) and (lower, upper) physical limits.
    leave : float
        Score below which an episode ends.
    ring, level : float64[3, R], float64[3]
        State: the last day's residuals of each expert on the profile grid, and their median.
    recent : float64[5]
        State: the last deviations in scales, a missing sample counting as none.
    flags : int64[2]
        State: 1 while in an episode; steps in a row inside the band.
    expected, lower, upper, score : float64[T]
        Outputs, NaN on entry; bounds stay NaN where nothing is expected.
    evidence : float64[T, 2]
        Output: each channel's share of the score.
    anomalous : int64[T]
        Output: 1 while in an episode.
    """
    slots_day = day.shape[0]
    slots_week = week.shape[0]
    size = ring.shape[1]
    season = np.empty(3)
    # The rings in order, made when first needed: the median then costs one exchange a sample.
    ordered = np.empty((3, size + 1))
    held = np.full(3, -1)
    for t in range(values.shape[0]):
        cell = times[t] // profile
        part = (times[t] - cell * profile) / profile
        season[0] = 0.0
        a = day[cell % slots_day]
        season[1] = a + part * (day[(cell + 1) % slots_day] - a)
        a = week[cell % slots_week]
        season[2] = a + part * (week[(cell + 1) % slots_week] - a)
        total = 0.0
        blend = 0.0
        for e in range(3):
            v = season[e] + level[e]
            if weight[e] > 0.0 and v == v:
                total += weight[e]
                blend += weight[e] * v
        centre = min(max(blend / total, limits[0]), limits[1]) if total > 0.0 else np.nan
        x = values[t]
        r = x - centre
        z = min(max(r / scale, -Z_LIMIT), Z_LIMIT) if r == r else 0.0
        for i in range(SUSTAINED_STEPS - 1):
            recent[i] = recent[i + 1]
        recent[SUSTAINED_STEPS - 1] = z
        expected[t] = centre
        margin = max(floors[0], floors[1] * abs(centre))
        above = max(band[0], margin)
        below = max(band[1], margin)
        if centre == centre:
            upper[t] = min(centre + above, limits[1]) if signs[0] == 1 else limits[1]
            lower[t] = max(centre - below, limits[0]) if signs[1] == 1 else limits[0]
        if r == r:
            mean = 0.0
            for i in range(SUSTAINED_STEPS):
                mean += recent[i]
            mean /= SUSTAINED_STEPS
            spike = 0.0
            sustained = 0.0
            for side in range(2):
                if signs[side] == 1:
                    sign = 1.0 - 2.0 * side
                    q95 = tails[side, 0]
                    decade = tails[side, 1]
                    spike = max(spike, tail_evidence(sign * z, q95, decade, trust, prior))
                    sustained = max(
                        sustained, tail_evidence(sign * mean, q95, decade, trust, prior)
                    )
            power = spike * spike + sustained * sustained
            value = math.sqrt(0.5 * power) / edge
            counts = abs(r) >= margin and (
                (r > 0.0 and signs[0] == 1) or (r < 0.0 and signs[1] == 1)
            )
            if not counts:
                value = min(value, 0.99)
            score[t] = value
            flags[1] = flags[1] + 1 if (-below <= r <= above) or not counts else 0
            if flags[0] == 1:
                if value < leave or flags[1] >= SUSTAINED_STEPS:
                    flags[0] = 0
            elif value > 1.0:
                flags[0] = 1
            if flags[0] == 1:
                evidence[t, 0] = spike * spike / power if power > 0.0 else 0.5
                evidence[t, 1] = 1.0 - evidence[t, 0]
            anomalous[t] = flags[0]
        else:
            score[t] = np.nan
            anomalous[t] = 0
        if times[t] % profile == 0:
            # Learn after scoring. The median needs no weights: an incident of some hours is a
            # minority of the day, and inside an episode the level is held, so is the band.
            at = cell % size
            for e in range(3):
                if held[e] < 0:
                    held[e] = 0
                    for i in range(size):
                        if ring[e, i] == ring[e, i]:
                            ordered[e, held[e]] = ring[e, i]
                            held[e] += 1
                    ordered[e, : held[e]].sort()
                held[e] = exchange(ordered[e], held[e], ring[e, at], x - season[e])
                ring[e, at] = x - season[e]
                if flags[0] == 0 and held[e] * 24 >= size:
                    level[e] = middle(ordered[e], held[e])
