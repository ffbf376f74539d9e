"""Tries rules on a server: do their metrics exist, and how often would they have fired?"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from detector import expression, names
from detector.absence_check import not_there
from detector.durations import format_duration
from detector.errors import SourceError
from detector.expression import Matcher, Selector
from detector.finding import RuleFinding
from detector.prometheus import NO_LIMIT, Prometheus
from detector.rule_files import Rule
from detector.rule_lint import syntax
from detector.series import Bool

WEEK = 7 * 86400
# Prometheus' own default between two evaluations of a group.
STEP = 60
# More than about three a day is nothing a person acts on.
NOISY_A_WEEK = 20


def try_rules(
    rules: Sequence[Rule], source: Prometheus, now: int, max_series: int
) -> list[RuleFinding]:
    """Ask a server about each rule.

    Parameters
    ----------
    rules : sequence of Rule
    source : Prometheus
    now : int
        Unix seconds; the last week ends here.
    max_series : int
        Most series of one signal.

    Raises
    ------
    SourceError
        When the server cannot list its metrics.
    """
    known = source.metrics(now - WEEK, now)
    recorded = {rule.name for rule in rules if rule.kind == "record"}
    found: list[RuleFinding] = []
    for rule in rules:
        problem = syntax(rule)
        every = () if problem else expression.selectors(expression.parse(rule.expr.value))
        # That nothing fires is no mistake.
        selected = [one for one in every if one.metric not in expression.CONDITIONS]
        missing = {s.metric: None for s in selected if s.metric and s.metric not in known}
        found += [_missing(rule, metric, known, recorded) for metric in missing]
        for one in selected:
            if one.metric not in missing and one.matchers:
                found += _unmatched(rule, one, selected, source, now)
        result = _evaluated(rule, problem, source, now, max_series)
        # What reads metrics that are not there has no result; that has been said.
        if not missing or result.level != "ok":
            found.append(result)
    return found


def firings(present: Bool, wait: int, keep: int) -> int:
    """Return how often one series of an alert would have fired.

    Parameters
    ----------
    present : bool[T]
        Where the expression has the series, evaluation by evaluation.
    wait, keep : int
        `for` and `keep_firing_for`, in evaluations.

    Examples
    --------
    >>> firings(np.array([0, 1, 1, 1, 0, 1, 0, 0, 1], bool), 2, 0)
    1
    >>> firings(np.array([1, 0, 1, 0, 0, 1], bool), 0, 1), firings(np.array([1, 0, 1], bool), 0, 0)
    (2, 2)
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]]).astype(np.int8)))
    count, until = 0, -1
    for start, end in edges.reshape(-1, 2).tolist():
        if start <= until:
            until = end + keep
        elif end - 1 - start >= wait:
            count, until = count + 1, end + keep
    return count


def _missing(
    rule: Rule, metric: str, known: Collection[str], recorded: Collection[str]
) -> RuleFinding:
    if metric in recorded:
        message = f"{metric} is recorded by these files and not on the server yet"
        return rule.finding("ok", "metric", message, rule.expr.line)
    message = not_there(metric, known, "the last week")
    return rule.finding("warning", "metric", message, rule.expr.line)


def _unmatched(
    rule: Rule, selector: Selector, selected: Sequence[Selector], source: Prometheus, now: int
) -> list[RuleFinding]:
    """Say which matcher of a selection without series is the one that finds nothing."""
    if not selector.metric or _count(source, str(selector), now):
        return []
    for matcher in selector.matchers:
        # `!=` and `!~` select what has not got the label as well; a value that a regular expression
        # names may be one that only a fault brings, such as status=~"5..".
        if matcher.operator not in ("=", "=~") or not matcher.value:
            continue
        has = Selector(selector.metric, (Matcher(matcher.label, "!=", ""),))
        if not _count(source, str(has), now):
            # One of several names of a label, joined by `or`: another branch has found its series.
            if any(
                other.metric == selector.metric
                and matcher.label not in {m.label for m in other.matchers}
                and _count(source, str(other), now)
                for other in selected
            ):
                continue
            message = f"no series of {selector.metric} has the label {matcher.label}"
        elif matcher.operator == "=" and not _count(
            source, str(Selector(selector.metric, (matcher,))), now
        ):
            message = f"no series of {selector.metric} has {matcher}"
        else:
            continue
        return [rule.finding("warning", "label", f"{message} now", rule.expr.line)]
    return []


def _count(source: Prometheus, selector: str, now: int) -> int:
    """Return how many series a selection has now."""
    matrix = source.read(((f"count({selector})", ()),), now, now, STEP, NO_LIMIT).matrix
    return int(matrix.values[0, 0]) if matrix.labels else 0


def _evaluated(
    rule: Rule,
    problem: str,
    source: Prometheus,
    now: int,
    max_series: int,
) -> RuleFinding:
    """Let the server evaluate a rule: alerts over the last week, records now."""
    start = now if rule.kind == "record" else now - WEEK
    query = ((rule.expr.value, ()),)
    try:
        reading = source.read(query, start, now, STEP, NO_LIMIT)
    except SourceError as error:
        text = str(error).removeprefix(f"{source.url}/api/v1/query_range: ")
        check = "syntax" if error.reason == "bad_query" else "evaluation"
        return rule.finding("error", check, problem or text, rule.expr.line)
    if problem:
        message = f"the server takes it, this check cannot read it ({problem}); not looked into"
        return rule.finding("warning", "syntax", message, rule.expr.line)
    there = ~reading.matrix.absent
    if rule.kind == "alert":
        return _fired(rule, there)
    series = len(there)
    if names.RULE_NAME in rule.labels and series > max_series:
        message = f"{series} series, {series - max_series} over max_series; aggregate it"
        return rule.finding("warning", "series", message, rule.expr.line)
    return rule.finding("ok", "series", f"{series} series now", rule.expr.line)


def _fired(rule: Rule, there: Bool) -> RuleFinding:
    wait, keep = (-int(-seconds // STEP) for seconds in (rule.wait, rule.keep))
    total = sum(firings(row, wait, keep) for row in there)
    held = format_duration(rule.wait) if rule.wait else "no `for`"
    message = f"would have fired {_times(total)} in the last week ({held})"
    if total > NOISY_A_WEEK:
        message += ": too often to act on; raise the threshold or `for`"
        return rule.finding("warning", "count", message)
    return rule.finding("ok", "count", message)


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")
