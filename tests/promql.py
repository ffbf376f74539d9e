"""Reads the metric names of an expression, and knows those that somebody writes."""

from __future__ import annotations

import re

from detector import names
from detector.export import HELP
from detector.notify.telemetry import NotifyTelemetry
from detector.telemetry import Telemetry

# Written by the example service, the traffic and Prometheus itself.
SOURCE_METRICS = {
    "up",
    "ALERTS",
    "http_requests_total",
    "http_request_duration_seconds_bucket",
    "http_requests_in_flight",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "churn_predictions_total",
    "churn_feature_distance_floor",
    "churn_feature_drift",
    "churn_feature_missing_ratio",
    "churn_quality_checked_total",
    "churn_quality_violations_total",
    "churn_performance_score",
    "churn_performance_loss",
    "churn_label_coverage_ratio",
    # Recorded by slo.rules.yml, for any job.
    "job:slo_burn:short",
    "job:slo_burn:long",
    "prometheus_config_last_reload_successful",
    "prometheus_config_last_reload_success_timestamp_seconds",
}


def known_metrics() -> set[str]:
    """Return every name a rule may read."""
    own = [*Telemetry(60).registry.collect(), *NotifyTelemetry().registry.collect()]
    endings = {"counter": ("", "_total"), "histogram": ("_bucket", "_sum", "_count")}
    self_metrics = {
        family.name + ending for family in own for ending in endings.get(family.type, ("",))
    }
    return SOURCE_METRICS | self_metrics | set(HELP) | {names.EVIDENCE}


def metrics_of(expression: str) -> set[str]:
    """Return the metric names of a PromQL expression: identifiers that are nothing else."""
    text = re.sub(r"\{\{.*?\}\}", "", expression, flags=re.S)
    text = re.sub(r'"(?:\\.|[^"\\])*"', '""', text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", text)
    words = re.findall(r"(?<![\w:])[a-zA-Z_:][\w:]*+(?!\s*\()", text)
    return set(words) - {"and", "or", "unless", "bool", "offset"}
