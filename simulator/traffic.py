"""Sends customers to the churn service at Poisson moments, however slow the service is.

Open loop: a request that waits does not hold back the next one, so a slow service meets the full
traffic, as it would with real customers.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import orjson
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    generate_latest,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from detector.durations import parse_duration
from detector.errors import ConfigError
from simulator import population, serving
from simulator.control import control_server, control_token
from simulator.curve import requests_per_second
from simulator.faults import FaultBoard, FaultCollector, faults_of, traffic_factor
from simulator.labels import Labels
from simulator.urls import http_url

log = logging.getLogger("simulator.traffic")

OUTCOMES = ("ok", "error", "timeout", "dropped")
PREDICT_PATH = "/v1/predict"
TIMEOUT_SECONDS = 5.0
# More than these wait only when the service hangs; they are counted, not sent.
_MOST_IN_FLIGHT = 1000
# The rate is looked up at least this often, so that a fault acts at once.
_LONGEST_GAP_SECONDS = 0.2
# After a pause of the process (a suspended laptop) the missed arrivals are not made up for.
_MOST_BEHIND_SECONDS = 2.0


class Traffic:
    """An open-loop stream of requests, each with one customer.

    Parameters
    ----------
    target : str
        URL of the churn service.
    rate : callable
        Requests a second at a unix second, 0 for none.
    next_request : callable
        Returns the JSON body of the next request, and whether that customer will churn.
    registry : CollectorRegistry
        Gets `traffic_requests_sent_total{outcome}`.
    rng : numpy.random.Generator
        Draws the moments of arrival.
    answered : callable or None
        Gets the body of each good answer, and what becomes of the customer.
    """

    def __init__(
        self,
        target: str,
        rate: Callable[[float], float],
        next_request: Callable[[], tuple[bytes, bool]],
        registry: CollectorRegistry,
        rng: np.random.Generator,
        answered: Callable[[bytes, bool], None] | None = None,
    ):
        self._url = target.rstrip("/") + PREDICT_PATH
        self._rate = rate
        self._next_request = next_request
        self._answered = answered
        self._rng = rng
        self._in_flight: set[asyncio.Task[None]] = set()
        self._reachable = True
        sent = Counter(
            "traffic_requests_sent_total",
            "Requests sent to the churn service, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        self._sent = {outcome: sent.labels(outcome) for outcome in OUTCOMES}

    async def send_until(self, stop: asyncio.Event) -> None:
        """Send requests until `stop` is set; those still waiting then are given up."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        timeout = httpx.Timeout(TIMEOUT_SECONDS, pool=None)
        async with httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False) as client:
            loop = asyncio.get_running_loop()
            moment = loop.time()
            while not stop.is_set():
                gap, is_arrival = next_gap(self._rate(time.time()), self._rng)
                moment = max(moment + gap, loop.time() - _MOST_BEHIND_SECONDS)
                await asyncio.sleep(max(moment - loop.time(), 0.0))
                if is_arrival and not stop.is_set():
                    self._start_request(client)
            for task in self._in_flight:
                task.cancel()
            await asyncio.gather(*self._in_flight, return_exceptions=True)

    def _start_request(self, client: httpx.AsyncClient) -> None:
        if len(self._in_flight) >= _MOST_IN_FLIGHT:
            self._sent["dropped"].inc()
            return
        task = asyncio.create_task(self._request(client, *self._next_request()))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _request(self, client: httpx.AsyncClient, body: bytes, churned: bool) -> None:
        try:
            response = await client.post(
                self._url, content=body, headers={"Content-Type": "application/json"}
            )
        except httpx.TimeoutException:
            self._sent["timeout"].inc()
        except httpx.HTTPError as error:
            self._sent["error"].inc()
            self._note_reachable(False, str(error) or type(error).__name__)
        else:
            self._sent["ok" if response.is_success else "error"].inc()
            self._note_reachable(True)
            if self._answered is not None and response.is_success:
                self._answered(response.content, churned)

    def _note_reachable(self, reachable: bool, reason: str = "") -> None:
        """Log when the service goes and when it comes back, not every failed request."""
        if reachable and not self._reachable:
            log.info("%s answers again", self._url)
        elif self._reachable and not reachable:
            log.warning("cannot reach %s: %s; going on", self._url, reason)
        self._reachable = reachable


