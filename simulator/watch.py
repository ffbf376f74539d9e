"""Sees what a running stack says from outside: scores, firing alerts, messages received."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from detector import names
from detector.errors import SourceError
from simulator.layout import Layout

# The sender that the configuration of the stack gives to `detector notify`.
NOTIFY = "notify"


@dataclass(frozen=True)
class Message:
    """A message a sink received; `received` is in unix seconds.

    By `notify` (`detector notify`) or else by Alertmanager.
    """

    received: float
    channel: str
    title: str
    sender: str = ""

    @property
    def enriched(self) -> bool:
        """Whether `detector notify` sent it."""
        return self.sender == NOTIFY

    def is_about(self, resolved: bool, *words: str) -> bool:
        """Return whether it says that something fires, or is over, with these names in its title.

        `detector notify` has the severity where Alertmanager says FIRING.
        """
        over = self.title.startswith("[RESOLVED")
        known = self.enriched or over or self.title.startswith("[FIRING")
        return (
            known
            and over == resolved
            and set(words) <= {word.strip(",:") for word in self.title.split()}
        )


@dataclass
class View:
    """What was seen at the newest look (unix seconds), and all messages until then.

    By signal: `states` of its series, and their highest score. `firing` are the signals with an
    anomaly alert that fires, `pending` those with any alert that waits or fires. `cycle_seconds`
    has one entry a cycle of the detector, `resident_bytes` is the most memory it ever used.
    """

    time: float = 0.0
    states: dict[str, set[int]] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    firing: set[str] = field(default_factory=set)
    pending: set[str] = field(default_factory=set)
    messages: list[Message] = field(default_factory=list)
    cycle_seconds: list[float] = field(default_factory=list)
    resident_bytes: float = 0.0

    def anomalous(self) -> list[str]:
        """Return the signals with a series in state 1."""
        return sorted(s for s, states in self.states.items() if names.State.ANOMALOUS in states)


class Watch:
    """Looks at detector, Prometheus and sink of one stack.

    Parameters
    ----------
    layout : Layout
    """

    def __init__(self, layout: Layout):
        self._layout = layout
        self._http = httpx.Client(timeout=30.0, trust_env=False)
        self._cycles = (0.0, 0.0)
        self.view = View()

    def look(self) -> View:
        """Refresh and return the view.

        Raises
        ------
        SourceError
            When one of them does not answer.
        """
        view = self.view
        self._look_at_detector(view)
        alerts = self._json("prometheus:9090", "/api/v1/alerts")["data"]["alerts"]
        view.pending = {alert["labels"].get(names.SIGNAL, "") for alert in alerts}
        view.firing = {
            alert["labels"].get(names.SIGNAL, "")
            for alert in alerts
            if alert["state"] == "firing" and alert["labels"].get("category") == "anomaly"
        }
        view.messages += [
            Message(message["received"], message["channel"], message["title"], message["sender"])
            for message in self._json("sink:8090", f"/messages?since={len(view.messages)}")
        ]
        view.time = time.time()
        return view

    def _look_at_detector(self, view: View) -> None:
        states: dict[str, set[int]] = {}
        scores: dict[str, float] = {}
        cycles = {"count": 0.0, "sum": 0.0}
        for family in text_string_to_metric_families(self._get("detector:9112", "/metrics").text):
            for sample in family.samples:
                signal = sample.labels.get(names.SIGNAL, "")
                if sample.name == names.STATE:
                    states.setdefault(signal, set()).add(int(sample.value))
                elif sample.name == names.SCORE:
                    scores[signal] = max(scores.get(signal, 0.0), sample.value)
                elif sample.name == "process_resident_memory_bytes":
                    view.resident_bytes = max(view.resident_bytes, sample.value)
                elif sample.name.startswith("detector_cycle_duration_seconds_"):
                    cycles[sample.name.rpartition("_")[2]] = sample.value
        view.states, view.scores = states, scores
        count, total = self._cycles
        self._cycles = (cycles["count"], cycles["sum"])
        if count and cycles["count"] > count:
            view.cycle_seconds.append((cycles["sum"] - total) / (cycles["count"] - count))

    def received(self) -> list[dict[str, Any]]:
        """Return all messages as the sink keeps them, see `simulator.sink.MessageStore`."""
        return list(self._json("sink:8090", "/messages"))

    def range(self, query: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Return the series of a range query: dicts with `metric` and `values`."""
        options = {"query": query, "start": start, "end": end, "step": step}
        answer = self._json("prometheus:9090", "/api/v1/query_range", options)
        return list(answer["data"]["result"])

    def _json(self, server: str, path: str, options: dict[str, Any] | None = None) -> Any:
        return self._get(server, path, options).json()

    def _get(self, server: str, path: str, options: dict[str, Any] | None = None) -> httpx.Response:
        url = f"{self._layout.url(server)}{path}"
        try:
            answer = self._http.get(url, params=options)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise SourceError(f"{server.partition(':')[0]} does not answer: {error}") from error
        return answer
