"""A real Prometheus of a test: started, fed by remote write, given rules, stopped."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import numpy as np
from tools import free_port, tool

from detector.remote_write import TimeSeries, encode

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1h}}
rule_files: ["{directory}/*.rules.yml"]
scrape_configs: {scrape}
storage: {{tsdb: {{out_of_order_time_window: 60d}}}}
"""
HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


class Server:
    """Prometheus on a free loopback port and a directory of its own.

    A sample is seen for just under a minute, so that each step of a test has what it was given.
    """

    def __init__(self, directory: Path, scrape: str = "[]") -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client(base_url=self.url, timeout=20)
        (directory / "prometheus.yml").write_text(
            CONFIG.format(directory=directory, scrape=scrape), encoding="utf-8"
        )

    def start(self) -> Server:
        flags = {
            "config.file": self._directory / "prometheus.yml",
            "storage.tsdb.path": self._directory / "data",
            "storage.tsdb.retention.time": "90d",
            # One block for everything: no compaction while a test runs.
            "storage.tsdb.min-block-duration": "60d",
            "storage.tsdb.max-block-duration": "60d",
            "query.lookback-delta": "59s",
            "web.listen-address": f"127.0.0.1:{self.port}",
        }
        command = [
            tool("prometheus"),
            "--web.enable-lifecycle",
            "--web.enable-remote-write-receiver",
        ]
        command += [f"--{name}={value}" for name, value in flags.items()]
        with open(self._directory / "prometheus.log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while True:
            try:
                if self._client.get("/-/ready").status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            log_text = (self._directory / "prometheus.log").read_text(encoding="utf-8")
            assert self._process.poll() is None, log_text
            assert time.monotonic() < deadline, log_text
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def write(
        self, name: str, times: np.ndarray, values: np.ndarray | float, **labels: str
    ) -> None:
        """Store samples as they are, NaN and Inf included."""
        times = np.atleast_1d(np.asarray(times, np.int64))
        values = np.broadcast_to(np.asarray(values, float), times.shape)
        series = TimeSeries(
            {"__name__": name, **labels}, times * 1000, np.ascontiguousarray(values)
        )
        answer = self._client.post("/api/v1/write", content=encode([series]), headers=HEADERS)
        assert answer.status_code == 204, answer.text

    def set_rules(self, *rules: Mapping[str, object], name: str = "test") -> None:
        """Replace the recording rules and wait until they are loaded."""
        groups = {"groups": [{"name": name, "rules": list(rules)}]} if rules else {"groups": []}
        assert self.load(str(groups), name) == 200

    def load(self, text: str, name: str = "test") -> int:
        """Write a rule file (YAML takes Python's own notation), reload; return the status."""
        (self._directory / f"{name}.rules.yml").write_text(text, encoding="utf-8")
        return self._client.post("/-/reload").status_code

    def query(self, expression: str, at: float | None = None) -> list[dict]:
        """Return the result of an instant query."""
        params = {"query": expression} | ({} if at is None else {"time": str(at)})
        answer = self._client.get("/api/v1/query", params=params).json()
        assert answer["status"] == "success", answer
        return answer["data"]["result"]
