"""Watches the predictions of one model: takes them in, counts them later, says how they drift."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from simulator.churn.drift import Drift, assess
from simulator.churn.floors import Floors, make_floors
from simulator.churn.quality import DUPLICATE, Tally, digests, never_seen
from simulator.churn.reference import Reference
from simulator.churn.window import Window, WindowState

# Counting so many at once costs a customer 5 us, counting one by one 260.
_MOST_WAITING = 256


class Monitor:
    """The windows of one model; use it from one thread.

    Parameters
    ----------
    reference : Reference
        Of the model.
    tally : Tally
        Gets the totals.
    clock : callable
        Returns unix seconds.
    """

    def __init__(self, reference: Reference, tally: Tally, clock: Callable[[], float] = time.time):
        self.reference = reference
        self.floors = make_floors(reference)
        self._tally = tally
        self._clock = clock
        self._window = Window(reference.id, int(reference.starts[-1]), len(reference.columns))
        self._waiting: list[tuple[float, Sequence[Mapping[str, Any]], Sequence[float]]] = []
        self._waiting_rows = 0

    def predicted(self, customers: Sequence[Mapping[str, Any]], scores: Sequence[float]) -> None:
        """Take in the customers of one request and what the model said of each."""
        now = self._clock()
        self._tally.last_prediction = now
        self._waiting.append((now, customers, scores))
        self._waiting_rows += len(customers)
        if self._waiting_rows >= _MOST_WAITING:
            self._count()

    def state(self) -> WindowState:
        """Return the windows with everything taken in so far."""
        self._count()
        return self._window.state()

    def drift(self) -> dict[str, Drift]:
        """Return the drift of both windows: ``count`` and ``time``."""
        return assess_state(self.reference, self.floors, self.state(), self._clock())

    def _count(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting, self._waiting_rows = self._waiting, [], 0
        customers = list(itertools.chain.from_iterable(rows for _, rows, _ in waiting))
        scores = list(itertools.chain.from_iterable(scores for _, _, scores in waiting))
        times = np.repeat([moment for moment, _, _ in waiting], [len(r) for _, r, _ in waiting])
        placed = self.reference.place(customers, scores)
        repeated = self._window.add(times, placed, digests(customers))
        self._tally.checked += len(customers)
        self._tally.violations[DUPLICATE] += int(repeated.sum())
        for check, failing in never_seen(self.reference, placed).items():
            self._tally.violations[check] += int(failing.sum())


def assess_state(
    reference: Reference, floors: Floors, state: WindowState, now: float
) -> dict[str, Drift]:
    """Return the drift of both windows of a state, which may be of several replicas."""
    return {
        "count": assess(reference, floors, *state.last()),
        "time": assess(reference, floors, *state.recent(now)),
    }
