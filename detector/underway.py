"""Incidents that are under way when a signal is fitted anew: their samples are not yet the past."""

from __future__ import annotations

import numpy as np

from detector.kernels import NARROWEST, WIDEST
from detector.models.baseline import DAY, Baseline
from detector.series import Bool, Float, Int, SeriesMatrix

# Samples farther than so many scales from what is expected, to one side, may be of an incident.
FAR = 4.0
# As many of those since it began have to be, ...
SHARE = 0.8
# ... and it has to have as many samples.
LEAST_SAMPLES = 3
# With less history what looks like an incident may be a Monday.
LEAST_SECONDS = 14 * DAY
# What has lasted longer is learnt.
LONGEST = DAY // 4


def under_way(history: SeriesMatrix, baseline: Baseline) -> Int:
    """Return how many of the last samples of each series are of an incident that goes on.

    Parameters
    ----------
    history : SeriesMatrix
        [S, T] samples on the profile grid up to the boundary.
    baseline : Baseline
        Fitted to it.

    Returns
    -------
    int64[S]
        0 where there is none, or less than two weeks of history; six hours' at most.
    """
    n = min(LONGEST // history.step, history.values.shape[1])
    newest_first = slice(None, -n - 1, -1)
    x, expected = history.values[:, newest_first], baseline.expected[:, newest_first]
    z = (x - expected) / (baseline.scale[:, None] * _widening(expected, baseline.growth))
    run = np.maximum(_lasting(z > FAR, z == z), _lasting(z < -FAR, z == z))
    return np.where(baseline.seconds >= LEAST_SECONDS, run, 0)


def _lasting(far: Bool, known: Bool) -> Int:
    """Return the longest run of the first samples, the last of it far, of which most are far."""
    number = np.arange(1, far.shape[1] + 1)
    most = far.cumsum(axis=1) >= SHARE * known.cumsum(axis=1)
    run: Int = np.where(far & most, number, 0).max(axis=1, initial=0)
    return np.where(run >= LEAST_SAMPLES, run, 0)


def _widening(expected: Float, growth: Float) -> Float:
    """See `kernels.widening`."""
    share = np.clip(expected / growth[:, 1:], NARROWEST, WIDEST)
    wide: Float = share ** growth[:, :1]
    return wide
