"""What `detector check` finds about gates, masks and excluded alerts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from detector import promql
from detector.conditions import Conditions
from detector.coverage import OWN_ALERT, Coverage, coverage, never_taught
from detector.durations import format_duration
from detector.errors import DetectorError
from detector.finding import Finding
from detector.prometheus import Prometheus
from detector.series import Condition, SeriesMatrix, Signal
from detector.settings import Settings

EXCLUDED = "exclude_alerts"
FEEDBACK = (
    "reads the detector's own scores or alerts, so that what it has said decides what it learns; "
    "choose others"
)


def check_conditions(
    source: Prometheus,
    signals: Iterable[Signal],
    newest: Mapping[str, SeriesMatrix],
    settings: Settings,
) -> list[Finding]:
    """Evaluate every gate and mask now and over the whole history.

    Parameters
    ----------
    source : Prometheus
    signals : iterable of Signal
    newest : mapping from str to SeriesMatrix
        [S, 1] the newest step of each signal by name, the same step for all.
    settings : Settings

    Returns
    -------
    list of Finding
        One for each gate; one for each mask and each excluded alert, over all signals it
        concerns; and one for each signal that has series that could never be learnt.
    """
    findings: list[Finding] = []
    failed: dict[str, Finding] = {}
    masks: dict[tuple[str, str], list[Coverage]] = {}
    points = settings.history // settings.profile
    # One history for all, so that each expression is evaluated once.
    ask = Conditions(source, longest=points).ask
    span = f"the last {format_duration(settings.history)}"
    for signal in signals:
        step, subject = newest[signal.name], f"signal {signal.name}"
        end = int(step.times[0]) // settings.profile * settings.profile
        times = end - settings.profile * np.arange(points, dtype=np.int64)[::-1]
        broken = False
        for name, condition in _each(signal.conditions, settings.exclude_alerts):
            about = subject if condition.gate else condition.setting
            try:
                known = coverage(condition, step, times, ask)
            except DetectorError as error:
                text = str(error).removeprefix(f"{about}: ")
                failed[about] = Finding("error", about, text)
                broken = True
                continue
            if condition.gate:
                findings += _gate(subject, known, span)
            else:
                masks.setdefault((condition.setting, name), []).append(known)
        stuck = 0 if broken else never_taught(signal, step, times, ask)
        if stuck:
            why = ", ".join(condition.setting for condition in signal.conditions)
            findings.append(
                Finding(
                    "warning",
                    subject,
                    f"{stuck} of {len(step.labels)} series are never learnt from in {span} "
                    f"({why}); they stay warming up",
                )
            )
    for (setting, name), known_of_all in masks.items():
        findings += _mask(setting, f"{name}: " if name else "", known_of_all, span)
    return findings + list(failed.values())


def check_excluded_alerts(source: Prometheus, settings: Settings) -> list[Finding]:
    """Look for the rules of `exclude_alerts` on the server: they must exist and not be ours."""
    if not settings.exclude_alerts:
        return []
    try:
        rules = source.alerts()
    except DetectorError as error:
        return [Finding("warning", EXCLUDED, f"the alert rules are not known: {error}")]
    findings = []
    for name in dict.fromkeys(settings.exclude_alerts):
        alike = [rule for rule in rules if rule["name"] == name]
        if not alike:
            findings.append(
                Finding("warning", EXCLUDED, f"{name}: the server has no alert of this name")
            )
        if any(_is_own(rule.get("labels") or {}, rule["query"]) for rule in alike):
            findings.append(Finding("warning", EXCLUDED, f"{name}: {FEEDBACK}"))
    return findings


def _each(
    conditions: Iterable[Condition], alerts: Iterable[str]
) -> Iterator[tuple[str, Condition]]:
    """Yield each condition; that of all excluded alerts as one for each, with its name."""
    for condition in conditions:
        if condition.setting != EXCLUDED:
            yield "", condition
            continue
        for name in dict.fromkeys(alerts):
            yield name, replace(condition, test=promql.firing([name]))


def _is_own(labels: Mapping[str, str], query: str) -> bool:
    return OWN_ALERT in labels.items() or promql.reads_scores(query)


def _gate(subject: str, known: Coverage, span: str) -> list[Finding]:
    feedback = [Finding("warning", subject, f"when: {FEEDBACK}")] if known.feedback else []
    if known.series and not known.matched:
        why = "none of its results agrees with a series" if known.results else "no result"
        text = f"when: {why} in {span}, so it is closed all the time; are its labels right?"
        return [Finding("warning", subject, text), *feedback]
    text = (
        f"when: open for {known.series - known.now} of {known.series} series now, closed in "
        f"{known.past:.1%} of {span}"
    )
    return [Finding("ok", subject, text), *feedback]


def _mask(setting: str, lead: str, known: Collection[Coverage], span: str) -> list[Finding]:
    """Return the findings on one mask or excluded alert, over all signals."""
    series = sum(one.series for one in known)
    feedback = any(one.feedback for one in known)
    findings = [Finding("warning", setting, lead + FEEDBACK)] if feedback else []
    # Nothing to compare labels with; or an expression that has had no reason to speak.
    silent = any(isinstance(one.condition.test, str) for one in known) and not any(
        one.results for one in known
    )
    if series and not silent and not any(one.matched for one in known):
        text = f"{lead}concerns none of {series} series; are its labels right?"
        return [*findings, Finding("warning", setting, text)]
    past = sum(one.past * one.series for one in known) / max(series, 1)
    now = sum(one.now for one in known)
    text = f"{lead}sets apart {now} of {series} series now, {past:.1%} of {span}"
    return [*findings, Finding("ok", setting, text)]
