"""What the churn service's performance metrics would have read in the past."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.churn.feedback.cohorts import SMALLEST_LABELLED
from simulator.churn.feedback.performance import measures
from simulator.churn.feedback.settings import MINIMUM_COVERAGE

Floats = NDArray[np.float64]

# Scores are counted in bins of equal share, so fine that the measures are those of the scores; the
# edges of the calibration error's bins and the threshold are among theirs.
_BINS = 200
_EDGES = np.linspace(0.1, 0.9, 9)


@dataclass(frozen=True)
class ScoreBins:
    """Bins for scores: B of them by B - 1 inner edges, and the mean score of each."""

    edges: Floats
    means: Floats

    def of(self, scores: Floats) -> NDArray[np.int64]:
        """Return the bin of each score."""
        return np.searchsorted(self.edges, scores, side="right").astype(np.int64)


def score_bins(scores: Floats) -> ScoreBins:
    """Return bins for scores like the given ones."""
    quantiles = np.quantile(scores, np.linspace(0.0, 1.0, _BINS + 1)[1:-1])
    edges = np.unique(np.concatenate([quantiles, _EDGES]))
    place = np.searchsorted(edges, scores, side="right")
    count = np.bincount(place, minlength=len(edges) + 1)
    total = np.bincount(place, weights=scores, minlength=len(edges) + 1)
    bounds = np.concatenate([[0.0], edges, [1.0]])
    middle = (bounds[1:] + bounds[:-1]) / 2
    return ScoreBins(edges, np.where(count > 0, total / np.maximum(count, 1), middle))


@dataclass(frozen=True)
class Window:
    """Performance at T moments; NaN where the service withholds it."""

    measures: dict[str, Floats]
    predictions: Floats
    labelled: Floats


class PastPerformance:
    """The window of matured predictions, carried along the past.

    Parameters
    ----------
    bins : ScoreBins
        Of the scores.
    start : float
        Unix second before which nobody was predicted.
    maturity_seconds, window_seconds : float
        As the service's.
    """

    def __init__(
        self, bins: ScoreBins, start: float, maturity_seconds: float, window_seconds: float
    ):
        self._bins = bins
        self._maturity, self._window = maturity_seconds, window_seconds
        self._times = np.array([start])
        # Totals since the start: churned, stayed, not labelled; those last in the first bin.
        self._totals = np.zeros((1, 3, len(bins.means)))

    def advance(self, times: Floats, counts: NDArray[np.int64]) -> Window:
        """Return the windows at some moments.

        Parameters
        ----------
        times : ndarray of float64, shape (T,)
            Unix seconds, ascending, after those of the last call.
        counts : ndarray of int64, shape (T, 3, B)
            Predictions since the moment before, by outcome (churned, stayed, never known) and bin.
        """
        totals = self._totals[-1] + np.cumsum(counts, axis=0, dtype=np.float64)
        self._times = np.concatenate([self._times, times])
        self._totals = np.concatenate([self._totals, totals])
        newest = times - self._maturity
        inside = self._at(newest) - self._at(newest - self._window)
        keep = max(int(np.searchsorted(self._times, newest[-1] - self._window)) - 1, 0)
        self._times, self._totals = self._times[keep:], self._totals[keep:]
        labelled = inside[:, :2].sum(axis=(1, 2))
        predictions = inside.sum(axis=(1, 2))
        said = (labelled >= SMALLEST_LABELLED) & (labelled >= MINIMUM_COVERAGE * predictions)
        found = measures(self._bins.means, inside[:, 0], inside[:, 1])
        return Window(
            {name: np.where(said, values, np.nan) for name, values in found.items()},
            predictions,
            labelled,
        )

    def _at(self, moments: Floats) -> Floats:
        """Return the totals at moments between the known ones, in proportion to time."""
        times = self._times
        after = np.clip(np.searchsorted(times, moments), 1, len(times) - 1)
        share = (moments - times[after - 1]) / (times[after] - times[after - 1])
        share = np.clip(share, 0.0, 1.0)[:, None, None]
        between: Floats = self._totals[after - 1] * (1.0 - share) + self._totals[after] * share
        return between
