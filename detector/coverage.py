"""How much of a signal its gate and masks set apart, now and in the past."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from detector import names, promql
from detector.masks import Answer, agreeing, masked
from detector.series import Bool, Condition, Int, SeriesMatrix, Signal

# The label by which rules/anomaly.rules.yml marks the alerts on our scores.
OWN_ALERT = ("category", "anomaly")

Ask = Callable[[Condition, SeriesMatrix], Answer]


@dataclass(frozen=True)
class Coverage:
    """What one condition does to the series that a signal has now.

    Parameters
    ----------
    condition : Condition
    series : int
        How many there are.
    results : int
        Results of the expression in the past; 0 for a range of time.
    matched : int
        Series that the condition can concern: their labels agree with a result, and with `match`.
    now : int
        Series that it sets apart at the newest step.
    past : float
        Share of their past that it sets apart, 0..1.
    feedback : bool
        It decides what is learnt by what the detector itself has said.
    """

    condition: Condition
    series: int
    results: int
    matched: int
    now: int
    past: float
    feedback: bool


def coverage(condition: Condition, newest: SeriesMatrix, times: Int, ask: Ask) -> Coverage:
    """Evaluate one condition for the series of a signal.

    Parameters
    ----------
    condition : Condition
    newest : SeriesMatrix
        [S, 1] the newest step.
    times : int64[T]
        The past, evenly spaced.
    ask : callable
        As in `masks.masked`.

    Raises
    ------
    SourceError
        When the expression cannot be evaluated, series or not.
    """
    past = _blank(newest, times)
    answer: Answer = {}
    able = np.ones(len(newest.labels), bool)
    if isinstance(condition.test, str):
        ask(condition, newest)
        answer = ask(condition, past)
        able = agreeing(newest.labels, {key: np.ones(1, bool) for key in answer}, 1)[:, 0]
    concerned = [set(condition.match) <= set(key) for key in newest.labels]
    learns = bool(condition.bits & names.Mask.UNTAUGHT)
    return Coverage(
        condition,
        len(newest.labels),
        len(answer),
        int((able & np.array(concerned, bool)).sum()),
        int(_apart(newest, (condition,), ask).sum()),
        float(_apart(past, (condition,), ask).mean()) if past.values.size else 0.0,
        learns and _is_own(condition, answer),
    )


def never_taught(signal: Signal, newest: SeriesMatrix, times: Int, ask: Ask) -> int:
    """Return how many of the newest step's series are never learnt from in the past."""
    past = masked(_blank(newest, times), signal.conditions, ask)
    return int(past.marked(names.Mask.UNTAUGHT).all(axis=1).sum())


def open_series(signal: Signal, newest: SeriesMatrix, ask: Ask) -> int | None:
    """Return for how many of the newest step's series the gate is open; None without a gate."""
    gates = tuple(condition for condition in signal.conditions if condition.gate)
    return int((~_apart(newest, gates, ask)).sum()) if gates else None


def _apart(samples: SeriesMatrix, conditions: Sequence[Condition], ask: Ask) -> Bool:
    return masked(samples, conditions, ask).marked(names.Mask.UNTAUGHT | names.Mask.MUTED)


def _is_own(condition: Condition, answer: Answer) -> bool:
    expression = isinstance(condition.test, str) and promql.reads_scores(condition.test)
    return expression or any(OWN_ALERT in key for key in answer)


def _blank(newest: SeriesMatrix, times: Int) -> SeriesMatrix:
    """Return the same series on other times, without samples."""
    shape = (len(newest.labels), len(times))
    step = int(times[1] - times[0]) if len(times) > 1 else newest.step
    # Views of one element: a mask needs only the shape.
    values, absent = np.broadcast_to(np.nan, shape), np.broadcast_to(True, shape)
    return SeriesMatrix(newest.labels, times, values, absent, step)
