"""A real minute: what `detector run` exposes is what `detector backtest` says of the same steps."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from server import Server
from synthetic import traffic
from tools import ROOT, free_port

pytestmark = pytest.mark.e2e

STEP, DELAY, STEPS = 5, 2, 12
DAY = 86_400
# Samples are stored before their time, so that a busy machine has them when they are due.
AHEAD = 20
# Seconds a test may take.
LONGEST = 600
FIELDS = ("observed", "expected", "lower", "upper", "score", "state")
Rows = dict[tuple[str, int], dict[str, float]]


class Minute:
    """Traffic of two jobs, one of which breaks off, and the detector that watches them."""

    def __init__(self, server: Server, folder: Path, port: int) -> None:
        self.server, self.port = server, port
        self.broken_from = sys.maxsize
        self.written = int(time.time()) // STEP * STEP
        recent = np.arange(self.written - 2 * DAY, self.written + 1, STEP)
        # Three weeks: with one a Monday is news after a weekend.
        past = np.arange(self.written - 22 * DAY, recent[0], 300) // STEP * STEP
        coming = np.arange(self.written + STEP, self.written + LONGEST, STEP)
        # At once: noise drawn anew for each sample to come would be the same for all of them.
        self._times = np.concatenate([past, recent, coming])
        self._rates = {job: traffic(self._times, i) for i, job in enumerate("ab")}
        self._write(self._times <= self.written)
        settings = {
            "prometheus": {"url": server.url},
            "step": f"{STEP}s",
            "delay": f"{DELAY}s",
            "history": "21d",
            "listen": f"127.0.0.1:{port}",
            "signals": [{"name": "rps", "kind": "traffic", "query": "rps"}],
        }
        self.config = folder / "detector.yml"
        self.config.write_text(json.dumps(settings), encoding="utf-8")

    def feed(self) -> None:
        """Store the samples that are soon due."""
        until = int(time.time()) + AHEAD
        due = (self._times > self.written) & (self._times <= until)
        if due.any():
            self._write(due)
            self.written = int(self._times[due][-1])

    def exposed(self) -> tuple[int, dict[str, dict[str, float]]] | None:
        """Return the newest step and what is exposed of it, by job; None before the first."""
        try:
            text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", trust_env=False).text
        except httpx.TransportError:
            return None
        at = 0
        rows: dict[str, dict[str, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "detector_signal_evaluated_timestamp_seconds":
                    at = int(sample.value)
                field = sample.name.removeprefix("anomaly_")
                if field != sample.name and field in FIELDS:
                    rows.setdefault(sample.labels["job"], {})[field] = sample.value
        return (at, rows) if rows else None

    def _write(self, chosen: np.ndarray) -> None:
        times = self._times[chosen]
        for job, rates in self._rates.items():
            broken = (times >= self.broken_from) & (job == "a")
            self.server.write("rps", times, np.where(broken, 0.0, rates[chosen]), job=job)


def detector(*given: object) -> list[str]:
    return [str(Path(sys.executable).parent / "detector"), *map(str, given)]


@pytest.fixture
def minute(tmp_path: Path) -> Iterator[Minute]:
    port = free_port()
    scrape = (
        "[{job_name: detector, honor_labels: true, "
        f"static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]"
    )
    server = Server(tmp_path, scrape)
    rules = yaml.safe_load((ROOT / "rules" / "anomaly.rules.yml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        group["interval"] = "1s"
    (tmp_path / "anomaly.rules.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    server.start()
    made = Minute(server, tmp_path, port)
    with open(tmp_path / "detector.log", "ab") as log:
        running = subprocess.Popen(detector("run", "-c", made.config), stdout=log, stderr=log)
    yield made
    running.terminate()
    running.wait(20)
    server.stop()


def watched(minute: Minute) -> Rows:
    """Look on until `STEPS` steps were exposed; the traffic of one job ends on the way."""
    rows: Rows = {}
    before: tuple[int, dict[str, dict[str, float]]] | None = None
    deadline = time.monotonic() + 240
    while len(rows) < 2 * STEPS:
        assert time.monotonic() < deadline, f"{len(rows)} rows"
        minute.feed()
        look = minute.exposed()
        # Two looks that agree: one alone may have met a step half published.
        if look is not None and look == before:
            at, jobs = look
            rows |= {(job, at): row for job, row in jobs.items()}
            if len(rows) >= STEPS // 2 and minute.broken_from == sys.maxsize:
                minute.broken_from = minute.written + STEP
        before = look
        time.sleep(0.5)
    return rows


def replayed(minute: Minute, first: int, last: int, folder: Path) -> list[dict[str, str]]:
    scores = folder / "scores.csv"
    given = ("-c", minute.config, "--from", first, "--to", last, "--scores", scores)
    subprocess.run(detector("backtest", *given), check=True, capture_output=True, timeout=120)
    with open(scores, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_live_minute_is_what_its_replay_says(minute: Minute, tmp_path: Path) -> None:
    live = watched(minute)
    steps = sorted({at for _, at in live})
    assert steps[-1] - steps[0] >= (STEPS - 1) * STEP
    said = replayed(minute, steps[0], steps[-1], tmp_path)
    replay: Rows = {}
    for row in said:
        (job,) = (name for name in "ab" if f'job="{name}"' in row["series"])
        numbers = {name: float(row[name]) for name in FIELDS if row[name]}
        replay[job, int(row["timestamp"])] = numbers
    assert {key: replay[key] for key in live} == live
    # One job broke off, and is anomalous; the alert of the shipped rules is on its way for it. The
    # other's noise, anew every five seconds, may be news for a step or two.
    anomalous = {at for (job, at), row in live.items() if row["state"] == 1 and job == "a"}
    assert max(anomalous) == steps[-1]
    alerts = {int(r["timestamp"]) for r in said if r["alert"] == "1" and 'job="a"' in r["series"]}
    assert alerts >= anomalous
    known: list[dict[str, Any]] = httpx.get(
        f"{minute.server.url}/api/v1/alerts", trust_env=False
    ).json()["data"]["alerts"]
    (alert,) = (one for one in known if one["labels"]["job"] == "a")
    assert alert["labels"]["alertname"] == "AnomalyTraffic"
    since = datetime.fromisoformat(alert["activeAt"][:19] + "+00:00").timestamp()
    assert since >= min(alerts) + DELAY - 1
    # Nothing that is anomalous for less than the rule's `for` fires, there as here.
    assert alert["state"] == "pending"
    assert {row["firing"] for row in said} == {"0"}
