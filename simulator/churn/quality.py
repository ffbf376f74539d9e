"""Counts customers whose data is not as training saw it, by what is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from simulator.churn.reference import Reference

UNSEEN, RANGE, SCHEMA, DUPLICATE = "unseen_category", "out_of_range", "schema", "duplicate"
CHECKS = (UNSEEN, RANGE, SCHEMA, DUPLICATE)


@dataclass
class Tally:
    """Totals since the process started; they outlive the model.

    Parameters
    ----------
    checked : int
        Customers looked at; a refused request counts as one.
    violations : dict of str to int
        Of these, by check.
    last_prediction : float
        Unix second of the newest prediction, 0 before the first.
    """

    checked: int = 0
    violations: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CHECKS, 0))
    last_prediction: float = 0.0

    def refused(self) -> None:
        """Count a request that breaks the schema."""
        self.checked += 1
        self.violations[SCHEMA] += 1


def never_seen(reference: Reference, placed: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Return which predictions have an unseen category (`UNSEEN`) or number (`RANGE`).

    Parameters
    ----------
    reference : Reference
    placed : ndarray of int64, shape (N, columns)
        From `Reference.place`.
    """
    columns = len(reference.features)
    bins = np.array([feature.bins for feature in reference.features])
    outside = placed[:, :columns] - reference.starts[:columns] > bins
    categories = np.array([feature.kind == "category" for feature in reference.features])
    return {
        UNSEEN: np.asarray(outside[:, categories].any(axis=1)),
        RANGE: np.asarray(outside[:, ~categories].any(axis=1)),
    }


def digests(customers: Sequence[Mapping[str, Any]]) -> NDArray[np.uint64]:
    """Return 64 bits for each customer, equal for equal ones in any process."""
    found = [hashlib.blake2b(orjson.dumps(one), digest_size=8).digest() for one in customers]
    return np.frombuffer(b"".join(found), dtype=np.uint64)
