"""Fixes the bins and shares of every column by training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.churn.model import CHURN, STAY, THRESHOLD
from simulator.churn.reference import CLASS, SCORE, FeatureReference, Reference
from simulator.churn.schema import CATEGORIES, FEATURES

# Bin edges of numbers: every 5 %, and finer where heavy-tailed amounts move under drift.
_EDGE_QUANTILES = (*np.round(np.arange(0.05, 0.96, 0.05), 2).tolist(), 0.975, 0.99)
# The end bins are means of values clipped here, so that one huge amount does not set the scale.
_CLIP_QUANTILES = (0.001, 0.999)
_LARGEST_CATEGORIES = 20


def make_reference(columns: Mapping[str, ArrayLike], scores: ArrayLike | None = None) -> Reference:
    """Fix bins and shares by training data.

    Parameters
    ----------
    columns : mapping of str to array_like, shape (rows,)
        Every feature; numbers as floats, categories as strings, None or NaN for missing.
    scores : array_like of float, shape (rows,), optional
        The model's probability of churn for the same rows; without it predictions are not compared.
    """
    features = tuple(
        _category_reference(name, np.asarray(columns[name], dtype=object))
        if name in CATEGORIES
        else _number_reference(name, np.asarray(columns[name], dtype=np.float64))
        for name in FEATURES
    )
    if scores is None:
        return Reference(features)
    chances = np.asarray(scores, dtype=np.float64)
    classes = np.where(chances >= THRESHOLD, CHURN, STAY).astype(object)
    return Reference(
        features, (_number_reference(SCORE, chances), _category_reference(CLASS, classes))
    )


def _number_reference(name: str, values: NDArray[np.float64]) -> FeatureReference:
    known = values[~np.isnan(values)]
    missing_ratio = 1.0 - len(known) / max(len(values), 1)
    if not len(known):
        return FeatureReference(name, "number", (1.0,), missing_ratio, 0, means=(0.0,))
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
        len(known),
        edges=_floats(edges),
        means=_floats(means),
        std=float(np.sqrt(shares @ (means - centre) ** 2)),
        lowest=float(known.min()),
        highest=float(known.max()),
    )


def _category_reference(name: str, values: NDArray[np.object_]) -> FeatureReference:
    known = [str(value) for value in values if value is not None and value == value]
    missing_ratio = 1.0 - len(known) / max(len(values), 1)
    words, counts = np.unique(np.array(known, dtype=np.str_), return_counts=True)
    # Most frequent first; equal ones by name, so that the order does not depend on the rows'.
    order = np.lexsort((words, -counts))
    kept, rare = order[:_LARGEST_CATEGORIES], order[_LARGEST_CATEGORIES:]
    total = max(len(known), 1)
    return FeatureReference(
        name,
        "category",
        _floats(np.append(counts[kept], counts[rare].sum()) / total),
        missing_ratio,
        len(known),
        categories=tuple(words[kept].tolist()),
        rare=tuple(words[rare].tolist()),
    )


def _floats(values: NDArray[Any] | Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
