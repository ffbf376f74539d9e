"""Rivals beside the detector: rules that a real Prometheus ran, another configuration, tables."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from commands import Result, config, one_line
from replays import OUTAGE, SIGNALS, command, replay, seeded, settings_for
from running import NOW
from server import Server
from tools import ROOT, run

from detector.backtest.alerting import Firing
from detector.backtest.duel import Watched, duel, judged_rival
from detector.backtest.results import Results
from detector.backtest.rival_rules import read_rules, rule_alerts
from detector.backtest.server import ChunkedPrometheus
from detector.backtest.truth import Incident

RULES = {
    "groups": [
        {
            "name": "own",
            "rules": [
                {"record": "job:failing:max", "expr": "max by (job) (failing)"},
                {"alert": "NoTraffic", "expr": "rps == 0", "for": "5m",
                 "labels": {"severity": "page", "job_is": "{{ $labels.job }}"}},
                {"alert": "Failing", "expr": "job:failing:max > 0.1", "for": "1m"},
            ],
        }
    ]
}  # fmt: skip


def ours(incidents: list[Incident], delays: list[int | None], false: float = 1.0) -> Results:
    figures = {"false_pages_per_week": false}
    every = tuple(range(len(incidents)))
    return Results(0, 604_800, tuple(incidents), tuple(delays), (), (), figures, {}, every)


def fired(start: int, end: int, job: str = "a") -> Watched:
    labels = (("job", job),)
    return Watched("", labels, (("alertname", "A"), *labels), Firing(start, end), start - 60)


def test_words_and_noise() -> None:
    at = [10_000 * i for i in range(1, 7)]
    incidents = [Incident(t, t + 1200, "", (("job", "a"),)) for t in at]
    found = [fired(t + 300, t + 900) for t in at[:4]] + [fired(300_000, 301_000)]
    rival = judged_rival("x", ours(incidents, []), found, 60)
    assert rival.delays == (300, 300, 300, 300, None, None)
    assert rival.figures["false_alerts"] == 1
    first = duel(ours(incidents, [60, 300, 600, None, 60, None]), rival)
    assert first.words == ("earlier", "same", "later", "missed", "alone", "neither")
    assert first.noise == "as noisy"
    assert duel(ours(incidents, [None] * 6, 0.0), rival).noise == "quieter"
    assert duel(ours(incidents, [None] * 6, 3.0), rival).noise == "noisier"


def test_an_incident_of_another_job_is_not_found() -> None:
    incident = Incident(10_000, 11_200, "rps", (("job", "b"),))
    rival = judged_rival("x", ours([incident], [None]), [fired(10_300, 11_000)], 60)
    assert rival.delays == (None,)
    # An alert of a rule belongs to no signal: labels alone decide.
    rival = judged_rival("x", ours([incident], [None]), [fired(10_300, 11_000, "b")], 60)
    assert rival.delays == (300,)


def test_rules_fire_as_promtool_has_them_fire(server: Server, tmp_path: Path) -> None:
    """The same file on the same samples: here over the past of a server, there rule by rule."""
    rules = [
        {"alert": "High", "expr": "load > 5", "for": "2m", "labels": {"severity": "page"}},
        {"alert": "Kept", "expr": "load > 5", "for": "0s", "keep_firing_for": "3m"},
        {"alert": "All", "expr": "sum by (zone) (load) > 11 or load == 0", "for": "1m"},
        {"alert": "Rising", "expr": "deriv(load[5m]) > 0.01"},
    ]
    path = tmp_path / "alerts.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}), encoding="utf-8")
    rng = np.random.default_rng(5)
    count = 120
    begun = NOW - count * 60
    times = begun + np.arange(count) * 60
    load = {job: rng.integers(0, 4, count // 4).repeat(4) * 3 for job in "ab"}
    for job, values in load.items():
        server.write("load", times, values.astype(float), job=job, zone="z")
    source = ChunkedPrometheus(settings_for(server).prometheus, None, threading.Event())
    found, notes = rule_alerts(source, read_rules(path), begun, NOW)
    assert notes == []
    names = [rule["alert"] for rule in rules]
    assert {dict(one.identity)["alertname"] for one in found} == set(names)
    asked = []
    for i, t in enumerate(times):
        samples = [
            'ALERTS{alertstate="firing",' + ",".join(f'{k}="{v}"' for k, v in one.identity) + "}"
            for one in found
            if one.firing.start <= t < one.firing.end
        ]
        asked.append(
            {"expr": 'ALERTS{alertstate="firing"}', "eval_time": f"{i}m",
             "exp_samples": [{"labels": text, "value": 1} for text in samples]}
        )  # fmt: skip
    given = [
        {"series": f'load{{job="{job}",zone="z"}}', "values": " ".join(map(str, values))}
        for job, values in load.items()
    ]
    document = {
        "rule_files": ["alerts.yml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": given, "promql_expr_test": asked}],
    }
    (tmp_path / "t.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    done = run("promtool", "test", "rules", tmp_path / "t.yml")
    assert done.returncode == 0, (done.stdout + done.stderr)[:3000]


def test_the_duel_from_a_server(
    detector: Callable[..., Result], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded(server)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(RULES), encoding="utf-8")
    # Another address in it is not used: both are held to the same data.
    dull = {
        "prometheus": {"url": "http://127.0.0.1:9"},
        "history": "7d",
        "signals": SIGNALS,
        "policies": {"traffic": {"sensitivity": 0.1}},
    }
    (tmp_path / "dull.yml").write_text(json.dumps(dull), encoding="utf-8")
    given = [*command(tmp_path, server.url), "--truth", "fault"]
    given += ["--compare", "grafana", "--compare", "rules:alerts.yml", "--against", "dull.yml"]
    code, out, err = detector(*given, "--report", "r.json", "--markdown", "m.md")
    assert code == 0, err
    lines = [line.split("\t") for line in out.splitlines()]
    (header,) = [line for line in lines if line[0] == "beside us"]
    names = ["detector", "adaptive", "robust", "rules:alerts.yml", "dull.yml"]
    at = lines.index(header)
    # Rule files are asked first.
    assert sorted(line[0] for line in lines[at + 1 : at + 6]) == sorted(names)
    assert "no samples of job:failing:max in the range" in out
    report = json.loads((tmp_path / "r.json").read_text())
    duels = {one["name"]: one for one in report["duels"]}
    assert duels.keys() == set(names[1:])
    (incident,) = duels["rules:alerts.yml"]["incidents"]
    assert incident == {"word": "earlier", "delay": 300, "alerts": 1}
    (alert,) = duels["rules:alerts.yml"]["alerts"]
    assert alert["labels"] == {"job": "a", "severity": "page"}
    assert alert["start"] == OUTAGE[0] + 300
    # What is at zero is not there for either strategy.
    for name in ("adaptive", "robust"):
        assert duels[name]["alone"] == 1
        assert duels[name]["figures"]["recall"] == 0.0
    assert set(duels["dull.yml"]["figures"]) == set(report["figures"])
    described = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    (first, *_) = report["duels"]
    keys = {*first, *first["incidents"][0], *alert}
    assert {key for key in keys if f"`{key}`" not in described} == set()
    markdown = (tmp_path / "m.md").read_text()
    assert "| beside us | found |" in markdown
    assert "| incident | what | detector |" in markdown


def test_a_rival_that_is_the_same_is_neither_earlier_nor_later(server: Server) -> None:
    seeded(server)
    settings = settings_for(server)
    outcome = replay(settings, against={"same": settings})
    (one,) = outcome.duels
    assert one.words == ("same",)
    assert one.noise == "as noisy"
    assert one.rival.figures == outcome.found.figures
    assert replay(settings).duels == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "alerts.yml: no such file"),
        ("groups: 3", "alerts.yml: no rule file; try promtool check rules"),
        ("groups: [", "alerts.yml:1: no valid YAML"),
        ("groups: []", "alerts.yml: no alerting rules"),
        ("groups: [{name: g, rules: [{alert: A, expr: up, for: soon}]}]", "alerts.yml: "),
    ],
)
def test_a_rule_file_that_is_none(
    detector: Callable[..., Result], server: Server, tmp_path: Path, content: str | None, says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    text = json.dumps({"prometheus": {"url": server.url}, "signals": SIGNALS})
    if content is not None:
        (tmp_path / "alerts.yml").write_text(content, encoding="utf-8")
    given = ["backtest", "-c", config(tmp_path, text), "--from", "1h"]
    code, _, err = detector(*given, "--compare", "rules:alerts.yml")
    assert code == 2
    assert says in one_line(err)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--from", "1d", "--compare", "luck"], "--compare 'luck': write grafana"),
        (["--from", "1d", "--against", "none.yml"], "none.yml"),
        (["--from", "1d", "--write-back", " "], "--write-back: give the run a name"),
        (["x.csv", "--compare", "rules:x.yml"], "need a server"),
        (["x.csv", "--write-back", "a"], "need a server"),
    ],
)
def test_wrong_options(
    detector: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    given: list[str], says: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    text = json.dumps({"prometheus": {"url": "http://127.0.0.1:9"}, "signals": SIGNALS})
    code, _, err = detector("backtest", "-c", config(tmp_path, text), *given)
    assert code == 2
    assert says in one_line(err)
