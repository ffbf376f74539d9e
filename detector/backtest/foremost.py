"""Keeps the curves that have most to show, so that a replay need not keep them all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector.backtest.results import Alert
from detector.backtest.run import Trace, picked, stacked


class Foremost:
    """The series with the most alerts, then the highest scores, as `document` ranks them.

    Parameters
    ----------
    most : int or None
        Series kept; None for all.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        # Rank: fewer alerts, lower score, later signal, later series; and the one series.
        self._kept: list[tuple[tuple[int, float, int, int], Trace]] = []

    def add(self, signal: int, first: int, trace: Trace, alerts: Sequence[Alert]) -> None:
        """Take in series `first` and on of a signal, by its number."""
        counts: dict[object, int] = {}
        for alert in alerts:
            counts[alert.labels] = counts.get(alert.labels, 0) + 1
        highest = np.nan_to_num(trace.score, nan=0.0).max(axis=1, initial=0.0)
        ranked = [
            (-counts.get(key, 0), -float(highest[s]), signal, first + s)
            for s, key in enumerate(trace.labels)
        ]
        if self._most is not None:
            every = sorted([rank for rank, _ in self._kept] + ranked)
            within = set(every[: self._most])
            self._kept = [pair for pair in self._kept if pair[0] in within]
        for s, rank in enumerate(ranked):
            if self._most is None or rank in within:
                self._kept.append((rank, picked(trace, [s])))

    def of(self, signal: int, empty: Trace) -> Trace:
        """Return what is kept of a signal; `empty` where that is nothing."""
        own = sorted((rank[3], i) for i, (rank, _) in enumerate(self._kept) if rank[2] == signal)
        return stacked([self._kept[i][1] for _, i in own]) or empty
