"""The Prometheus and detector configuration of the stack, and the runbooks Prometheus serves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools import ROOT, run, serving

from detector import names
from detector.configuration import load

CONFIG = ROOT / "simulator" / "config"
JOBS = {"prometheus", "pushgateway", "churn", "traffic", "detector", "notify", "alertmanager"}


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
    assert "4 rule files found" in result.stdout


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


def test_prometheus_serves_every_runbook_that_an_alert_links_to(tmp_path: Path) -> None:
    rules = "\n".join(p.read_text("utf-8") for p in (ROOT / "rules").glob("*.rules.yml"))
    paths = re.findall(r"runbook_url: http://localhost:9090(/\S+)", rules)
    assert len(paths) == len(list((ROOT / "rules" / "runbooks").glob("*.md")))
    (tmp_path / "prometheus.yml").write_text("{}", encoding="utf-8")
    flags = (
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.console.templates={ROOT / 'rules' / 'runbooks'}",
    )
    with serving("prometheus", tmp_path, *flags) as client:
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
