"""The tail of a channel: how rare a magnitude is, by what the past shows.

Each routine has a naive twin in tests/naive.py. NaN is a missing sample everywhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from detector.histograms import BUCKETS, buckets_of, histogram_quantile, largest_of
from detector.kernels import jit, quantile
from detector.series import Float

# Rarity, in decades, is cut off here.
EVIDENCE_LIMIT = 12.0
# Two quantiles of the past, a decade apart, carry the tail of a channel.
LOW, HIGH = 0.90, 0.99
# One decade of rarity is at least this far on the log1p axis: a past without any tail must not
# make the edge touch the noise. A mean of hours is nearer to it; what the last hour leans to is
# further away, since what was expected may be off for an hour.
LEAST_DECADE, LEAST_OF_HOURS, LEAST_OF_LEANINGS = 0.35, 0.25, 0.45
# The rarest thing the past shows often enough to count: a largest value of a day that every
# fourth day reaches.
KNOT = 0.75
KNOT_RATE = -math.log(KNOT)
# It counts where the largest of all days is hardly larger, on the log1p axis: what comes back
# alike belongs to the series, incidents differ.
PLATEAU = 0.3
LEAST_DAYS = 3
# Of two weeks and more, what lies as far beyond all that three days reach is an incident: hours of
# it would be a hundredth of the past, and hide the next one for weeks.
INCIDENT_DAYS, SHARED = 14, 3


@jit
def fit_tail(magnitudes: np.ndarray, day: int, least: float, tail: Float) -> None:
    """Fit the tail of a channel's past magnitudes, for `tail_evidence`.

    Parameters
    ----------
    magnitudes : float32[N]
        Not negative, oldest first; NaN is skipped, and so are incidents of one or two days.
    day : int
        Samples per day.
    least : float
        Least distance of a decade.
    tail : float64[4]
        Output: log1p of the 90 % quantile; distance to the 99 % quantile; log1p of the largest
        value that every fourth day reaches, and its rarity in decades. Both are infinite while
        fewer than three days are known, and where some day reached much more.
    """
    n = magnitudes.shape[0]
    days = n // day
    largest = np.zeros(days)
    m = 0
    for d in range(days):
        largest[m] = largest_of(magnitudes[n - (d + 1) * day : n - d * day])
        m += not math.isnan(largest[m])
    buckets = buckets_of(magnitudes)
    if m >= INCIDENT_DAYS:
        shared = np.partition(largest[:m], m - SHARED)[m - SHARED]
        _leave_out(magnitudes, math.expm1(math.log1p(shared) + PLATEAU), buckets)
    low = math.log1p(histogram_quantile(buckets, LOW))
    high = math.log1p(histogram_quantile(buckets, HIGH))
    tail[0] = low
    tail[1] = max(high - low, least)
    tail[2] = np.inf
    tail[3] = np.inf
    if m >= LEAST_DAYS:
        knot = math.log1p(quantile(largest[:m], KNOT))
        if math.log1p(largest[:m].max()) - knot < PLATEAU:
            tail[2] = knot
            tail[3] = math.log10(max(day / KNOT_RATE, 10.0))


@jit
def _leave_out(magnitudes: np.ndarray, limit: float, buckets: np.ndarray) -> None:
    """Take magnitudes beyond a limit for missing ones."""
    most: Any = np.float32(limit)
    for i in range(buckets.shape[0]):
        buckets[i] = BUCKETS if magnitudes[i] > most else buckets[i]


@jit
def tail_evidence(magnitude: float, tail: Float, trust: float, prior: float) -> float:
    """How rare a magnitude is, in decades: about -log10 of its tail probability.

    The tail of log1p(magnitude) is exponential through two quantiles of the past; what every
    fourth day shows is no rarer than that. While the past is short a fixed prior has the say::

        rarity   = 1 + (g - tail[0]) / tail[1]                     with g = log1p(magnitude)
        rarity   = min(rarity, tail[3] + max(g - tail[2], 0) / tail[1])
        evidence = trust * rarity + (1 - trust) * prior * g

    Parameters
    ----------
    magnitude : float
        Not negative.
    tail : float64[4]
        From `fit_tail`.
    trust : float
        Weight of the past against the prior, 0..1.
    prior : float
        Slope of the prior.
    """
    # All of the array is read at once: what is done with it after a branch is counted as a user
    # of it, which costs more than the arithmetic.
    low, decade, knot, usual = tail[0], tail[1], tail[2], tail[3]
    g = math.log1p(magnitude)
    rarity = 1.0 + (g - low) / decade
    if rarity > usual:
        rarity = min(rarity, usual + max(g - knot, 0.0) / decade)
    value = trust * rarity + (1.0 - trust) * prior * g
    evidence: float = min(max(value, 0.0), EVIDENCE_LIMIT)
    return evidence
