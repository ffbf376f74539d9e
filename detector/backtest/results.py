"""Judges a replay by its incidents: what was found, how late, and what else was said."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from detector.backtest.alerting import RULES, Firing, evaluated, firings
from detector.backtest.grouping import Inhibition, Page, Route, pages
from detector.backtest.ranking import vus_pr
from detector.backtest.run import Trace
from detector.backtest.scores_file import EVERY
from detector.backtest.truth import Incident
from detector.labels import label_set, output_labels
from detector.names import State
from detector.score import GONE
from detector.series import Bool, Labels

WEEK = 604_800
# Labels are made by hand: an alert so many steps before the onset still belongs to it, and one
# that comes so many steps after it to an incident that is shorter (as the open bench counts).
EARLY_STEPS, LATE_STEPS = 3, 7
FIGURES = (
    "incidents", "found", "missed", "recall", "alerts", "false_alerts", "precision", "f1",
    "delay_median_seconds", "delay_p90_seconds", "false_alerts_per_week", "pages",
    "pages_per_week", "false_pages_per_week", "time_in_alert_ratio", "no_data_ratio", "vus_pr",
)  # fmt: skip


@dataclass(frozen=True)
class Alert:
    """An alert that fires for a series.

    `incidents` are the indices of those it belongs to; without any it is false, as far as the
    incidents tell. `peak` is the highest score, at step `peak_time`, led by `channel`.
    """

    signal: str
    labels: Labels
    firing: Firing
    peak: float
    peak_time: int
    channel: str
    incidents: tuple[int, ...]


@dataclass(frozen=True)
class Judged:
    """One signal against the incidents: its alerts, and the sums that figures are made of.

    `labels` are all its series, of which `unscored` were warming up as long as they had data;
    `trace` may have been cut to those that a report draws.
    """

    trace: Trace
    labels: tuple[Labels, ...]
    alerts: tuple[Alert, ...]
    series_steps: int
    alert_steps: int
    silent_steps: int
    unscored: int
    ranking: tuple[float, ...]


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


def judge(
    trace: Trace, incidents: Sequence[Incident], step: int, delay: float, ranked: bool = True
) -> Judged:
    """Let the rule of a signal's kind run over its states, and hold its alerts to the incidents.

    Parameters
    ----------
    trace : Trace
    incidents : sequence of Incident
    step : int
        Seconds.
    delay : float
        A step is scored so many seconds after its time; alerts are dated as somebody would have
        seen them.
    ranked : bool
        Whether VUS-PR is worked out.
    """
    lag = lag_of(delay)
    name = trace.signal.name
    found: list[Alert] = []
    ranking: list[float] = []
    in_alert = 0
    for s, key in enumerate(trace.labels):
        concerned = [i for i, one in enumerate(incidents) if one.concerns(name, key)]
        active = trace.state[s] == State.ANOMALOUS
        if active.any():
            fine, seen = evaluated(trace.times, active, step, EVERY)
            for firing in firings(fine, seen, RULES[trace.signal.kind]):
                dated = Firing(firing.start + lag, firing.end + lag)
                found.append(_alert(trace, s, firing, dated, incidents, concerned, step))
                in_alert += firing.end - firing.start
        label = _during(trace, [incidents[i] for i in concerned])
        if ranked and label.any() and not label.all():
            ranking.append(vus_pr(label, trace.score[s]))
    written = trace.state != GONE
    return Judged(
        trace,
        trace.labels,
        tuple(sorted(found, key=_order)),
        int(written.sum()),
        in_alert // step,
        int((trace.state == State.NO_DATA).sum()),
        int(_unscored(trace).sum()),
        tuple(ranking),
    )


def joined(parts: Sequence[Judged], trace: Trace) -> Judged:
    """Return what was found in several shards of a signal, with the trace that is kept of it."""
    return Judged(
        trace,
        tuple(key for one in parts for key in one.labels),
        tuple(sorted((alert for one in parts for alert in one.alerts), key=_order)),
        sum(one.series_steps for one in parts),
        sum(one.alert_steps for one in parts),
        sum(one.silent_steps for one in parts),
        sum(one.unscored for one in parts),
        tuple(value for one in parts for value in one.ranking),
    )


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


def lag_of(delay: float) -> int:
    """Return by how many seconds the detector's delay makes the evaluation of a step later."""
    return math.ceil(delay / EVERY) * EVERY


def alert_name(kind: str) -> str:
    """Return the name of the alert of a kind in rules/anomaly.rules.yml."""
    return f"Anomaly{kind.capitalize()}"


def alert_labels(signal: str, labels: Labels, kind: str) -> Labels:
    """Return the labels under which Alertmanager knows the alert of a series."""
    own = output_labels(labels, signal, kind)
    return label_set({**own, "alertname": alert_name(kind), "category": "anomaly"})


def _unscored(trace: Trace) -> Bool:
    warming = trace.state == State.WARMING_UP
    silent = (trace.state == State.NO_DATA) | (trace.state == GONE)
    found: Bool = (warming | silent).all(axis=1) & warming.any(axis=1)
    return found


def _order(alert: Alert) -> tuple[int, Labels]:
    return alert.firing.start, alert.labels


def _alert(
    trace: Trace,
    s: int,
    firing: Firing,
    dated: Firing,
    incidents: Sequence[Incident],
    concerned: Sequence[int],
    step: int,
) -> Alert:
    a, b = np.searchsorted(trace.times, [firing.start - step + 1, firing.end])
    # The anomaly began before the patience of the rule was over.
    while a > 0 and trace.state[s, a - 1] == State.ANOMALOUS:
        a -= 1
    peak = int(a + np.argmax(np.nan_to_num(trace.score[s, a:b], nan=-1.0)))
    channel = int(trace.channel[s, peak])
    begun = int(trace.times[a])
    mine = tuple(i for i in concerned if belongs(incidents[i], dated, begun, step))
    return Alert(
        trace.signal.name,
        trace.labels[s],
        dated,
        float(trace.score[s, peak]),
        int(trace.times[peak]),
        trace.channels[channel] if channel >= 0 else "",
        mine,
    )


def belongs(incident: Incident, firing: Firing, begun: int, step: int) -> bool:
    """Return whether an alert is the incident's: its anomaly begins near or within it."""
    last = max(incident.end, incident.start + LATE_STEPS * step)
    near = incident.start - EARLY_STEPS * step <= begun < last
    return near and firing.end > incident.start


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


def _during(trace: Trace, incidents: Sequence[Incident]) -> Bool:
    label = np.zeros(len(trace.times), bool)
    for one in incidents:
        a, b = np.searchsorted(trace.times, [one.start, one.end])
        label[a : max(b, a + 1)] = True
    return label


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
