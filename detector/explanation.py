"""Which model each series of a signal has, and why."""

from __future__ import annotations

from dataclasses import dataclass

from detector.conditions import Conditions
from detector.lesson import lesson
from detector.models import registry
from detector.past import read_past
from detector.prometheus import Prometheus
from detector.series import Signal
from detector.settings import Settings, schedule


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
    choices = registry.explain(signal.model, lesson(history, signal.policy.timezone))
    return tuple(
        SeriesModel(dict(labels), choice.model, choice.reason)
        for labels, choice in zip(history.labels, choices, strict=True)
    )
