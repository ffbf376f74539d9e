"""What an alerting rule of Prometheus makes of a series: pending, firing, kept firing.

Source: `rules/alerting.go` of Prometheus 2.42, `AlertingRule.Eval`; tests/test_alerting.py
compares with promtool.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.series import Bool, Int


@dataclass(frozen=True)
class Rule:
    """The patience of an alerting rule, seconds.

    Parameters
    ----------
    hold : float
        `for`: the expression must have been true for so long.
    keep : float
        `keep_firing_for`: it fires on for so long after the expression was true.
    """

    hold: float
    keep: float


# Of rules/anomaly.rules.yml, which a test compares.
RULES = {
    "traffic": Rule(120, 120),
    "latency": Rule(120, 120),
    "errors": Rule(120, 120),
    "saturation": Rule(300, 120),
    "drift": Rule(300, 120),
    "quality": Rule(300, 120),
    "other": Rule(120, 120),
}


@dataclass(frozen=True)
class Firing:
    """An alert that fires from evaluation `start` until it is resolved at `end`; unix seconds."""

    start: int
    end: int


def firings(times: Int, active: Bool, rule: Rule) -> list[Firing]:
    """Return when an alert fires.

    Parameters
    ----------
    times : int64[E]
        Evaluations of the rule, ascending; they need not be evenly spaced.
    active : bool[E]
        Where the expression has a result for this label set.
    rule : Rule

    Returns
    -------
    list of Firing
        In order. One that is not resolved by the last evaluation ends one evaluation after it.

    Examples
    --------
    >>> times = np.arange(8) * 60
    >>> firings(times, np.array([0, 1, 1, 1, 0, 0, 0, 0], bool), Rule(120, 60))
    [Firing(start=180, end=300)]
    """
    if not active.any():
        return []
    after = int(times[-1]) + (int(times[-1] - times[-2]) if len(times) > 1 else 60)
    edges = np.flatnonzero(np.diff(active, prepend=False, append=False))
    found: list[Firing] = []
    for a, b in edges.reshape(-1, 2):
        if found and times[a] <= found[-1].end:
            # Active again while it was kept firing, or at the very evaluation that would have
            # resolved it: it never stopped.
            found[-1] = Firing(found[-1].start, _resolved(times, b, rule.keep, after))
            continue
        fires = int(a + np.searchsorted(times[a:b] - times[a], rule.hold))
        if fires < b:
            found.append(Firing(int(times[fires]), _resolved(times, b, rule.keep, after)))
    return found


def marks(times: Int, step: int, found: list[Firing]) -> Bool:
    """Return for each step whether an alert fires at any evaluation that sees it, bool[T]."""
    firing = np.zeros(len(times), bool)
    for one in found:
        first = np.searchsorted(times, one.start - step, side="right")
        firing[first : np.searchsorted(times, one.end)] = True
    return firing


def evaluated(times: Int, active: Bool, step: int, every: int) -> tuple[Int, Bool]:
    """Return the evaluations between steps, each of which sees the step before it.

    `detector run` exposes a score until the next one, so a rule that is evaluated more often than
    scores are made sees each of them several times.

    Parameters
    ----------
    times : int64[T]
        Steps.
    active : bool[T]
    step : int
        Seconds between them.
    every : int
        Seconds between evaluations; a step that is no multiple of it is evaluated once.
    """
    count = step // every if step % every == 0 else 1
    if count <= 1:
        return times, active
    fine = (times[:, None] + np.arange(count) * every).ravel()
    return fine, active.repeat(count)


def _resolved(times: Int, end: int, keep: float, after: int) -> int:
    """Return the evaluation that resolves an alert whose expression has no result from `end` on."""
    if end >= len(times):
        return after
    index = end + int(np.searchsorted(times[end:] - times[end], keep))
    return int(times[index]) if index < len(times) else after
