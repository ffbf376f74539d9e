"""Plain Python twins of the compiled routines; nothing here comes from `detector`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

NAN = float("nan")

Row = Sequence[float]


def known(values: Row) -> list[float]:
    return [v for v in values if not math.isnan(v)]


def middle(values: Row) -> float:
    """Median of what is known; its halves are added, so that two huge values do not overflow."""
    ordered = sorted(known(values))
    n = len(ordered)
    return 0.5 * ordered[(n - 1) // 2] + 0.5 * ordered[n // 2] if n else NAN


def cut(x: Row, size: int) -> list[Row]:
    """Cut x into whole pieces, counted from its begin."""
    return [x[i : i + size] for i in range(0, len(x) - size + 1, size)]


def column_medians(rows: Sequence[Row], width: int) -> list[float]:
    return [middle([row[c] for row in rows]) for c in range(width)]


def left_out_medians(x: Row, period: int, most: int) -> list[float]:
    cycles = cut(x, period)
    seen = [c for c, cycle in enumerate(cycles) if known(cycle)]
    out = []
    for c in range(len(cycles)):
        before, after = [k for k in seen if k < c], [k for k in seen if k > c]
        judged = [*reversed(before), *after][:most] if before or c in seen else []
        out += column_medians([cycles[k] for k in judged], period)
    return out


def cycle_medians(x: Row, period: int, most: int) -> list[float]:
    return column_medians([cycle for cycle in cut(x, period) if known(cycle)][-most:], period)


def stretch_medians(x: Row, begins: Sequence[int], width: int) -> list[float]:
    return column_medians([x[a : a + width] for a in begins], width)


def block_medians(x: Row, block: int) -> list[float]:
    return [middle(piece) for piece in cut(x[len(x) % block :], block)]


def trailing_levels(medians: Row, blocks: int, least: int) -> list[float]:
    out = []
    last = NAN
    for b in range(len(medians) + 1):
        before = known(medians[max(b - blocks, 0) : b])
        if len(before) >= least:
            last = middle(before)
        out.append(last)
    return out


def running_mean(x: Row, half: int) -> list[float]:
    near = [known(x[max(t - half, 0) : t + half + 1]) for t in range(len(x))]
    # `sum` compensates for rounding since Python 3.12; the twin shall not.
    return [added(values) / len(values) if values else NAN for values in near]


def added(values: Row) -> float:
    total = 0.0
    for v in values:
        total += v
    return total


def quantile(values: Row, q: float) -> float:
    ordered = sorted(values)
    if not ordered:
        return NAN
    at = q * (len(ordered) - 1)
    i = int(at)
    if i + 1 >= len(ordered):
        return ordered[-1]
    return ordered[i] + (at - i) * (ordered[i + 1] - ordered[i])


def nearest_rank(values: Row, q: float) -> float:
    """The least value that a share q of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(q * len(ordered)), 1) - 1]


