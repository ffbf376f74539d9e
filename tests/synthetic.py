"""Made series: requests a second with a day, a week and noise, and matrices of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from detector.series import Labels, Scores, SeriesMatrix

DAY = 86_400
# Monday 2025-10-06 00:00 UTC.
MONDAY = 1_759_708_800


def grid(days: float, step: int, start: int = MONDAY) -> np.ndarray:
    return np.arange(start, start + round(days * DAY), step)


def traffic(times: np.ndarray, seed: int = 0, noise: float = 0.05) -> np.ndarray:
    """Return requests a second: trough at 04:00, quiet weekends, relative Gaussian noise."""
    day = 1 - 0.4 * np.cos((times % DAY / DAY - 4 / 24) * 2 * np.pi)
    weekend = (times // DAY - MONDAY // DAY) % 7 >= 5
    rate = 20 * day * np.where(weekend, 0.7, 1.0)
    return rate * (1 + noise * np.random.default_rng(seed).standard_normal(len(times)))


def labels(**pairs: str) -> Labels:
    return tuple(sorted(pairs.items()))


def matrix(times: np.ndarray, rows: Mapping[Labels, np.ndarray]) -> SeriesMatrix:
    """Return rows as a matrix; NaN in a row is absence (see `present` for a NaN sample)."""
    keys = tuple(sorted(rows))
    values = np.array([rows[key] for key in keys], float).reshape(len(keys), len(times))
    step = int(times[1] - times[0]) if len(times) > 1 else 60
    return SeriesMatrix(keys, np.asarray(times, np.int64), values, np.isnan(values), step)


def joined(parts: list[Scores]) -> dict[Labels, dict[int, tuple[float, ...]]]:
    """Return {labels: {time: (observed, expected, lower, upper, score, state, evidence...)}}."""
    rows: dict[Labels, dict[int, tuple[float, ...]]] = {}
    for part in parts:
        for s, key in enumerate(part.labels):
            for t, time in enumerate(part.times):
                rows.setdefault(key, {})[int(time)] = (
                    float(part.observed[s, t]),
                    float(part.expected[s, t]),
                    float(part.lower[s, t]),
                    float(part.upper[s, t]),
                    float(part.score[s, t]),
                    int(part.state[s, t]),
                    *(float(share) for share in part.evidence[s, t]),
                )
    return rows


def column(parts: list[Scores], name: str, key: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Return times and one array of one series over all parts; parts without it are left out."""
    known = [(p, p.labels.index(key)) for p in parts if key in p.labels]
    times = np.concatenate([p.times for p, _ in known])
    return times, np.concatenate([getattr(p, name)[s] for p, s in known])


def episodes(parts: list[Scores], key: Labels) -> list[tuple[int, int]]:
    """Return (first time, last time) of each maximal run of state 1."""
    times, states = column(parts, "state", key)
    on = np.concatenate([[False], states == 1, [False]])
    edges = np.flatnonzero(np.diff(on.astype(int)))
    return [(int(times[a]), int(times[b - 1])) for a, b in edges.reshape(-1, 2)]
