"""Lets absence count as zero in a file, as far as its own series tell when they could be there."""

from __future__ import annotations

import numpy as np

from detector.absence import bearers, fill_zero, identity_of
from detector.backtest.recording import Recording
from detector.series import Bool, Labels, SeriesMatrix

LATEST = np.iinfo(np.int64).max


def with_zeros(name: str, recording: Recording) -> tuple[SeriesMatrix, list[str]]:
    """Return the samples of a signal whose policy is ``missing="zero"``, and what to say of them.

    A file has no `up`: only other series with the same job and instance tell. Theirs must be the
    same times, as in a table or an answer of the range API: of two that were scraped at seconds
    of their own one has no sample in the step of the other, though nothing is missing.

    Parameters
    ----------
    name : str
        Of the signal, for messages.
    recording : Recording

    Returns
    -------
    SeriesMatrix, list of str
    """
    samples, stamps = recording.samples, recording.stamps
    alike = bearers(samples.labels)
    telling: dict[Labels, bool] = {}

    def siblings(identity: Labels) -> Bool:
        rows = list(alike(identity))
        there = ~samples.absent[rows]
        some: Bool = np.any(there, axis=0)
        first = np.where(there, stamps[rows], LATEST).min(axis=0)
        last = np.where(there, stamps[rows], 0).max(axis=0)
        telling[identity] = len(rows) > 1 and np.array_equal(first[some], last[some])
        return some if telling[identity] else np.zeros_like(some)

    filled = fill_zero(samples, {}, siblings)
    untold = sum(not telling[identity_of(key)] for key in samples.labels)
    if not untold:
        return filled, []
    note = (
        f"{name}: missing: zero: not in force for {untold} of {len(samples.labels)} series of a "
        "file, which has no up: no other series of their job and instance has the same times"
    )
    return filled, [note]
