"""The figures of a replay: what was found, how late, how many pages, and what else was said."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from detector.backtest.alerting import Firing
from detector.backtest.grouping import Inhibition, Page, Route, pages
from detector.backtest.judging import Alert, Judged
from detector.backtest.truth import Incident
from detector.labels import label_set, output_labels
from detector.series import Labels

WEEK = 604_800
FIGURES = (
    "incidents", "found", "missed", "recall", "alerts", "false_alerts", "precision", "f1",
    "delay_median_seconds", "delay_p90_seconds", "false_alerts_per_week", "pages",
    "pages_per_week", "false_pages_per_week", "time_in_alert_ratio", "no_data_ratio", "vus_pr",
)  # fmt: skip


@dataclass(frozen=True)
class Results:
    """All signals judged together; `figures` by name, None where one is not defined.

    `watched` are the indices of the incidents that concern a series that was read.
    """

    start: int
    end: int
    incidents: tuple[Incident, ...]
    delays: tuple[int | None, ...]
    alerts: tuple[Alert, ...]
    pages: tuple[Page, ...]
    figures: dict[str, float | None]
    by_signal: dict[str, dict[str, float | None]]
    watched: tuple[int, ...] = ()


def results(
    judged: Sequence[Judged],
    incidents: Sequence[Incident],
    start: int,
    end: int,
    route: Route = Route(),  # noqa: B008  # frozen
    inhibitions: Sequence[Inhibition] = (),
) -> Results:
    """Return the figures of all signals and of each, over [start, end).

    Where no series was ever scored, what is counted over time is None: silence says nothing.
    """
    every = tuple(alert for one in judged for alert in one.alerts)
    kinds = {one.trace.signal.name: one.trace.signal.kind for one in judged}
    seen: dict[Labels, list[Firing]] = {}
    false: set[tuple[Labels, Firing]] = set()
    for alert in every:
        labels = alert_labels(alert.signal, alert.labels, kinds[alert.signal])
        seen.setdefault(labels, []).append(alert.firing)
        false |= set() if alert.incidents else {(labels, alert.firing)}
    sent = pages(seen, route, inhibitions)
    series = [(one.trace.signal.name, key) for one in judged for key in one.labels]
    watched = [
        i
        for i, one in enumerate(incidents)
        if not series or any(one.concerns(name, key) for name, key in series)
    ]
    by_signal = {}
    for one in judged:
        name = one.trace.signal.name
        mine = [
            i
            for i, incident in enumerate(incidents)
            if any(incident.concerns(name, key) for key in one.labels)
        ]
        own = [page for page in sent if dict(page.alerts[0][0]).get("signal") == name]
        by_signal[name] = figures_of([one], one.alerts, incidents, mine, own, false, end - start)
    delays = tuple(delay_of(i, incidents, every) for i in range(len(incidents)))
    return Results(
        start, end, tuple(incidents), delays, every, tuple(sent),
        figures_of(judged, every, incidents, watched, sent, false, end - start), by_signal,
        tuple(watched),
    )  # fmt: skip


def alert_name(kind: str) -> str:
    """Return the name of the alert of a kind in rules/anomaly.rules.yml."""
    return f"Anomaly{kind.capitalize()}"


def alert_labels(signal: str, labels: Labels, kind: str) -> Labels:
    """Return the labels under which Alertmanager knows the alert of a series."""
    own = output_labels(labels, signal, kind)
    return label_set({**own, "alertname": alert_name(kind), "category": "anomaly"})


def delay_of(i: int, incidents: Sequence[Incident], alerts: Sequence[Alert]) -> int | None:
    """Return seconds from the onset to the first alert of an incident; None when it is missed.

    One that began, rightly, in another incident and still fires has found it at once.
    """
    onset, end = incidents[i].start, incidents[i].end
    own = [max(one.firing.start - onset, 0) for one in alerts if i in one.incidents]
    on = any(
        one.incidents
        and one.firing.start <= onset < one.firing.end
        and end > onset
        and incidents[i].concerns(one.signal, one.labels)
        for one in alerts
    )
    return 0 if on else min(own, default=None)


def figures_of(
    judged: Sequence[Judged],
    alerts: Sequence[Alert],
    incidents: Sequence[Incident],
    watched: Sequence[int],
    sent: Sequence[Page],
    wrong: Set[tuple[Labels, Firing]],
    seconds: int,
) -> dict[str, float | None]:
    delays = [delay_of(i, incidents, alerts) for i in watched]
    found = [delay for delay in delays if delay is not None]
    false = [one for one in alerts if not one.incidents]
    false_pages = [page for page in sent if set(page.alerts) <= wrong]
    recall = len(found) / len(watched) if watched else None
    # Without any incident nobody said what is true.
    precision = (len(alerts) - len(false)) / len(alerts) if alerts and incidents else None
    both = (precision or 0.0) + (recall or 0.0)
    f1 = None if recall is None else 2 * (precision or 0.0) * recall / both if both else 0.0
    scored = not judged or any(one.unscored < len(one.labels) for one in judged)
    steps = sum(one.series_steps for one in judged)
    ranking = [value for one in judged for value in one.ranking]
    weeks = seconds / WEEK
    values: tuple[float | None, ...] = (
        len(watched), len(found), len(watched) - len(found), recall,
        len(alerts), len(false), precision, f1,
        float(np.median(found)) if found else None,
        float(np.quantile(found, 0.9)) if found else None,
        len(false) / weeks if scored else None,
        len(sent), len(sent) / weeks if scored else None,
        len(false_pages) / weeks if scored else None,
        sum(one.alert_steps for one in judged) / steps if steps and scored else None,
        sum(one.silent_steps for one in judged) / steps if steps else None,
        float(np.mean(ranking)) if ranking else None,
    )  # fmt: skip
    return dict(zip(FIGURES, values, strict=True))
