"""Reads the past that a refit is made of, outside the cycle of its signal."""

from __future__ import annotations

from detector.absence import fill_zero
from detector.conditions import Conditions
from detector.masks import masked
from detector.prometheus import Prometheus
from detector.schedule import Schedule
from detector.series import SeriesMatrix, Signal


def read_past(
    source: Prometheus,
    asked: Conditions,
    signal: Signal,
    grid: Schedule,
    boundary: int,
    max_series: int,
) -> SeriesMatrix:
    """Return the history of a boundary, with the zeros that absence counts as and the mask.

    Raises
    ------
    SourceError
        When samples or conditions cannot be read.
    """
    first, last = grid.history_times(boundary)
    history = source.read(signal.queries, first, last, grid.profile, max_series).matrix
    if signal.policy.missing == "zero" and history.values.size:
        history = fill_zero(history, source.presence(first, last, grid.profile))
    return masked(history, signal.conditions, asked.ask)
