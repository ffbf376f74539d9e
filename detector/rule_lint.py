"""Looks at rules as they are written: labels, annotations, expressions, signals."""

from __future__ import annotations

import re
from collections.abc import Sequence

from detector import expression, names
from detector.finding import RuleFinding
from detector.promql import reads_scores
from detector.rule_files import Rule
from detector.settings import known_kind

# What routes need, and what a person who is woken needs.
LABELS = {
    "severity": "Alertmanager routes by it; write critical, warning or info",
    "category": "Alertmanager tells anomalies from other alerts by it; write anomaly or meta",
}
ANNOTATIONS = {
    "summary": "what broke, in one sentence",
    "description": "how bad: observed and expected",
    "runbook_url": "what to do about it",
    "dashboard_url": "where to look",
    "query": "the expression to open in Prometheus",
}
_VALUE = re.compile(r"\{\{[^}]*(\$value|\.Value|\bvalue\b)")
_URL = re.compile(r"https?://")


def lint(rules: Sequence[Rule]) -> list[RuleFinding]:
    """Return what is wrong with rules of one or several files, by what is written in them.

    Parameters
    ----------
    rules : sequence of Rule
        Of all files that are loaded together: doubles are found across them.
    """
    found: list[RuleFinding] = []
    for rule in rules:
        found += _alert(rule) if rule.kind == "alert" else _record(rule)
    return found + _doubles(rules) + _kinds(rules)


def syntax(rule: Rule) -> str:
    """Return why an expression does not parse, ``""`` when it does."""
    try:
        expression.parse(rule.expr.value)
    except ValueError as error:
        return " ".join(str(error).split())
    return ""


def _alert(rule: Rule) -> list[RuleFinding]:
    found = [
        rule.finding("error", "labels", f"label {name} is missing: {why}")
        for name, why in LABELS.items()
        if name not in rule.labels
    ]
    found += [
        rule.finding("error", "annotations", f"annotation {name} is missing: {why}")
        for name, why in ANNOTATIONS.items()
        if name not in rule.annotations
    ]
    for name, text in rule.labels.items():
        if _VALUE.search(text.value):
            message = f"label {name} holds a value: each new one is a new alert; use an annotation"
            found.append(rule.finding("error", "labels", message, text.line))
    link = rule.annotations.get("runbook_url")
    if link is not None and not _URL.match(link.value):
        message = f"runbook_url {link.value[:60]!r} is no http address"
        found.append(rule.finding("error", "annotations", message, link.line))
    if syntax(rule):
        return found
    if not expression.compares(expression.parse(rule.expr.value)):
        message = (
            "no comparison: it fires on any value, always; write what is too much, such as "
            f"{rule.expr.value.split()[0][:30]}... > 0"
        )
        found.append(rule.finding("error", "comparison", message, rule.expr.line))
    read = {s.metric for s in expression.selectors(expression.parse(rule.expr.value))}
    if names.SCORE in read:
        message = (
            "compares anomaly_score, which moves up and down around an edge; anomaly_state == 1 "
            "has hysteresis"
        )
        found.append(rule.finding("warning", "score", message, rule.expr.line))
    if read & {names.SCORE, names.STATE} and rule.wait == 0:
        message = "fires at the first unusual step; give it for: 1m or more against spikes"
        found.append(rule.finding("warning", "for", message))
    return found


def _record(rule: Rule) -> list[RuleFinding]:
    found = []
    name, kind = rule.labels.get(names.RULE_NAME), rule.labels.get(names.RULE_KIND)
    if name is None:
        if kind is not None:
            message = "anomaly_type without anomaly_name: this is no signal; add the name"
            found.append(rule.finding("warning", "signal", message, kind.line))
        return found
    choices = ", ".join(names.KINDS)
    if kind is None:
        message = f"no anomaly_type: the kind is 'other', without limits; choose from {choices}"
        found.append(rule.finding("warning", "signal", message, name.line))
    elif known_kind(kind.value) is None:
        message = f"anomaly_type {kind.value!r} is not known; choose from {choices}"
        found.append(rule.finding("error", "signal", message, kind.line))
    if reads_scores(rule.expr.value):
        message = "a signal that reads the detector's own scores: it would judge itself"
        found.append(rule.finding("error", "signal", message, rule.expr.line))
    return found


def _doubles(rules: Sequence[Rule]) -> list[RuleFinding]:
    """Rules of one name with the same labels write over each other, or fire twice."""
    seen: dict[tuple[str, str, frozenset[tuple[str, str]]], Rule] = {}
    found = []
    for rule in rules:
        labels = frozenset((name, text.value) for name, text in rule.labels.items())
        first = seen.setdefault((rule.kind, rule.name, labels), rule)
        if first is not rule and (rule.kind == "record" or first.expr.value == rule.expr.value):
            message = f"the same name and labels as {first.file}:{first.line}; delete one"
            found.append(rule.finding("error", "double", message))
    return found


def _kinds(rules: Sequence[Rule]) -> list[RuleFinding]:
    """Rules of one anomaly_name are one signal, and have one kind."""
    first: dict[str, Rule] = {}
    found = []
    for rule in rules:
        name, kind = rule.labels.get(names.RULE_NAME), rule.labels.get(names.RULE_KIND)
        if name is None or kind is None:
            continue
        other = first.setdefault(name.value, rule)
        word = other.labels[names.RULE_KIND].value
        if names.kind_of(word) != names.kind_of(kind.value):
            message = (
                f"signal {name.value} is {word!r} at {other.file}:{other.line} and "
                f"{kind.value!r} here; the first one counts"
            )
            found.append(rule.finding("error", "signal", message, kind.line))
    return found
