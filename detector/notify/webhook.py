"""Reads what Alertmanager posts: one group of alerts, cut to what a message can hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

# Alerts of a group that are kept; the rest is counted.
KEPT = 100
# Characters of a label or annotation that are kept. A longer label finds no series, only its text
# is shown.
LONGEST = 2_000
SEVERITIES = ("critical", "error", "warning", "info")


@dataclass(frozen=True)
class Alert:
    """One alert: `since` and `until` in unix seconds, `until` 0 while it fires."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    since: float
    until: float
    fingerprint: str
    url: str = ""

    @property
    def firing(self) -> bool:
        """Whether it still fires."""
        return self.status == "firing"


@dataclass(frozen=True)
class Group:
    """One group of alerts as Alertmanager sees it now.

    Parameters
    ----------
    key : str
        Identity of the group and its receiver, a digest.
    digest : str
        What is said: changes when an alert begins, ends or begins again.
    alerts : tuple of Alert
        At most `KEPT`, firing ones and grave ones first.
    firing, resolved : int
        All alerts of the group, those not kept included.
    """

    key: str
    digest: str
    labels: dict[str, str]
    severity: str
    alerts: tuple[Alert, ...]
    firing: int
    resolved: int
    url: str

    @property
    def status(self) -> str:
        """``firing`` as long as one alert is."""
        return "firing" if self.firing else "resolved"

    @property
    def told(self) -> tuple[str, ...]:
        """Identity of the firing alerts that are kept, each with its start."""
        return tuple(f"{a.fingerprint}@{a.since:.0f}" for a in self.alerts if a.firing)


class _Alert(msgspec.Struct):
    labels: dict[str, str]
    startsAt: datetime  # noqa: N815  # Alertmanager's name
    status: str = "firing"
    annotations: dict[str, str] = {}
    endsAt: datetime | None = None  # noqa: N815
    generatorURL: str = ""  # noqa: N815
    fingerprint: str = ""


class _Webhook(msgspec.Struct):
    groupKey: str  # noqa: N815
    alerts: list[_Alert]
    receiver: str = ""
    groupLabels: dict[str, str] = {}  # noqa: N815
    externalURL: str = ""  # noqa: N815
    truncatedAlerts: int = 0  # noqa: N815


def parse(body: bytes) -> Group:
    """Return the group of a webhook of version 4.

    Raises
    ------
    ValueError
        When it is none; the message says what is missing.
    """
    try:
        hook = msgspec.json.decode(body, type=_Webhook)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"no webhook of Alertmanager: {error}") from None
    if not hook.alerts:
        raise ValueError("no webhook of Alertmanager: it has no alerts")
    alerts = sorted((_alert(a) for a in hook.alerts), key=_gravity)
    firing = sum(a.firing for a in alerts)
    said = sorted(f"{a.fingerprint} {a.status} {a.since:.3f}" for a in alerts)
    return Group(
        key=_hash(hook.receiver, hook.groupKey),
        digest=_hash(*said, str(hook.truncatedAlerts)),
        labels={_cut(k): _cut(v) for k, v in hook.groupLabels.items()},
        severity=alerts[0].labels.get("severity", ""),
        alerts=tuple(alerts[:KEPT]),
        firing=firing + (hook.truncatedAlerts if firing else 0),
        resolved=len(alerts) - firing + (0 if firing else hook.truncatedAlerts),
        url=_cut(hook.externalURL),
    )


def encode(group: Group) -> bytes:
    """Return a group as bytes that `decode` reads."""
    return msgspec.json.encode(group)


def decode(data: bytes) -> Group:
    """Return the group that was encoded."""
    return msgspec.json.decode(data, type=Group)


def _alert(raw: _Alert) -> Alert:
    until = raw.endsAt.timestamp() if raw.endsAt and raw.status == "resolved" else 0.0
    return Alert(
        status="resolved" if raw.status == "resolved" else "firing",
        labels={_cut(k): _cut(v) for k, v in raw.labels.items()},
        annotations={_cut(k): _cut(v) for k, v in raw.annotations.items()},
        since=_utc(raw.startsAt).timestamp(),
        until=max(until, 0.0),
        fingerprint=raw.fingerprint[:64] or _hash(*map(str, sorted(raw.labels.items())))[:16],
        url=_cut(raw.generatorURL),
    )


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _gravity(alert: Alert) -> tuple[bool, int, float, str]:
    """Order: firing first, then by severity, then the oldest."""
    severity = alert.labels.get("severity", "")
    rank = SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
    return not alert.firing, rank, alert.since, alert.fingerprint


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
