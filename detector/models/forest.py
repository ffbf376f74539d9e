"""The joint model of a group: an isolation forest over how far its signals are off together.

Each signal of a group is a row of deviations from its own expectation, in its own scales. A
moment is described by two distances from normal under the usual correlation of the signals: that
of the newest deviations, and that of their mean over the last five cells. So it stands out when
several signals are a little off at once, and when signals part that move together, though each
of them is inside its own band. The forest says how rare such a pair of distances is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from detector.series import Float

# Deviations are cut off here, in scales: a single absurd sample says no more.
Z_LIMIT = 20.0
# For learning which signals move together an incident must not count more than this.
Z_USUAL = 4.0
# Cells of the short mean, and cells over which the rarity is averaged: a joint incident lasts.
SHORT, HELD = 5, 3
# Cells before the first one that can be scored.
LEAD = SHORT + HELD - 2
# Share of each signal's own variance that is added to it: signals that are copies of each other
# would make the smallest difference between them infinitely far.
RIDGE = 0.01
# Isolation Forest's usual size (Liu, Ting, Zhou 2008, section 4), and its fixed chance.
TREES, SEED = 100, 0
# A day's greatest rarity is beyond this many quartile distances above the upper quartile of the
# days about once in half a year (Gumbel distribution).
EDGE_QUARTILES = 3.0
# Without three days to compare: rarity, in decades, at the edge of normal.
EDGE_DECADES = 4.0
LEAST_DAYS = 3


@dataclass(frozen=True)
class Forest:
    """A fitted joint model of M signals.

    Parameters
    ----------
    trees : sklearn.ensemble.IsolationForest
    precision : float64[2, M, M]
        Inverse of the usual covariance of the deviations, and of their short means.
    farthest : float64[2]
        Greatest distances of the past but for one in a thousand.
    low, decade : float
        90 % quantile of the past's rarity, and its distance to the 99 % quantile.
    edge : float
        Rarity, in decades, that scores 1.
    """

    trees: Any
    precision: Float
    farthest: Float
    low: float
    decade: float
    edge: float

    def score(self, z: Float) -> tuple[Float, Float]:
        """Score consecutive cells.

        Parameters
        ----------
        z : float64[M, LEAD + W]
            Deviations in scales, a cell of the profile grid apart; NaN is no information and
            counts as expected. The first LEAD columns are context.

        Returns
        -------
        score : float64[W]
            0 as usual, 1 at the edge of normal; NaN where no signal has a value.
        evidence : float64[M, W]
            Each signal's share in the distance; NaN where there is no score, or no distance.
        """
        known = np.isfinite(z[:, LEAD:]).any(axis=0)
        clean = _clean(z)
        rarity = 1.0 + (self._rarity(clean)[LEAD:] - self.low) / self.decade
        score = np.where(known, np.maximum(rarity, 0.0) / self.edge, np.nan)
        means = _means(clean)[:, LEAD:]
        share = np.maximum(means * (self.precision[1] @ means), 0.0)
        total = share.sum(axis=0)
        some = known & (total > 0)
        evidence = np.divide(share, total, out=np.full(share.shape, np.nan), where=some)
        return score, evidence

    def _rarity(self, clean: Float) -> Float:
        return _rarity(self.trees, _distances(clean, self.precision), self.farthest)


def fit(z: Float, day: int) -> Forest | None:
    """Learn how far a group's signals are usually off together.

    Parameters
    ----------
    z : float64[M, T]
        Past deviations in scales on the profile grid, honest ones (`Baseline.expected`), of at
        least two signals; NaN is no information.
    day : int
        Cells per day.

    Returns
    -------
    Forest or None
        None with less than a day on which two signals had values. It is a pure function of `z`.

    Notes
    -----
    A forest knows no degrees beyond what it has seen: every moment outside its samples ends in
    the same leaves. How far a distance is beyond the past's, in octaves, counts on top.

    References
    ----------
    Liu, Ting and Zhou, Isolation Forest (2008), doi:10.1109/ICDM.2008.17.
    """
    # Heavy.
    from sklearn.ensemble import IsolationForest

    both = np.isfinite(z).sum(axis=0) >= 2
    if both.sum() < day:
        return None
    clean = _clean(z)
    precision = np.array([_precision(v[:, both]) for v in (clean, _means(clean))])
    distances = _distances(clean, precision)[both]
    farthest = np.quantile(distances, 0.999, axis=0)
    trees = IsolationForest(n_estimators=TREES, random_state=SEED).fit(distances)
    rarity = _rarity(trees, distances, farthest)
    low, high = np.quantile(rarity, [0.9, 0.99])
    decade = max(float(high - low), 1e-3)
    decades = 1.0 + (rarity - low) / decade
    return Forest(trees, precision, farthest, float(low), decade, _edge(decades, day))


def _edge(decades: Float, day: int) -> float:
    """Return the rarity that hardly any day of the past reached, in decades."""
    days = len(decades) // day
    if days < LEAST_DAYS:
        return EDGE_DECADES
    greatest = decades[len(decades) - days * day :].reshape(days, day).max(axis=1)
    lower, upper = np.quantile(greatest, [0.25, 0.75])
    return float(max(upper + EDGE_QUARTILES * (upper - lower), 2.0))


def _clean(z: Float) -> Float:
    return np.nan_to_num(np.clip(z, -Z_LIMIT, Z_LIMIT), nan=0.0)


def _means(clean: Float) -> Float:
    """Return the mean of each value and the four before it, float64[M, T]; none counts as 0."""
    padded = np.pad(clean, ((0, 0), (SHORT - 1, 0)))
    means: Float = np.lib.stride_tricks.sliding_window_view(padded, SHORT, axis=1).mean(axis=2)
    return means


def _precision(values: Float) -> Float:
    """Return the inverse of the covariance around zero, float64[M, M]."""
    usual = np.clip(values, -Z_USUAL, Z_USUAL)
    covariance = usual @ usual.T / usual.shape[1]
    spread = np.diag(covariance)
    # A signal that never was off has no say; a floor keeps the inverse finite.
    floor = max(float(spread.max()) * 1e-6, 1e-12)
    inverse: Float = np.linalg.inv(covariance + np.diag(np.maximum(RIDGE * spread, floor)))
    return inverse


def _distances(clean: Float, precision: Float) -> Float:
    """Return Mahalanobis distances of the values and of their short means, float64[T, 2]."""
    pairs = zip((clean, _means(clean)), precision, strict=True)
    squares = [np.einsum("it,ij,jt->t", v, p, v) for v, p in pairs]
    distances: Float = np.sqrt(np.maximum(np.array(squares).T, 0.0))
    return distances


def _rarity(trees: Any, distances: Float, farthest: Float) -> Float:
    """Return how easily each moment is isolated and how far it is out, averaged over the last.

    ``score_samples`` is ``-2**(-depth / usual depth)``: its logarithm counts splits.
    """
    splits = np.log2(-trees.score_samples(distances))
    beyond = np.log2(np.maximum(distances / np.maximum(farthest, 1e-12), 1.0)).sum(axis=1)
    padded = np.concatenate([np.full(HELD - 1, splits[0]), splits + beyond])
    held: Float = np.lib.stride_tricks.sliding_window_view(padded, HELD).mean(axis=1)
    return held
