"""Exposes the model in use, its windows and the data quality, computed when they are scraped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from simulator.churn.distances import Statistic
from simulator.churn.drift import ColumnDrift, Drift
from simulator.churn.floors import LEVEL
from simulator.churn.monitor import Monitor
from simulator.churn.quality import RANGE, UNSEEN
from simulator.churn.reference import CLASS
from simulator.churn.served import Served
from simulator.churn.window import WINDOW_SECONDS, WINDOW_SIZE

_FLOOR = f"What the distance stays below in {LEVEL:.0%} of windows of this size without drift."


class MonitorCollector(Collector):
    """The metrics of `Served` and of its monitor."""

    def __init__(self, served: Served):
        self._served = served

    def collect(self) -> Iterator[Metric]:
        yield from self._model()
        monitor = self._served.active.monitor
        if monitor is None:
            return
        drift = monitor.drift()
        yield from self._quality(monitor, drift["count"])
        yield from _summary(drift["count"])
        yield from _distances(drift)
        yield from _classes(monitor, drift)

    def _model(self) -> Iterator[Metric]:
        served, active = self._served, self._served.active
        artefact = active.artefact
        info = GaugeMetricFamily(
            "churn_model_info",
            "1 for the loaded model and its drift reference.",
            labels=["version", "reference"],
        )
        info.add_metric([artefact.version, artefact.reference.id], 1.0)
        yield info
        loads = CounterMetricFamily(
            "churn_model_loads", "Times a model was to be loaded.", labels=["outcome"]
        )
        for outcome, count in served.loads.items():
            loads.add_metric([outcome], count)
        yield loads
        created = datetime.fromisoformat(artefact.created).timestamp()
        for name, text, value in (
            (
                "load_success",
                "1 when the last load succeeded, else the old one goes on.",
                float(served.last_load_good),
            ),
            ("load_duration_seconds", "Time the loading of the model took.", active.load_seconds),
            (
                "loaded_timestamp_seconds",
                "Unix time from which on the model answers; its windows began empty then.",
                active.since,
            ),
            ("created_timestamp_seconds", "Unix time at which the model was trained.", created),
            ("training_rows", "Customers the model was trained on.", float(artefact.rows)),
            ("training_auc", "Area under the ROC curve on held-out customers.", artefact.auc),
        ):
            yield GaugeMetricFamily(f"churn_model_{name}", text, value=value)
        yield CounterMetricFamily(
            "churn_reference_changes",
            "Drift references used so far; windows begin empty with each.",
            value=served.references,
        )

    def _quality(self, monitor: Monitor, window: Drift) -> Iterator[Metric]:
        tally = self._served.tally
        yield CounterMetricFamily(
            "churn_quality_checked",
            "Customers whose data was checked; a refused request counts as one.",
            value=tally.checked,
        )
        violations = CounterMetricFamily(
            "churn_quality_violations", "Customers that fail a check of data.", labels=["check"]
        )
        for check, count in tally.violations.items():
            violations.add_metric([check], count)
        yield violations
        if tally.last_prediction:
            yield GaugeMetricFamily(
                "churn_last_prediction_timestamp_seconds",
                "Unix time of the newest prediction.",
                value=tally.last_prediction,
            )
        if not window.features:
            return
        missing, invalid = (
            GaugeMetricFamily(name, text, labels=labels)
            for name, text, labels in (
                (
                    "churn_feature_missing_ratio",
                    "Share of the window's customers without this value.",
                    ["feature"],
                ),
                (
                    "churn_feature_invalid_ratio",
                    "Share of the window's customers with a value that training never saw.",
                    ["feature", "check"],
                ),
            )
        )
        for one in window.features:
            check = UNSEEN if one.column.kind == "category" else RANGE
            missing.add_metric([one.column.name], one.missing / window.predictions)
            invalid.add_metric([one.column.name, check], one.invalid / window.predictions)
        yield missing
        yield invalid
        yield GaugeMetricFamily(
            "churn_window_duplicate_ratio",
            "Share of the window's customers that repeat another one of it.",
            value=monitor.state().duplicates() / window.predictions,
        )


def _summary(window: Drift) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "churn_drift_window_predictions", "Customers in the drift window.", value=window.predictions
    )
    yield GaugeMetricFamily(
        "churn_drift_window_size", "Customers the drift window can hold.", value=WINDOW_SIZE
    )
    own = GaugeMetricFamily(
        "churn_feature_drift",
        "Distance of the window's customers from the training data's.",
        labels=["feature", "statistic"],
    )
    for one in window.features:
        statistic = one.column.statistic
        if statistic in one.values:
            own.add_metric([one.column.name, statistic], one.values[statistic])
    yield own
    if not window.features:
        return
    value, expected = window.summary()
    for name, text, number in (
        (
            "data_drift_value",
            "Mean Jensen-Shannon distance of the features, each weighted by the "
            "share of customers that have it.",
            value,
        ),
        (
            "data_drift_value_expected",
            "What data_drift_value is in the mean without drift, at this window's size.",
            expected,
        ),
        ("drifted_columns_count", "Features beyond their floor and 0.1.", float(window.drifted)),
        ("missing_value_count", "Missing values in the drift window.", float(window.missing)),
    ):
        yield GaugeMetricFamily(name, text, value=number)


def _distances(drift: dict[str, Drift]) -> Iterator[Metric]:
    """Every statistic of every column in both windows, and its floor."""
    yield GaugeMetricFamily(
        "churn_time_window_predictions",
        "Customers in the window by time.",
        value=drift["time"].predictions,
    )
    yield GaugeMetricFamily(
        "churn_time_window_seconds", "Length of the window by time.", value=WINDOW_SECONDS
    )
    for kind, label in (("feature", "feature"), ("prediction", "output")):
        values, floors = (
            GaugeMetricFamily(f"churn_{kind}_{name}", text, labels=[label, "statistic", "window"])
            for name, text in (
                ("distance", "Distance of a window from the training data, by statistic."),
                ("distance_floor", _FLOOR),
            )
        )
        for window, one, statistic in _entries(drift, kind):
            labels = [one.column.name, statistic, window]
            values.add_metric(labels, one.values[statistic])
            floors.add_metric(labels, one.floors[statistic])
        yield values
        yield floors


def _entries(drift: dict[str, Drift], kind: str) -> Iterable[tuple[str, ColumnDrift, Statistic]]:
    for window, one in drift.items():
        for column in one.features if kind == "feature" else one.outputs:
            for statistic in column.values:
                yield window, column, statistic


def _classes(monitor: Monitor, drift: dict[str, Drift]) -> Iterator[Metric]:
    """The balance of the predicted classes, now and on the training data."""
    reference = next((c for c in monitor.reference.outputs if c.name == CLASS), None)
    if reference is None:
        return
    trained = GaugeMetricFamily(
        "churn_reference_class_ratio",
        "Share of each class in what the model says of the training data.",
        labels=["class"],
    )
    for name, share in zip(reference.categories, reference.shares, strict=False):
        trained.add_metric([name], share)
    yield trained
    now = GaugeMetricFamily(
        "churn_prediction_class_ratio",
        "Share of each class in the window's predictions.",
        labels=["class", "window"],
    )
    for window, one in drift.items():
        for column in one.outputs:
            if column.column.name == CLASS:
                for name, count in zip(reference.categories, column.counts, strict=False):
                    now.add_metric([name, window], count / one.predictions)
    yield now
