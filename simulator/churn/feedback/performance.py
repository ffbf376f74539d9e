"""How good scores were, from counts of what became of the customers who had them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.churn.model import THRESHOLD

Floats = NDArray[np.float64]

# Higher is better in the first, lower in the second; a name says what the metric's label says.
SCORES = ("accuracy", "precision", "recall", "f1", "auc")
LOSSES = ("brier", "log_loss", "calibration_error")
_CALIBRATION_BINS = 10
# Of scikit-learn's log_loss: the smallest difference of a double from one.
_SMALLEST_CHANCE = float(np.finfo(np.float64).eps)


def tally(scores: ArrayLike, churned: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Count the outcomes of each distinct score.

    Parameters
    ----------
    scores : array_like of float, shape (N,)
        Predicted probabilities of churn.
    churned : array_like of bool, shape (N,)
        What became true.

    Returns
    -------
    tuple of ndarray, each of shape (B,)
        Distinct scores ascending, how many churned, how many stayed.
    """
    values, place = np.unique(np.asarray(scores, np.float64), return_inverse=True)
    truth = np.asarray(churned, bool)
    positive = np.bincount(place[truth], minlength=len(values))
    negative = np.bincount(place[~truth], minlength=len(values))
    return values, positive.astype(np.float64), negative.astype(np.float64)


def measures(scores: ArrayLike, churned: ArrayLike, stayed: ArrayLike) -> dict[str, Floats]:
    """Return each measure of `SCORES` and `LOSSES`.

    Counts of several sources add up: the sum of their counts gives the measures of all of them.

    Parameters
    ----------
    scores : array_like, shape (B,)
        Ascending probabilities.
    churned, stayed : array_like, shape (..., B)
        Customers of each score who churned and who stayed; leading axes are independent windows.

    Returns
    -------
    dict of str to ndarray, shape (...)
        NaN where undefined: nothing counted, for precision nobody predicted to churn, for recall
        nobody who churned, for auc one class only. f1 is 2 TP / (2 TP + FP + FN). The calibration
        error is the mean distance of mean score and share of churn over ten bins of equal width,
        weighted by their customers (Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602).

    Examples
    --------
    >>> found = measures([0.2, 0.8], churned=[0, 3], stayed=[4, 1])
    >>> float(found["accuracy"]), float(found["precision"]), float(found["recall"])
    (0.875, 0.75, 1.0)
    """
    p = np.asarray(scores, np.float64)
    positive, negative = np.asarray(churned, np.float64), np.asarray(stayed, np.float64)
    predicted = p >= THRESHOLD
    tp, fp = positive[..., predicted].sum(-1), negative[..., predicted].sum(-1)
    positives, negatives = positive.sum(-1), negative.sum(-1)
    total = positives + negatives
    fn = positives - tp
    # Mann and Whitney: pairs in which who churned had the higher score, ties half.
    below = np.cumsum(negative, axis=-1) - negative / 2.0
    clipped = np.clip(p, _SMALLEST_CHANCE, 1.0 - _SMALLEST_CHANCE)
    loss = -(positive @ np.log(clipped) + negative @ np.log1p(-clipped))
    brier = positive @ (1.0 - p) ** 2 + negative @ p**2
    bins = np.minimum((p * _CALIBRATION_BINS).astype(np.int64), _CALIBRATION_BINS - 1)
    members = (bins[:, None] == np.arange(_CALIBRATION_BINS)).astype(np.float64)
    gap = np.abs(((positive + negative) * p) @ members - positive @ members)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "accuracy": (tp + negatives - fp) / total,
            "precision": tp / (tp + fp),
            "recall": tp / positives,
            "f1": 2.0 * tp / (2.0 * tp + fp + fn),
            "auc": (positive * below).sum(-1) / (positives * negatives),
            "brier": brier / total,
            "log_loss": loss / total,
            "calibration_error": gap.sum(-1) / total,
        }
