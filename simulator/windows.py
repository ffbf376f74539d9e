"""Slides the drift window of the churn service over a long stream of simulated customers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numba
import numpy as np
from numpy.typing import NDArray


@dataclass
class SlidingCounts:
    """Counts of bins among the last `size` customers, carried along the stream.

    Parameters
    ----------
    size : int
        Rows of a full window.
    features, bins : int
        F features with at most B - 1 bins each; the last bin, B - 1, counts missing values.
    """

    size: int
    features: int
    bins: int
    counts: NDArray[np.int32] = field(init=False)
    ring: NDArray[np.uint8] = field(init=False)
    seen: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.features, self.bins), np.int32)
        self.ring = np.zeros((self.size, self.features), np.uint8)

    @property
    def rows(self) -> int:
        """Rows in the window now."""
        return min(self.seen, self.size)

    def advance(
        self,
        pool: NDArray[np.uint8],
        customers: NDArray[np.int32],
        per_interval: NDArray[np.int64],
    ) -> NDArray[np.int32]:
        """Let customers pass through the window and return the counts after each interval.

        Parameters
        ----------
        pool : ndarray of uint8, shape (R, F)
            Bin of every feature of every customer there is.
        customers : ndarray of int32, shape (N,)
            Rows of the pool in the order of their arrival.
        per_interval : ndarray of int64, shape (T,)
            How many of them arrive in each interval; their sum is N.

        Returns
        -------
        ndarray of int32, shape (T, F, B)
            Counts at the end of each interval; neighbours share the rows that are still inside.
        """
        out = np.empty((len(per_interval), self.features, self.bins), np.int32)
        self.seen = _slide(self.ring, self.seen, self.counts, pool, customers, per_interval, out)
        return out


@numba.njit(cache=True, nogil=True)
def _slide(
    ring: NDArray[np.uint8],
    seen: int,
    counts: NDArray[np.int32],
    pool: NDArray[np.uint8],
    customers: NDArray[np.int32],
    per_interval: NDArray[np.int64],
    out: NDArray[np.int32],
) -> int:
    size, features = ring.shape
    taken = 0
    for i in range(per_interval.shape[0]):
        for _ in range(per_interval[i]):
            slot = seen % size
            if seen >= size:
                for f in range(features):
                    counts[f, ring[slot, f]] -= 1
            for f in range(features):
                value = pool[customers[taken], f]
                ring[slot, f] = value
                counts[f, value] += 1
            seen += 1
            taken += 1
        out[i] = counts
    return seen
