"""The sectors that say what the churn service sees: data quality and drift."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from boards.band import of_job
from boards.parts import BAD, Panel, lines, query

_OF = 'job="$job",instance=~"$instance"'
_WINDOW = f'{_OF},window="count"'
_EDGE = ((None, "transparent"), (1.0, BAD))


def quality() -> list[Panel]:
    """Return the panels of the sector."""
    checked = f"scalar(sum(rate(churn_quality_checked_total{{{_OF}}}[$__rate_interval])))"
    return [
        lines(
            "Customers that fail a check",
            "Their share, by check; a refused request counts as one customer.",
            query(
                "sum by (check) "
                f"(rate(churn_quality_violations_total{{{_OF}}}[$__rate_interval])) / {checked}",
                legend="{{check}}",
            ),
            unit=units.PercentUnit,
            up_to=0.01,
        ),
        lines(
            "Missing values by feature",
            "Share of the window's customers without this value.",
            query(f"churn_feature_missing_ratio{{{_OF}}}", legend="{{feature}} of {{instance}}"),
            unit=units.PercentUnit,
        ),
        lines(
            "Values that training never saw, by feature",
            "Share of the window's customers with an unseen category or a value out of range.",
            query(
                f"churn_feature_invalid_ratio{{{_OF}}}",
                legend="{{feature}} {{check}} of {{instance}}",
            ),
            unit=units.PercentUnit,
            up_to=0.01,
        ),
        lines(
            "Repeated customers",
            "Share of the window's customers that repeat another one of it.",
            query(f"churn_window_duplicate_ratio{{{_OF}}}", legend="{{instance}}"),
            unit=units.PercentUnit,
            up_to=0.01,
        ),
    ]


def drift() -> list[Panel]:
    """Return the panels of the sector."""
    over = (
        "max by (instance, feature) "
        f"(churn_feature_distance{{{_WINDOW}}} / churn_feature_distance_floor{{{_WINDOW}}})"
    )
    said = (
        "max by (instance, output) "
        f"(churn_prediction_distance{{{_WINDOW}}} / churn_prediction_distance_floor{{{_WINDOW}}})"
    )
    return [
        lines(
            "Drift of the data as a whole",
            "Mean Jensen-Shannon distance of the features, beside what it is without drift.",
            query(f"data_drift_value{{{_OF}}}", "A", "now, {{instance}}"),
            query(f"data_drift_value_expected{{{_OF}}}", "B", "without drift, {{instance}}"),
        ),
        lines(
            "Distance of each feature",
            "The one distance a feature that the detector watches: Wasserstein of numbers, PSI of "
            "categories.",
            query(
                f"churn_feature_drift{{{_OF}}}",
                legend="{{feature}} {{statistic}} of {{instance}}",
            ),
        ),
        lines(
            "Features beyond chance",
            "The largest of a feature's distances in floors: 99 % of windows without drift stay "
            "below 1.",
            query(over, legend="{{feature}} of {{instance}}"),
            steps=_EDGE,
            up_to=1.2,
        ),
        lines(
            "Predictions beyond chance",
            "The same for what the model says: its scores and classes.",
            query(said, legend="{{output}} of {{instance}}"),
            steps=_EDGE,
            up_to=1.2,
        ),
        of_job("Share predicted to churn", "churn_prediction_mix", units.PercentUnit),
        lines(
            "Classes: the window and the training data",
            "Share of each class among the window's predictions, and on the training data.",
            query(f"churn_prediction_class_ratio{{{_WINDOW}}}", "A", "{{class}} of {{instance}}"),
            query(
                f"max by (class) (churn_reference_class_ratio{{{_OF}}})",
                "B",
                "{{class}} in training",
            ),
            unit=units.PercentUnit,
        ),
        lines(
            "Window",
            "Customers in the window of the newest predictions, and how many it can hold; "
            "distances are absent below 500.",
            query(f"churn_drift_window_predictions{{{_OF}}}", "A", "in it, {{instance}}"),
            query(f"max(churn_drift_window_size{{{_OF}}})", "B", "it can hold"),
        ),
        lines(
            "Drifted features",
            "Features whose distance is beyond chance and large enough to matter.",
            query(f"drifted_columns_count{{{_OF}}}", legend="{{instance}}"),
            up_to=3,
        ),
    ]
