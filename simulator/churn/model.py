"""The churn model: a scikit-learn pipeline that takes customers as mappings.

Logistic regression on logarithms, flags of what is unknown and one-hot categories: on this schema
as good as gradient boosting, and one customer costs a tenth of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.pipeline import Pipeline

from simulator.churn.schema import CATEGORIES, NUMBERS

Customers = Sequence[Mapping[str, Any]]

# A customer at or above this probability is of class "churn".
THRESHOLD = 0.5
CHURN, STAY = "churn", "stay"

_HELD_OUT_SHARE = 0.25
# A category seen less often says nothing; it is treated as an unknown one.
_SMALLEST_CATEGORY = 5
_INVERSE_PENALTY = 0.1
_ITERATIONS = 1000


class CustomerEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns customers into a matrix; unknown categories and missing values are all zeros."""

    def fit(self, customers: Customers, _target: object = None) -> CustomerEncoder:
        """Learn the scale of the numbers and the categories (list of the mappings, any target)."""
        logs = np.log1p(_numbers(customers))
        known = ~np.isnan(logs)
        count = np.maximum(known.sum(axis=0), 1)
        self.means_ = np.where(known, logs, 0.0).sum(axis=0) / count
        squares = np.where(known, logs - self.means_, 0.0) ** 2
        scales = np.sqrt(squares.sum(axis=0) / count)
        self.scales_ = np.where(scales > 0.0, scales, 1.0)
        self.places_: list[dict[str, int]] = []
        self.width_ = 2 * len(NUMBERS)
        for name in CATEGORIES:
            seen = Counter(_word(customer[name]) for customer in customers)
            kept = sorted(word for word, times in seen.items() if times >= _SMALLEST_CATEGORY)
            self.places_.append({word: self.width_ + i for i, word in enumerate(kept)})
            self.width_ += len(kept)
        return self

    def transform(self, customers: Customers) -> NDArray[np.float64]:
        """Return the matrix, shape (customers, width): numbers, what is known of them, one-hot."""
        logs = np.log1p(_numbers(customers))
        known = logs == logs
        matrix = np.zeros((len(customers), self.width_))
        count = len(NUMBERS)
        matrix[:, :count] = np.where(known, (logs - self.means_) / self.scales_, 0.0)
        matrix[:, count : 2 * count] = known
        for row, customer in enumerate(customers):
            for name, places in zip(CATEGORIES, self.places_, strict=True):
                place = places.get(_word(customer[name]))
                if place is not None:
                    matrix[row, place] = 1.0
        return matrix


def train_model(customers: Customers, churned: ArrayLike, seed: int) -> tuple[Pipeline, float]:
    """Train on all customers and measure on a held-out part of them.

    Parameters
    ----------
    customers : sequence of mapping
        Features; None where unknown.
    churned : array_like of int, shape (customers,)
        1 for churn.
    seed : int
        Fixes which quarter is held out.

    Returns
    -------
    Pipeline
        Trained on all customers.
    float
        Area under the ROC curve of a model trained on three quarters, on the held-out quarter.
    """
    target = np.asarray(churned)
    train, test = train_test_split(
        np.arange(len(target)), test_size=_HELD_OUT_SHARE, random_state=seed, stratify=target
    )
    trial = _pipeline().fit([customers[i] for i in train], target[train])
    held_out = scores(trial, [customers[i] for i in test])
    return _pipeline().fit(customers, target), float(roc_auc_score(target[test], held_out))


def cross_validated_auc(
    customers: Customers, churned: ArrayLike, seed: int, folds: int
) -> NDArray[np.float64]:
    """Return the area under the ROC curve on each held-out fold, shape (folds,).

    Parameters
    ----------
    customers, churned
        As for `train_model`.
    seed : int
        Fixes the folds, each with the same share of churn.
    folds : int
    """
    target = np.asarray(churned)
    found = []
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(
        target, target
    ):
        trial = _pipeline().fit([customers[i] for i in train], target[train])
        found.append(roc_auc_score(target[test], scores(trial, [customers[i] for i in test])))
    return np.array(found)


def scores(model: Pipeline, customers: Customers) -> NDArray[np.float64]:
    """Return each customer's probability of churn, shape (customers,)."""
    # model.predict_proba(customers)[:, 1], without its checks, which cost one customer more than
    # the prediction.
    matrix = model.named_steps["encode"].transform(customers)
    classifier = model.named_steps["classify"]
    return np.asarray(expit(matrix @ classifier.coef_[0] + classifier.intercept_[0]))


def _pipeline() -> Pipeline:
    return Pipeline(
        [
            ("encode", CustomerEncoder()),
            ("classify", LogisticRegression(C=_INVERSE_PENALTY, max_iter=_ITERATIONS)),
        ]
    )


def _numbers(customers: Customers) -> NDArray[np.float64]:
    """Return the numbers, NaN where None, shape (customers, numbers)."""
    return np.array(
        [[customer[name] for name in NUMBERS] for customer in customers], dtype=np.float64
    )


def _word(value: str | None) -> str:
    # A missing category is a word of its own; no real one is empty.
    return value or ""
