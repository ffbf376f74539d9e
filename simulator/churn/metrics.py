"""Every metric the churn service exposes, in a registry of its own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from types import TracebackType

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    Summary,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from simulator.churn.drift import DriftWindow
from simulator.churn.model import CHURN, STAY
from simulator.faults import FaultBoard, FaultCollector

PREDICT_PATH = "/v1/predict"
DURATION_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
)
SCORE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

# Present from the start, so that the first one of them is already an increase.
_USUAL_STATUSES = (200, 422, 503)


class ChurnMetrics:
    """The service's metrics; use it from one event loop.

    Parameters
    ----------
    window : DriftWindow
        Its statistics are computed at each scrape.
    version : str
        Of the model.
    board : FaultBoard
        Exposed as `simulator_fault_active`.
    """

    def __init__(self, window: DriftWindow, version: str, board: FaultBoard):
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "http_requests_total",
            "Requests answered, by status.",
            ["handler", "method", "status"],
            registry=self._registry,
        )
        for status in _USUAL_STATUSES:
            self._requests.labels(PREDICT_PATH, "POST", status)
        self._duration = Histogram(
            "http_request_duration_seconds",
            "Time from a request's arrival to the end of its answer.",
            ["handler", "method"],
            buckets=DURATION_BUCKETS,
            registry=self._registry,
        ).labels(PREDICT_PATH, "POST")
        self._in_flight = Gauge(
            "http_requests_in_flight", "Requests being answered.", registry=self._registry
        )
        predictions = Counter(
            "churn_predictions_total", "Customers scored.", ["class"], registry=self._registry
        )
        self._stay, self._churn = predictions.labels(STAY), predictions.labels(CHURN)
        self._score = Histogram(
            "churn_score",
            "Predicted probability of churn.",
            buckets=SCORE_BUCKETS,
            registry=self._registry,
        )
        look_ups = Counter(
            "feature_store_requests_total",
            "Look-ups in the feature store.",
            ["outcome"],
            registry=self._registry,
        )
        self._look_ups = {ok: look_ups.labels("ok" if ok else "error") for ok in (True, False)}
        self._look_up_duration = Summary(
            "feature_store_request_duration_seconds",
            "Time a look-up took.",
            registry=self._registry,
        )
        Gauge(
            "churn_model_info",
            "1 for the loaded model and its drift reference.",
            ["version", "reference"],
            registry=self._registry,
        ).labels(version, window.reference.id).set(1.0)
        self._registry.register(_DriftCollector(window))
        self._registry.register(FaultCollector(board))
        ProcessCollector(registry=self._registry)

    def request(self) -> RequestTimer:
        """Return the context in which one request to the predict handler is answered."""
        return RequestTimer(self._in_flight, self._duration, self._requests)

    def looked_up(self, seconds: float, ok: bool) -> None:
        """Count one look-up."""
        self._look_ups[ok].inc()
        self._look_up_duration.observe(seconds)

    def predicted(self, scores: Iterable[float], churns: int, stays: int) -> None:
        """Count the answers to one request."""
        for score in scores:
            self._score.observe(score)
        self._churn.inc(churns)
        self._stay.inc(stays)

    def render(self) -> bytes:
        """Return the exposition in the text format."""
        return generate_latest(self._registry)


class RequestTimer:
    """Counts and times one request; set `status` before the context ends."""

    def __init__(self, in_flight: Gauge, duration: Histogram, requests: Counter):
        self._in_flight, self._duration, self._requests = in_flight, duration, requests
        # What the server answers when the handler fails.
        self.status = 500

    def __enter__(self) -> RequestTimer:
        self._started = time.perf_counter()
        self._in_flight.inc()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._in_flight.dec()
        self._duration.observe(time.perf_counter() - self._started)
        self._requests.labels(PREDICT_PATH, "POST", self.status).inc()


class _DriftCollector(Collector):
    """Computes the drift of the window when it is scraped."""

    def __init__(self, window: DriftWindow):
        self._window = window

    def collect(self) -> Iterator[GaugeMetricFamily]:
        window = self._window
        drift = GaugeMetricFamily(
            "churn_feature_drift",
            "Distance of the window's customers from the training data's.",
            labels=["feature", "statistic"],
        )
        statistics = {feature.name: feature.statistic for feature in window.reference.features}
        for name, value in window.statistics().items():
            drift.add_metric([name, statistics[name]], value)
        missing = GaugeMetricFamily(
            "churn_feature_missing_ratio",
            "Share of the window's customers without this value.",
            labels=["feature"],
        )
        for name, value in window.missing_ratios().items():
            missing.add_metric([name], value)
        yield drift
        yield missing
        yield GaugeMetricFamily(
            "churn_drift_window_predictions", "Customers in the drift window.", value=window.rows
        )
        yield GaugeMetricFamily(
            "churn_drift_window_size", "Customers the drift window can hold.", value=window.size
        )
