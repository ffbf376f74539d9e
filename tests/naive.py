"""Plain Python twins of the compiled routines; nothing here comes from `detector`."""

from __future__ import annotations

import math
from statistics import median

NAN = float("nan")


def is_known(x: float) -> bool:
    return not math.isnan(x)


def slot_medians(
    x: list[float], first: int, period: int, half: int, least: int
) -> tuple[list[float], list[float]]:
    """Return the profile over all cycles, and each sample's slot without its own cycle."""
    cycles = sorted({(first + t) // period for t in range(len(x))})

    def pool(slot: int, cycle: int) -> list[float]:
        middle = cycle * period + slot - first
        near = range(middle - half, middle + half + 1)
        return [x[t] for t in near if 0 <= t < len(x) and is_known(x[t])]

    profile = [NAN] * period
    left_out = [NAN] * len(x)
    for slot in range(period):
        pools = {cycle: pool(slot, cycle) for cycle in cycles}
        if sum(1 for found in pools.values() if found) < least:
            continue
        everything = [value for found in pools.values() for value in found]
        if everything:
            profile[slot] = median(everything)
        for cycle in cycles:
            t = cycle * period + slot - first
            others = [v for c, found in pools.items() if c != cycle for v in found]
            if 0 <= t < len(x) and others:
                left_out[t] = median(others)
    return profile, left_out


def trailing_median(x: list[float], window: int, least: int) -> list[float]:
    out = []
    last = NAN
    for t in range(len(x)):
        known = [value for value in x[max(t - window, 0) : t] if is_known(value)]
        if len(known) >= least:
            last = median(known) if known else NAN
        out.append(last)
    return out


def tail_evidence(z: float, q95: float, decade: float, trust: float, prior: float) -> float:
    if math.isnan(z) or z <= 0:
        return 0.0
    decades = math.log10(20) + (math.log1p(z) - q95) / decade
    mixed = trust * decades + (1 - trust) * prior * math.log1p(z)
    return max(0.0, min(8.0, mixed))


def fold(
    values: list[float],
    times: list[int],
    profile: int,
    day: list[float],
    week: list[float],
    weight: list[float],
    scale: float,
    tails: list[tuple[float, float]],
    trust: float,
    prior: float,
    edge: float,
    band: tuple[float, float],
    up: bool,
    down: bool,
    min_abs: float,
    min_rel: float,
    low: float,
    high: float,
    leave: float,
    ring: list[list[float]],
    level: list[float],
) -> list[dict[str, float]]:
    """Score a series from a fresh start; `ring` and `level` are the past day's, per expert."""
    size = len(ring[0])
    ring = [list(row) for row in ring]
    level = list(level)
    past: list[float] = []
    inside = False
    calm = 0
    rows = []

    def seasonal(table: list[float], t: int) -> float:
        cell, rest = divmod(t, profile)
        here, there = table[cell % len(table)], table[(cell + 1) % len(table)]
        return here + rest / profile * (there - here)

    for t, x in zip(times, values, strict=True):
        season = [0.0, seasonal(day, t), seasonal(week, t)]
        says = [(w, s + b) for w, s, b in zip(weight, season, level, strict=True)]
        says = [(w, v) for w, v in says if w > 0 and is_known(v)]
        total = sum(w for w, _ in says)
        expected = NAN
        if total > 0:
            expected = max(low, min(high, sum(w * v for w, v in says) / total))
        r = x - expected
        z = max(-50.0, min(50.0, r / scale)) if is_known(r) else 0.0
        past = (past + [z])[-5:]
        row = dict.fromkeys(("expected", "lower", "upper", "score", "spike"), NAN)
        row["anomalous"] = 0
        if is_known(expected):
            margin = max(min_abs, min_rel * abs(expected))
            above, below = max(band[0], margin), max(band[1], margin)
            row["expected"] = expected
            row["upper"] = min(expected + above, high) if up else high
            row["lower"] = max(expected - below, low) if down else low
        if is_known(r):
            mean = sum(past) / 5
            sides = [
                (sign, tail)
                for sign, tail, on in zip((1, -1), tails, (up, down), strict=True)
                if on
            ]
            spike, sustained = (
                max(tail_evidence(s * value, *tail, trust, prior) for s, tail in sides)
                for value in (z, mean)
            )
            score = math.sqrt((spike**2 + sustained**2) / 2) / edge
            counts = abs(r) >= margin and ((r > 0 and up) or (r < 0 and down))
            if not counts:
                score = min(score, 0.99)
            calm = calm + 1 if not counts or -below <= r <= above else 0
            inside = not (score < leave or calm >= 5) if inside else score > 1
            row["score"], row["anomalous"] = score, int(inside)
            if inside:
                power = spike**2 + sustained**2
                row["spike"] = spike**2 / power if power > 0 else 0.5
        if t % profile == 0:
            for e in range(3):
                ring[e][t // profile % size] = x - season[e]
                known = [value for value in ring[e] if is_known(value)]
                if not inside and len(known) * 24 >= size:
                    level[e] = median(known)
        rows.append(row)
    return rows
