"""Where the seeded past and the live service meet there is no step, in the real Prometheus."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml
from tools import ROOT, free_port, serving

RULES = ROOT / "rules" / "signals.rules.yml"
PEAK_RPS = 40.0
LIVE_SECONDS = 60
# Traffic that fills the drift window of 1000 customers.
FILL_SECONDS = 30

_CONFIG = """
global: {{scrape_interval: 5s}}
storage: {{tsdb: {{out_of_order_time_window: 32d}}}}
scrape_configs:
"""
_JOB = """
- job_name: {job}
  static_configs: [{{targets: ["127.0.0.1:{port}"], labels: {{instance: {job}-0}}}}]
"""


@dataclass(frozen=True)
class Live:
    """A Prometheus with a seeded past up to `seeded` and a live minute up to `now`."""

    prometheus: httpx.Client
    seeded: float
    now: float
    seed_output: str

    def query(self, expression: str, moment: float) -> dict[tuple[tuple[str, str], ...], float]:
        answer = self.prometheus.get("/api/v1/query", params={"query": expression, "time": moment})
        return {
            tuple(sorted(one["metric"].items())): float(one["value"][1])
            for one in answer.json()["data"]["result"]
        }

    def live(self, expression: str) -> float:
        (value,) = self.query(expression, self.now).values()
        return value

    def past(self, expression: str) -> np.ndarray:
        """Return the expression at every minute of the seeded hour before the seam."""
        moments = self.seeded - LIVE_SECONDS * np.arange(60)
        return np.array([one for t in moments for one in self.query(expression, t).values()])


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "simulator", *map(str, arguments)]


@contextlib.contextmanager
def process(log: Path, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        child = subprocess.Popen(command(*arguments), stdout=file, stderr=subprocess.STDOUT)
    try:
        yield child
    finally:
        child.terminate()
        try:
            assert child.wait(15) == 0, log.read_text()
        finally:
            child.kill()
            child.wait()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    directory = tmp_path_factory.mktemp("seam")
    model, token = directory / "model", directory / "token"
    subprocess.run(command("train", "--out", model), check=True, timeout=120)
    config = directory / "prometheus.yml"
    config.write_text(_CONFIG.format())
    flags = (
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'data'}",
        "--storage.tsdb.retention.time=60d",
        "--web.enable-remote-write-receiver",
        "--web.enable-lifecycle",
    )
    with serving("prometheus", directory, *flags) as prometheus:
        # Monday 17:00, where the curve is flat.
        now = time.time()
        phase = (3600 * 17 + 4 * 86400 - now) % (7 * 86400)
        curve = ("--phase", phase, "--peak-rps", PEAK_RPS)
        arguments = ("--url", prometheus.base_url, "--model", model, "--weeks", 0.03)
        seed = subprocess.run(
            command("seed", *arguments, *curve), capture_output=True, text=True, timeout=180
        )
        assert seed.returncode == 0, seed.stderr
        seeded = time.time()
        port, metrics_port = free_port(), free_port()
        with (
            process(
                directory / "serve.log",
                *("serve", "--model", model, "--port", port, "--control-port", free_port()),
                *("--token-file", token),
            ),
            process(
                directory / "run.log",
                *("run", "--target", f"http://127.0.0.1:{port}", "--port", metrics_port),
                *("--control-port", free_port(), "--token-file", token, *curve),
            ),
        ):
            jobs = _JOB.format(job="churn", port=port) + _JOB.format(
                job="traffic", port=metrics_port
            )
            config.write_text(_CONFIG.format() + jobs)
            prometheus.post("/-/reload").raise_for_status()
            time.sleep(FILL_SECONDS + LIVE_SECONDS + 5)
            yield Live(prometheus, seeded, time.time(), seed.stdout)


pytestmark = pytest.mark.e2e


def test_the_seed_reports_what_it_wrote(live: Live) -> None:
    assert " samples from " in live.seed_output
    assert live.query("count(up{job='churn'})", live.seeded)[()] == 1


def test_live_and_seeded_series_are_the_same(live: Live) -> None:
    selector = '{job=~"churn|traffic", __name__!~"scrape_.*"}'
    past, now = (set(live.query(selector, t)) for t in (live.seeded, live.now))
    assert not past - now
    # The client library says more about the process than the past needs, the service more about
    # its windows: what the detector watches has a past.
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]:
        past, now = (set(live.query(rule["expr"], t)) for t in (live.seeded, live.now))
        assert past, rule["record"]
        assert not now - past, rule["record"]


@pytest.mark.parametrize(
    ("expression", "relative", "absolute"),
    [
        ('sum(rate(http_requests_total{job="churn"}[1m]))', 0.1, 0.0),
        ('sum(rate(traffic_requests_sent_total{outcome="ok"}[1m]))', 0.1, 0.0),
        ("traffic_target_requests_per_second", 0.03, 0.0),
        ("histogram_quantile(0.5, rate(http_request_duration_seconds_bucket[1m]))", 0.06, 0.0),
        ("histogram_quantile(0.99, rate(http_request_duration_seconds_bucket[1m]))", 0.2, 0.0),
        (
            "rate(feature_store_request_duration_seconds_sum[1m])"
            " / rate(feature_store_request_duration_seconds_count[1m])",
            *(0.05, 0.0),
        ),
        (
            'sum(rate(http_requests_total{status="503"}[1m])) / sum(rate(http_requests_total[1m]))',
            *(0.0, 0.007),
        ),
        ("avg_over_time(http_requests_in_flight[1m])", 0.6, 0.0),
        ("rate(process_cpu_seconds_total[1m])", 0.4, 0.01),
        ("process_resident_memory_bytes", 0.08, 0.0),
        (
            'sum(rate(churn_predictions_total{class="churn"}[1m]))'
            " / sum(rate(churn_predictions_total[1m]))",
            *(0.15, 0.0),
        ),
        ("rate(churn_score_sum[1m]) / rate(churn_score_count[1m])", 0.1, 0.0),
    ],
)
def test_a_live_minute_is_like_the_seeded_hour(
    live: Live, expression: str, relative: float, absolute: float
) -> None:
    past, now = live.past(expression), live.live(expression)
    assert len(past) == 60
    span = f"{np.median(past):.4g} ({past.min():.4g} to {past.max():.4g})"
    print(f"{expression}\n  live {now:.4g}, past {span}")  # noqa: T201
    assert now == pytest.approx(np.median(past), rel=relative, abs=absolute)


@pytest.mark.parametrize("metric", ["churn_feature_drift", "churn_feature_missing_ratio"])
def test_drift_and_missing_values_are_within_the_seeded_range(live: Live, metric: str) -> None:
    expression = f"avg_over_time({metric}[1m])"
    outside = []
    for labels, value in live.query(expression, live.now).items():
        feature = dict(labels)["feature"]
        past = live.past(f'avg_over_time({metric}{{feature="{feature}"}}[1m])')
        low, high = past.min(), past.max()
        margin = 0.3 * (high - low) + 1e-9
        print(f"{metric} {feature}: live {value:.4g}, past {low:.4g} to {high:.4g}")  # noqa: T201
        if not low - margin <= value <= high + margin:
            outside.append((feature, value, low, high))
    # One of seventeen may be far out by chance; a step would move many.
    assert len(outside) <= 1, outside
