"""The last predictions as counts that add up: by number and by time, over several replicas.

The window by number keeps each prediction's slots and moment: of several replicas the newest of all
together remain, which is what one process would hold. The window by time keeps one vector of counts
for each minute of the clock, and vectors of the same minute are added. Both agree with one process
over the union exactly; predictions of the same instant in two replicas have no order of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.errors import ConfigError

WINDOW_SIZE = 1000
WINDOW_SECONDS = 3600
BUCKET_SECONDS = 60

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class WindowState:
    """What one process, or several together, have seen.

    Parameters
    ----------
    reference : str
        Id of the reference whose slots these are.
    width : int
        Slots of all columns.
    times : ndarray of float64, shape (N,)
        Unix seconds of the newest predictions, ascending, at most `WINDOW_SIZE`.
    slots : ndarray of int64, shape (N, columns)
        From `Reference.place`.
    digests : ndarray of uint64, shape (N,)
        Equal for equal customers.
    buckets : mapping of int to ndarray of int64, shape (width + 1,)
        Minute since the epoch to counts per slot; the last one counts predictions.
    """

    reference: str
    width: int
    times: NDArray[np.float64]
    slots: Counts
    digests: NDArray[np.uint64]
    buckets: Mapping[int, Counts] = field(default_factory=dict)

    def last(self) -> tuple[int, Counts]:
        """Return predictions and counts, shape (width,), of the window by number."""
        return len(self.times), np.bincount(self.slots.ravel(), minlength=self.width)

    def recent(self, now: float) -> tuple[int, Counts]:
        """Return predictions and counts, shape (width,), of the window by time."""
        first = _oldest_bucket(now)
        kept = [counts for bucket, counts in self.buckets.items() if bucket >= first]
        total = np.sum(kept, axis=0) if kept else np.zeros(self.width + 1, np.int64)
        return int(total[-1]), total[:-1]

    def duplicates(self) -> int:
        """Return how many of the newest predictions repeat an earlier one of them."""
        return len(self.digests) - len(np.unique(self.digests))

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {
            "reference": self.reference,
            "width": self.width,
            "times": self.times.tolist(),
            "slots": self.slots.tolist(),
            "digests": self.digests.tolist(),
            "buckets": {str(bucket): counts.tolist() for bucket, counts in self.buckets.items()},
        }

    @classmethod
    def from_json(cls, stored: Any) -> WindowState:
        """Return the state that a replica sent; ConfigError when it is not one."""
        try:
            times = np.array(stored["times"], np.float64)
            width = int(stored["width"])
            slots = np.array(stored["slots"], np.int64).reshape(len(times), -1)
            digests = np.array(stored["digests"], np.uint64)
            buckets = {int(b): np.array(c, np.int64) for b, c in stored["buckets"].items()}
            sound = len(digests) == len(times) and not (slots.size and slots.min() < 0)
            sound &= not slots.size or slots.max() < width
            sound &= all(counts.shape == (width + 1,) for counts in buckets.values())
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise ConfigError(f"this is no window of the churn service ({error!r:.80})") from error
        if not sound:
            raise ConfigError("this is no window of the churn service (its parts do not agree)")
        return cls(str(stored["reference"]), width, times, slots, digests, buckets)


def merge(states: Sequence[WindowState]) -> WindowState:
    """Return the state of one process that had seen what all of them have seen.

    Raises
    ------
    ConfigError
        When they were not counted against one reference.
    """
    first = states[0]
    ids = {state.reference for state in states} | {f"{state.width}" for state in states}
    if len(ids) > 2:
        raise ConfigError(
            "the replicas compare with different references "
            f"({', '.join(sorted({state.reference for state in states}))}); "
            "wait until all serve the same model"
        )
    times = np.concatenate([state.times for state in states])
    newest = np.argsort(times, kind="stable")[-WINDOW_SIZE:]
    filled = [state.slots for state in states if len(state.times)] or [first.slots]
    buckets: dict[int, Counts] = {}
    for state in states:
        for bucket, counts in state.buckets.items():
            buckets[bucket] = buckets[bucket] + counts if bucket in buckets else counts
    return WindowState(
        first.reference,
        first.width,
        times[newest],
        np.concatenate(filled)[newest],
        np.concatenate([state.digests for state in states])[newest],
        buckets,
    )


class Window:
    """The state of this process, fed with predictions in the order they were made.

    Parameters
    ----------
    reference : str
        Id of the reference.
    width, columns : int
        Slots of all columns, and how many columns there are.
    """

    def __init__(self, reference: str, width: int, columns: int):
        self._reference = reference
        self._width = width
        self._times = np.empty(0)
        self._slots = np.empty((0, columns), np.int64)
        self._digests = np.empty(0, np.uint64)
        self._buckets: dict[int, Counts] = {}

    def add(
        self, times: NDArray[np.float64], slots: Counts, digests: NDArray[np.uint64]
    ) -> NDArray[np.bool_]:
        """Take in predictions, oldest first; return which repeat one of the last `WINDOW_SIZE`.

        Parameters
        ----------
        times : ndarray of float64, shape (N,)
        slots : ndarray of int64, shape (N, columns)
        digests : ndarray of uint64, shape (N,)
        """
        digests_kept = np.concatenate([self._digests, digests])
        repeated = _repeated(digests_kept)[len(self._digests) :]
        self._times = np.concatenate([self._times, times])[-WINDOW_SIZE:]
        self._slots = np.concatenate([self._slots, slots])[-WINDOW_SIZE:]
        self._digests = digests_kept[-WINDOW_SIZE:]
        minutes = (times // BUCKET_SECONDS).astype(np.int64)
        for minute in np.unique(minutes).tolist():
            own = slots[minutes == minute]
            counts = self._buckets.setdefault(minute, np.zeros(self._width + 1, np.int64))
            counts[:-1] += np.bincount(own.ravel(), minlength=self._width)
            counts[-1] += len(own)
        if len(times):
            oldest = _oldest_bucket(float(times[-1]))
            for minute in [one for one in self._buckets if one < oldest]:
                del self._buckets[minute]
        return repeated

    def state(self) -> WindowState:
        """Return what has been seen; it does not change any more."""
        buckets = {minute: counts.copy() for minute, counts in self._buckets.items()}
        return WindowState(
            self._reference, self._width, self._times, self._slots, self._digests, buckets
        )


def _oldest_bucket(now: float) -> int:
    # The minute that has begun and the 59 before it.
    return int(now // BUCKET_SECONDS) - WINDOW_SECONDS // BUCKET_SECONDS + 1


def _repeated(digests: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which equal one at most `WINDOW_SIZE` before them."""
    order = np.argsort(digests, kind="stable")
    same = digests[order[1:]] == digests[order[:-1]]
    near = np.diff(order) <= WINDOW_SIZE
    repeated = np.zeros(len(digests), bool)
    repeated[order[1:]] = same & near
    return repeated
