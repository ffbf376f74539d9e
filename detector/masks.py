"""Turns conditions into the mask of a matrix: which of its samples are set apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from detector.localtime import utc_offsets
from detector.series import Bool, Condition, Int, Labels, SeriesMatrix, Span, Weekly

DAY = 86_400
# 1970-01-01 was a Thursday; Monday is 0.
EPOCH_WEEKDAY = 3

# Where a condition's expression is true, bool[T] by the labels of its results.
Answer = Mapping[Labels, Bool]


def masked(
    samples: SeriesMatrix,
    conditions: Sequence[Condition],
    ask: Callable[[Condition, SeriesMatrix], Answer],
) -> SeriesMatrix:
    """Return the samples with the mask that their conditions set.

    Parameters
    ----------
    samples : SeriesMatrix
        [S, T]; a mask it already has is kept.
    conditions : sequence of Condition
        A range of time is true for all series. An expression is true for a series at a time when
        a result that is true then agrees with it on every label that both have; so a result
        without labels speaks for all series, and one by job for all series of that job. A gate
        that no result opens is closed.
    ask : callable
        Evaluates an expression on the times of the samples.

    Returns
    -------
    SeriesMatrix
    """
    if not conditions or not samples.values.size:
        return samples
    mask = np.zeros(samples.values.shape, np.uint8) if samples.mask is None else samples.mask.copy()
    for condition in conditions:
        if isinstance(condition.test, str):
            true = agreeing(samples.labels, ask(condition, samples), len(samples.times))
        else:
            true = np.broadcast_to(_during(condition.test, samples.times), mask.shape)
        concerned = np.array([set(condition.match) <= set(key) for key in samples.labels])
        mask[(true != condition.gate) & concerned[:, None]] |= int(condition.bits)
    return replace(samples, mask=mask)


def agreeing(labels: Sequence[Labels], answer: Answer, count: int) -> Bool:
    """Return where a result that agrees with a series is true.

    Parameters
    ----------
    labels : sequence of Labels
        S label sets.
    answer : mapping from Labels to bool[T]
        R results.
    count : int
        T, the number of times.

    Returns
    -------
    bool[S, T]
        Naively ``any(true for key, true in answer.items() if agree(key, series))``. Results with
        the same label names are looked up by the values of those they share with the series:
        O(S + R) for each pair of sets of names, not O(S * R).
    """
    true = np.zeros((len(labels), count), bool)
    alike: dict[tuple[str, ...], dict[Labels, Bool]] = {}
    for key, where in answer.items():
        alike.setdefault(tuple(name for name, _ in key), {})[key] = where
    for given, results in alike.items():
        tables: dict[tuple[str, ...], dict[tuple[str, ...], Bool]] = {}
        for s, key in enumerate(labels):
            shared = tuple(name for name, _ in key if name in given)
            if shared not in tables:
                tables[shared] = _table(results, shared)
            own = dict(key)
            found = tables[shared].get(tuple(own[name] for name in shared))
            if found is not None:
                true[s] |= found
    return true


def _table(results: Mapping[Labels, Bool], shared: tuple[str, ...]) -> dict[tuple[str, ...], Bool]:
    """Return where any of the results is true, by their values of the shared labels."""
    table: dict[tuple[str, ...], Bool] = {}
    for key, where in results.items():
        own = dict(key)
        values = tuple(own[name] for name in shared)
        table[values] = table[values] | where if values in table else where
    return table


def _during(test: Span | Weekly, times: Int) -> Bool:
    """Return which times lie in a range, bool[T]."""
    if isinstance(test, Span):
        return (times >= test.start) & (times < test.end)
    local = times + utc_offsets(times, test.timezone)
    weekday, second = (local // DAY + EPOCH_WEEKDAY) % 7, local % DAY
    begun = np.isin(weekday, list(test.days))
    if test.start < test.end:
        return begun & (second >= test.start) & (second < test.end)
    yesterday = np.isin((weekday - 1) % 7, list(test.days))
    return (begun & (second >= test.start)) | (yesterday & (second < test.end))
