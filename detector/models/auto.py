"""Chooses a model for each series by the error of its forecast on what was held back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from detector.models import seasonal, stl, zscore
from detector.models.baseline import DAY, Baseline
from detector.models.experts import ERROR_CAP
from detector.models.univariate import slots, trailing_level
from detector.series import Float, SeriesMatrix

# Cheapest first; see the costs in `registry.MODELS`.
CANDIDATES: dict[str, Callable[[SeriesMatrix], Baseline]] = {
    "zscore": zscore.fit,
    "seasonal": seasonal.fit,
    "stl": stl.fit,
}
# The default of the product, where nothing can be compared.
DEFAULT = "seasonal"
# Share of the history that is held back, at least a day.
HELD_BACK = 0.2
# Errors this close to the least are the same; the cheaper model has it.
TIE = 1.05
# Days held back that tell what comes back at a time of day.
LEAST_DAYS = 3


@dataclass(frozen=True)
class Choice:
    """The model of one series, and why."""

    model: str
    reason: str


def fit(history: SeriesMatrix) -> Baseline:
    """Fit each series by the model that `choose` says.

    Parameters
    ----------
    history : SeriesMatrix
        [S, T] samples on the profile grid, all before the boundary; NaN is skipped.

    Returns
    -------
    Baseline
    """
    chosen = np.array([choice.model for choice in choose(history)], dtype=object)
    merged: dict[str, Any] = {}
    for model in sorted(set(chosen)) or [DEFAULT]:
        rows = np.flatnonzero(chosen == model)
        part = CANDIDATES[model](_rows(history, rows))
        for name, values in _arrays(part):
            whole = merged.setdefault(
                name, np.empty((len(chosen), *values.shape[1:]), values.dtype)
            )
            whole[rows] = values
    return Baseline(labels=history.labels, profile=history.step, **merged)


def choose(history: SeriesMatrix) -> tuple[Choice, ...]:
    """Compare the candidates on each series.

    Each is fitted on the history without its last fifth (at least a day), which it then forecasts
    as it would live: its table, and the level of the day before. What counts is the mean absolute
    error, winsorised at five times the median error of the level alone, so that an incident in
    what was held back does not decide; at the error that most days have at that time where it is
    larger, as a nightly job comes back.

    Parameters
    ----------
    history : SeriesMatrix
        As for `fit`.

    Returns
    -------
    tuple of Choice
        One for each series.
    """
    return tuple(_choose_one(_rows(history, np.array([s]))) for s in range(len(history.labels)))


def _choose_one(history: SeriesMatrix) -> Choice:
    x, day = history.values[0], DAY // history.step
    seen = np.flatnonzero(np.isfinite(x))
    if not len(seen):
        return Choice(DEFAULT, "no history to compare on")
    end = int(seen[-1]) + 1
    held = max(round(HELD_BACK * (end - int(seen[0]))), day)
    cut = end - held
    if cut - int(seen[0]) < day:
        return Choice(DEFAULT, "less than two days of history to compare on")
    lesson = history.between(int(history.times[0]), int(history.times[cut]))
    fits = {name: candidate(lesson) for name, candidate in CANDIDATES.items()}
    if not all(base.ready[0] for base in fits.values()):
        return Choice(DEFAULT, "too few samples to compare on")
    first = int(history.times[0]) // history.step
    forecasts = {name: _forecast(x[:end], b.table[0], first, day) for name, b in fits.items()}
    errors = _errors(x[cut:end], {name: f[cut:] for name, f in forecasts.items()}, day)
    if not errors:
        return Choice(DEFAULT, "too few samples held back to compare on")
    return _decide(errors, held * history.step / DAY)


def _forecast(x: Float, table: Float, first: int, day: int) -> Float:
    """Return what a table and the level of the day before expect, float64[T]."""
    season = table[slots(first, len(x), day)]
    level, _ = trailing_level(x - season, day)
    forecast: Float = season + level
    return forecast


def _errors(x: Float, forecasts: dict[str, Float], day: int) -> dict[str, float]:
    """Return the winsorised mean absolute error of each forecast over common samples."""
    off = {name: np.abs(x - forecast) for name, forecast in forecasts.items()}
    common = np.all([np.isfinite(values) for values in off.values()], axis=0)
    if not common.any():
        return {}
    cap = ERROR_CAP * np.median(off["zscore"][common])
    caps = np.full(len(x), cap if cap > 0 else np.inf)
    days = len(x) // day
    if days >= LEAST_DAYS:
        # The last samples are whole days; those before them are of the times of day before.
        rows = np.where(common, off["zscore"], np.nan)[len(x) - days * day :].reshape(days, day)
        known = np.isfinite(rows).any(axis=0)
        usual = np.zeros(day)
        usual[known] = np.nanmedian(rows[:, known], axis=0)
        caps = np.maximum(caps, np.resize(usual[::-1], len(x))[::-1])
    return {name: float(np.minimum(values, caps)[common].mean()) for name, values in off.items()}


def _decide(errors: dict[str, float], held_days: float) -> Choice:
    """Return the cheapest of those whose error is close to the least."""
    least = min(errors.values())
    model = next(name for name in CANDIDATES if errors[name] <= TIE * least)
    listed = ", ".join(f"{name} {error:.3g}" for name, error in errors.items())
    why = "least" if errors[model] == least else "cheapest within 5 % of the least"
    return Choice(model, f"{why} error on the last {held_days:.1f} days held back: {listed}")


def _rows(history: SeriesMatrix, rows: np.ndarray[Any, np.dtype[np.int64]]) -> SeriesMatrix:
    return replace(
        history,
        labels=tuple(history.labels[s] for s in rows),
        values=history.values[rows],
        absent=history.absent[rows],
        mask=None if history.mask is None else history.mask[rows],
    )


def _arrays(base: Baseline) -> list[tuple[str, Any]]:
    """Return the fields of a baseline that have a row for each series."""
    found = [(field.name, getattr(base, field.name)) for field in fields(base)]
    return [(name, value) for name, value in found if isinstance(value, np.ndarray)]
