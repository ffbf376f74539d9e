"""Traffic: Poisson arrivals that no slow or dead server holds back, and a clean end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from scipy.stats import kstest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulator import traffic as traffic_module
from simulator.churn.schema import Customer
from simulator.control import control_token
from simulator.faults import FaultBoard, faults_of
from simulator.serving import background_server
from simulator.traffic import Traffic, customer_requests, next_gap


class Service:
    """A stand-in for the churn service that notes when requests come.

    It answers when so many have come as `awaited` says.
    """

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self.bodies: list[bytes] = []
        self.awaited = 0
        self.status = 200
        self.app = Starlette(routes=[Route("/v1/predict", self.predict, methods=["POST"])])

    async def predict(self, request: Request) -> Response:
        self.arrivals.append(time.monotonic())
        self.bodies.append(await request.body())
        while len(self.arrivals) < self.awaited:
            await asyncio.sleep(0.01)
        return JSONResponse({}, status_code=self.status)


@pytest.fixture
def service() -> Iterator[tuple[Service, str]]:
    stand_in = Service()
    with background_server(stand_in.app, "127.0.0.1", 0) as port:
        yield stand_in, f"http://127.0.0.1:{port}"


def send(
    url: str, rate: Callable[[float], float], enough: Callable[[dict[str, float]], bool]
) -> dict[str, float]:
    """Send traffic until the counts by outcome are enough, and return them."""
    registry = CollectorRegistry()
    rng = np.random.default_rng(1)
    generator = Traffic(url, rate, lambda: (b'{"x": 1}', False), registry, rng)

    def counts() -> dict[str, float]:
        name = "traffic_requests_sent_total"
        outcomes = traffic_module.OUTCOMES
        return {o: registry.get_sample_value(name, {"outcome": o}) or 0.0 for o in outcomes}

    async def drive() -> None:
        stop = asyncio.Event()
        sending = asyncio.create_task(generator.send_until(stop))
        async with asyncio.timeout(60.0):
            while not enough(counts()):
                await asyncio.sleep(0.02)
        stop.set()
        await sending

    asyncio.run(drive())
    return counts()


@pytest.mark.parametrize("rate", [150.0, 2.0])
def test_arrivals_are_poisson_at_the_wanted_rate(rate: float) -> None:
    rng = np.random.default_rng(1)
    moment, arrivals = 0.0, []
    while len(arrivals) < 4000:
        gap, is_arrival = next_gap(rate, rng)
        # The rate is looked up again soon, whatever it is.
        assert 0.0 <= gap <= 0.2
        moment += gap
        if is_arrival:
            arrivals.append(moment)
    gaps = np.diff(arrivals)
    assert kstest(gaps, "expon", args=(0.0, 1.0 / rate)).pvalue > 0.01
    counts = np.histogram(arrivals, np.arange(0.0, moment, 20.0 / rate))[0]
    # Of a Poisson number the variance is the mean; an even spacing would have none.
    assert counts.mean() == pytest.approx(20.0, abs=4 * (20.0 / len(counts)) ** 0.5)
    assert 0.7 < counts.var() / counts.mean() < 1.4


def test_each_arrival_is_a_request_and_none_comes_too_early(service: tuple[Service, str]) -> None:
    stand_in, url = service
    began = time.monotonic()
    counts = send(url, lambda now: 150.0, lambda counts: counts["ok"] >= 300)
    seconds = time.monotonic() - began
    assert counts["error"] == counts["timeout"] == counts["dropped"] == 0
    assert counts["ok"] <= len(stand_in.arrivals)
    assert len(stand_in.arrivals) <= 150 * seconds + 4 * (150 * seconds) ** 0.5
    assert stand_in.bodies[0] == b'{"x": 1}'


def test_a_service_that_does_not_answer_gets_the_full_traffic(service: tuple[Service, str]) -> None:
    stand_in, url = service
    # Whoever waits for an answer before the next request never gets one.
    stand_in.awaited = 150
    counts = send(url, lambda now: 100.0, lambda counts: len(stand_in.arrivals) >= 150)
    assert counts["dropped"] == 0


def test_rate_zero_sends_nothing_and_a_new_rate_acts_at_once(service: tuple[Service, str]) -> None:
    stand_in, url = service
    start = time.time()
    began = time.monotonic()
    send(
        url,
        lambda now: 0.0 if now < start + 1.0 else 100.0,
        lambda counts: len(stand_in.arrivals) >= 25,
    )
    assert min(stand_in.arrivals) > began + 0.9


def test_server_errors_timeouts_and_a_full_queue_are_counted(
    service: tuple[Service, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in, url = service
    stand_in.status = 503
    counts = send(url, lambda now: 100.0, lambda counts: counts["error"] >= 20)
    assert counts["ok"] == 0
    monkeypatch.setattr(traffic_module, "TIMEOUT_SECONDS", 0.2)
    stand_in.awaited = 10**9
    send(url, lambda now: 50.0, lambda counts: counts["timeout"] >= 10)
    monkeypatch.setattr(traffic_module, "TIMEOUT_SECONDS", 60.0)
    monkeypatch.setattr(traffic_module, "_MOST_IN_FLIGHT", 5)
    before = len(stand_in.arrivals)
    counts = send(url, lambda now: 200.0, lambda counts: counts["dropped"] >= 50)
    assert len(stand_in.arrivals) - before <= 5
    assert counts["timeout"] == 0


def test_a_dead_service_is_an_error_and_traffic_goes_on() -> None:
    send("http://127.0.0.1:9", lambda now: 100.0, lambda counts: counts["error"] >= 20)


def test_bodies_are_valid_customers_and_follow_the_faults() -> None:
    board = FaultBoard(faults_of("traffic"))
    next_request = customer_requests(np.random.default_rng(3), board)

    def mean_and_missing(count: int = 800) -> tuple[float, float]:
        customers = [json.loads(next_request()[0]) for _ in range(count)]
        for customer in customers[:20]:
            Customer.model_validate(customer)
        amounts = [c["MONTANT"] for c in customers if c["MONTANT"] is not None]
        return float(np.median(amounts)), 1 - len(amounts) / count

    usual, missing = mean_and_missing()
    board.start("feature_drift", seconds=60)
    assert mean_and_missing()[0] > 2 * usual
    board.stop("feature_drift")
    board.start("missing_values", seconds=60)
    assert mean_and_missing()[1] == pytest.approx(missing + (1 - missing) * 0.5, abs=0.1)
    board.stop("missing_values")
    assert mean_and_missing()[0] == pytest.approx(usual, rel=0.4)


def test_same_seed_same_customers() -> None:
    board = FaultBoard(faults_of("traffic"))
    one, two = (customer_requests(np.random.default_rng(3), board) for _ in range(2))
    assert [one() for _ in range(50)] == [two() for _ in range(50)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_command_serves_metrics_obeys_faults_and_ends_on_sigterm(
    service: tuple[Service, str], tmp_path: Path
) -> None:
    stand_in, url = service
    port, control_port, token_file = free_port(), free_port(), tmp_path / "token"
    command = [sys.executable, "-m", "simulator", "run", "--target", url, "--peak-rps", "80"]
    command += ["--port", str(port), "--control-port", str(control_port), "--at", "Mon 17:00"]
    command += ["--token-file", str(token_file)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        metrics = wait_for_metrics(f"http://127.0.0.1:{port}", process)
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").text == "ok\n"
        assert metrics["traffic_target_requests_per_second"] == pytest.approx(80.0, rel=0.01)
        assert metrics['simulator_fault_active{fault="traffic_zero"}'] == 0.0
        assert 'simulator_fault_active{fault="latency"}' not in metrics
        assert not [name for name in metrics if "_created" in name]
        until(lambda: len(stand_in.arrivals) > 20)
        answer = httpx.post(
            f"http://127.0.0.1:{control_port}/faults",
            json={"fault": "traffic_zero", "seconds": 60},
            headers={"Authorization": f"Bearer {control_token(token_file)}"},
        )
        assert answer.status_code == 200
        # At 80 a second half a second without any is no chance.
        until(lambda: time.monotonic() > stand_in.arrivals[-1] + 0.5)
        metrics = wait_for_metrics(f"http://127.0.0.1:{port}", process)
        assert metrics['simulator_fault_active{fault="traffic_zero"}'] == 1.0
        assert metrics["traffic_target_requests_per_second"] == pytest.approx(80.0, rel=0.01)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_metrics(url: str, process: subprocess.Popen[str]) -> dict[str, float]:
    for _ in range(150):
        assert process.poll() is None
        try:
            text = httpx.get(f"{url}/metrics").text
        except httpx.ConnectError:
            time.sleep(0.1)
            continue
        out = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f'{k}="{v}"' for k, v in sample.labels.items())
                out[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
        return out
    raise AssertionError("no metrics")
