"""Every metric the churn service exposes, in a registry of its own."""

from __future__ import annotations

import time
from collections.abc import Iterable
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

from simulator.churn.model import CHURN, STAY
from simulator.churn.monitor_metrics import MonitorCollector
from simulator.churn.served import Served
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
    served : Served
        Its model and windows are looked at when scraped.
    board : FaultBoard
        Exposed as `simulator_fault_active`.
    """

    def __init__(self, served: Served, board: FaultBoard):
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
        self._reachable = Gauge(
            "churn_dependency_up",
            "1 when the last call of what the service depends on succeeded.",
            ["dependency"],
            registry=self._registry,
        )
        self._reachable.labels("model_store").set_function(lambda: float(served.last_load_good))
        self._registry.register(MonitorCollector(served))
        self._registry.register(FaultCollector(board))
        ProcessCollector(registry=self._registry)

    def request(self) -> RequestTimer:
        """Return the context in which one request to the predict handler is answered."""
        return RequestTimer(self._in_flight, self._duration, self._requests)

    def looked_up(self, seconds: float, ok: bool) -> None:
        """Count one look-up."""
        self._look_ups[ok].inc()
        self._reachable.labels("feature_store").set(float(ok))
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
