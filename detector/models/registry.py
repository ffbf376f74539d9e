"""The models by name: what each can do, what it costs, and how it is fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from detector.models import auto, seasonal, stl, zscore
from detector.models.auto import Choice
from detector.models.baseline import DAY, Baseline
from detector.series import SeriesMatrix

# Sums and differences of a month of samples this large stay within the floating range.
LARGEST = 1e300


@dataclass(frozen=True)
class Model:
    """What a model can do.

    Parameters
    ----------
    summary : str
        What it learns, in a few words.
    expects : bool
        It has an expected value and a band.
    joint : bool
        It judges the signals of a group together, not one series.
    seasonal : bool
        It knows hours and weekdays.
    least_seconds : int
        History it needs before it says anything.
    cost : str
        CPU of a fit of four weeks at five minutes, as measured (tests/bench/models.py).
    fit : callable, optional
        From the history to a baseline; None for a joint model, which is fitted on the deviations
        of others (`forest.fit`).
    """

    summary: str
    expects: bool
    joint: bool
    seasonal: bool
    least_seconds: int
    cost: str
    fit: Callable[[SeriesMatrix], Baseline] | None


MODELS: dict[str, Model] = {
    "seasonal": Model(
        "a blend of day and week profiles and the level of the last day",
        expects=True,
        joint=False,
        seasonal=True,
        least_seconds=DAY,
        cost="0.5 ms a series",
        fit=seasonal.fit,
    ),
    "zscore": Model(
        "the level of the last day and a robust spread",
        expects=True,
        joint=False,
        seasonal=False,
        least_seconds=DAY,
        cost="0.4 ms a series",
        fit=zscore.fit,
    ),
    "stl": Model(
        "a season that changes slowly, by LOESS on hourly medians",
        expects=True,
        joint=False,
        seasonal=True,
        least_seconds=DAY,
        cost="70 ms a series; 2 ms with less than two weeks",
        fit=stl.fit,
    ),
    "auto": Model(
        "the best of the three on what was held back, for each series",
        expects=True,
        joint=False,
        seasonal=True,
        least_seconds=DAY,
        cost="60 ms a series",
        fit=auto.fit,
    ),
    "forest": Model(
        "an isolation forest over the deviations of a group's signals",
        expects=False,
        joint=True,
        seasonal=False,
        least_seconds=DAY,
        cost="150 ms a joint series, and 6 ms each step",
        fit=None,
    ),
}


def fit(model: str, history: SeriesMatrix) -> Baseline:
    """Fit a univariate model.

    Parameters
    ----------
    model : str
        A name in `MODELS` that is not joint.
    history : SeriesMatrix
        [S, T] samples on the profile grid, all before the boundary. NaN is missing or not to be
        learnt, and so is what is farther from zero than `LARGEST`; times may be local.

    Returns
    -------
    Baseline
        A pure function of model and history.
    """
    chosen = MODELS[model].fit
    if chosen is None:
        raise ValueError(f"{model} judges groups, not single series")
    return chosen(history.bounded(LARGEST))


def explain(model: str, history: SeriesMatrix) -> tuple[Choice, ...]:
    """Return the model of each series of a history and why it is that one."""
    if model == "auto":
        return auto.choose(history.bounded(LARGEST))
    reason = "the default" if model == auto.DEFAULT else "as configured"
    return (Choice(model, reason),) * len(history.labels)
