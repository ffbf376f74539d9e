"""Gathers the answers to range queries into one matrix, series by series as they come.

The matrix is the only thing that grows with the past: an answer is placed and can be let go. A
series beyond the limit has no row, however many there are.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from detector.errors import SourceError
from detector.labels import label_set, result_labels
from detector.range_answer import MALFORMED, Sampled, decode_labels, decode_samples
from detector.series import Int, Labels, SeriesMatrix

# So many numbers are placed at one time; each is an object until then.
BATCH = 1 << 15
# Columns sorted at one time, which is what sorting needs beside the matrix.
SORTED_COLUMNS = 256
# Label sets known by the bytes they come as; each takes about a KiB.
KNOWN_LABELS = 1 << 15


@dataclass
class Reading:
    """Samples of a union of queries, and what had to be left out.

    `samples` counts those given a place, `duplicates` label sets that a later query gave again,
    `over_limit` series beyond the limit, `histograms` series with native histograms (they have no
    single value).
    """

    matrix: SeriesMatrix
    samples: int = 0
    duplicates: int = 0
    over_limit: int = 0
    histograms: int = 0


class Gathering:
    """A matrix in the making.

    Parameters
    ----------
    times : int64[T]
        The grid, unix seconds, `step` apart.
    step : int
    limit : int
        Most series kept; the first by name stay, the others are counted.
    keep : collection of Labels
        Series that stay before all others.
    """

    def __init__(self, times: Int, step: int, limit: int, keep: Collection[Labels] = ()) -> None:
        self._times = times
        self._step = step
        self._limit = limit
        self._preferred = frozenset(keep)
        self._rows: dict[Labels, int] = {}
        self._values = np.empty((0, len(times)))
        self._absent = np.empty((0, len(times)), bool)
        self._samples = 0
        # Every label set seen, with the query and the labels it first came from.
        self._owners: dict[Labels, tuple[int, Labels]] = {}
        self._duplicates: set[Labels] = set()
        self._histograms: set[tuple[int, Labels]] = set()
        # Numbers to be placed, and how many of them each row gets.
        self._numbers: list[float] = []
        self._counts: dict[int, int] = {}

    def add(self, number: int, rule: Labels, answer: Iterable[Sampled]) -> None:
        """Take in one answer to a query.

        Where a label set is given more than once the first one that has a sample wins, time by
        time, as with PromQL's `or`.

        Parameters
        ----------
        number : int
            Which query it answers; answers to an earlier one were added before.
        rule : Labels
            Labels that override those of the results.
        answer : iterable of Sampled

        Raises
        ------
        SourceError
            When labels or samples are none.
        """
        found = [(*self._identified(number, rule, series), series) for series in answer]
        self._admit({key: None for key, new, _ in found if new})
        for key, _, series in found:
            row = self._rows.get(key)
            if row is not None:
                self._take(row, series)
        self._place()

    def reading(self) -> Reading:
        """Return the matrix, its rows sorted by name, and the counts."""
        labels = tuple(sorted(self._rows))
        order = [self._rows[key] for key in labels]
        if order != list(range(len(order))):
            for a in range(0, len(self._times), SORTED_COLUMNS):
                for array in (self._values, self._absent):
                    array[:, a : a + SORTED_COLUMNS] = array[order, a : a + SORTED_COLUMNS]
        return Reading(
            SeriesMatrix(labels, self._times, self._values, self._absent, self._step),
            self._samples,
            len(self._duplicates),
            len(self._owners) - len(labels),
            len(self._histograms),
        )

    def _identified(self, number: int, rule: Labels, series: Sampled) -> tuple[Labels, bool]:
        """Return the labels of a series, and whether they are new; count what is odd with it."""
        try:
            key, own = _identity(bytes(series.metric), rule)
        except MALFORMED:
            raise SourceError("the labels of a sample are none", reason="bad_response") from None
        # Also two series of one query: they may differ in nothing but their name.
        owner = (number, own)
        first = self._owners.get(key)
        if first is None:
            self._owners[key] = owner
        elif first != owner:
            self._duplicates.add(key)
        if memoryview(series.values).nbytes <= len(b"[]"):
            self._histograms.add(owner)
        return key, first is None

    def _admit(self, new: Collection[Labels]) -> None:
        """Give rows to new series; beyond the limit they take those of others, or get none.

        Who is among the first of all is among the first of those seen so far: nothing that has
        been let go is missed in the end.
        """
        free: list[int] = []
        if len(self._rows) + len(new) > self._limit:
            best = set(heapq.nsmallest(self._limit, [*self._rows, *new], key=self._rank))
            free = [self._rows.pop(key) for key in set(self._rows) - best]
            new = [key for key in new if key in best]
        count = len(self._absent)
        free += range(count, count + len(new) - len(free))
        if free and free[-1] >= count:
            # In place: the system moves pages, nothing is copied.
            shape = (free[-1] + 1, len(self._times))
            self._values.resize(shape, refcheck=False)
            self._absent.resize(shape, refcheck=False)
        for key, row in zip(new, free, strict=True):
            self._rows[key] = row
            self._values[row], self._absent[row] = np.nan, True

    def _rank(self, key: Labels) -> tuple[bool, Labels]:
        return key not in self._preferred, key

    def _take(self, row: int, series: Sampled) -> None:
        """Decode the samples of a series; they are placed with those of others."""
        try:
            numbers = decode_samples(series.values)
        except MALFORMED:
            raise SourceError(
                "a sample is no pair of time and number", reason="bad_response"
            ) from None
        if row in self._counts or len(self._numbers) > BATCH:
            self._place()
        self._counts[row] = len(numbers) // 2
        self._numbers += numbers

    def _place(self) -> None:
        """Write what was taken where the rows have nothing yet; each row comes once."""
        pairs = np.array(self._numbers).reshape(-1, 2)
        row = np.repeat(np.fromiter(self._counts, int), list(self._counts.values()))
        self._numbers, self._counts = [], {}
        at = np.rint((pairs[:, 0] - self._times[0]) / self._step)
        inside = (at >= 0) & (at < len(self._times))
        row, at, values = row[inside], at[inside].astype(int), pairs[inside, 1]
        first = self._absent[row, at]
        row, at, values = row[first], at[first], values[first]
        self._values[row, at] = np.where(np.isfinite(values), values, np.nan)
        self._absent[row, at] = False
        self._samples += len(row)


@lru_cache(maxsize=KNOWN_LABELS)
def _identity(metric: bytes, rule: Labels) -> tuple[Labels, Labels]:
    """Return a result's labels under a rule, and its own."""
    result = decode_labels(metric)
    key, own = result_labels(result, rule), label_set(result)
    return key, key if own == key else own
