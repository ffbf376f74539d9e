"""The detector's metrics about itself."""

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

from detector import names

CYCLE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Telemetry:
    """Counters and gauges of one process, in a registry of their own."""

    def __init__(self, step: int) -> None:
        # `_created` series double the counters for a feature the text format does not have.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types here
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(name, text, labels, registry=self.registry)

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(name, text, labels, registry=self.registry)

        build = gauge("detector_build_info", "Version of the detector.", ("version",))
        build.labels(version("prometheus-anomaly-detector")).set(1)
        gauge("detector_step_seconds", "Scoring cadence.").set(step)
        self.cycle_time = Histogram(
            "detector_cycle_duration_seconds",
            "Time one evaluation of all signals takes.",
            buckets=CYCLE_BUCKETS,
            registry=self.registry,
        )
        self.cycle_at = gauge(
            "detector_last_cycle_timestamp_seconds", "When the last cycle ended, unix time."
        )
        self.lag = gauge(
            "detector_cycle_lag_seconds", "Age of the newest evaluated step at the end of a cycle."
        )
        self.signals = gauge("detector_signals", "Signals known.")
        self.series = gauge("detector_series", "Series written, by anomaly_state.", ("state",))
        self.dropped = gauge(
            "detector_series_dropped",
            "Series left out at the last evaluation: over max_series (limit), given twice "
            "(duplicate), or a native histogram (histogram).",
            ("signal", "reason"),
        )
        self.signal_up = gauge(
            "detector_signal_up", "1 when the last evaluation of a signal succeeded.", ("signal",)
        )
        self.evaluated = gauge(
            "detector_signal_evaluated_timestamp_seconds",
            "Newest step evaluated for a signal, unix time.",
            ("signal",),
        )
        self.failures = counter(
            "detector_signal_failures_total",
            "Evaluations of a signal that failed.",
            ("signal", "reason"),
        )
        self.queries = counter("detector_queries_total", "Queries sent, by outcome.", ("outcome",))
        self.samples = counter("detector_samples_read_total", "Samples read from the source.")
        self.fits = counter("detector_fits_total", "Fits of a signal's series.")
        self.fit_time = Histogram(
            "detector_fit_duration_seconds",
            "Time to read the history of a signal and fit it.",
            buckets=CYCLE_BUCKETS,
            registry=self.registry,
        )
        self.rules_read = gauge(
            "detector_rules_read_success", "1 when the last reading of the rules succeeded."
        )
        self.reloads = counter(
            "detector_rules_reloads_total", "Times the set of signals changed while running."
        )

    def count_states(self, states: dict[int, int]) -> None:
        """Set the number of series in each state."""
        for state in names.State:
            self.series.labels(state.name.lower()).set(states.get(int(state), 0))

    def forget(self, signal: str) -> None:
        """Drop the gauges of a signal that no longer exists."""
        for metric in (self.signal_up, self.evaluated, self.dropped):
            metric.remove_by_labels({"signal": signal})
