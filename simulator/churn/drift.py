"""How far the customers of a sliding window are from those the model was trained on.

Numbers are compared by the Wasserstein distance of the binned distributions in units of the
reference's standard deviation, categories by the population stability index (PSI). The reference
fixes the bins; a missing value is no bin, it is counted apart.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.errors import ConfigError
from simulator.churn.schema import CATEGORIES, FEATURES

WINDOW_SIZE = 1000
# Below this many rows the distance is mostly sampling noise, and no value is given: half a window
# reads 1.4 times what a full one does, which stays inside the range of normal after a restart.
SMALLEST_WINDOW = 500
# A sparse feature (ZONE2 is known for 6 % of the customers) needs at least this many known values.
SMALLEST_OBSERVED = 20

# Bin edges of numbers: every 5 %, and finer where heavy-tailed amounts move under drift.
_EDGE_QUANTILES = (*np.round(np.arange(0.05, 0.96, 0.05), 2).tolist(), 0.975, 0.99)
# The end bins are means of values clipped here, so that one huge amount does not set the scale.
_CLIP_QUANTILES = (0.001, 0.999)
_LARGEST_CATEGORIES = 20
# Usual floor of a share in the PSI: an empty bin counts as 1 in 10,000.
_SHARE_FLOOR = 1e-4


@dataclass(frozen=True)
class FeatureReference:
    """The distribution of one feature in the training data.

    Parameters
    ----------
    name : str
        Column of the Expresso schema.
    kind : "number" or "category"
        Which statistic applies.
    shares : tuple of float
        Share of each bin among the known values; sums to 1.
    missing_ratio : float
        Share of unknown values among all rows.
    edges : tuple of float
        Numbers: inner edges, ascending, one fewer than bins; bin b holds
        ``edges[b-1] <= value < edges[b]``.
    means : tuple of float
        Numbers: mean of the reference's values in each bin, which stands for the bin.
    std : float
        Numbers: standard deviation of the binned reference, the unit of the distance.
    categories : tuple of str
        Categories: the most frequent ones; the last bin is every other one.
    """

    name: str
    kind: Literal["number", "category"]
    shares: tuple[float, ...]
    missing_ratio: float
    edges: tuple[float, ...] = ()
    means: tuple[float, ...] = ()
    std: float = 0.0
    categories: tuple[str, ...] = ()

    @property
    def bins(self) -> int:
        """Number of bins; as a code it stands for a missing value."""
        return len(self.shares)

    @property
    def statistic(self) -> Literal["wasserstein", "psi"]:
        """The statistic that measures this feature's drift."""
        return "wasserstein" if self.kind == "number" else "psi"

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {category: code for code, category in enumerate(self.categories)}

    def code(self, value: Any) -> int:
        """Return the bin of one value; None and NaN give `bins`."""
        if value is None or value != value:
            return self.bins
        if self.kind == "number":
            return bisect_right(self.edges, value)
        return self._codes.get(value, self.bins - 1)


