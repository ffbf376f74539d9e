"""How far the binned values of a window are from those of the training data."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kstwo

from simulator.churn.reference import FeatureReference

Statistic = Literal["wasserstein", "psi", "jensen_shannon"]
STATISTICS: tuple[Statistic, ...] = ("wasserstein", "psi", "jensen_shannon")
# A sparse feature (ZONE2 is known for 6 % of the customers) needs at least this many known values.
SMALLEST_OBSERVED = 20
# Usual floor of a share in the PSI: an empty bin counts as 1 in 10,000.
_SHARE_FLOOR = 1e-4

Floats = NDArray[np.float64]


def applicable(column: FeatureReference) -> tuple[Statistic, ...]:
    """Return the statistics that a column has: categories have no order, so no Wasserstein."""
    return STATISTICS if column.kind == "number" else STATISTICS[1:]


def distance(column: FeatureReference, counts: ArrayLike, statistic: Statistic) -> Floats:
    """Return one statistic of one column in many windows at once.

    Parameters
    ----------
    column : FeatureReference
        Reference shares p, bin means m and standard deviation s.
    counts : array_like, shape (..., bins)
        Known values of each window in each bin; q are their shares.
    statistic : str
        wasserstein: sum over bins of |P - Q| (cumulated shares) times the step in m, over s, which
        is `scipy.stats.wasserstein_distance(m, m, p, q) / s`. psi: sum of (q - p) ln(q / p), shares
        floored at 1e-4. jensen_shannon: `scipy.spatial.distance.jensenshannon(p, q)`, the root of
        the divergence in nats, at most 0.83.

    Returns
    -------
    ndarray of float64, shape (...)
        NaN where a window has fewer than `SMALLEST_OBSERVED` values or the reference has none.
    """
    counted = np.asarray(counts, dtype=np.float64)
    total = counted.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        q = counted / total[..., None]
        p = np.asarray(column.shares)
        if statistic == "wasserstein":
            gaps = np.abs(np.cumsum(q - p, axis=-1))[..., :-1]
            value = gaps @ np.diff(column.means) / column.std if column.std > 0 else 0.0 * total
        elif statistic == "psi":
            q, p = np.maximum(q, _SHARE_FLOOR), np.maximum(p, _SHARE_FLOOR)
            value = ((q - p) * np.log(q / p)).sum(axis=-1)
        else:
            middle = (p + q) / 2
            halves = _relative_entropy(p, middle) + _relative_entropy(q, middle)
            value = np.sqrt(np.maximum(halves / 2, 0.0))
    return np.where((total >= SMALLEST_OBSERVED) & (column.known > 0), value, np.nan)


def statistics_from_counts(column: FeatureReference, counts: ArrayLike) -> Floats:
    """Return the one statistic that stands for a column's drift: `FeatureReference.statistic`."""
    return distance(column, counts, column.statistic)


def ks_p_value(column: FeatureReference, counts: ArrayLike) -> float | None:
    """Return the two-sided Kolmogorov-Smirnov p-value of one window, None where there is none.

    It is `scipy.stats.ks_2samp(method="asymp")` of the bins of both samples. Binning makes the
    greatest gap smaller, so a small p-value is small without bins too.
    """
    counted = np.asarray(counts, dtype=np.float64)
    seen = float(counted.sum())
    if column.kind != "number" or seen < SMALLEST_OBSERVED or not column.known:
        return None
    gap = np.abs(np.cumsum(counted / seen - np.asarray(column.shares))).max()
    return float(np.clip(kstwo.sf(gap, np.round(effective(seen, column.known))), 0.0, 1.0))


def effective(window: ArrayLike, reference: float) -> Floats:
    """Return the size of a sample that differs from the truth as two samples from each other."""
    sizes = np.asarray(window, dtype=np.float64)
    return sizes * reference / (sizes + reference)


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    # scipy.special.rel_entr costs three times as much on these few bins.
    return np.asarray(np.where(p > 0.0, p * np.log(p / q), 0.0).sum(axis=-1))
