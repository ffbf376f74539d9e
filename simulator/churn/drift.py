"""Says of one window which columns are not distributed as in the training data any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.churn.distances import Statistic, applicable, distance, ks_p_value
from simulator.churn.floors import Floors
from simulator.churn.reference import FeatureReference, Reference
from simulator.churn.window import Counts

# Below this many rows the distance is mostly sampling noise, and no value is given: half a window
# reads 1.4 times what a full one does, which stays inside the range of normal after a restart.
SMALLEST_WINDOW = 500
# A column has drifted when its statistic is above its floor and above this: a shift of a tenth of a
# standard deviation, or the usual first threshold of the PSI. In a large window nearly everything
# is above the floor.
DRIFTED_FROM = 0.1


@dataclass(frozen=True)
class ColumnDrift:
    """One column in one window.

    Parameters
    ----------
    column : FeatureReference
    counts : ndarray of int64, shape (bins,)
        Known values in each bin.
    missing, invalid : int
        Predictions without this value, and with one that training never saw.
    values, expected, floors : mapping of str to float
        By statistic: what it reads, and what it reads without drift in the mean and, with
        probability `floors.LEVEL`, at most. Without those that have too few values.
    """

    column: FeatureReference
    counts: Counts
    missing: int
    invalid: int
    values: Mapping[Statistic, float]
    expected: Mapping[Statistic, float]
    floors: Mapping[Statistic, float]

    @property
    def drifted(self) -> bool:
        """Whether the column's own statistic is above its floor and `DRIFTED_FROM`."""
        statistic = self.column.statistic
        if statistic not in self.values:
            return False
        return self.values[statistic] > max(self.floors[statistic], DRIFTED_FROM)


@dataclass(frozen=True)
class Drift:
    """All columns of one window; `columns` is empty while predictions are too few.

    Parameters
    ----------
    predictions : int
    features, outputs : tuple of ColumnDrift
    """

    predictions: int
    features: tuple[ColumnDrift, ...]
    outputs: tuple[ColumnDrift, ...]

    @property
    def drifted(self) -> int:
        """Number of features that have drifted."""
        return sum(feature.drifted for feature in self.features)

    @property
    def missing(self) -> int:
        """Number of missing values."""
        return sum(feature.missing for feature in self.features)

    def summary(self) -> tuple[float, float]:
        """Return the mean Jensen-Shannon distance of the features, and the same without drift.

        A feature weighs as the share of predictions that have a value for it. NaN without any.
        """
        weights = {f.column.name: int(f.counts.sum()) for f in self.features if f.values}
        total = sum(weights.values())
        if not total:
            return (np.nan, np.nan)
        both = [
            (
                weights[f.column.name] * f.values["jensen_shannon"] / total,
                weights[f.column.name] * f.expected["jensen_shannon"] / total,
            )
            for f in self.features
            if f.values
        ]
        return sum(value for value, _ in both), sum(expected for _, expected in both)


def assess(reference: Reference, floors: Floors, predictions: int, counts: Counts) -> Drift:
    """Compare a window with the training data.

    Parameters
    ----------
    reference : Reference
    floors : Floors
        From the same reference.
    predictions : int
        In the window.
    counts : ndarray of int64, shape (starts[-1],)
        By slot, as from `WindowState.last` and `WindowState.recent`.
    """
    if predictions < SMALLEST_WINDOW:
        return Drift(predictions, (), ())
    parts = np.split(counts, reference.starts[1:-1])
    columns = [
        _column(column, floors, part) for column, part in zip(reference.columns, parts, strict=True)
    ]
    split = len(reference.features)
    return Drift(predictions, tuple(columns[:split]), tuple(columns[split:]))


def describe(drift: Drift) -> list[dict[str, Any]]:
    """Return one JSON-ready mapping a column, with the p-values that are no metric."""
    return [
        {
            "column": one.column.name,
            "known": int(one.counts.sum()),
            "missing": one.missing,
            "never_seen_in_training": one.invalid,
            "drifted": one.drifted,
            "distances": one.values,
            "expected_without_drift": one.expected,
            "floors": one.floors,
            "ks_p_value": ks_p_value(one.column, one.counts),
        }
        for one in (*drift.features, *drift.outputs)
    ]


def _column(column: FeatureReference, floors: Floors, slots: Counts) -> ColumnDrift:
    counts = column.folded(slots)
    seen = int(counts.sum())
    values, expected, highest = {}, {}, {}
    for statistic in applicable(column):
        value = float(distance(column, counts, statistic))
        if value == value:
            values[statistic] = value
            mean, floor = floors.at(column.name, statistic, seen).tolist()
            expected[statistic], highest[statistic] = mean, floor
    return ColumnDrift(
        column,
        counts,
        missing=int(slots[column.bins]),
        invalid=int(slots[column.bins + 1 :].sum()),
        values=values,
        expected=expected,
        floors=highest,
    )
