"""`detector check FILES`: each finding at its line, with and without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from server import Server
from synthetic import MONDAY
from tools import ROOT, free_port
from typer.testing import CliRunner

from detector.cli import app
from detector.errors import ConfigError
from detector.rule_check import RuleCheck, check_rules
from detector.rule_files import rule_paths
from detector.settings import Settings

NOW = MONDAY + 14 * 86400
# Complete but for what a test takes away.
ALERT = {
    "alert": "TooMany",
    "expr": 'queue{job="shop"} > 5',
    "for": "2m",
    "labels": {"severity": "warning", "category": "anomaly"},
    "annotations": {
        "summary": "s",
        "description": "d",
        "runbook_url": "http://localhost:9090/x",
        "dashboard_url": "http://localhost:3000/x",
        "query": "queue",
    },
}
WRONG = """\
groups:
  - name: wrong
    interval: often
    rules:
      - alert: NoComparison
        expr: rate(errors_total[5m])
        for: 5
        labels: {severity: "{{ $value }}"}
        annotations:
          summary: s
          description: d
          runbook_url: RUNBOOK
          query: q
      - alert: OnScore
        expr: anomaly_score > 1
        labels: {severity: info, category: anomaly}
        annotations: {summary: s, description: d, runbook_url: http://r, dashboard_url: d, query: q}
      - record: a:b
        expr: sum by (job (x)
        labels: {anomaly_name: one, anomaly_type: latncy}
        for: 5m
      - record: a:c
        expr: anomaly_state
        labels: {anomaly_name: two}
      - record: a:c
        expr: sum(x)
        labels: {anomaly_name: two}
      - record: a:d
        expr: sum(x)
        labels: {anomaly_name: three, anomaly_type: latency}
      - record: a:e
        expr: sum(x)
        labels: {anomaly_name: three, anomaly_type: errors}
      - expr: up
      - record: a:f
  - name: wrong
    rules: []
"""
EXPECTED = {
    (3, "structure", "interval: 'often' is no duration"),
    (5, "labels", "label category is missing"),
    (5, "annotations", "annotation dashboard_url is missing: where to look"),
    (6, "comparison", "no comparison: it fires on any value"),
    (7, "structure", "for: '5' is no duration"),
    (8, "labels", "label severity holds a value"),
    (12, "annotations", "runbook_url 'RUNBOOK' is no http address"),
    (14, "for", "fires at the first unusual step"),
    (15, "score", "compares anomaly_score"),
    (19, "syntax", ""),
    (20, "signal", "anomaly_type 'latncy' is not known"),
    (21, "structure", "unknown key 'for'; only an alert has it"),
    (23, "signal", "a signal that reads the detector's own scores"),
    (24, "signal", "no anomaly_type"),
    (25, "double", "the same name and labels as"),
    (27, "signal", "no anomaly_type"),
    (33, "signal", "signal three is 'latency' at"),
    (34, "structure", "a rule needs either record: or alert:"),
    (35, "structure", "a rule needs expr:"),
    (36, "structure", "group 'wrong' is there twice"),
}


def _write(directory: Path, *rules: dict[str, object], name: str = "x.rules.yml") -> Path:
    path = directory / name
    path.write_text(json.dumps({"groups": [{"name": "g", "rules": list(rules)}]}), "utf-8")
    return path


def _said(result: RuleCheck, check: str) -> list[tuple[str, str]]:
    return [(f.level, f.message) for f in result.findings if f.check == check]


def test_the_rules_of_this_repository_are_without_fault() -> None:
    given = [ROOT / "rules", ROOT / "rules" / "library"]
    result = check_rules(given, Settings(), offline=True)
    assert (result.findings, result.exit_code) == ((), 0)
    assert len(result.files) == len(rule_paths(given)) > 10


def test_each_mistake_is_told_at_its_line(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yml"
    path.write_text(WRONG, "utf-8")
    result = check_rules([path], Settings(), offline=True)
    assert result.exit_code == 1
    assert all(f.file == str(path) for f in result.findings)
    assert {(f.line, f.check) for f in result.findings} == {e[:2] for e in EXPECTED}
    for line, check, message in EXPECTED:
        found = [f for f in result.findings if (f.line, f.check) == (line, check)]
        assert any(f.message.startswith(message) for f in found), (line, found)


@pytest.mark.parametrize("label", ["severity", "category"])
def test_a_label_that_is_taken_away_is_missed(label: str, tmp_path: Path) -> None:
    labels = {k: v for k, v in ALERT["labels"].items() if k != label}  # type: ignore[attr-defined]
    result = check_rules([_write(tmp_path, ALERT | {"labels": labels})], Settings(), offline=True)
    assert [f.message.split()[1] for f in result.findings] == [label]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("groups: [", "no valid YAML"),
        ("rules: []", "no rule file: it needs the key groups:"),
        ("- a", "no rule file"),
        ("", "no rule file"),
        ("groups: [{rules: []}]", "a group without a name"),
    ],
)
def test_what_is_no_rule_file_is_one_finding(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text(text, "utf-8")
    result = check_rules([tmp_path], Settings(), offline=True)
    (finding,) = result.findings
    assert finding.message.startswith(message)
    assert result.exit_code == 1


def test_paths_without_rules_are_wrong_arguments(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.yml").write_text("groups: []", "utf-8")
    for path in ("nowhere", "empty", "none.yml"):
        with pytest.raises(ConfigError, match=path):
            check_rules([tmp_path / path], Settings(), offline=True)


@pytest.fixture
def tried(server: Server, tmp_path: Path) -> Callable[..., RuleCheck]:
    """A server with two weeks of a queue that is long for an hour each day, and what it says."""
    times = np.arange(NOW - 14 * 86400, NOW + 1, 60)
    hour = (times % 86400) // 3600
    server.write("queue", times, np.where(hour == 3, 9.0, 1.0), job="shop", instance="a")
    server.write("queue", times[-1:], 1.0, job="shop", instance="b")

    def check(*rules: dict[str, object]) -> RuleCheck:
        settings = Settings(prometheus={"url": server.url}, max_series=1)  # type: ignore[arg-type]
        return check_rules([_write(tmp_path, *rules)], settings, now=NOW)

    return check


def test_a_good_alert_is_counted(tried: Callable[..., RuleCheck]) -> None:
    result = tried(ALERT)
    assert [(f.level, f.message) for f in result.findings] == [
        ("ok", "would have fired 7 times in the last week (2m)")
    ]
    assert result.exit_code == 0


def test_patience_and_noise_change_the_count(tried: Callable[..., RuleCheck]) -> None:
    assert _said(tried(ALERT | {"for": "1h"}), "count") == [
        ("ok", "would have fired never in the last week (1h)")
    ]
    every_other = {"expr": "queue > 5 and on () (minute() % 2 == 0)", "for": "0s"}
    ((level, message),) = _said(tried(ALERT | every_other), "count")
    assert level == "warning"
    assert "210 times" in message
    bridged = tried(ALERT | every_other | {"keep_firing_for": "2m"})
    assert "7 times" in _said(bridged, "count")[0][1]


@pytest.mark.parametrize(
    ("expr", "check", "level", "message"),
    [
        (
            "queu > 5",
            "metric",
            "warning",
            "metric queu was not on the server in the last week; did",
        ),
        ('queue{jbo="shop"} > 5', "label", "warning", "no series of queue has the label jbo now"),
        ('queue{job="shp"} > 5', "label", "warning", 'no series of queue has job="shp" now'),
        (
            "queue > on (job) queue",
            "evaluation",
            "error",
            "queue > on (job) queue: found duplicate",
        ),
        ("queue > 5 5", "syntax", "error", ""),
    ],
)
def test_what_the_server_does_not_have_is_said(
    expr: str, check: str, level: str, message: str, tried: Callable[..., RuleCheck]
) -> None:
    ((said, text),) = _said(tried(ALERT | {"expr": expr}), check)
    assert said == level
    assert text.startswith(message)


def test_values_that_only_a_fault_brings_are_no_mistake(tried: Callable[..., RuleCheck]) -> None:
    assert not _said(tried(ALERT | {"expr": 'queue{job=~"5.."} > 5'}), "label")


def test_an_alert_that_does_not_fire_is_no_mistake(tried: Callable[..., RuleCheck]) -> None:
    found = tried(ALERT | {"expr": 'queue > 5 unless ALERTS{alertname="Quiet"}'})
    assert not _said(found, "label")
    assert not _said(found, "metric")


def test_one_of_two_names_of_a_label_is_enough(tried: Callable[..., RuleCheck]) -> None:
    either = 'queue{shop!=""} > 5 or queue{shop="a"} > 5 or queue{job!="",instance="a"} > 5'
    assert not _said(tried(ALERT | {"expr": either}), "label")


def test_signals_have_series(tried: Callable[..., RuleCheck]) -> None:
    labels = {"anomaly_name": "q", "anomaly_type": "saturation"}
    found = tried(
        {"record": "a:q", "expr": "queue", "labels": labels},
        {"record": "a:sum", "expr": "sum(queue)"},
        {"record": "a:both", "expr": "sum(a:sum)"},
    )
    assert _said(found, "series") == [
        ("warning", "2 series, 1 over max_series; aggregate it"),
        ("ok", "1 series now"),
    ]
    assert _said(found, "metric") == [
        ("ok", "a:sum is recorded by these files and not on the server yet")
    ]


def test_a_server_out_of_reach_is_exit_code_3_and_the_rest_is_told(tmp_path: Path) -> None:
    path = _write(tmp_path, ALERT)
    settings = Settings(prometheus={"url": f"http://127.0.0.1:{free_port()}"})  # type: ignore[arg-type]
    result = check_rules([path], settings)
    assert (result.exit_code, result.findings) == (3, ())
    assert "--offline checks without a server" in result.server
    assert check_rules([_write(tmp_path, ALERT | {"expr": "queue"})], settings).exit_code == 1


def test_the_command_prints_a_line_a_finding_or_json(tmp_path: Path) -> None:
    path = _write(tmp_path, ALERT | {"expr": "queue"})
    said = CliRunner().invoke(app, ["check", str(path), "--offline"])
    assert said.exit_code == 1
    first, last = said.stdout.splitlines()
    assert first.startswith(f"error   {path}:1: TooMany: no comparison")
    assert last == "1 file, 1 rule: 1 error, 0 warnings; server: not asked (--offline)"
    # What is wrong with the whole file names no rule.
    path.write_text("- a", "utf-8")
    said = CliRunner().invoke(app, ["check", str(path), "--offline"])
    assert said.stdout.startswith(f"error   {path}:1: no rule file")
    _write(tmp_path, ALERT | {"expr": "queue"})
    plain = CliRunner().invoke(app, ["check", str(path), "--offline", "--json"])
    assert json.loads(plain.stdout)["findings"][0]["line"] == 1
