"""Churn model: service, data quality, drift and performance of the example, and what is unusual."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard, statetimeline
from grafana_foundation_sdk.models import units

from boards.churn_data import drift, quality
from boards.churn_work import performance, service
from boards.parts import (
    BAD,
    CHURN,
    EXPLORER,
    GOOD,
    OVERVIEW,
    STATES,
    TITLES,
    WARN,
    Panel,
    annotation,
    board,
    chosen,
    link,
    query,
    some_of,
    timeline,
    value,
)

_OF = 'job="$job",instance=~"$instance"'
_ALERTS = 'ALERTS{alertstate="firing",category="anomaly",job="$job"}'
_SECTORS = {
    "Service": "churn_(traffic|latency.*|error_ratio|concurrency|cpu|memory)",
    "Data quality": "churn_(feature_missing|data_quality)",
    "Drift": "churn_(feature_drift|prediction_mix)",
    "Performance": "churn_(performance.*|label_coverage)",
}
_ABNORMAL = link(OVERVIEW, job="$job")


def churn() -> dashboard.Dashboard:
    """Return the dashboard."""
    made = (
        board(
            CHURN, "The churn service in four sectors: service, data quality, drift, performance."
        )
        .with_variable(chosen("job", "Job", "label_values(churn_model_info, job)"))
        .with_variable(
            some_of("instance", "Instance", 'label_values(churn_model_info{job="$job"}, instance)')
        )
        .annotation(annotation("Alerts", _ALERTS, "red", "{{alertname}}", "{{signal}} of {{job}}"))
        .annotation(
            annotation(
                "Injected faults", "simulator_fault_active == 1", "orange", "{{fault}}", "{{job}}"
            )
        )
        .annotation(
            annotation(
                "New model",
                f"changes(churn_model_loaded_timestamp_seconds{{{_OF}}}[$__interval]) > 0",
                "blue",
                "New model",
                "{{instance}}",
            )
        )
    )
    for sector, signals in _SECTORS.items():
        made = made.with_panel(
            value(
                sector,
                f"Abnormal series of the signals {signals}.",
                f'sum(anomaly_state{{job="$job",signal=~"{signals}"}} == bool 1)',
                span=3,
                steps=((None, GOOD), (1, BAD)),
            ).data_links([dashboard.DashboardLink(TITLES[OVERVIEW]).url(_ABNORMAL)])
        )
    for panel in (*_model(), _states()):
        made = made.with_panel(panel)
    for sector, panels in (
        ("Service", service()),
        ("Data quality", quality()),
        ("Drift", drift()),
        ("Performance", performance()),
    ):
        made = made.with_row(dashboard.Row(sector))
        for panel in panels:
            made = made.with_panel(panel)
    return made


def _model() -> list[Panel]:
    return [
        value(
            "Model",
            "Version of the model that answers.",
            f"churn_model_info{{{_OF}}}",
            span=3,
            name="version",
        ),
        value(
            "Trained",
            "Age of the model.",
            f"max(time() - churn_model_created_timestamp_seconds{{{_OF}}})",
            span=3,
            unit=units.Seconds,
        ),
        value(
            "Newest prediction",
            "How long ago the service last predicted.",
            f"min(time() - churn_last_prediction_timestamp_seconds{{{_OF}}})",
            span=3,
            unit=units.Seconds,
            steps=((None, GOOD), (300, WARN)),
        ),
        value(
            "Last load",
            "Whether the last model was taken; a damaged one is refused and the old one goes on.",
            f"min(churn_model_load_success{{{_OF}}})",
            span=3,
            states={0: ("refused", BAD), 1: ("good", GOOD)},
        ),
    ]


def _states() -> statetimeline.Panel:
    state = 'anomaly_state{job="$job"}'
    return timeline(
        "State of each signal",
        "Red while one series of the signal is anomalous. A row leads to its picture.",
        query(f"max by (signal) ({state} == 1) or min by (signal) ({state})", legend="{{signal}}"),
        STATES,
        span=24,
        height=9,
        to=link(EXPLORER, job="$job", signal="${__field.labels.signal}"),
    )
