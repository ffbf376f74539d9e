"""Counters and histograms of the seeded past, which go on from one chunk to the next."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Totals:
    """What each counter has reached."""

    def __init__(self) -> None:
        self._totals: dict[tuple[str, ...], float] = {}

    def counter(
        self, name: str, labels: Mapping[str, str], increments: Floats | NDArray[np.int64]
    ) -> tuple[dict[str, str], Floats]:
        """Return a counter's labels and values, shape (T,), after T more increments."""
        key = (name, *labels.values())
        total = self._totals.get(key, 0.0) + np.cumsum(increments, dtype=np.float64)
        self._totals[key] = float(total[-1])
        return {"__name__": name, **labels}, total

    def histogram(
        self,
        name: str,
        labels: Mapping[str, str],
        buckets: Sequence[float],
        bins: NDArray[np.intp],
        values: Floats,
        interval: NDArray[np.intp],
        length: int,
    ) -> Iterator[tuple[dict[str, str], Floats]]:
        """Return bucket, count and sum series of values that fell into bins in intervals.

        Parameters
        ----------
        name : str
        labels : mapping
        buckets : sequence of float, B
            Upper bounds.
        bins : ndarray of int, shape (N,)
            Bucket of each value, B for +Inf.
        values : ndarray of float64, shape (N,)
        interval : ndarray of int, shape (N,)
            The moment before which each was observed.
        length : int
            Number of moments.
        """
        width = len(buckets) + 1
        counts = np.bincount(interval * width + bins, minlength=length * width)
        cumulated = np.cumsum(counts.reshape(length, width), axis=1)
        for column, bound in enumerate([*buckets, math.inf]):
            le = "+Inf" if math.isinf(bound) else repr(float(bound))
            yield self.counter(f"{name}_bucket", {**labels, "le": le}, cumulated[:, column])
        yield self.counter(f"{name}_count", labels, cumulated[:, -1])
        total = np.bincount(interval, weights=values, minlength=length)
        yield self.counter(f"{name}_sum", labels, total)
