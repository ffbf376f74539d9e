"""The metrics of the feedback loop, in a registry of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from simulator.churn.feedback.cohorts import Cohort
from simulator.churn.feedback.performance import LOSSES, SCORES
from simulator.churn.feedback.records import Applied
from simulator.churn.feedback.reporter import Reporter
from simulator.churn.feedback.writer import Writer

ACTUAL_OUTCOMES = (
    *("accepted", "duplicate", "corrected", "contradicted", "unknown", "rejected", "failed"),
)
PREDICTION_OUTCOMES = ("stored", "spooled", "replayed")
LOSS_REASONS = ("queue_full", "spool_full", "spool_failed", "spool_damaged", "refused")
_DELAY_BUCKETS = (
    *(1, 2.5, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1800, 3600),
    *(6 * 3600, 86_400, 7 * 86_400, 30 * 86_400, 60 * 86_400),
)


class FeedbackMetrics:
    """What the feedback loop exposes.

    Parameters
    ----------
    writer : Writer
        What became of predictions.
    reporter : Reporter
        Performance.
    """

    def __init__(self, writer: Writer, reporter: Reporter):
        self._registry = CollectorRegistry()
        actuals = Counter(
            "churn_actuals_total",
            "Actuals received, by what became of them; unknown ones count twice.",
            ["outcome"],
            registry=self._registry,
        )
        self._actuals = {outcome: actuals.labels(outcome) for outcome in ACTUAL_OUTCOMES}
        self._delay = Histogram(
            "churn_label_delay_seconds",
            "Time from a prediction to the arrival of its actual.",
            buckets=_DELAY_BUCKETS,
            registry=self._registry,
        )
        self._registry.register(_FeedbackCollector(writer, reporter))

    def applied(self, applied: Applied) -> None:
        """Count a batch of actuals."""
        self.counted(applied.outcomes)
        for delay in applied.delays:
            self._delay.observe(delay)

    def counted(self, outcomes: Mapping[str, int]) -> None:
        """Count actuals by outcome."""
        for outcome, count in outcomes.items():
            self._actuals[outcome].inc(count)

    def render(self) -> bytes:
        """Return the exposition in the text format."""
        return generate_latest(self._registry)


class _FeedbackCollector(Collector):
    """Reads writer and reporter when it is scraped."""

    def __init__(self, writer: Writer, reporter: Reporter):
        self._writer, self._reporter = writer, reporter

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        writer = self._writer
        kept = CounterMetricFamily(
            "churn_feedback_predictions",
            "Predictions by where they were written.",
            None,
            ["outcome"],
        )
        for outcome in PREDICTION_OUTCOMES:
            kept.add_metric([outcome], writer.counts[outcome])
        lost = CounterMetricFamily(
            "churn_feedback_lost_predictions",
            "Predictions answered but not kept.",
            labels=["reason"],
        )
        for reason in LOSS_REASONS:
            lost.add_metric([reason], writer.lost[reason])
        yield kept
        yield lost
        for name, text, value in (
            ("queue_predictions", "Predictions in memory, not written yet.", writer.waiting),
            ("spool_bytes", "Predictions on disk that wait for the database.", writer.spool_bytes),
            ("database_up", "1 while the feedback database answers.", float(writer.up)),
        ):
            yield GaugeMetricFamily(f"churn_feedback_{name}", text, value=value)
        cohort = self._reporter.newest(time.time())
        yield GaugeMetricFamily(
            "churn_performance_exporter",
            "1 on the replica that computes performance for all.",
            value=float(cohort is not None),
        )
        if cohort is not None:
            yield from performance_families(cohort)


def performance_families(cohort: Cohort) -> Iterator[GaugeMetricFamily]:
    """Yield the metrics of one window; what is withheld is NaN, which is no information."""
    for name, text, labels in (
        ("churn_performance_score", "Performance on labelled predictions; 1 is best.", SCORES),
        ("churn_performance_loss", "Loss on labelled predictions; 0 is best.", LOSSES),
    ):
        family = GaugeMetricFamily(name, text, labels=["measure"])
        for label in labels:
            value = cohort.measures[label] if cohort.withheld is None else math.nan
            family.add_metric([label], value)
        yield family
    for name, text, number in (
        ("churn_label_coverage_ratio", "Share of the window that is labelled.", cohort.coverage),
        ("churn_performance_window_predictions", "Predictions in the window.", cohort.predictions),
        ("churn_performance_window_labelled", "Of these, labelled.", cohort.labelled),
        (
            "churn_performance_withheld",
            "1 while too little of the window is labelled to say how good the model is.",
            float(cohort.withheld is not None),
        ),
    ):
        yield GaugeMetricFamily(name, text, value=number)
