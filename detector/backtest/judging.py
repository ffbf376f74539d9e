"""Holds the alerts of a replay to its incidents: which belongs to one, and which to none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.backtest.alerting import RULES, Firing, evaluated, firings
from detector.backtest.ranking import vus_pr
from detector.backtest.run import Trace
from detector.backtest.scores_file import EVERY
from detector.backtest.truth import Incident
from detector.names import State
from detector.score import GONE
from detector.series import Bool, Labels

# Labels are made by hand: an alert so many steps before the onset still belongs to it, and one
# that comes so many steps after it to an incident that is shorter (as the open bench counts).
EARLY_STEPS, LATE_STEPS = 3, 7


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


def lag_of(delay: float) -> int:
    """Return by how many seconds the detector's delay makes the evaluation of a step later."""
    return math.ceil(delay / EVERY) * EVERY


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


def _during(trace: Trace, incidents: Sequence[Incident]) -> Bool:
    label = np.zeros(len(trace.times), bool)
    for one in incidents:
        a, b = np.searchsorted(trace.times, [one.start, one.end])
        label[a : max(b, a + 1)] = True
    return label
