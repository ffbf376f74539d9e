"""What each statistic reads when nothing has drifted, at the size the window has.

Two samples of n and m values of one distribution differ about as one of n m / (n + m) values
differs from the distribution, so windows of such sizes are drawn from the reference's own shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from simulator.churn.distances import (
    SMALLEST_OBSERVED,
    Floats,
    Statistic,
    applicable,
    distance,
    effective,
)
from simulator.churn.reference import FeatureReference, Reference

# Without drift a statistic stays below its floor with this probability.
LEVEL = 0.99
_DRAWS = 2000
_SEED = 20
_SIZES = (20, 60, 200, 1000, 5000, 30_000)
# How a statistic shrinks with the size; what is left of it is smooth between the sizes drawn.
_POWERS: dict[Statistic, float] = {"wasserstein": 0.5, "psi": 1.0, "jensen_shannon": 0.5}


@dataclass(frozen=True)
class Floors:
    """Mean and `LEVEL` quantile of every statistic without drift.

    Parameters
    ----------
    known : dict of str to int
        Reference values of each column.
    scaled : dict of (str, str) to ndarray of float64, shape (2, sizes)
        By column and statistic: mean and quantile at each of `_SIZES`, times the size's power.
    """

    known: dict[str, int]
    scaled: dict[tuple[str, Statistic], Floats]

    def at(self, column: str, statistic: Statistic, seen: ArrayLike) -> Floats:
        """Return mean and floor of windows with so many known values of a column.

        Parameters
        ----------
        column, statistic : str
        seen : array_like, shape (...)

        Returns
        -------
        ndarray of float64, shape (2, ...)
            NaN where there are fewer than `SMALLEST_OBSERVED`.
        """
        counted, known = np.asarray(seen, np.float64), self.known[column]
        if not known:
            return np.full((2, *counted.shape), np.nan)
        size = effective(np.maximum(counted, SMALLEST_OBSERVED), known)
        both = [
            np.interp(np.log(size), np.log(_SIZES), values) / size ** _POWERS[statistic]
            for values in self.scaled[column, statistic]
        ]
        return np.where(counted >= SMALLEST_OBSERVED, both, np.nan)


def make_floors(reference: Reference) -> Floors:
    """Draw windows without drift; the same reference gives the same floors in every replica."""
    rng = np.random.default_rng(_SEED)
    return Floors(
        {column.name: column.known for column in reference.columns},
        {
            key: values
            for column in reference.columns
            for key, values in _drawn(column, rng).items()
        },
    )


def _drawn(
    column: FeatureReference, rng: np.random.Generator
) -> dict[tuple[str, Statistic], Floats]:
    shares = np.asarray(column.shares)
    if not column.known:
        return {}
    found = {(column.name, one): np.empty((2, len(_SIZES))) for one in applicable(column)}
    for place, size in enumerate(_SIZES):
        windows = rng.multinomial(size, shares / shares.sum(), _DRAWS)
        for statistic in applicable(column):
            values = distance(column, windows, statistic)
            both = (values.mean(), np.quantile(values, LEVEL))
            found[column.name, statistic][:, place] = np.array(both) * size ** _POWERS[statistic]
    return found
