"""Which model each series of a signal has, and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.conditions import Conditions
from detector.durations import format_duration
from detector.lesson import lesson
from detector.models import registry
from detector.models.auto import Choice
from detector.models.baseline import DAY
from detector.past import read_past
from detector.prometheus import Prometheus
from detector.series import SeriesMatrix, Signal
from detector.settings import Settings, schedule

# With less, or where too little of it can be used, `stl` is `zscore` (see `models.stl.fit`).
LEAST_STL = 2 * DAY
HOUR = 3600


@dataclass(frozen=True)
class SeriesModel:
    """The model of one series, and why."""

    labels: dict[str, str]
    model: str
    reason: str


def explain(
    source: Prometheus, asked: Conditions, signal: Signal, now: int, settings: Settings
) -> tuple[SeriesModel, ...]:
    """Return the model that each series of a signal has since its last refit.

    Raises
    ------
    SourceError
        When samples or conditions cannot be read.
    """
    grid = schedule(settings)
    boundary = grid.boundary(signal.name, now)
    history = read_past(source, asked, signal, grid, boundary, settings.max_series)
    choices = in_force(signal.model, lesson(history, signal.policy.timezone))
    return tuple(
        SeriesModel(dict(labels), choice.model, choice.reason)
        for labels, choice in zip(history.labels, choices, strict=True)
    )


def in_force(model: str, history: SeriesMatrix) -> tuple[Choice, ...]:
    """Return what the fit of each series really is, which need not be what was asked for.

    Parameters
    ----------
    model : str
        As configured.
    history : SeriesMatrix
        As `registry.fit` takes it.
    """
    choices = list(registry.explain(model, history))
    if model == "auto" or not choices:
        return tuple(choices)
    fitted = registry.fit(model, history)
    if model == "stl":
        level = registry.fit("zscore", history).table
        for s in np.flatnonzero((fitted.table == level).all(axis=1) & fitted.ready):
            choices[s] = Choice("zscore", _no_stl(float(fitted.seconds[s])))
    return tuple(
        choice if ready else Choice(choice.model, f"{choice.reason}; warming up: less than a day")
        for choice, ready in zip(choices, fitted.ready, strict=True)
    )


def _no_stl(seconds: float) -> str:
    if seconds <= LEAST_STL:
        there = format_duration(round(seconds / HOUR) * HOUR)
        return f"stl, as configured, needs more than 2d; there is {there}"
    return "stl, as configured, has samples in too few hours, or of one value only"
