"""Composes what is said of a group of alerts: title, sections, links.

Every text of it is inert: one line, bounded. What is special in a place is for `writing` to escape.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from detector import names, promql
from detector.anomaly import Anomaly
from detector.notify import inert
from detector.notify.inert import line
from detector.notify.others import Other
from detector.notify.story import Story
from detector.notify.webhook import Alert, Group
from detector.notify.wording import ago, clock, deviation, number, sentences, told_apart

# Alerts that get a line of their own.
SHOWN = 10
TITLE = 150
# Characters below which labels in a title say nothing.
LEAST = 12
# Of grafana/dashboards.
EXPLORER, OVERVIEW = "anomaly-signal", "anomaly-overview"
COLOURS = {"resolved": "#2e7d32", "critical": "#c4162a", "warning": "#e0a800", "info": "#4a7ab5"}


@dataclass(frozen=True)
class Message:
    """One message: each text is one inert line; links are addresses that may be clicked.

    Parameters
    ----------
    key : str
        The group it is about.
    status, severity : str
    title : str
        What, how bad, since when.
    sections : tuple of (str, tuple of str)
        A heading, empty for none, and its lines.
    links : tuple of (str, str)
        Name and address.
    picture : bytes
        A PNG, or nothing.
    """

    key: str
    status: str
    severity: str
    title: str
    sections: tuple[tuple[str, tuple[str, ...]], ...]
    links: tuple[tuple[str, str], ...] = ()
    picture: bytes = b""

    @property
    def colour(self) -> str:
        """A colour by status and severity."""
        word = "resolved" if self.status == "resolved" else self.severity
        return COLOURS.get(word, COLOURS["warning"])


def compose(
    group: Group, story: Story, now: float, grafana_url: str = "", picture: bytes = b""
) -> Message:
    """Return the message about a group of alerts.

    Parameters
    ----------
    group : Group
    story : Story
        What is known beyond the alerts; may be empty.
    now : float
        Unix seconds.
    grafana_url : str, optional
        Where the dashboards are; without it the alerts' own `dashboard_url` is linked.
    picture : bytes, optional
        A PNG.
    """
    first = _first(group, story)
    over = group.status == "resolved"
    told = [sentences(one.anomaly, now, one.alert.until) for one in story.subjects]
    # Why, for the first: the others of a group are its like.
    opening = [*(told[0] if told else ()), *(what for what, _ in told[1:])]
    sections: list[tuple[str, tuple[str, ...]]] = [("", tuple(opening))] if opening else []
    explained = [subject.alert for subject in story.subjects]
    rest = [alert for alert in group.alerts if alert not in explained]
    lines = [_alert_line(alert, now) for alert in rest[:SHOWN]]
    left = group.firing + group.resolved - len(story.subjects) - len(lines)
    if left > 0:
        lines.append(f"and {left:,} more alerts of this group; see Alertmanager.")
    if lines:
        sections.append(("Also in this group" if story.subjects else "", tuple(lines)))
    if story.others:
        job = line(first.labels.get("job", ""), 60)
        heading = f"Also unusual in {job} {'then' if over else 'now'}, the most unusual first"
        sections.append((heading, tuple(_other_line(other) for other in story.others)))
    if story.problem:
        sections.append(("", (f"{story.problem}; numbers and picture are missing.",)))
    return Message(
        key=group.key,
        status=group.status,
        severity=line(group.severity, 20),
        title=_title(group, story, now),
        sections=tuple(sections),
        links=_links(group, first, grafana_url),
        picture=picture,
    )


def summary(
    groups: int, alerts: int, counts: dict[str, list[tuple[str, int]]], url: str
) -> Message:
    """Return one message for more groups than anybody reads.

    Parameters
    ----------
    groups, alerts : int
    counts : dict of list of (str, int)
        By what, the names with the most groups.
    url : str
        Alertmanager's address.
    """
    sections = tuple(
        (f"By {what}", tuple(f"{line(name, 80) or 'none'}: {count:,}" for name, count in rows))
        for what, rows in counts.items()
    )
    address = inert.link(url)
    return Message(
        key="",
        status="firing",
        severity="critical",
        title=f"{groups:,} groups of alerts changed at once ({alerts:,} alerts): "
        "this is the only message about them",
        sections=sections,
        links=(("Alertmanager", address),) if address else (),
    )


def _first(group: Group, story: Story) -> Alert:
    """Return the alert a message begins with: one that can be explained, if there is one."""
    return story.subjects[0].alert if story.subjects else group.alerts[0]


def _title(group: Group, story: Story, now: float) -> str:
    first = _first(group, story)
    job = line(first.labels.get("job", ""), 40)
    more = group.firing + group.resolved - 1
    tail = f" and {more:,} more" if more > 0 else ""
    where = f"{job}: " if job else ""
    subject = story.subjects[0].anomaly if story.subjects else None
    name = line(first.labels.get(names.SIGNAL) or first.labels.get("alertname", ""), 50)
    if group.status == "resolved":
        until = max(alert.until for alert in group.alerts)
        since = min(alert.since for alert in group.alerts)
        worst = ""
        if subject is not None:
            since = min(one.anomaly.since for one in story.subjects)
            worst = f", at its worst {deviation(subject)}"
        return _title_of(
            f"[RESOLVED] {where}{name}{' without data' if _without_data(first) else ''}",
            subject,
            f"{tail}, over after {ago(until - since)}{worst}",
        )
    mark = f"[{line(group.severity, 12).upper() or 'FIRING'}] "
    if subject is not None:
        since_text = f"since {clock(subject.since, now)}"
        return _title_of(
            f"{mark}{where}{name}", subject, f" {deviation(subject)}{tail}, {since_text}"
        )
    about = line(first.annotations.get("summary", ""), 80).rstrip(".") or name
    return line(f"{mark}{where}{about}{tail}, since {clock(first.since, now)}", TITLE)


def _without_data(alert: Alert) -> bool:
    return alert.labels.get("alertname") == names.NO_DATA_ALERT


def _title_of(begin: str, anomaly: Anomaly | None, end: str) -> str:
    """Return a title with as much as fits of what tells the series from others of its signal."""
    labels = [pair for pair in (anomaly.labels if anomaly else ()) if pair[0] != "job"]
    # Which feature says more than which replica, and of one replica it says nothing.
    apart = [pair for pair in labels if pair[0] != "instance"] or labels
    room = TITLE - len(begin) - len(end) - 1
    shown = line(" ".join(f"{k}={v}" for k, v in apart), room) if room > LEAST else ""
    return line(f"{begin}{f' {shown}' if shown else ''}{end}", TITLE)


def _alert_line(alert: Alert, now: float) -> str:
    apart = line(
        " ".join(
            f"{k}={v}"
            for k, v in sorted(alert.labels.items())
            if k not in ("alertname", "job", "severity", "category", names.KIND, names.SIGNAL)
        ),
        120,
    )
    what = alert.annotations.get("description") or alert.annotations.get("summary", "")
    name = alert.labels.get(names.SIGNAL) or alert.labels.get("alertname", "")
    when = (
        f"Firing since {clock(alert.since, now)} ({ago(now - alert.since)})."
        if alert.firing
        else f"Over: {clock(alert.since, now)} to {clock(alert.until, now)}."
    )
    return " ".join(
        filter(None, (f"{line(name, 60)}{f' {apart}' if apart else ''}:", line(what), when))
    )


def _other_line(other: Other) -> str:
    apart = told_apart(other.labels)
    seen = number(other.observed, other.kind, other.signal)
    due = number(other.expected, other.kind, other.signal)
    more = f" and {other.more} more" if other.more else ""
    name = f"{line(other.signal, 60)}{f' {apart}' if apart else ''}{more}"
    return f"{name} ({other.kind}): {seen} instead of {due}, score {other.score:.1f}"


def _links(group: Group, alert: Alert, grafana_url: str) -> tuple[tuple[str, str], ...]:
    """Return the places to look; each is only shown, never fetched."""
    dashboard = alert.annotations.get("dashboard_url", "")
    # As the templates of Alertmanager have it: an hour before, and half an hour after.
    end = f"{int(alert.until + 1800)}000" if alert.until else "now"
    range_ = f"&from={int(alert.since - 3600)}000&to={end}"
    if grafana_url:
        asked = "&".join(
            f"var-{k}={quote(alert.labels[k], safe='')}"
            for k in (names.SIGNAL, "job")
            if k in alert.labels
        )
        page = EXPLORER if names.SIGNAL in alert.labels else OVERVIEW
        dashboard = f"{grafana_url}/d/{page}?{asked}{range_}"
    elif re.search(r"/d/.*[?]", dashboard):
        dashboard += range_
    silence = ""
    if group.status == "firing" and group.url:
        # Every label: without one the silence would be wider than the group.
        matchers = ",".join(f"{k}={promql.quoted(v)}" for k, v in sorted(group.labels.items()))
        silence = f"{group.url.rstrip('/')}/#/silences/new?filter={quote(f'{{{matchers}}}')}"
    found = (
        ("Dashboard", dashboard),
        ("Runbook", alert.annotations.get("runbook_url", "")),
        ("Silence", silence),
        ("Prometheus", alert.url),
    )
    return tuple((name, inert.link(url)) for name, url in found if inert.link(url))
