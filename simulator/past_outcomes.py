"""Draws what became of the customers of the past, and what the service would have said of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.churn.feedback.performance import LOSSES, SCORES
from simulator.labels import NEVER_SHARE
from simulator.past_performance import PastPerformance, score_bins
from simulator.population import CHURN_SHARE

# Of the predictions just before the past, whose performance is its first.
_WARM_STEP_SECONDS = 30.0

Floats = NDArray[np.float64]


class PastOutcomes:
    """Labels and performance along the past.

    Parameters
    ----------
    start : float
        Unix second at which the past begins.
    scores : ndarray of float64, shape (R,)
        Of all customers that may come.
    churned : ndarray of bool, shape (R,)
        What becomes of them.
    everyday : int
        The first so many are those of everyday life.
    maturity_seconds, window_seconds : float
        Of the service's performance.
    rng : numpy.random.Generator
    """

    def __init__(
        self,
        *,
        start: float,
        scores: Floats,
        churned: NDArray[np.bool_],
        everyday: int,
        maturity_seconds: float,
        window_seconds: float,
        rng: np.random.Generator,
    ):
        self._rng = rng
        self._start, self._everyday = start, everyday
        self._churned = churned
        bins = score_bins(scores[:everyday])
        self._bin_of, self._bins = bins.of(scores), len(bins.means)
        self._span = maturity_seconds + window_seconds
        self._performance = PastPerformance(
            bins, start - self._span, maturity_seconds, window_seconds
        )

    def begin(self, rate: Callable[[Floats], Floats]) -> None:
        """Let usual customers come before the start, as many a second as `rate` says."""
        times = self._start - np.arange(self._span, 0.0, -_WARM_STEP_SECONDS) + _WARM_STEP_SECONDS
        requests = self._rng.poisson(rate(times) * _WARM_STEP_SECONDS)
        interval = np.repeat(np.arange(len(times)), requests)
        customers = self._rng.integers(0, self._everyday, len(interval), dtype=np.int32)
        self.series(times, customers, interval, np.zeros(len(times)))

    def series(
        self,
        times: Floats,
        customers: NDArray[np.integer[Any]],
        interval: NDArray[np.intp],
        turned: Floats,
    ) -> list[tuple[str, dict[str, str], Floats]]:
        """Return name, labels and values, shape (T,), of the metrics of performance.

        Parameters
        ----------
        times : ndarray of float64, shape (T,)
            Unix seconds, after those of the last call.
        customers, interval : ndarray of int, shape (N,)
            Who was predicted, and before which of the moments.
        turned : ndarray of float64, shape (T,)
            Share of the customers who churn by chance, whatever the model says.
        """
        chance = self._rng.random((3, len(customers)))
        by_chance = chance[0] < turned[interval]
        churned = np.where(by_chance, chance[1] < CHURN_SHARE, self._churned[customers])
        outcome = np.where(chance[2] < NEVER_SHARE, 2, np.where(churned, 0, 1))
        place = (interval * 3 + outcome) * self._bins + self._bin_of[customers]
        counts = np.bincount(place, minlength=len(times) * 3 * self._bins)
        window = self._performance.advance(times, counts.reshape(len(times), 3, self._bins))
        found = [
            (name, {"measure": measure}, window.measures[measure])
            for name, own in (
                ("churn_performance_score", SCORES),
                ("churn_performance_loss", LOSSES),
            )
            for measure in own
        ]
        with np.errstate(invalid="ignore"):
            coverage = window.labelled / window.predictions
        return [*found, ("churn_label_coverage_ratio", {}, coverage)]
