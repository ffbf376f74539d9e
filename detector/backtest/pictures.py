"""What a report shows in detail: the misses and why, the worst false alarms, what was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from detector.backtest.alerting import RULES
from detector.backtest.curves import curve
from detector.backtest.judging import LATE_STEPS, Judged
from detector.backtest.results import Results
from detector.backtest.truth import Incident
from detector.durations import format_duration
from detector.names import State
from detector.score import GONE
from detector.series import Bool, Labels

# Most pictures of a kind, and most points of each: a screen has no more.
MOST_MISSED, MOST_FALSE, MOST_FOUND = 20, 20, 40
MOST_POINTS = 360
# What is shown on each side: so many steps, or as long as the thing itself.
MARGIN_STEPS = 45
SILENT = (int(State.NO_DATA), GONE)


def pictures(found: Results, judged: Sequence[Judged], step: int) -> list[dict[str, Any]]:
    """Return windows of curves at full resolution, as data for JSON.

    Only of series whose scores were kept: misses first, then false alarms by their peak, then
    incidents found; each with the `incident` or the `alert` it is about.
    """
    missed = [i for i, delay in enumerate(found.delays) if delay is None]
    false = [j for j, one in enumerate(found.alerts) if not one.incidents]
    false.sort(key=lambda j: -found.alerts[j].peak)
    out = []
    for i in missed[:MOST_MISSED]:
        best = _nearest(found.incidents[i], judged, step)
        if best is not None:
            span = found.incidents[i].start, found.incidents[i].end
            out.append({"about": "missed", "incident": i, **_window(*best, *span, step)})
    for j in false[:MOST_FALSE]:
        alert = found.alerts[j]
        place = _row(judged, alert.signal, alert.labels)
        if place is None:
            continue
        span = min(alert.peak_time, alert.firing.start), alert.firing.end
        out.append({"about": "false", "alert": j, **_window(*place, *span, step)})
    first: dict[int, int] = {}
    for j in sorted(range(len(found.alerts)), key=lambda j: found.alerts[j].firing.start):
        for i in found.alerts[j].incidents:
            first.setdefault(i, j)
    for i, j in sorted(first.items())[:MOST_FOUND]:
        place = _row(judged, found.alerts[j].signal, found.alerts[j].labels)
        if place is None:
            continue
        span = found.incidents[i].start, found.incidents[i].end
        out.append({"about": "found", "incident": i, "alert": j, **_window(*place, *span, step)})
    return out


def why_missed(incident: Incident, judged: Sequence[Judged], step: int) -> str:
    """Return in some words why no alert belongs to an incident, as far as the states tell."""
    seen: list[int] = []
    longest: tuple[float, str] = (0.0, "")
    for one in judged:
        inside = _inside(one, incident, step)
        for s in _rows(one, incident):
            states = one.trace.state[s, inside]
            seen += np.unique(states).tolist()
            run = _longest(states == State.ANOMALOUS) * step
            if run:
                hold = RULES[one.trace.signal.kind].hold
                name = one.trace.signal.name
                said = (
                    f"{name} was anomalous for {format_duration(run)}, the alert waits "
                    f"{format_duration(hold)}"
                    if run <= hold
                    else f"an alert of {name} fired, but its anomaly began before the incident"
                )
                longest = max(longest, (float(run), said))
    if longest[1]:
        return longest[1]
    states_seen = set(seen)
    gone = sum(
        incident.concerns(one.trace.signal.name, key)
        for one in judged
        for key in set(one.labels).difference(one.trace.labels)
    )
    if gone:
        return f"the scores of {gone} series that it concerns were let go: too many to keep"
    if not states_seen:
        return "no series that was read has its labels, or none at that time"
    if states_seen <= set(SILENT):
        return "no data"
    if states_seen <= {*SILENT, int(State.WARMING_UP)}:
        return "too little history to judge"
    if states_seen <= {*SILENT, int(State.MASKED), int(State.WARMING_UP)}:
        return "masked"
    best = _nearest(incident, judged, step)
    if best is None:
        return "no score"
    one, s = best
    score = one.trace.score[s, _inside(one, incident, step)]
    return (
        f"highest score {np.nanmax(score):.2f}, of {one.trace.signal.name}; an anomaly is above 1"
    )


def _nearest(incident: Incident, judged: Sequence[Judged], step: int) -> tuple[Judged, int] | None:
    """Return the series that came nearest to an alert: the highest score during the incident."""
    best: tuple[float, Judged, int] | None = None
    for one in judged:
        inside = _inside(one, incident, step)
        for s in _rows(one, incident):
            scores = one.trace.score[s, inside]
            top = float(np.nan_to_num(scores, nan=-1.0).max(initial=-1.0))
            if best is None or top > best[0]:
                best = top, one, s
    return None if best is None else best[1:]


def _rows(one: Judged, incident: Incident) -> list[int]:
    name = one.trace.signal.name
    return [s for s, key in enumerate(one.trace.labels) if incident.concerns(name, key)]


def _inside(one: Judged, incident: Incident, step: int) -> slice:
    """Return the steps at which an alert would have been this incident's."""
    last = max(incident.end, incident.start + LATE_STEPS * step)
    a, b = np.searchsorted(one.trace.times, [incident.start, last])
    return slice(int(a), int(b))


def _row(judged: Sequence[Judged], signal: str, labels: Labels) -> tuple[Judged, int] | None:
    """Return where a series is; None when its scores were let go."""
    one = next(one for one in judged if one.trace.signal.name == signal)
    return (one, one.trace.labels.index(labels)) if labels in one.trace.labels else None


def _longest(on: Bool) -> int:
    edges = np.flatnonzero(np.diff(on, prepend=False, append=False)).reshape(-1, 2)
    return int((edges[:, 1] - edges[:, 0]).max(initial=0))


def _window(one: Judged, s: int, start: int, end: int, step: int) -> dict[str, Any]:
    margin = max(MARGIN_STEPS * step, end - start)
    a, b = np.searchsorted(one.trace.times, [start - margin, end + margin])
    return {"curve": curve(one, s, step, MOST_POINTS, int(a), max(int(b), int(a) + 1))}