def next_gap(rate: float, rng: np.random.Generator) -> tuple[float, bool]:
    """Return the seconds to the next arrival, or to the next look at the rate, and which it is.

    A gap cut short may be drawn anew: exponential waiting has no memory.
    """
    gap = float(rng.exponential(1.0 / rate)) if rate > 0.0 else np.inf
    return min(gap, _LONGEST_GAP_SECONDS), gap <= _LONGEST_GAP_SECONDS


def run(
    *,
    target: str,
    host: str,
    port: int,
    control_port: int,
    token_file: Path,
    phase: float,
    peak_rps: float,
    seed: int,
    label_delay: str,
) -> None:
    """Send traffic on the week's curve until SIGTERM or SIGINT, with metrics and fault control.

    Parameters
    ----------
    target : str
        URL of the churn service; it may be down for a while.
    host, port : str, int
        Where `/metrics` and `/healthz` are served.
    control_port : int
        Loopback port of the fault control.
    token_file : Path
        File with the control token, made when missing.
    phase, peak_rps : float
        Of `simulator.curve.requests_per_second`.
    seed : int
        Seed of arrivals and customers.
    label_delay : str
        Median time from a prediction to the report of what became of the customer.

    Raises
    ------
    ConfigError
        When the URL is none, a port is taken or the token file cannot be used.
    """
    _check(target, peak_rps)
    delay = parse_duration(label_delay)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # The time of creation is a series of its own for every counter, which nobody reads here.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    board = FaultBoard(faults_of("traffic"))
    registry = CollectorRegistry()
    registry.register(FaultCollector(board))
    curve = Gauge(
        "traffic_target_requests_per_second",
        "Expected arrivals without faults: the week's curve.",
        registry=registry,
    )
    curve.set_function(lambda: float(requests_per_second(time.time(), phase, peak_rps)))

    def rate(now: float) -> float:
        factor = traffic_factor(
            board.size("traffic_zero"), board.size("traffic_drop"), board.size("traffic_surge")
        )
        return float(requests_per_second(now, phase, peak_rps) * factor)

    traffic_rng, population_rng, label_rng = np.random.default_rng(seed).spawn(3)
    labels = Labels(target, delay, registry, label_rng)
    requests = customer_requests(population_rng, board)
    traffic = Traffic(target, rate, requests, registry, traffic_rng, labels.predicted)
    with (
        serving.background_server(metrics_app(registry), host, port) as metrics_port,
        control_server(board, control_token(token_file), control_port) as control,
    ):
        log.info(
            "sending to %s; metrics on http://%s:%d/metrics, fault control on port %d",
            target,
            host,
            metrics_port,
            control,
        )
        asyncio.run(_until_signal(traffic, labels))


async def _until_signal(traffic: Traffic, labels: Labels) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await asyncio.gather(traffic.send_until(stop), labels.send_until(stop))


def _check(target: str, peak_rps: float) -> None:
    http_url("--target", target, 8000)
    if not 0.0 < peak_rps <= 2000.0:
        raise ConfigError(f"--peak-rps {peak_rps:g} must be above 0 and at most 2000")


def customer_requests(
    rng: np.random.Generator, board: FaultBoard
) -> Callable[[], tuple[bytes, bool]]:
    """Return a function that gives one request body after another, under the active faults.

    With each body comes whether that customer will churn, which the service is not told.
    """
    customers = population.labelled_stream(rng)

    def next_request() -> tuple[bytes, bool]:
        customer, churned = next(customers)
        if size := board.size("feature_drift"):
            customer = population.feature_drift(rng, customer, size)
        if size := board.size("missing_values"):
            customer = population.missing_values(rng, customer, size)
        if size := board.size("concept_drift"):
            churned = population.concept_drift(rng, churned, size)
        return orjson.dumps(customer), churned

    return next_request


def metrics_app(registry: CollectorRegistry) -> Starlette:
    """Return the app that serves a registry as ``/metrics``, and ``/healthz``."""

    def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    async def health(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(routes=[Route("/metrics", metrics), Route("/healthz", health)])
