"""A running `detector notify` of a test, what Alertmanager posts to it, and services that fail."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from server import Server

from detector.notify.service import Notifier
from detector.notify.service import patient as patient_source
from detector.settings import Settings

# A Tuesday at 03:20 UTC; the incident begins at 03:02.
NOW = 1_763_436_000
SINCE = NOW - 18 * 60
HOSTILE = (
    "<!channel> *x* & <http://evil.invalid|Runbook> $x^{$ {{ .Values }} {braces} 🔥"
    '\nForged: line\u2028and "more" <script>alert(1)</script> @everyone [a](http://evil.invalid) '
)
P99 = {"signal": "churn_latency_p99", "kind": "latency", "job": "churn"}


def stamp(time: float) -> str:
    """Return a time as Alertmanager writes it."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000000Z")


def alert(name: str = "AnomalyLatency", until: float = 0, **labels: str) -> dict[str, Any]:
    """Return one alert of a webhook; with `until` it is over."""
    all_labels = {"alertname": name, "severity": "warning", "category": "anomaly", **labels}
    return {
        "status": "resolved" if until else "firing",
        "labels": all_labels,
        "annotations": {
            "summary": f"Latency of churn is not what it usually is at this time ({name}).",
            "description": "Above the normal range: observed 413ms, expected 187ms.",
            "runbook_url": f"http://localhost:9090/consoles/{name}.md",
            "dashboard_url": "http://localhost:3000/d/anomaly-signal?var-job=churn",
        },
        "startsAt": stamp(SINCE + 120),
        "endsAt": stamp(until) if until else "0001-01-01T00:00:00Z",
        "generatorURL": "http://localhost:9090/graph?g0.expr=a%3D%3D1&g0.tab=1",
        "fingerprint": f"{hash(frozenset(all_labels.items())) & (1 << 64) - 1:016x}",
    }


def webhook(*alerts: dict[str, Any], group: str = "", **more: Any) -> dict[str, Any]:
    """Return what Alertmanager posts for one group."""
    first = alerts[0]["labels"]
    labels = {k: first[k] for k in ("alertname", "job", "signal") if k in first}
    firing = any(a["status"] == "firing" for a in alerts)
    return {
        "version": "4",
        "groupKey": group or f"{{}}:{labels}",
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": "notify",
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": {},
        "externalURL": "http://localhost:9093",
        "alerts": list(alerts),
    } | more


def seed(server: Server, **labels: str) -> None:
    """Write the month of a latency into Prometheus, usually 0.2 s, that doubles at SINCE."""
    coarse = np.arange(NOW - 30 * 86400, NOW - 14400, 300)
    fine = np.arange(NOW - 14400, NOW + 1, 60)
    times = np.concatenate([coarse, fine])
    times = times[times % 60 == 0]
    chance = np.random.default_rng(3)
    expected = 0.187 + 0.02 * np.sin(2 * np.pi * times / 86400)
    on = (times >= SINCE) | ((times > NOW - 9 * 86400) & (times < NOW - 9 * 86400 + 1800))
    observed = expected + 0.006 * chance.standard_normal(len(times)) + 0.22 * on
    everything = {
        "observed": observed,
        "expected": expected,
        "lower": np.zeros(len(times)),
        "upper": expected * 1.3,
        "score": np.where(on, 3.1, 0.3 + 0.1 * chance.random(len(times))),
        "state": on.astype(float),
    }
    own = {**P99, **labels}
    for part, values in everything.items():
        server.write(f"anomaly_{part}", times, values, **own)
    bad = times[on]
    for channel, share in {"sustained": 0.55, "spike": 0.3, "jump": 0.15}.items():
        server.write("anomaly_evidence", bad, share, channel=channel, **own)
    recent = fine[fine >= SINCE]
    for signal, kind, seen, due, score in (
        ("churn_concurrency", "saturation", 14.0, 3.1, 5.2),
        ("churn_traffic", "traffic", 21.0, 48.0, 1.7),
    ):
        other = {"signal": signal, "kind": kind, "job": "churn"}
        for part, value in (("observed", seen), ("expected", due), ("score", score), ("state", 1)):
            server.write(f"anomaly_{part}", recent, float(value), **other)


@dataclass
class Service:
    """An HTTP service that answers as it is told, then as Slack does; it keeps what it got."""

    answers: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    got: list[tuple[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    delay: float = 0.0
    port: int = 0

    @property
    def url(self) -> str:
        """The address of it."""
        return f"http://127.0.0.1:{self.port}"

    def bodies(self, path: str) -> list[Any]:
        """Return what was posted to a path."""
        return [body for at, body in self.got if at == path]


@contextlib.contextmanager
def http_service() -> Iterator[Service]:
    """Run a `Service`."""
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            json_sent = "json" in (self.headers["Content-Type"] or "")
            time.sleep(service.delay)
            service.got.append((self.path, json.loads(raw) if json_sent else raw))
            service.times.append(time.monotonic())
            if service.answers:
                status, headers, text = service.answers.pop(0)
            else:
                status, headers, text = 200, {}, self._good()
            with contextlib.suppress(OSError):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

        def _good(self) -> str:
            if "/api/" not in self.path:
                return "ok"
            number = len(service.got)
            return json.dumps(
                {
                    "ok": True,
                    "channel": "C1",
                    "ts": f"{number}.0",
                    "upload_url": f"{service.url}/upload",
                    "file_id": "F1",
                }
            )

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def settings(directory: Path, targets: list[dict[str, Any]], url: str = "", **own: Any) -> Settings:
    """Return settings with a spool in `directory`; without `url` Prometheus is not there."""
    given = {"listen": "127.0.0.1:0", "directory": directory / "spool", "targets": targets, **own}
    prometheus = {"url": url or "http://127.0.0.1:1", "timeout": "5s"}
    return Settings(prometheus=prometheus, notify=given)


@contextlib.contextmanager
def notifying(given: Settings, clock: Callable[[], float] = time.time) -> Iterator[tuple[Any, str]]:
    """Run a notifier; yield it and the address that webhooks go to."""
    source = patient_source(given)
    notifier = Notifier(given, source, clock)
    port = notifier.start()
    try:
        yield notifier, f"http://127.0.0.1:{port}/alerts"
    finally:
        notifier.stop()
        source.close()


def wait(condition: Callable[[], Any], explain: Callable[[], object] = lambda: "") -> None:
    """Wait until something is true; fail after 20 s."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"not within 20 s: {explain()}"
        time.sleep(0.02)


def value(notifier: Notifier, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples with these labels."""
    return sum(
        sample.value
        for family in notifier.telemetry.registry.collect()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def secret_file(directory: Path, name: str, text: str) -> Path:
    """Write a secret."""
    path = directory / name
    path.write_text(text + "\n", encoding="utf-8")
    return path
