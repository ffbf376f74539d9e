"""The metrics of `detector notify` about itself."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
WEBHOOKS = ("new", "duplicate", "malformed", "too_large", "unauthorized", "failed")


class NotifyTelemetry:
    """Counters and gauges of one process, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types here
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        build = Gauge(
            "detector_build_info", "Version of the detector.", ["version"], registry=self.registry
        )
        build.labels(version("prometheus-anomaly-detector")).set(1)
        self.webhooks = Counter(
            "detector_notify_webhooks_total",
            "Webhooks of Alertmanager: new, duplicate, malformed, too_large, unauthorized, failed.",
            ["outcome"],
            registry=self.registry,
        )
        # From 0 on, so that the first one refused is an increase.
        for outcome in WEBHOOKS:
            self.webhooks.labels(outcome)
        self.deliveries = Counter(
            "detector_notify_deliveries_total",
            "States of groups: sent, summarised, unchanged (nothing new to tell), dead.",
            ["target", "outcome"],
            registry=self.registry,
        )
        self.failures = Counter(
            "detector_notify_failures_total",
            "Attempts that failed, by reason.",
            ["target", "reason"],
            registry=self.registry,
        )
        self.pending = Gauge(
            "detector_notify_pending", "Groups to be told.", ["target"], registry=self.registry
        )
        self.oldest = Gauge(
            "detector_notify_oldest_pending_seconds",
            "Age of the oldest state to be told, 0 without one.",
            ["target"],
            registry=self.registry,
        )
        self.succeeded = Gauge(
            "detector_notify_last_success_timestamp_seconds",
            "When a target last took a message, unix time.",
            ["target"],
            registry=self.registry,
        )
        self.delay = Histogram(
            "detector_notify_delay_seconds",
            "From the webhook to the message taken.",
            ["target"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.pictures = Counter(
            "detector_notify_pictures_total",
            "Pictures: drawn, none (no anomaly to draw), failed.",
            ["outcome"],
            registry=self.registry,
        )
