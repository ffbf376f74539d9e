"""Keeps the curves that have most to show, so that a replay need not keep them all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector.backtest.judging import Alert
from detector.backtest.run import Trace, picked, stacked

# A thousand series over four weeks of five minutes, and a quarter more: 420 MB.
ROOM = 10_000_000


class Foremost:
    """All series while there is room; then those `document` ranks first.

    Those have the most alerts, then the highest scores.

    Parameters
    ----------
    most : int or None
        Series kept when there is no more room; None for all in any case.
    room : int
        Steps of all series together, 42 bytes each.
    """

    def __init__(self, most: int | None, room: int = ROOM) -> None:
        self._most = most
        self._room = room
        self.dropped = False
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
        self._kept += [(rank, picked(trace, [s])) for s, rank in enumerate(ranked)]
        full = self.dropped or len(self._kept) * len(trace.times) > self._room
        if full and self._most is not None and len(self._kept) > self._most:
            self._kept = sorted(self._kept, key=lambda pair: pair[0])[: self._most]
            self.dropped = True

    def of(self, signal: int, empty: Trace) -> Trace:
        """Return what is kept of a signal; `empty` where that is nothing."""
        own = sorted((rank[3], i) for i, (rank, _) in enumerate(self._kept) if rank[2] == signal)
        return stacked([self._kept[i][1] for _, i in own]) or empty
