"""The rule files: valid, tested both ways, linted, and their tests able to fail."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from promql import known_metrics, metrics_of
from tools import ROOT, run

from detector import names

RULES = ROOT / "rules"
FILES = sorted(RULES.glob("*.rules.yml"))
LIBRARY = sorted((RULES / "library").glob("*.rules.yml"))
TESTS = sorted((RULES / "tests").glob("*.test.yml"))
LIBRARY_TESTS = sorted((RULES / "tests" / "library").glob("*.test.yml"))
RUNBOOK_BASE = "http://localhost:9090/consoles/"
GRAFANA = "http://localhost:3000/d/"
SIGNAL_PAGE = (
    f"{GRAFANA}anomaly-signal?var-signal={{{{ $labels.signal | urlquery }}}}"
    "&var-job={{ $labels.job | urlquery }}"
)
JOB_PAGE = f"{GRAFANA}anomaly-overview?var-job={{{{ $labels.job | urlquery }}}}"
ANNOTATIONS = {"summary", "description", "runbook_url", "dashboard_url", "query"}


def _rules(file: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


RECORDS = [rule for file in FILES for rule in _rules(file) if "record" in rule]
SIGNALS = [rule for rule in RECORDS if names.RULE_NAME in rule.get("labels", {})]
LIBRARY_SIGNALS = [rule for file in LIBRARY for rule in _rules(file)]
ALERTS = [rule for file in FILES for rule in _rules(file) if "alert" in rule]
alerts = pytest.mark.parametrize("alert", ALERTS, ids=[a["alert"] for a in ALERTS])


@pytest.mark.parametrize("file", FILES + LIBRARY, ids=lambda file: file.name)
def test_promtool_accepts_the_rules(file: Path) -> None:
    result = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", file)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("file", TESTS + LIBRARY_TESTS, ids=lambda file: file.name)
def test_promtool_unit_tests(file: Path) -> None:
    result = run("promtool", "test", "rules", file)
    assert result.returncode == 0, result.stdout + result.stderr


def test_each_rule_file_has_a_test_file() -> None:
    for files, tests in ((FILES, TESTS), (LIBRARY, LIBRARY_TESTS)):
        assert [f.name.removesuffix(".rules.yml") for f in files] == [
            f.name.removesuffix(".test.yml") for f in tests
        ]


def test_each_signal_of_the_library_is_tested() -> None:
    texts = "\n".join(file.read_text(encoding="utf-8") for file in LIBRARY_TESTS)
    for rule in LIBRARY_SIGNALS:
        assert re.search(rf"{rule['record']}\b.*\n.*\n.*exp_samples:", texts), rule["record"]


@alerts
def test_each_alert_is_tested_firing_and_silent(alert: dict[str, Any]) -> None:
    cases = [
        case
        for file in TESTS
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]
        for case in test.get("alert_rule_test", [])
        if case["alertname"] == alert["alert"]
    ]
    assert any(case["exp_alerts"] for case in cases), "no firing case"
    assert any(not case["exp_alerts"] for case in cases), "no silent case"


@alerts
@pytest.mark.parametrize("change", ["never", "at once", "severity"])
def test_the_unit_tests_notice_a_changed_alert(
    alert: dict[str, Any], change: str, tmp_path: Path
) -> None:
    file = next(f for f in FILES if alert in _rules(f))
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    mutant = next(
        rule
        for group in content["groups"]
        for rule in group["rules"]
        if rule.get("alert") == alert["alert"]
    )
    if change == "never":
        mutant["expr"] = f"({mutant['expr']}) and vector(1) > 2"
    elif change == "at once":
        del mutant["for"]
    else:
        mutant["labels"]["severity"] = "other"
    _assert_killed(file, yaml.safe_dump(content), tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("anomaly", 'kind="traffic"} == 1', 'kind="traffic"} >= 1'),
        ("anomaly", 'kind="drift"} == 1', 'kind="drift"} > 0'),
        ("anomaly", "keep_firing_for: 2m", "keep_firing_for: 0m"),
        ("anomaly", "%s,%s=%q", '%s,%s=\\"%s\\"'),
        ("anomaly", "eq (len .Labels) (len $size)", "eq 1 1"),
        ("anomaly", "if gt $o $u", "if lt $o $u"),
        ("meta", "6 * detector_step_seconds", "600"),
        ("meta", 'expr: up{job!="detector"}', "expr: up"),
        ("meta", 'sum by (job) (up{job!="detector"})', "sum by (job) (up)"),
        ("meta", "sum by (job) (up", "min by (job) (up"),
        ("meta", 'absent(up{job="detector"} == 1)', 'up{job="detector"} == 0'),
        ("signals", "sum by (job, le)", "sum by (job)"),
        ("signals", ', handler="/v1/predict"}[5m]))\n        labels', "}[5m]))\n        labels"),
        ("signals", 'status=~"5.."', 'status=~"2.."'),
        ("signals", 'class="churn"}', "}"),
        ("signals", "sum by (job, check)", "max by (job, check)"),
        (
            "signals",
            "avg_over_time(http_requests_in_flight",
            "max_over_time(http_requests_in_flight",
        ),
    ],
)
def test_the_unit_tests_notice_a_changed_expression(
    name: str, old: str, new: str, tmp_path: Path
) -> None:
    file = RULES / f"{name}.rules.yml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    _assert_killed(file, text.replace(old, new), tmp_path)


def _assert_killed(file: Path, mutant: str, directory: Path) -> None:
    shutil.copytree(RULES / "tests", directory / "tests")
    (directory / file.name).write_text(mutant, encoding="utf-8")
    result = run(
        "promtool", "test", "rules", file.name.replace(".rules.", ".test."), cwd=directory / "tests"
    )
    assert result.returncode != 0, "the mutant passes every unit test"


@alerts
def test_labels_and_annotations(alert: dict[str, Any]) -> None:
    labels, annotations = alert["labels"], alert["annotations"]
    assert labels["severity"] in {"critical", "warning", "info"}
    assert labels["category"] in {"anomaly", "meta"}
    # A label that follows a value makes a new alert at each evaluation.
    assert not any("{{" in str(value) for value in labels.values())
    assert set(annotations) == ANNOTATIONS
    assert "$value" not in annotations["summary"]
    assert "query" not in annotations["summary"]
    # $externalURL makes `promtool test rules` of 2.42 panic.
    assert not any("externalURL" in text for text in annotations.values())
    assert annotations["runbook_url"] == f"{RUNBOOK_BASE}{alert['alert']}.md"
    assert annotations["dashboard_url"] == _page(alert)
    assert re.search(r"==|!=|>|<|absent\(", alert["expr"]), "fires on any value"


def _page(alert: dict[str, Any]) -> str:
    """Where an alert has to lead: its series, its job, what is abnormal at all, or the detector."""
    if alert["alert"] in ("JobDown", "InstanceDown"):
        return JOB_PAGE
    if alert["alert"] == "AnomalyStorm":
        return f"{GRAFANA}anomaly-overview"
    return SIGNAL_PAGE if alert["labels"]["category"] == "anomaly" else f"{GRAFANA}detector-health"


def test_runbooks_and_alerts_belong_together() -> None:
    assert {a["alert"] for a in ALERTS} == {p.stem for p in (RULES / "runbooks").glob("*.md")}


@alerts
def test_runbook_says_what_to_do(alert: dict[str, Any]) -> None:
    text = (RULES / "runbooks" / f"{alert['alert']}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {alert['alert']}\n")
    sections = ["Who suffers", "Look", "Usual causes", "Do", "If it is a false alarm"]
    assert re.findall(r"^## (.+)$", text, re.M) == sections
    # What it means stands before the first section, how to mute it in the last one.
    assert len(text.partition("## ")[0].splitlines()) > 3
    assert "amtool silence add" in text.rpartition("## ")[2]
    # Prometheus serves the page as a console, and would run this as a template.
    assert "{{" not in text


def test_each_kind_has_exactly_one_alert() -> None:
    kinds = [
        match[1]
        for alert in ALERTS
        if (match := re.fullmatch(r'anomaly_state\{kind="(\w+)"\} == 1', alert["expr"]))
    ]
    assert sorted(kinds) == sorted(names.KINDS)
    others = {a["alert"] for a in ALERTS if a["labels"]["category"] == "anomaly"}
    assert others - {f"Anomaly{kind.capitalize()}" for kind in kinds} == {
        "AnomalyBurnsBudget",
        names.NO_DATA_ALERT,
        "AnomalyStorm",
    }


def test_only_what_an_objective_confirms_is_a_page() -> None:
    pages = {a["alert"] for a in ALERTS if a["labels"]["severity"] == "critical"}
    assert pages == {"AnomalyBurnsBudget", "AnomalyDetectorDown"}


def test_each_record_is_a_signal_of_a_known_kind() -> None:
    signals = SIGNALS + LIBRARY_SIGNALS
    assert len({rule["labels"][names.RULE_NAME] for rule in signals}) == len(signals)
    assert len({rule["record"] for rule in signals}) == len(signals)
    for rule in signals:
        assert rule["labels"][names.RULE_KIND] in names.KINDS
        # The fast profile changes the windows; a name that states one would lie.
        assert not re.search(r"\d+[smhd]\b", rule["record"])


@pytest.mark.parametrize(
    "expression",
    [rule["expr"] for rule in RECORDS + ALERTS]
    + [a["annotations"]["query"] for a in ALERTS if a["labels"]["category"] == "meta"],
)
def test_every_metric_is_one_that_somebody_writes(expression: str) -> None:
    assert metrics_of(expression), "no metric found"
    assert metrics_of(expression) <= known_metrics()


def test_queries_of_the_description_read_written_metrics() -> None:
    texts = "\n".join(a["annotations"]["description"] for a in ALERTS)
    parts = re.search(r'__name__=~\\"(anomaly_)\(([\w|]+)\)', texts)
    assert parts, "the shared description looks nothing up"
    read = {parts[1] + part for part in parts[2].split("|")}
    assert read == {names.OBSERVED, names.EXPECTED, names.LOWER, names.UPPER, names.SCORE}
    compared = re.findall(r"__name__ \"(\w+)\"", texts)
    assert set(compared) == read - {names.UPPER}
    others = set(re.findall(r"\b((?:detector|prometheus)_\w+?)[{\"]", texts))
    assert others
    assert others <= known_metrics()


def test_the_metric_reader_reads_metrics() -> None:
    expression = 'sum by (job, le) (rate(a:b{c="d_e"}[5m])) / on (x) group_left (y) z_total > 6'
    assert metrics_of(expression) == {"a:b", "z_total"}