def histogram_quantile(values: Row, q: float, buckets: int) -> float:
    """Fill buckets, 32 an octave from 2**-20 on, and find the one at which a share q is reached."""
    counts = [0] * buckets
    for v in known(values):
        mantissa, exponent = math.frexp(v)
        octave = math.floor((2 * mantissa - 1) * 32) + 32 * (exponent - 1 + 20) if v > 0 else 0
        counts[min(max(octave, 0), buckets - 1)] += 1
    target = q * sum(counts)
    seen = 0
    for b, count in enumerate(counts):
        if count and seen + count >= target:
            part = b % 32 + (target - seen) / count
            return (1.0 + part / 32.0) * 2.0 ** (b // 32 - 20) if b else 0.0
        seen += count
    return 0.0


def fit_tail(
    magnitudes: Row,
    day: int,
    low: float,
    high: float,
    least_decade: float,
    knot: float,
    plateau: float,
) -> tuple[float, float, float, float]:
    days = [
        magnitudes[len(magnitudes) - (d + 1) * day : len(magnitudes) - d * day]
        for d in range(len(magnitudes) // day)
    ]
    largest = [max(known(values)) for values in days if known(values)]
    # What one or two of many days reach is an incident.
    third = sorted(largest)[-3] if len(largest) >= 14 else math.inf
    limit = float(np.float32(math.expm1(math.log1p(third) + plateau)))
    past = [v for v in known(magnitudes) if v <= limit]
    first = math.log1p(nearest_rank(past, low)) if past else 0.0
    second = math.log1p(nearest_rank(past, high)) if past else 0.0
    tail = (first, max(second - first, least_decade))
    usual = math.log1p(quantile(largest, knot)) if largest else 0.0
    if len(largest) < 3 or math.log1p(max(largest)) - usual >= plateau:
        return (*tail, math.inf, math.inf)
    # A day has a largest value beyond the knot in a share 1 - knot of all days: that is
    # -log(knot) samples a day.
    rarity = math.log10(max(day / -math.log(knot), 10.0))
    return (*tail, usual, rarity)


def tail_evidence(magnitude: float, tail: Row, trust: float, prior: float, limit: float) -> float:
    g = math.log1p(magnitude)
    rarity = 1.0 + (g - tail[0]) / tail[1]
    if not math.isinf(tail[3]):
        rarity = min(rarity, tail[3] + max(g - tail[2], 0.0) / tail[1])
    return max(0.0, min(limit, trust * rarity + (1.0 - trust) * prior * g))


def autoregression(z: Row, order: int, ridge: float = 1.0001) -> list[float]:
    """Solve the normal equations by elimination, a little more on the diagonal."""
    products = [added([z[t] * z[t - k] for t in range(k, len(z))]) for k in range(order + 1)]
    # Below, floating point has no digits for products any more.
    if not products[0] > 1e-290:
        return [0.0] * order
    rows = [
        [products[abs(i - j)] * (ridge if i == j else 1.0) for j in range(order)]
        + [products[i + 1]]
        for i in range(order)
    ]
    for i in range(order):
        for j in range(order):
            if j != i:
                factor = rows[j][i] / rows[i][i]
                rows[j] = [b - factor * a for a, b in zip(rows[i], rows[j], strict=True)]
    return [rows[i][order] / rows[i][i] for i in range(order)]


def novelty(window: Row, references: Sequence[Row]) -> float:
    distances = sorted(
        math.sqrt(added([(a - b) ** 2 for a, b in zip(window, reference, strict=True)]))
        for reference in references
    )
    return distances[4] if len(distances) >= 5 else 0.0


def widening(expected: float, exponent: float, pivot: float, least: float, most: float) -> float:
    return 1.0 if exponent == 0.0 else min(max(expected / pivot, least), most) ** exponent


def log_spread(steps: Row, scale: float) -> float:
    return math.log(added(steps) / len(steps) / scale + 1e-3)


def observed(
    deviations: Row,
    samples: Row,
    widenings: Row,
    weights: Row,
    surprise: float,
    scale: float,
    spread: tuple[float, float],
    memory: int,
) -> list[tuple[float, float, float, float]]:
    """Spike, jump, sustained and spread of present samples, from a fresh start."""
    past = [0.0] * len(weights)
    steps = [0.0] * memory
    last = NAN
    out = []
    for z, x, wider in zip(deviations, samples, widenings, strict=True):
        predicted = added([w * before for w, before in zip(weights, past, strict=True)])
        past = [z, *past[:-1]]
        if not math.isnan(last):
            steps = [abs(x - last) / wider, *steps[:-1]]
        last = x
        # Of a move towards the expected value, or beyond what was predicted to persist, nothing
        # counts; of one away from it no more than the deviation itself.
        jump = max(min(z, 0.0), min(max(z, 0.0), z - predicted)) / surprise
        broad = (log_spread(steps, scale) - spread[0]) / spread[1]
        out.append((z, jump, added(past[:5]) / 5, broad))
    return out


def leant(deviations: Row, fade: float) -> float:
    """Weighted sum of deviations of three scales at most, the older the less."""
    last = len(deviations) - 1
    return added(
        [fade * (1 - fade) ** (last - i) * max(min(z, 3.0), -3.0) for i, z in enumerate(deviations)]
    )


def leaning(mean: float, lean: float) -> float:
    """What the last five and the last hour agree on."""
    if mean > 0:
        return max(min(mean, lean), 0.0)
    return max(min(-mean, -lean), 0.0)


def learned(
    samples: Row,
    seasons: Row,
    positions: Sequence[int],
    taught: Sequence[bool],
    held: Sequence[int],
    size: int,
    blocks: Row,
    raw: Row,
    week: Row,
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Levels of residuals and of samples, their rings and the residuals' week, after samples.

    The last sample of an hour closes it, whether it is there or not; `held` is the number of
    the episode it lies in, 0 outside: the level of the residuals does not move before it has
    lasted for half of a level's hours.
    """
    lasted = episode = 0
    rings = [list(blocks), list(raw)]
    hourly = list(week)
    levels = [level_of(ring) for ring in rings]
    hours: list[list[float]] = [[], []]
    for x, season, position, teaches, holds in zip(
        samples, seasons, positions, taught, held, strict=True
    ):
        if teaches and not math.isnan(x):
            hours[0].append(x - season)
            hours[1].append(x)
        lasted = lasted if holds == episode else 0
        episode = holds
        if (position + 1) % size == 0:
            lasted += holds > 0
            for k in (0, 1):
                rings[k] = [*rings[k][1:], middle(hours[k])]
                hourly = [*hourly[1:], rings[k][-1]] if k == 0 else hourly
                hours[k] = []
                new = level_of(rings[k])
                if not math.isnan(new) and (k == 1 or not holds or 2 * lasted >= len(blocks)):
                    levels[k] = new
    return levels, rings[0], rings[1], hourly


def level_of(ring: Row) -> float:
    """Median of a level's hours; unknown while fewer than a quarter of them are."""
    return middle(ring) if 4 * len(known(ring)) >= len(ring) else NAN


def widths(x: Row, expected: Row, wider: Row, scale: float, first: int, day: int) -> list[float]:
    """How much wider the scale is at each slot of the week: by fourteen days and by four weeks."""
    week = 7 * day
    days, weeks = min(len(x) // day, 14), min(len(x) // week, 4)
    begin = len(x) - max(days * day, weeks * week)
    off = [abs(a - b) / (scale * w) for a, b, w in zip(x, expected, wider, strict=True)][begin:]
    near = [known(off[max(t - 2, 0) : t + 3]) for t in range(len(off))]
    worst = [max(some) if some else NAN for some in near]
    by_day, by_week = [], []
    for k in range(week):
        seen = known(worst[k % day - days * day :: day]) if days else []
        by_day.append(sorted(seen, reverse=True)[len(seen) // 4] if len(seen) >= 4 else 0.0)
        seen = known(worst[k - weeks * week :: week]) if weeks else []
        by_week.append(sorted(seen, reverse=True)[2] if len(seen) >= 3 else 0.0)
    out = [1.0] * week
    for k in range(week):
        habit = by_week[k] / 0.85 if by_week[k] > 3.0 else 0.0
        out[(first + len(x) + k) % week] = min(max(by_day[k] - 3.0, habit, 1.0), 1e4)
    return out
