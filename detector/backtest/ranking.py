"""VUS-PR: how well scores rank the steps of incidents above all others, whatever the threshold.

Source: Paparrizos et al., "Volume Under the Surface", PVLDB 15 (2022),
doi:10.14778/3551793.3551830;
in the variant of TSB-AD with rank-spaced thresholds. The mean over buffer widths of the area under
range-based precision and recall::

    TP(k)  = sum of soft labels among the npred(k) steps with a score >= threshold k
    recall = min(TP / (P + soft labels outside incidents that were hit / 2), 1) * share found
    area   = sum over k of (recall(k) - recall(k - 1)) * TP(k) / npred(k)
"""

from __future__ import annotations

import numpy as np

from detector.series import Bool, Float

WINDOW = 20
THRESHOLDS = 250


def vus_pr(label: Bool, score: Float, window: int = WINDOW) -> float:
    """Return the volume under the precision-recall surface, 0 to 1; NaN without incidents.

    Parameters
    ----------
    label : bool[T]
        Where an incident is.
    score : float64[T]
        NaN, no score, ranks lowest.
    window : int
        Widest buffer, steps; half of it lies on each side of an incident.
    """
    edges = np.flatnonzero(np.diff(label, prepend=False, append=False)).reshape(-1, 2)
    if not len(edges):
        return float("nan")
    known = np.nan_to_num(score, nan=0.0)
    order = np.argsort(-known, kind="stable")
    ranked = known[order]
    thresholds = ranked[np.linspace(0, len(label) - 1, THRESHOLDS).astype(int)]
    predicted = np.searchsorted(-ranked, -thresholds, side="right")
    widths = range(window + 1)
    return float(
        np.mean([_area(label, edges, known, order, thresholds, predicted, w) for w in widths])
    )


def _area(
    label: Bool,
    edges: np.ndarray,
    score: Float,
    order: np.ndarray,
    thresholds: Float,
    predicted: np.ndarray,
    width: int,
) -> float:
    """Return the area for one buffer width."""
    half, count = width // 2, len(label)
    soft = label.astype(float)
    for distance in range(1, half + 1):
        share = np.sqrt(1 - distance / width)
        for at in (edges[:, 1] - 1 + distance, edges[:, 0] - distance):
            np.add.at(soft, at[(at >= 0) & (at < count)], share)
    soft = np.minimum(soft, 1.0)
    hit = np.append(0.0, np.cumsum(soft[order]))[predicted]
    buffer = np.append(0.0, np.cumsum(np.where(label, 0.0, soft)[order]))[predicted]
    # Incidents whose buffers overlap are one.
    first = np.append(True, edges[1:, 0] - half > edges[:-1, 1] - 1 + half)
    last = np.append(first[1:], True)
    begins = np.maximum(edges[first, 0] - half, 0)
    ends = np.minimum(edges[last, 1] + half, count)
    highest = np.sort([score[a:b].max() for a, b in zip(begins, ends, strict=True)])
    found = 1 - np.searchsorted(highest, thresholds, side="left") / len(highest)
    recall = np.minimum(hit / (label.sum() + buffer / 2), 1.0) * found
    return float(np.sum(np.diff(recall, prepend=0.0) * hit / predicted))
