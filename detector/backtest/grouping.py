"""What Alertmanager makes of firing alerts: groups, waits, repeats, inhibition; the pages.

Source: `dispatch/dispatch.go`, `notify/notify.go` (`DedupStage.needsUpdate`) and
`inhibit/inhibit.go` of Alertmanager 0.25.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detector.backtest.alerting import Firing
from detector.labels import label_set
from detector.series import Labels


@dataclass(frozen=True)
class Route:
    """How alerts are grouped and repeated, as alertmanager/alertmanager.yml does; seconds."""

    group_by: tuple[str, ...] = ("alertname", "job", "signal")
    group_wait: int = 30
    group_interval: int = 300
    repeat_interval: int = 12 * 3600


@dataclass(frozen=True)
class Inhibition:
    """Alerts that mute ours while they fire.

    Parameters
    ----------
    firings : mapping from Labels to sequence of Firing
        The muting alerts, by their labels.
    equal : tuple of str
        Labels that must have one value in both; one absent in both is equal.
    """

    firings: Mapping[Labels, Sequence[Firing]]
    equal: tuple[str, ...]

    def mutes(self, source: Labels, labels: Labels) -> bool:
        """Return whether an alert with labels `source` mutes one with `labels`."""
        theirs, own = dict(source), dict(labels)
        return all(own.get(name, "") == theirs.get(name, "") for name in self.equal)


@dataclass(frozen=True)
class Page:
    """A message about alerts that fire: new ones, or the reminder that they still do.

    Messages that only tell of an end are none.
    """

    time: int
    group: Labels
    alerts: tuple[tuple[Labels, Firing], ...]
    repeated: bool = False


def pages(
    alerts: Mapping[Labels, Sequence[Firing]], route: Route, inhibitions: Sequence[Inhibition] = ()
) -> list[Page]:
    """Return the messages of all alerts, by time.

    Parameters
    ----------
    alerts : mapping from Labels to sequence of Firing
        Firings by the labels of the alert.
    route : Route
    inhibitions : sequence of Inhibition
    """
    grouped: dict[Labels, list[tuple[Labels, Firing]]] = {}
    for labels, found in alerts.items():
        own = dict(labels)
        key = label_set({name: own.get(name, "") for name in route.group_by})
        grouped.setdefault(key, []).extend((labels, one) for one in found)
    every = [
        page
        for key, members in grouped.items()
        for page in _of_group(key, sorted(members, key=_begin), route, inhibitions)
    ]
    return sorted(every, key=lambda page: (page.time, page.group))


def _of_group(
    key: Labels,
    members: list[tuple[Labels, Firing]],
    route: Route,
    inhibitions: Sequence[Inhibition],
) -> list[Page]:
    found: list[Page] = []
    # What the last message named as firing, and when it was sent.
    told: frozenset[Labels] = frozenset()
    sent = 0
    waiting = members
    while waiting:
        flush = waiting[0][1].start + route.group_wait
        # The group lives until a flush that finds nothing firing; it begins anew after that.
        while True:
            here = [m for m in waiting if m[1].start <= flush]
            firing = [m for m in here if flush < m[1].end and not _muted(m[0], flush, inhibitions)]
            now = frozenset(labels for labels, _ in firing)
            if now - told or (now and flush - sent > route.repeat_interval):
                found.append(Page(flush, key, tuple(firing), repeated=not now - told))
                told, sent = now, flush
            elif told - now:
                # A message of an end; what ended is told anew when it fires again.
                told, sent = now, flush
            waiting = [m for m in waiting if m[1].end > flush]
            if not any(m[1].start <= flush for m in waiting):
                break
            flush += route.group_interval
    return found


def _muted(labels: Labels, time: int, inhibitions: Sequence[Inhibition]) -> bool:
    return any(
        any(one.start <= time < one.end for one in found)
        for rule in inhibitions
        for source, found in rule.firings.items()
        if rule.mutes(source, labels)
    )


def _begin(member: tuple[Labels, Firing]) -> tuple[int, int]:
    return member[1].start, member[1].end
