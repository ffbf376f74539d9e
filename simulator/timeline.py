"""The life of one injected fault: when it was seen, alerted on, told, and over."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from detector.durations import parse_duration
from simulator.layout import Layout
from simulator.watch import Message, View

# What a fault may move besides the signal it is watched by; tests/bench/confusion.py counts how
# often. Without traffic, and with the few requests just after, every share and quantile of requests
# is thrown.
PERFORMANCE = frozenset({"churn_performance", "churn_performance_loss", "churn_label_coverage"})
SIDE_EFFECTS: dict[str, frozenset[str]] = {
    "traffic_zero": PERFORMANCE
    | frozenset(
        {
            "churn_traffic",
            "churn_latency_p50",
            "churn_latency_p99",
            "churn_error_ratio",
            "churn_concurrency",
            "churn_cpu",
            "churn_prediction_mix",
            "churn_data_quality",
            "churn_feature_drift",
            "churn_feature_missing",
        }
    ),
    "traffic_drop": frozenset({"churn_traffic", "churn_concurrency", "churn_cpu"}),
    "traffic_surge": frozenset({"churn_traffic", "churn_concurrency", "churn_cpu"}),
    "latency": frozenset({"churn_latency_p50", "churn_latency_p99", "churn_concurrency"}),
    "errors": frozenset({"churn_error_ratio"}),
    "feature_drift": frozenset({"churn_feature_drift", "churn_prediction_mix"}),
    "missing_values": frozenset({"churn_feature_missing", "churn_prediction_mix"}),
    "concept_drift": PERFORMANCE,
}
CHANNELS = ("slack", "email")
# In the order they happen.
STAGES = {
    "scored": "score over 1",
    "firing": "alert firing",
    "slack": "Slack message",
    "email": "e-mail",
    "notify": "both of notify",
    "stopped": "fault ended",
    "slack_resolved": "Slack resolved",
    "email_resolved": "e-mail resolved",
    "notify_resolved": "notify resolved",
}
_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class Injection:
    """A fault to inject (`size` None: full), the signal that has to notice it, and its kind."""

    fault: str
    size: float | None
    signal: str
    kind: str

    @property
    def title(self) -> str:
        """Return fault and size in a few characters."""
        return self.fault if self.size is None else f"{self.fault} {self.size:g}"

    @property
    def alert(self) -> str:
        """Return the name of the alert that has to fire."""
        return f"Anomaly{self.kind.capitalize()}"


@dataclass(frozen=True)
class Letter:
    """One sort of message: of Alertmanager or `detector notify`, where to, of which end."""

    resolved: bool
    enriched: bool
    channel: str


@dataclass
class Timeline:
    """What happened since an injection; times are unix seconds, by stage.

    Parameters
    ----------
    injection : Injection
    injected : float
    heard : dict of Message
        The first of each sort.
    """

    injection: Injection
    injected: float
    times: dict[str, float] = field(default_factory=dict)
    heard: dict[Letter, Message] = field(default_factory=dict)

    def update(self, view: View) -> list[str]:
        """Take over what is new in a view; returns the stages reached by it."""
        signal = self.injection.signal
        before = set(self.times)
        if signal in view.anomalous():
            self.times.setdefault("scored", view.time)
        if signal in view.firing:
            self.times.setdefault("firing", view.time)
        for kind in itertools.product((False, True), (False, True), CHANNELS):
            self._receive(view.messages, Letter(*kind))
        return [stage for stage in STAGES if stage in self.times and stage not in before]

    def _receive(self, messages: list[Message], letter: Letter) -> None:
        """Take the first message of a sort: after the injection, an end after its beginning."""
        about = {self.injection.signal, *(() if letter.enriched else (self.injection.alert,))}
        began = self.heard.get(replace(letter, resolved=False))
        if letter in self.heard or (letter.resolved and began is None):
            return
        after = began.received if letter.resolved and began is not None else self.injected
        for message in messages:
            if (
                message.channel == letter.channel
                and message.enriched == letter.enriched
                and message.received > after
                and message.is_about(letter.resolved, *about)
            ):
                self.heard[letter] = message
                self._reach(letter, message.received)
                return

    def _reach(self, letter: Letter, moment: float) -> None:
        end = "_resolved" if letter.resolved else ""
        if not letter.enriched:
            self.times[f"{letter.channel}{end}"] = moment
        elif all(replace(letter, channel=channel) in self.heard for channel in CHANNELS):
            self.times[f"notify{end}"] = moment

    def since_injection(self, stage: str) -> float | None:
        """Return seconds from the injection to a stage, None when it was not reached."""
        return None if stage not in self.times else self.times[stage] - self.injected

    @property
    def told(self) -> bool:
        """Whether both messages have arrived."""
        return {"slack", "email"} <= set(self.times)

    @property
    def complete(self) -> bool:
        """Whether all stages were reached."""
        return set(STAGES) <= set(self.times)

    @property
    def notification_seconds(self) -> float | None:
        """Seconds from the first bad score to the later one of the two messages."""
        if not self.told or "scored" not in self.times:
            return None
        return max(self.times["slack"], self.times["email"]) - self.times["scored"]

    def missing(self) -> list[str]:
        """Return what did not arrive, in words."""
        return [words for stage, words in STAGES.items() if stage not in self.times]

    def covers(self, signal: str, moment: float, recovery: float) -> bool:
        """Return whether it explains what a signal does at a moment.

        Parameters
        ----------
        recovery : float
            Seconds after the last message in which windows still hold the fault.
        """
        touched = SIDE_EFFECTS[self.injection.fault] | {self.injection.signal}
        end = max(self.times.values()) if self.complete else float("inf")
        return signal in touched and self.injected <= moment <= end + recovery


def allowance(layout: Layout, kind: str) -> float:
    """Return the most seconds a first bad score may take to become a message.

    It is scrape interval + rule interval + the alert's `for` + group wait + 5 s, of the files the
    stack runs with.
    """

    def read(*parts: str) -> Any:
        return yaml.safe_load(layout.directory.joinpath(*parts).read_text(encoding="utf-8"))

    prometheus = read("config", "prometheus.yml")["global"]
    route = read("config", "alertmanager.yml")["route"]
    (patience,) = (
        rule["for"]
        for group in read("rules", "anomaly.rules.yml")["groups"]
        for rule in group["rules"]
        if f'kind="{kind}"' in rule["expr"]
    )
    waits = (
        prometheus["scrape_interval"],
        prometheus["evaluation_interval"],
        patience,
        route["group_wait"],
    )
    return sum(parse_duration(wait) for wait in waits) + _GRACE_SECONDS
