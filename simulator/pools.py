"""Turns customers into what the seeded past has to know of them: bins, scores and classes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.churn import model as churn_model
from simulator.churn.artefact import Artefact
from simulator.churn.quality import never_seen
from simulator.churn.reference import Reference


@dataclass(frozen=True)
class Pool:
    """Customers to draw requests from, as the service sees them.

    Parameters
    ----------
    codes : ndarray of uint8, shape (R, F)
        Bin of every feature by the model's reference; `SlidingCounts`' last bin is missing.
    scores : ndarray of float64, shape (R,)
        The model's churn probability.
    churns : ndarray of bool, shape (R,)
        Whether that is class "churn".
    never_seen : dict of str to ndarray of bool, shape (R,)
        By check of `simulator.churn.quality`: whether it fails for what training never saw.
    churned : ndarray of bool, shape (R,)
        What becomes of them.
    """

    codes: NDArray[np.uint8]
    scores: NDArray[np.float64]
    churns: NDArray[np.bool_]
    never_seen: dict[str, NDArray[np.bool_]]
    churned: NDArray[np.bool_]


def make_pool(loaded: Artefact, stream: Iterator[tuple[dict[str, Any], bool]], rows: int) -> Pool:
    """Return the first `rows` customers of a stream as the model and its reference see them."""
    customers, churned = zip(*itertools.islice(stream, rows), strict=True)
    scores = churn_model.scores(loaded.model, customers)
    placed = loaded.reference.place(customers, scores)
    return Pool(
        pool_codes(loaded.reference, customers),
        scores,
        scores >= churn_model.THRESHOLD,
        never_seen(loaded.reference, placed),
        np.array(churned),
    )


def pool_codes(reference: Reference, customers: list[dict[str, Any]]) -> NDArray[np.uint8]:
    """Return bin codes, shape (R, F), in which all features share one code for missing."""
    codes = reference.encode(customers)
    bins = np.array([feature.bins for feature in reference.features])
    return np.where(codes == bins, bins.max(), codes).astype(np.uint8)
