"""Incidents that a replay is judged by: from a file, from alerts, silences or an expression."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml

from detector import promql
from detector.errors import ConfigError, SourceError
from detector.labels import label_set
from detector.prometheus import Prometheus
from detector.series import Labels
from detector.unreadable import unreadable

KEYS = ("start", "end", "signal", "labels", "note")
# Labels that tell one alert from another, not one series.
OF_ALERTS = ("alertname", "alertstate")


@dataclass(frozen=True)
class Incident:
    """Something that should have been found.

    Parameters
    ----------
    start, end : int
        Unix seconds; `end` is not included.
    signal : str
        The one signal it concerns; empty for all.
    labels : Labels
        It concerns the series that agree with it on every label that both have.
    note : str
    source : str
        Where it comes from.
    weak : bool
        Nobody labelled it: an alert or a silence stands for it.
    """

    start: int
    end: int
    signal: str = ""
    labels: Labels = ()
    note: str = ""
    source: str = "file"
    weak: bool = False

    def concerns(self, signal: str, labels: Labels) -> bool:
        """Return whether a series of a signal should show it."""
        own = dict(labels)
        agrees = all(own.get(name, value) == value for name, value in self.labels)
        return self.signal in ("", signal) and agrees


def read_incidents(path: Path) -> list[Incident]:
    """Read incidents from a YAML list, or from CSV for any other ending.

    Parameters
    ----------
    path : Path
        Each has `start` and `end` (unix seconds or ISO 8601, UTC unless they say otherwise), and
        may have `signal`, `labels` (a mapping; in CSV ``job=a,instance=b``) and `note`.

    Raises
    ------
    ConfigError
        Naming the entry that cannot be understood.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        entries: Any
        if path.suffix.lower() in (".yml", ".yaml"):
            entries = yaml.safe_load(text) or []
            if isinstance(entries, dict) and set(entries) == {"incidents"}:
                entries = entries["incidents"] or []
        else:
            entries = list(csv.DictReader(text.splitlines(), skipinitialspace=True))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise unreadable(path, error) from None
    except csv.Error as error:
        raise ConfigError(f"{path}: no list of incidents: {error}") from None
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: must be a list of entries with start and end")
    return [_incident(f"{path}: incident {i}", entry) for i, entry in enumerate(entries, 1)]


def incidents_where(
    source: Prometheus, query: str, start: int, end: int, step: int
) -> list[Incident]:
    """Return an incident for each time an expression was true, by result.

    Raises
    ------
    SourceError
    """
    found = source.holds(query, start, end - step, step)
    return [
        Incident(a, b, "", key, _named(key) or query, "expression")
        for key, true in found.items()
        for a, b in _runs(true, start, step)
    ]


def incidents_of_alerts(
    source: Prometheus, alerts: Iterable[str], start: int, end: int, step: int
) -> list[Incident]:
    """Return a weak incident for each time one of these alerts was firing.

    Raises
    ------
    SourceError
    """
    found = source.holds(promql.firing(alerts), start, end - step, step)
    return [
        Incident(a, b, "", _identity(key), dict(key).get("alertname", ""), "alert", weak=True)
        for key, true in found.items()
        for a, b in _runs(true, start, step)
    ]


def incidents_of_silences(url: str, start: int, end: int) -> list[Incident]:
    """Return a weak incident for each silence of an Alertmanager.

    Its matchers for one exact value say which series it concerns; others do not narrow it down.

    Raises
    ------
    SourceError
        When the Alertmanager cannot be reached or answers something else.
    """
    where = f"{url.rstrip('/')}/api/v2/silences"
    try:
        answer = httpx.get(where, timeout=10)
        answer.raise_for_status()
        silences = [
            Incident(
                int(datetime.fromisoformat(one["startsAt"]).timestamp()),
                int(datetime.fromisoformat(one["endsAt"]).timestamp()),
                "",
                _identity(
                    label_set(
                        {
                            m["name"]: m["value"]
                            for m in one["matchers"]
                            if not m["isRegex"] and m.get("isEqual", True)
                        }
                    )
                ),
                str(one.get("comment", "")),
                "silence",
                weak=True,
            )
            for one in answer.json()
        ]
    except httpx.HTTPError as error:
        raise SourceError(f"{where}: cannot be read ({error}); is --silences right?") from None
    except (ValueError, KeyError, TypeError):
        raise SourceError(
            f"{where}: unexpected answer; does --silences lead to an Alertmanager?",
            reason="bad_response",
        ) from None
    return [one for one in silences if one.end > start and one.start < end]


def inside(
    incidents: Iterable[Incident], start: int, end: int
) -> tuple[tuple[Incident, ...], list[Incident]]:
    """Return the incidents in [start, end) by their begin, and those that lie outside of it."""
    ordered = sorted(incidents, key=lambda one: (one.start, one.end, one.signal, one.labels))
    within = tuple(one for one in ordered if start <= one.start < end)
    return within, [one for one in ordered if not start <= one.start < end]


def _incident(where: str, entry: Any) -> Incident:
    if not isinstance(entry, Mapping) or not {"start", "end"} <= set(entry):
        raise ConfigError(f"{where}: must have start and end")
    unknown = sorted(str(key) for key in set(entry) - set(KEYS))
    if unknown:
        raise ConfigError(f"{where}: unknown {unknown[0]!r}; choose from {', '.join(KEYS)}")
    start, end = (_moment(f"{where}: {key}", entry[key]) for key in ("start", "end"))
    if end <= start:
        raise ConfigError(f"{where}: end must be after start")
    labels = entry.get("labels") or {}
    if isinstance(labels, str):
        pairs = [pair.partition("=") for pair in labels.replace(";", ",").split(",")]
        if not all(name.strip() and sign for name, sign, _ in pairs):
            raise ConfigError(f"{where}: labels {labels!r}: write job=a,instance=b")
        labels = {name.strip(): value.strip() for name, _, value in pairs}
    if not isinstance(labels, Mapping):
        raise ConfigError(f"{where}: labels must be names and values such as {{job: a}}")
    named = label_set({str(k): str(v) for k, v in labels.items()})
    return Incident(start, end, str(entry.get("signal") or ""), named, str(entry.get("note") or ""))


def _moment(where: str, value: Any) -> int:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    else:
        try:
            moment = value if isinstance(value, date) else _parsed(str(value).strip())
        except ValueError:
            raise ConfigError(
                f"{where} {value!r} is no time; write unix seconds or ISO 8601"
            ) from None
        if isinstance(moment, float):
            seconds = moment
        else:
            if not isinstance(moment, datetime):
                moment = datetime(moment.year, moment.month, moment.day)
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            seconds = aware.timestamp()
    if not abs(seconds) < 1e11:
        raise ConfigError(f"{where} {value!r}: must be unix seconds, not milliseconds")
    return int(seconds)


def _parsed(text: str) -> datetime | float:
    try:
        return float(text)
    except ValueError:
        return datetime.fromisoformat(text)


def _runs(true: np.ndarray, start: int, step: int) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(true, prepend=False, append=False)).reshape(-1, 2)
    return [(start + int(a) * step, start + int(b) * step) for a, b in edges]


def _identity(key: Labels) -> Labels:
    return tuple(pair for pair in key if pair[0] not in OF_ALERTS)


def _named(key: Labels) -> str:
    return ", ".join(value for _, value in key)
