"""Scaling and relocation of the shipped files, checked by the programs that read them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from tools import ROOT, run

from detector.configuration import load
from detector.durations import parse_duration
from detector.errors import ConfigError
from simulator.layout import SIGNAL_RULES, claimed, make_layout, owner
from simulator.processes import PortReservations
from simulator.scaling import PROFILES, Places, relocate, scale_promql, scale_text

FAST = PROFILES["fast"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("rate(x[5m])", "rate(x[1m])"),
        ("rate(x[1h])", "rate(x[5m])"),
        ("rate(x[ 1h ])", "rate(x[5m])"),
        ("avg_over_time(rate(x[30m])[1h:1m])", "avg_over_time(rate(x[2m30s])[5m:5s])"),
        ("max_over_time(x[2h:])", "max_over_time(x[10m:])"),
        # A window that is short already does not grow.
        ("rate(x[30s])", "rate(x[30s])"),
        # Offsets point into the past, which is not scaled.
        ("rate(x[1h] offset 1w)", "rate(x[5m] offset 1w)"),
        ("x{path=\"[5m]\", other='[1h]'} # [2h]", "x{path=\"[5m]\", other='[1h]'} # [2h]"),
        (r'x{path="\"[1h]"}[1h]', r'x{path="\"[1h]"}[5m]'),
        ('label_replace(x, "a", `[1h]`, "", "")', 'label_replace(x, "a", `[1h]`, "", "")'),
    ],
)
def test_windows_of_promql(query: str, expected: str) -> None:
    assert scale_promql(query, 12) == expected


def test_keys_that_hold_durations_and_only_those() -> None:
    text = """
    groups:
      - name: a
        interval: 1m
        rules:
          - alert: A
            expr: rate(x[5m]) > 0
            for: 2m
            keep_firing_for: 30s
            labels: {interval: 1m, for: 2m}
            annotations: {summary: "over [5m], for 2m", query: "rate(x[5m])", for: 2m}
    out_of_order_time_window: 32d
    scrape_interval: 15s
    step: 1m
    delay: 30s
    history: 28d
    signals: [{name: s, query: "rate(y[1h])"}]
    group_wait: 30s
    group_interval: 0s
    """
    scaled = yaml.safe_load(scale_text(text, 12))
    assert scaled["groups"][0] == {
        "name": "a",
        "interval": "5s",
        "rules": [
            {
                "alert": "A",
                "expr": "rate(x[1m]) > 0",
                "for": "10s",
                "keep_firing_for": "2s500ms",
                "labels": {"interval": "1m", "for": "2m"},
                "annotations": {
                    "summary": "over [5m], for 2m",
                    "query": "rate(x[5m])",
                    "for": "2m",
                },
            }
        ],
    }
    del scaled["groups"]
    assert scaled == {
        "out_of_order_time_window": "32d",
        "scrape_interval": "5s",
        "step": "10s",
        "delay": "6s",
        "history": "28d",
        "signals": [{"name": "s", "query": "rate(y[5m])"}],
        "group_wait": "2s500ms",
        "group_interval": "0s",
    }


def test_production_leaves_a_file_as_it_is() -> None:
    text = (ROOT / "rules" / SIGNAL_RULES).read_text(encoding="utf-8")
    assert scale_text(text, PROFILES["production"].factor) == text


def test_no_yaml_is_said_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^rules/x\.yml: no valid YAML: [^\n]*$"):
        scale_text("groups: [", 12, origin="rules/x.yml")


def test_addresses_are_whole_words() -> None:
    places = Places({"churn:8000": "127.0.0.1:1", "sink:8090": "127.0.0.1:2"}, {"/etc/a/": "/b/"})
    text = "churn:8000 http://churn:8000/x churn:80001 a-churn:8000 my.churn:8000 /etc/a/c"
    assert relocate(text, places) == (
        "127.0.0.1:1 http://127.0.0.1:1/x churn:80001 a-churn:8000 my.churn:8000 /b/c"
    )


@pytest.mark.parametrize("profile", ["fast", "production"])
def test_the_programs_accept_the_files_of_a_stack(tmp_path: Path, profile: str) -> None:
    ports = PortReservations()
    with claimed(tmp_path / "stack") as directory:
        layout = make_layout(directory, PROFILES[profile], ports)
        bare = run("promtool", "check", "config", directory / "config" / "prometheus.yml")
        assert bare.returncode == 0, bare.stderr
        layout.start_scraping()
        assert layout.write_rules()
        whole = run("promtool", "check", "config", directory / "config" / "prometheus.yml")
        assert whole.returncode == 0, whole.stderr
        assert "4 rule files found" in whole.stdout
        alerts = run("amtool", "check-config", directory / "config" / "alertmanager.yml")
        assert alerts.returncode == 0, alerts.stderr
        assert "5 receivers" in alerts.stdout
        settings = load(directory / "config" / "detector.yml", {})
        assert settings.step == (10 if profile == "fast" else 60)
        assert settings.history == 28 * 86400
        for path in directory.glob("*/*"):
            text = path.read_text(encoding="utf-8")
            for name in layout.addresses:
                assert name not in text, f"{path} still names {name}"
            assert "localhost:3000/d/" not in text, f"{path} links to Grafana"
    ports.close()


@pytest.mark.parametrize("profile", ["fast", "production"])
def test_links_to_the_dashboard_become_graphs(tmp_path: Path, profile: str) -> None:
    ports = PortReservations()
    with claimed(tmp_path / "stack") as directory:
        layout = make_layout(directory, PROFILES[profile], ports)
        layout.write_rules()
    ports.close()
    links = {
        rule["alert"]: rule["annotations"]["dashboard_url"]
        for name in ("anomaly", "meta")
        for group in yaml.safe_load((directory / f"rules/{name}.rules.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    queries = {}
    for alert, link in links.items():
        assert link.startswith(f"{layout.url('prometheus:9090')}/graph?")
        # Prometheus fills the label in; it puts escapes of its own where these have none.
        filled = re.sub(r"\{\{ \$labels\.(\w+) \| urlquery \}\}", r"of+\1", link)
        (queries[alert],) = parse_qs(urlsplit(filled).query)["g0.expr"]
    names = '__name__=~"anomaly_(observed|expected|lower|upper)"'
    assert queries["AnomalyTraffic"] == f'{{{names},signal="of signal",job="of job"}}'
    assert queries["JobDown"] == f'{{{names},job="of job"}}'
    assert queries["AnomalyDetectorDown"] == "anomaly_score"


def test_every_window_of_the_fast_profile_holds_two_seeded_samples(tmp_path: Path) -> None:
    text = scale_text((ROOT / "rules" / SIGNAL_RULES).read_text(encoding="utf-8"), FAST.factor)
    windows = [
        parse_duration(part.partition("]")[0])
        for group in yaml.safe_load(text)["groups"]
        for rule in group["rules"]
        for part in rule["expr"].split("[")[1:]
    ]
    assert windows
    assert min(windows) >= 2 * 30


def test_rules_are_copied_when_they_changed_and_broken_ones_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "rules"
    shipped.mkdir()
    source = shipped / "a.rules.yml"
    source.write_text("groups: [{name: a, interval: 1m, rules: []}]", encoding="utf-8")
    monkeypatch.setattr("simulator.layout._RULES", shipped)
    ports = PortReservations()
    with claimed(tmp_path / "stack") as directory:
        layout = make_layout(directory, FAST, ports)
        assert layout.write_rules()
        assert not layout.write_rules()
        source.write_text("groups: [", encoding="utf-8")
        assert layout.write_rules()
        assert (directory / "rules" / "a.rules.yml").read_text(encoding="utf-8") == "groups: ["
    ports.close()


def test_a_directory_belongs_to_one_stack_and_to_nothing_else(tmp_path: Path) -> None:
    with claimed(tmp_path / "a") as directory:
        assert owner(directory) is not None
        with pytest.raises(ConfigError, match="a stack is running in"), claimed(directory):
            pass
    assert owner(tmp_path / "a") is None
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds something else"), claimed(tmp_path / "b"):
        pass
    assert (tmp_path / "b" / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_secrets_and_tokens_are_for_the_owner_only(tmp_path: Path) -> None:
    ports = PortReservations()
    with claimed(tmp_path / "stack") as directory:
        layout = make_layout(directory, FAST, ports)
        assert (directory / "secrets").stat().st_mode & 0o077 == 0
        assert layout.token_file.stat().st_mode & 0o077 == 0
        slack = (directory / "secrets" / "slack_api_url").read_text(encoding="utf-8")
        assert slack.startswith(layout.url("sink:8090"))
    ports.close()
