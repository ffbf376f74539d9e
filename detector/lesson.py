"""What of a history a model is given: samples to be learnt from, at the hours the clocks showed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from detector import names
from detector.localtime import utc_offsets
from detector.series import Int, SeriesMatrix


def lesson(history: SeriesMatrix, timezone: str) -> SeriesMatrix:
    """Return a history for `registry.fit`.

    Parameters
    ----------
    history : SeriesMatrix
        [S, T] samples on the profile grid.
    timezone : str
        IANA name of the zone whose clock the season follows; empty for UTC.

    Returns
    -------
    SeriesMatrix
        Of the same shape, without mask: see `taught` and `localised`.
    """
    return localised(taught(history), timezone)


def taught(samples: SeriesMatrix) -> SeriesMatrix:
    """Return the samples with NaN for those that are not to be learnt from."""
    if samples.mask is None:
        return samples
    values = np.where(samples.marked(names.Mask.UNTAUGHT), np.nan, samples.values)
    return replace(samples, values=values, mask=None)


def local_times(times: Int, timezone: str, profile: int) -> Int:
    """Return what the clocks of a zone show, moved by whole slots of the profile only."""
    local: Int = times + utc_offsets(times, timezone) // profile * profile
    return local


def localised(history: SeriesMatrix, timezone: str) -> SeriesMatrix:
    """Return a history at local times: an hour that was skipped is missing, of one that came
    twice the second counts."""
    if not timezone or not len(history.times):
        return history
    cells = local_times(history.times, timezone, history.step) // history.step
    count = len(cells)
    at = count - 1 - (cells[-1] - cells)
    kept = at >= 0
    values = np.full(history.values.shape, np.nan)
    absent = np.ones(history.absent.shape, bool)
    values[:, at[kept]] = history.values[:, kept]
    absent[:, at[kept]] = history.absent[:, kept]
    times = (cells[-1] - count + 1 + np.arange(count)) * history.step
    return replace(history, times=times, values=values, absent=absent, mask=None)
