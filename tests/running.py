"""A service of a test: its clock in the test's hand, what it exposes, and samples to feed it."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from synthetic import DAY, MONDAY

from detector.prometheus import Prometheus
from detector.score import GONE
from detector.service import Service
from detector.settings import Settings
from detector.telemetry import Telemetry

# A Monday noon after four weeks.
NOW = MONDAY + 28 * DAY + 12 * 3600
Metrics = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Running:
    """A service, what it exposes, and the time it believes it is."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None, **given: Any):
        self.settings = Settings(
            **{"prometheus": {"url": url, "timeout": "5s"}, "history": "7d", **given}
        )
        self.now = float(NOW)
        self.telemetry = Telemetry(self.settings.step)
        source = Prometheus(
            self.settings.prometheus,
            lambda outcome: self.telemetry.queries.labels(outcome).inc(),
            transport,
        )
        self.service = Service(self.settings, source, self.telemetry, lambda: self.now)

    def cycle(self, time: float | None = None) -> Running:
        """Run one cycle with all that a step at `time` needs complete."""
        self.now = (NOW if time is None else time) + self.settings.delay
        self.service.cycle()
        return self

    def metrics(self) -> Metrics:
        text = self.service.metrics().decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def get(self, name: str, **labels: str) -> float | None:
        """Return the one sample of this name whose labels include those given."""
        found = [
            value
            for (metric, own), value in self.metrics().items()
            if metric == name and labels.items() <= dict(own).items()
        ]
        assert len(found) < 2, f"{name}{labels} is {len(found)} samples"
        return found[0] if found else None


def past(until: int = NOW, days: int = 7) -> np.ndarray:
    """Times of a fed series: the profile grid, then each minute since before the last boundary."""
    coarse = np.arange(until - days * DAY, until - DAY - 7200, 300)
    return np.concatenate([coarse, np.arange(until - DAY - 7200, until + 1, 60)])


def rule(name: str, query: str, kind: str = "traffic", **own: str) -> dict[str, Any]:
    marks = {"anomaly_name": name, "anomaly_type": kind, **own}
    return {"record": f"test:{name}", "expr": query, "labels": marks}


def final_rows(
    name: str, scores: Any, t: int = -1
) -> dict[tuple[str, Any, int], tuple[float, ...]]:
    fields = ("observed", "expected", "lower", "upper", "score", "state")
    return {
        (name, key, int(scores.times[t])): tuple(float(getattr(scores, f)[s, t]) for f in fields)
        for s, key in enumerate(scores.labels)
        if scores.state[s, t] != GONE
    }
