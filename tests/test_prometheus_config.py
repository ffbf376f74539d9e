"""The Prometheus and detector configuration of the stack, and the runbooks Prometheus serves."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tools import ROOT, run, tool

from detector import names
from detector.settings import load

CONFIG = ROOT / "simulator" / "config"
JOBS = {"prometheus", "pushgateway", "churn", "traffic", "detector", "alertmanager"}


def _prometheus() -> dict[str, Any]:
    content = yaml.safe_load((CONFIG / "prometheus.yml").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def _here(directory: Path) -> Path:
    """Write the shipped file with the rules of this repository in place of the mounted ones."""
    text = (CONFIG / "prometheus.yml").read_text(encoding="utf-8")
    assert "/etc/prometheus/rules/" in text
    path = directory / "prometheus.yml"
    path.write_text(text.replace("/etc/prometheus/rules/", f"{ROOT}/rules/"), encoding="utf-8")
    return path


def test_promtool_accepts_configuration_and_rules(tmp_path: Path) -> None:
    result = run("promtool", "check", "config", _here(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 rule files found" in result.stdout


def test_each_job_is_scraped_under_a_name_without_an_address() -> None:
    jobs = {job["job_name"]: job for job in _prometheus()["scrape_configs"]}
    assert set(jobs) == JOBS
    for name, job in jobs.items():
        (target,) = job["static_configs"]
        assert target["labels"] == {"instance": f"{name}-0"}


def test_only_exporters_of_other_series_keep_their_labels() -> None:
    honest = {job["job_name"] for job in _prometheus()["scrape_configs"] if job.get("honor_labels")}
    assert honest == {"detector", "pushgateway"}


def test_the_seeded_past_fits_into_the_out_of_order_window() -> None:
    window = _prometheus()["storage"]["tsdb"]["out_of_order_time_window"]
    assert int(window.removesuffix("d")) * 86400 > load(CONFIG / "detector.yml").history


def test_the_detector_reads_its_configuration() -> None:
    settings = load(CONFIG / "detector.yml", {})
    assert settings.prometheus.url == "http://prometheus:9090"
    assert settings.rules.url == settings.prometheus.url
    seconds = {"15s": 15, "1m": 60}
    scrape, evaluation = (
        seconds[_prometheus()["global"][f"{what}_interval"]] for what in ("scrape", "evaluation")
    )
    assert settings.step == evaluation
    assert settings.delay >= 2 * scrape


def test_policies_are_for_signals_that_exist() -> None:
    rules = (ROOT / "rules" / "signals.rules.yml").read_text(encoding="utf-8")
    known = set(re.findall(rf"{names.RULE_NAME}: (\w+)", rules)) | set(names.KINDS)
    assert set(load(CONFIG / "detector.yml", {}).policies) <= known


@contextlib.contextmanager
def _running(directory: Path) -> Iterator[httpx.Client]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    empty = directory / "prometheus.yml"
    empty.write_text("{}", encoding="utf-8")
    log = (directory / "log").open("w")
    process = subprocess.Popen(
        [
            tool("prometheus"),
            f"--config.file={empty}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--web.console.templates={ROOT / 'rules' / 'runbooks'}",
        ],
        stdout=log,
        stderr=log,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            deadline = time.monotonic() + 15
            while not _ready(client):
                assert time.monotonic() < deadline, (directory / "log").read_text()
                time.sleep(0.05)
            yield client
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_prometheus_serves_every_runbook_that_an_alert_links_to(tmp_path: Path) -> None:
    rules = "\n".join(p.read_text("utf-8") for p in (ROOT / "rules").glob("*.rules.yml"))
    paths = re.findall(r"runbook_url: http://localhost:9090(/\S+)", rules)
    assert len(paths) == 14
    with _running(tmp_path) as client:
        for path in paths:
            page = client.get(path)
            assert page.status_code == 200, path
            assert page.text == (ROOT / "rules" / "runbooks" / Path(path).name).read_text("utf-8")
        assert client.get("/consoles/Missing.md").status_code == 404


@pytest.mark.parametrize("name", ["slack_api_url", "smtp_password"])
def test_files_of_the_local_sink_hold_one_line(name: str) -> None:
    lines = (CONFIG / "sink" / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1
    assert lines[0] == lines[0].strip() != ""
