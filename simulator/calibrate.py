"""Measures, on this machine, what one request costs the churn service, by really running it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from detector.errors import SourceError
from simulator.churn import featurestore
from simulator.traffic import Traffic

_START_SECONDS = 60.0
_WARM_SECONDS = 1.5
_IDLE_SECONDS = 2.0
_BUSY_SECONDS = 8.0
# The service is driven at this share of the peak: about the mean of a day.
_BUSY_SHARE = 0.75


@dataclass(frozen=True)
class Measurement:
    """Cost of serving, for the process as it is.

    Parameters
    ----------
    idle_cpu_ratio : float
        CPU seconds a second without requests.
    request_cpu_seconds : float
        CPU seconds a request adds.
    overhead_seconds : float
        Mean duration of a request beyond its feature-store look-up.
    wake_late_seconds : float
        How much later than asked an event loop with traffic wakes a waiting look-up.
    resident_bytes : float
        Resident memory after some traffic.
    """

    idle_cpu_ratio: float
    request_cpu_seconds: float
    overhead_seconds: float
    wake_late_seconds: float
    resident_bytes: float


def measure(
    model: Path, peak_rps: float, next_request: Callable[[], tuple[bytes, bool]]
) -> Measurement:
    """Start the real service on free ports, drive it for some seconds and read its metrics.

    Parameters
    ----------
    model : Path
        Directory of the model to serve.
    peak_rps : float
        Requests a second at the top of a working day.
    next_request : callable
        Returns the JSON body of the next request, and a truth that is not needed here.

    Raises
    ------
    SourceError
        When the service does not start or answers no request.
    """
    with _service(model) as (url, process):
        _drive(url, _BUSY_SHARE * peak_rps, _WARM_SECONDS, next_request)
        idle = [_read(url, process.pid)]
        time.sleep(_IDLE_SECONDS)
        idle.append(_read(url, process.pid))
        idle_cpu = _rise(idle, "cpu") / _rise(idle, "time")
        late = _drive(url, _BUSY_SHARE * peak_rps, _BUSY_SECONDS, next_request)
        busy = [idle[1], _read(url, process.pid)]
        requests, lookups = _rise(busy, "requests"), _rise(busy, "lookups")
        if not (requests and lookups):
            raise SourceError("the churn service answers no request; see simulator serve")
        cpu = _rise(busy, "cpu") - idle_cpu * _rise(busy, "time")
        overhead = (
            _rise(busy, "request_seconds") / requests - _rise(busy, "lookup_seconds") / lookups
        )
        return Measurement(
            idle_cpu_ratio=idle_cpu,
            request_cpu_seconds=max(cpu, 0.0) / requests,
            overhead_seconds=max(overhead, 0.0),
            wake_late_seconds=float(np.mean(late)),
            resident_bytes=busy[1]["memory"],
        )


@contextlib.contextmanager
def _service(model: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run `simulator serve` in a process of its own and yield its URL and the process."""
    with tempfile.TemporaryDirectory(prefix="simulator-measure-") as directory:
        port, control_port = _free_port(), _free_port()
        log = Path(directory) / "serve.log"
        command = [sys.executable, "-m", "simulator", "serve", "--model", str(model)]
        command += ["--port", str(port), "--control-port", str(control_port)]
        command += ["--token-file", str(Path(directory) / "token")]
        command += ["--feedback-dir", str(Path(directory) / "feedback")]
        # A terminated seed must not leave the service behind: the exit runs `finally`.
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        with log.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_ready(url, process, log)
            yield url, process
        finally:
            process.terminate()
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            signal.signal(signal.SIGTERM, before)


def _wait_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz", trust_env=False).is_success:
                return
        time.sleep(0.1)
    lines = log.read_text(errors="replace").strip().splitlines() or ["(no output)"]
    raise SourceError(
        f"the churn service, whose cost is to be measured, did not start: {lines[-1]}"
    )


def _drive(
    url: str, rate: float, seconds: float, next_request: Callable[[], tuple[bytes, bool]]
) -> list[float]:
    """Send traffic for some seconds; return by how many seconds this loop woke too late.

    The mean of the look-ups themselves would not do: over so few requests it wanders by more.
    """
    traffic = Traffic(
        url, lambda now: rate, next_request, CollectorRegistry(), np.random.default_rng(0)
    )
    late = []

    async def wait_like_a_look_up() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(int(seconds / featurestore.MEDIAN_SECONDS)):
            asked = loop.time() + featurestore.MEDIAN_SECONDS
            await asyncio.sleep(featurestore.MEDIAN_SECONDS)
            late.append(loop.time() - asked)

    async def drive() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, stop.set)
        await asyncio.gather(traffic.send_until(stop), wait_like_a_look_up())

    asyncio.run(drive())
    return late


def _read(url: str, pid: int) -> dict[str, float]:
    """Return the figures of the service's metrics that are needed here."""
    wanted = {
        "process_resident_memory_bytes": "memory",
        "http_request_duration_seconds_sum": "request_seconds",
        "http_request_duration_seconds_count": "requests",
        "feature_store_request_duration_seconds_sum": "lookup_seconds",
        "feature_store_request_duration_seconds_count": "lookups",
    }
    found = dict.fromkeys(wanted.values(), 0.0)
    found |= {"time": time.monotonic(), "cpu": _cpu_seconds(pid)}
    text = httpx.get(f"{url}/metrics", trust_env=False).raise_for_status().text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in wanted:
                found[wanted[sample.name]] += sample.value
    return found


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, finer than the 10 ms that its own metric counts in."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _rise(pair: list[dict[str, float]], name: str) -> float:
    return pair[1][name] - pair[0][name]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