@dataclass(frozen=True)
class Reference:
    """The training data's distribution of every feature, in the order of `FEATURES`."""

    features: tuple[FeatureReference, ...]

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits that change with any bin or share."""
        text = json.dumps(self.to_json(), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def encode(self, customers: Iterable[Mapping[str, Any]]) -> NDArray[np.int32]:
        """Return the bin codes of customers.

        Parameters
        ----------
        customers : iterable of mapping
            Feature name to value; None or NaN is missing.

        Returns
        -------
        ndarray of int32, shape (customers, features)
            A code equal to the feature's `bins` is a missing value.
        """
        coders = [(feature.name, feature.code) for feature in self.features]
        codes = [[code(customer[name]) for name, code in coders] for customer in customers]
        return np.array(codes, dtype=np.int32).reshape(-1, len(coders))

    def to_json(self) -> list[dict[str, Any]]:
        """Return what `from_json` reads."""
        return [asdict(feature) for feature in self.features]

    @classmethod
    def from_json(cls, stored: Any) -> Reference:
        """Return the stored reference; ConfigError when it is not one."""
        try:
            features = tuple(
                FeatureReference(**{key: _frozen(value) for key, value in entry.items()})
                for entry in stored
            )
        except (TypeError, AttributeError) as error:
            raise ConfigError(
                "the drift reference is damaged; run simulator train again"
            ) from error
        if tuple(feature.name for feature in features) != FEATURES:
            raise ConfigError("the drift reference lacks features; run simulator train again")
        return cls(features)


def make_reference(columns: Mapping[str, ArrayLike]) -> Reference:
    """Fix bins and shares by training data.

    Parameters
    ----------
    columns : mapping of str to array_like, shape (rows,)
        Every feature; numbers as floats, categories as strings, None or NaN for missing.
    """
    return Reference(
        tuple(
            _category_reference(name, np.asarray(columns[name], dtype=object))
            if name in CATEGORIES
            else _number_reference(name, np.asarray(columns[name], dtype=np.float64))
            for name in FEATURES
        )
    )


def statistics_from_counts(feature: FeatureReference, counts: ArrayLike) -> NDArray[np.float64]:
    """Return the drift of one feature in many windows at once.

    Parameters
    ----------
    feature : FeatureReference
        Reference shares p, bin means m and standard deviation s.
    counts : array_like, shape (..., bins)
        Known values of each window in each bin; q are their shares.

    Returns
    -------
    ndarray of float64, shape (...)
        Numbers: sum over bins of |P - Q| (cumulated shares) times the step in m, over s, which is
        `scipy.stats.wasserstein_distance(m, m, p, q) / s`. Categories: sum of (q - p) ln(q / p),
        shares floored at 1e-4. NaN where a window has fewer than `SMALLEST_OBSERVED` values.
    """
    counted = np.asarray(counts, dtype=np.float64)
    total = counted.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = counted / total[..., None]
    expected = np.asarray(feature.shares)
    if feature.kind == "number":
        gaps = np.abs(np.cumsum(shares - expected, axis=-1))[..., :-1]
        value = gaps @ np.diff(feature.means) / feature.std if feature.std > 0 else 0.0 * total
    else:
        shares = np.maximum(shares, _SHARE_FLOOR)
        expected = np.maximum(expected, _SHARE_FLOOR)
        value = ((shares - expected) * np.log(shares / expected)).sum(axis=-1)
    return np.where(total >= SMALLEST_OBSERVED, value, np.nan)


class DriftWindow:
    """The last `size` customers, as counts per bin.

    Parameters
    ----------
    reference : Reference
        Fixes features and bins.
    size : int
        Rows kept.
    """

    def __init__(self, reference: Reference, size: int = WINDOW_SIZE):
        self.reference = reference
        self.size = size
        self.rows = 0
        # One slot more than bins per feature, for missing values; all features behind one another.
        slots = np.array([feature.bins + 1 for feature in reference.features])
        self._starts = np.concatenate([[0], np.cumsum(slots)])
        self._counts = np.zeros(int(self._starts[-1]), dtype=np.int64)
        self._ring = np.zeros((size, len(slots)), dtype=np.int64)
        self._next = 0

    def add(self, codes: NDArray[np.int32]) -> None:
        """Take in customers encoded by `Reference.encode`, oldest first; the oldest rows leave."""
        slots = codes[-self.size :] + self._starts[:-1]
        places = (self._next + np.arange(len(slots))) % self.size
        leaving = self._ring[places[places < self.rows]] if self.rows else self._ring[:0]
        np.subtract.at(self._counts, leaving.ravel(), 1)
        np.add.at(self._counts, slots.ravel(), 1)
        self._ring[places] = slots
        self.rows = min(self.rows + len(slots), self.size)
        self._next = int((self._next + len(slots)) % self.size)

    def statistics(self) -> dict[str, float]:
        """Return the drift of each feature; empty while rows are too few, without the unknown."""
        if self.rows < SMALLEST_WINDOW:
            return {}
        values = {
            feature.name: float(statistics_from_counts(feature, counts[:-1]))
            for feature, counts in self._by_feature()
        }
        return {name: value for name, value in values.items() if value == value}

    def missing_ratios(self) -> dict[str, float]:
        """Return each feature's share of missing values; empty while rows are too few."""
        if self.rows < SMALLEST_WINDOW:
            return {}
        return {
            feature.name: float(counts[-1] / self.rows) for feature, counts in self._by_feature()
        }

    def _by_feature(self) -> Iterable[tuple[FeatureReference, NDArray[np.int64]]]:
        bounds = zip(self._starts[:-1], self._starts[1:], strict=True)
        for feature, (start, end) in zip(self.reference.features, bounds, strict=True):
            yield feature, self._counts[start:end]


def _number_reference(name: str, values: NDArray[np.float64]) -> FeatureReference:
    known = values[~np.isnan(values)]
    missing_ratio = 1.0 - len(known) / max(len(values), 1)
    if not len(known):
        return FeatureReference(name, "number", (1.0,), missing_ratio, (), (0.0,), 0.0)
    # Edges are values that occur and above the smallest one, so no bin is empty.
    edges = np.unique(np.quantile(known, _EDGE_QUANTILES, method="higher"))
    edges = edges[edges > known.min()]
    codes = np.searchsorted(edges, known, side="right")
    counts = np.bincount(codes, minlength=len(edges) + 1)
    clipped = np.clip(known, *np.quantile(known, _CLIP_QUANTILES))
    means = np.bincount(codes, weights=clipped, minlength=len(counts)) / counts
    shares = counts / counts.sum()
    centre = shares @ means
    return FeatureReference(
        name,
        "number",
        _floats(shares),
        missing_ratio,
        edges=_floats(edges),
        means=_floats(means),
        std=float(np.sqrt(shares @ (means - centre) ** 2)),
    )


def _category_reference(name: str, values: NDArray[np.object_]) -> FeatureReference:
    known = [str(value) for value in values if value is not None and value == value]
    missing_ratio = 1.0 - len(known) / max(len(values), 1)
    words, counts = np.unique(np.array(known, dtype=np.str_), return_counts=True)
    # Most frequent first; equal ones by name, so that the order does not depend on the rows'.
    order = np.lexsort((words, -counts))[:_LARGEST_CATEGORIES]
    total = max(len(known), 1)
    others = counts.sum() - counts[order].sum()
    return FeatureReference(
        name,
        "category",
        _floats(np.append(counts[order], others) / total),
        missing_ratio,
        categories=tuple(words[order].tolist()),
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _floats(values: NDArray[Any] | Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
