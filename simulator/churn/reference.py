"""The distribution of the training data, which fixes the bins of everything that is compared.

A missing value is no bin, it is counted apart; so is one that training never saw, but that one also
counts in the end bin it falls into.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.errors import ConfigError
from simulator.churn.model import CHURN, STAY, THRESHOLD
from simulator.churn.schema import FEATURES

# What the model says, compared like a feature.
SCORE, CLASS = "score", "class"

# Behind the bins: missing, and what training never saw on either side.
_APART = 3


@dataclass(frozen=True)
class FeatureReference:
    """The distribution of one column in the training data.

    Parameters
    ----------
    name : str
        Column of the Expresso schema, or `SCORE` or `CLASS`.
    kind : "number" or "category"
        Which statistics apply.
    shares : tuple of float
        Share of each bin among the known values; sums to 1.
    missing_ratio : float
        Share of unknown values among all rows.
    known : int
        Known values the shares are made of.
    edges : tuple of float
        Numbers: inner edges, ascending, one fewer than bins; bin b holds
        ``edges[b-1] <= value < edges[b]``.
    means : tuple of float
        Numbers: mean of the reference's values in each bin, which stands for the bin.
    std : float
        Numbers: standard deviation of the binned reference, the unit of the distance.
    lowest, highest : float
        Numbers: the range training saw.
    categories : tuple of str
        Categories: the most frequent ones; the last bin is every other one.
    rare : tuple of str
        Categories: the other ones that training saw.
    """

    name: str
    kind: Literal["number", "category"]
    shares: tuple[float, ...]
    missing_ratio: float
    known: int
    edges: tuple[float, ...] = ()
    means: tuple[float, ...] = ()
    std: float = 0.0
    lowest: float = 0.0
    highest: float = 0.0
    categories: tuple[str, ...] = ()
    rare: tuple[str, ...] = ()

    @property
    def bins(self) -> int:
        """Number of bins; as a slot it stands for a missing value."""
        return len(self.shares)

    @property
    def width(self) -> int:
        """Number of slots: the bins, missing, below the known range, above it or never seen."""
        return self.bins + _APART

    @property
    def statistic(self) -> Literal["wasserstein", "psi"]:
        """The statistic that `churn_feature_drift` gives for this column."""
        return "wasserstein" if self.kind == "number" else "psi"

    @cached_property
    def _slots(self) -> dict[str | None, int]:
        places: dict[str | None, int] = dict.fromkeys(self.rare, self.bins - 1)
        places.update({category: slot for slot, category in enumerate(self.categories)})
        places[None] = self.bins
        return places

    def slots(self, values: Sequence[Any]) -> NDArray[np.int64]:
        """Return the slot of each value, shape (values,): its bin, or what it is counted as.

        None and NaN are `bins`; a number below what training saw is ``bins + 1``, one above it and
        a category that training never saw are ``bins + 2``.
        """
        if self.kind == "category":
            never_seen = self.width - 1
            places = self._slots
            return np.array(
                [places.get(v, never_seen) if v == v else self.bins for v in values], np.int64
            )
        numbers = np.array(values, dtype=np.float64)
        slots = np.searchsorted(self.edges, numbers, side="right").astype(np.int64)
        slots[numbers < self.lowest] = self.bins + 1
        slots[numbers > self.highest] = self.bins + 2
        slots[np.isnan(numbers)] = self.bins
        return slots

    def folded(self, counts: ArrayLike) -> NDArray[np.int64]:
        """Return counts per bin, shape (..., bins), from counts per slot, shape (..., width)."""
        counted = np.asarray(counts)
        inside = counted[..., : self.bins].copy()
        inside[..., 0] += counted[..., self.bins + 1]
        inside[..., -1] += counted[..., self.bins + 2]
        return inside


@dataclass(frozen=True)
class Reference:
    """The training data's distributions.

    Parameters
    ----------
    features : tuple of FeatureReference
        In the order of `FEATURES`.
    outputs : tuple of FeatureReference
        `SCORE` and `CLASS` of the model on the training data; empty when they are not known.
    """

    features: tuple[FeatureReference, ...]
    outputs: tuple[FeatureReference, ...] = ()

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits that change with any bin or share."""
        text = json.dumps(self.to_json(), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def columns(self) -> tuple[FeatureReference, ...]:
        """All that is compared: features, then outputs."""
        return self.features + self.outputs

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """First slot of each column with all columns behind one another, and the end."""
        return np.cumsum([0, *(column.width for column in self.columns)])

    def place(self, customers: Sequence[Mapping[str, Any]], scores: ArrayLike) -> NDArray[np.int64]:
        """Return the slots of predictions.

        Parameters
        ----------
        customers : sequence of mapping
            Feature name to value; None or NaN is missing.
        scores : array_like of float, shape (N,)
            The model's probability of churn for each.

        Returns
        -------
        ndarray of int64, shape (N, columns)
            Positions in a vector of counts of length ``starts[-1]``.
        """
        chances = np.asarray(scores, dtype=np.float64)
        said: dict[str, Sequence[Any]] = {
            SCORE: chances.tolist(),
            CLASS: np.where(chances >= THRESHOLD, CHURN, STAY).tolist(),
        }
        placed = [column.slots([c[column.name] for c in customers]) for column in self.features]
        placed += [column.slots(said[column.name]) for column in self.outputs]
        return np.stack(placed, axis=1) + self.starts[:-1]

    def encode(self, customers: Iterable[Mapping[str, Any]]) -> NDArray[np.int32]:
        """Return the bins of customers' features, shape (customers, features).

        A code equal to the feature's `bins` is a missing value; what training never saw is in the
        end bin it falls into.
        """
        rows = list(customers)
        codes = np.empty((len(rows), len(self.features)), np.int32)
        for position, feature in enumerate(self.features):
            slots = feature.slots([row[feature.name] for row in rows])
            slots[slots == feature.bins + 1] = 0
            slots[slots == feature.bins + 2] = feature.bins - 1
            codes[:, position] = slots
        return codes

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Return what `from_json` reads."""
        return {
            "features": [asdict(column) for column in self.features],
            "outputs": [asdict(column) for column in self.outputs],
        }

    @classmethod
    def from_json(cls, stored: Any) -> Reference:
        """Return the stored reference; ConfigError when it is not one."""
        try:
            features, outputs = (
                tuple(
                    FeatureReference(**{key: _frozen(value) for key, value in entry.items()})
                    for entry in stored[part]
                )
                for part in ("features", "outputs")
            )
        except (TypeError, AttributeError, KeyError, IndexError) as error:
            raise ConfigError(
                "the drift reference is damaged; run simulator train again"
            ) from error
        names = tuple(column.name for column in outputs)
        if tuple(f.name for f in features) != FEATURES or names not in ((), (SCORE, CLASS)):
            raise ConfigError("the drift reference lacks features; run simulator train again")
        return cls(features, outputs)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
