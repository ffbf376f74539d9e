"""The sectors that say what the churn service does: service and performance."""

from __future__ import annotations

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.models import units

from boards.band import of_job
from boards.parts import BAD, GOOD, WARN, Panel, lines, process, query, timeline

_OF = 'job="$job",instance=~"$instance"'


def service() -> list[Panel]:
    """Return the panels of the sector."""
    return [
        of_job("Traffic", "churn_traffic", units.RequestsPerSecond),
        of_job("Latency, 99th percentile", "churn_latency_p99", units.Seconds),
        of_job("Share of failed requests", "churn_error_ratio", units.PercentUnit),
        lines(
            "Requests by status",
            "Answers of the prediction handler; 422 is a request that breaks the schema.",
            query(
                f"sum by (status) (rate(http_requests_total{{{_OF}}}[$__rate_interval]))",
                legend="{{status}}",
            ),
            unit=units.RequestsPerSecond,
            stacked=True,
        ),
        timeline(
            "Dependencies",
            "Whether the last call of what the service depends on succeeded.",
            query(f"churn_dependency_up{{{_OF}}}", legend="{{dependency}} of {{instance}}"),
            {0: ("down", BAD), 1: ("up", GOOD)},
            height=7,
        ),
        lines(
            "Time of a feature-store look-up",
            "The mean; a slow store is the usual cause of slow answers.",
            query(
                f"rate(feature_store_request_duration_seconds_sum{{{_OF}}}[$__rate_interval]) "
                f"/ rate(feature_store_request_duration_seconds_count{{{_OF}}}[$__rate_interval])",
                legend="{{instance}}",
            ),
            height=7,
            unit=units.Seconds,
        ),
        *process(_OF, "Cores in use."),
        lines(
            "Requests in flight",
            "Their mean over the rate interval; one scrape is a random moment.",
            query(
                f"avg_over_time(http_requests_in_flight{{{_OF}}}[$__rate_interval])",
                legend="{{instance}}",
            ),
            span=8,
        ),
    ]


def performance() -> list[Panel]:
    """Return the panels of the sector."""

    # One replica exports performance; while another takes over, two may.
    def by_measure(name: str) -> prometheus.Dataquery:
        return query(f"avg by (measure) ({name}{{{_OF}}})", legend="{{measure}}")

    delay = f"sum by (le) (rate(churn_label_delay_seconds_bucket{{{_OF}}}[$__rate_interval]))"
    return [
        lines(
            "How good the model is",
            "Of predictions old enough to be labelled; 1 is best. A gap: too few labels.",
            by_measure("churn_performance_score"),
            unit=units.PercentUnit,
        ).max(1),
        lines(
            "Losses",
            "Brier score, log loss and calibration error; 0 is best.",
            by_measure("churn_performance_loss"),
        ).min(0),
        lines(
            "Labelled share",
            "Of the window whose labels are due; below 80 % nothing is said of performance.",
            query(f"avg(churn_label_coverage_ratio{{{_OF}}})", legend="labelled"),
            unit=units.PercentUnit,
            steps=((None, "transparent"), (0.8, WARN)),
        )
        .min(0)
        .max(1),
        lines(
            "How late labels come",
            "Time from a prediction to the arrival of its actual.",
            query(f"histogram_quantile(0.5, {delay})", "A", "half of them"),
            query(f"histogram_quantile(0.9, {delay})", "B", "90 %"),
            unit=units.Seconds,
        ),
        lines(
            "Actuals by what became of them",
            "Rejected: a bad row. Unknown: no prediction of that id, yet.",
            query(
                f"sum by (outcome) (rate(churn_actuals_total{{{_OF}}}[$__rate_interval]))",
                legend="{{outcome}}",
            ),
            unit="cps",
        ),
        lines(
            "Predictions stored, waiting and lost",
            "Stored a second, lost a second, and those that wait in memory.",
            query(
                "sum by (outcome) "
                f"(rate(churn_feedback_predictions_total{{{_OF}}}[$__rate_interval]))",
                "A",
                "{{outcome}}",
            ),
            query(
                f"sum(rate(churn_feedback_lost_predictions_total{{{_OF}}}[$__rate_interval]))",
                "B",
                "lost",
            ),
            query(f"sum(churn_feedback_queue_predictions{{{_OF}}})", "C", "waiting"),
        ),
    ]
