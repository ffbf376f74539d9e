"""What a backtest says of metrics that vanish: as the live census, and as the shipped rule."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from commands import Result
from replays import ASKED, HOUR
from running import NOW, past
from server import Server
from synthetic import DAY, MONDAY, grid, labels, matrix, traffic

from detector.backtest import vanished
from detector.backtest.alerting import Firing, firings
from detector.backtest.command import backtest
from detector.backtest.server import ChunkedPrometheus
from detector.backtest.vanished import LATELY, LEAST_SHARE, NO_DATA, REQUESTED, Tally, told
from detector.census import Census
from detector.durations import parse_duration
from detector.errors import SourceError
from detector.names import NO_DATA_ALERT
from detector.schedule import Schedule
from detector.series import Labels, Signal
from detector.settings import KIND_POLICIES, Settings

ROOT = Path(__file__).resolve().parent.parent
SCHEDULE = Schedule(60, 300, 7 * DAY, DAY)
SIGNAL = Signal("rps", "traffic", (), KIND_POLICIES["traffic"])
LATENCY = Signal("p99", "latency", (), KIND_POLICIES["latency"])
NAN = np.nan


def test_the_rule_is_the_shipped_one() -> None:
    text = (ROOT / "rules" / "anomaly.rules.yml").read_text(encoding="utf-8")
    every = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    (rule,) = (rule for rule in every if rule["alert"] == NO_DATA_ALERT)
    present, usual = (
        f"max by (signal, kind, job) (anomaly_series_{x}" for x in ("present", "usual")
    )
    ago = f'alertstate="firing"}}[{LATELY // 60}m])'
    down, traffic = (
        f'last_over_time(ALERTS{{alertname="{name}",{ago}' for name in ("JobDown", "AnomalyTraffic")
    )
    kinds = "|".join(REQUESTED)
    assert " ".join(rule["expr"].split()) == (
        f"{present}) < {LEAST_SHARE} * {usual}) unless on (job) {down} "
        f'unless ( {present}{{kind=~"{kinds}",job!=""}}) and on (job) {traffic} )'
    )
    assert parse_duration(rule["for"]) == NO_DATA.hold
    assert parse_duration(rule["keep_firing_for"]) == NO_DATA.keep


@pytest.mark.parametrize("seed", range(6))
def test_the_replay_says_what_the_live_census_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = grid(12, 60)
    rows: dict[Labels, np.ndarray] = {}
    # All pods of a job are away for some hours on the ninth day.
    hole = MONDAY + 8 * DAY + rng.integers(9, 12) * HOUR
    for i in range(7):
        here = rng.random(len(times)) > 0.001
        for begin in rng.integers(0, len(times), 4):
            here[begin : begin + rng.integers(5, 600)] = False
        here &= (times < hole) | (times > hole + 4 * HOUR) | (i % 2 == seed % 2)
        if i % 3 == 0:
            here &= times // HOUR % 24 < 20
        rows[labels(job="ab"[i % 2], pod=str(i))] = np.where(here, 1.0, NAN)
    samples = matrix(times, rows)
    start, end = MONDAY + 7 * DAY + 7 * HOUR, int(times[-1]) + 60
    down = {labels(job="a"): rng.random(-(-(end - start) // 300)) < 0.02}
    down[labels(job="a")][-2:] = False
    tally = Tally(SIGNAL, SCHEDULE, start, end)
    for part in (samples.aligned(samples.labels[:3]), samples.aligned(samples.labels[3:])):
        tally.add(part)
    profile = samples.every(300)
    missed: dict[Labels, list[bool]] = {}
    asked = np.arange(-(-start // 300) * 300, end, 300)
    for at in asked.tolist():
        boundary = SCHEDULE.boundary("rps", at)
        first, last = SCHEDULE.history_times(boundary)
        census = Census(profile.between(first, last + 1), boundary, "")
        newest = profile.between(at, at + 300)
        found = census.at(newest, newest)
        for j, job in enumerate(census.labels):
            few = bool(found.present[j, 0] < LEAST_SHARE * found.usual[j, 0])
            missed.setdefault(job, []).append(few)
    lately = {job: on | np.roll(on, 1) | np.roll(on, 2) for job, on in down.items()}
    calm = np.zeros(len(asked), bool)
    expected = [
        (job, Firing(one.start + 30, one.end + 30))
        for job, few in missed.items()
        for one in firings(asked, np.array(few) & ~lately.get(job, calm), NO_DATA)
    ]
    alerts = vanished.vanished(tally.lost(), down, None, {}, 30)
    assert sorted((one.job, one.firing.start, one.firing.end) for one in alerts) == sorted(
        (job, firing.start, firing.end) for job, firing in expected
    )
    assert expected


def test_a_gap_of_a_file_is_told_and_in_the_report(
    detector: Callable[..., Result], tmp_path: Path
) -> None:
    times = grid(10, 300)
    gap = (times >= MONDAY + 9 * DAY) & (times < MONDAY + 9 * DAY + 2 * HOUR)
    path, report = tmp_path / "rps.csv", tmp_path / "report.json"
    rows = zip(times[~gap].tolist(), traffic(times)[~gap].tolist(), strict=True)
    path.write_text("timestamp,value\n" + "".join(f"{t},{v}\n" for t, v in rows))
    code, out, err = detector("backtest", str(path), "--step", "5m", "--report", str(report))
    assert code == 0, err
    # Ten minutes after it begins, and the detector's delay of half a step.
    (line,) = (line for line in out.splitlines() if line.startswith("no data"))
    assert line == (
        "no data: 2025-10-15 00:11 for 1h55m, rps {}: 0 of 1 usual series "
        "(AnomalyNoData, not in the figures)"
    )
    (one,) = json.loads(report.read_text())["no_data"]
    began = MONDAY + 9 * DAY
    assert one == {
        "signal": "rps", "labels": {}, "start": began + 660, "end": began + 7560,
        "present": 0, "usual": 1,
    }  # fmt: skip
    ignoring = tmp_path / "detector.yml"
    ignoring.write_text("policies: {other: {missing: ignore}}\n")
    code, out, _ = detector(
        "backtest", str(path), "--step", "5m", "--kind", "other", "--config", str(ignoring)
    )
    assert (code, "no data:" in out) == (0, False)


def test_a_job_that_is_down_is_not_told_of_its_metrics(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = past()
    gone = (times > NOW - 3 * HOUR) & (times < NOW - 2 * HOUR)
    for job in ("down", "up"):
        server.write("rps", times[~gone], traffic(times)[~gone], job=job)
        server.write("up", times, np.where(gone & (job == "down"), 0.0, 1.0), job=job, instance="i")
    settings = Settings.model_validate(
        {
            "prometheus": {"url": server.url},
            "rules": {"enabled": False},
            "signals": [{"name": "rps", "kind": "traffic", "query": "rps"}],
        }
    )
    asked = replace(ASKED, start=NOW - 6 * HOUR, truth=(), incidents=())
    outcome = backtest(settings, asked, NOW + 30, threading.Event(), lambda line: None)
    assert [(one.job, one.present, one.usual) for one in outcome.vanished] == [
        (labels(job="up"), 0, 1)
    ]
    assert any(line.startswith("no data: ") for line in outcome.notes)

    # What is not known is said, and loses nothing else.
    def refuse(*_: object) -> None:
        raise SourceError("gone")

    monkeypatch.setattr(ChunkedPrometheus, "holds", refuse)
    outcome = backtest(settings, asked, NOW + 30, threading.Event(), lambda line: None)
    assert outcome.vanished == []
    assert outcome.complete
    assert "jobs that lost their series: not known, up could not be read" in outcome.notes


def test_prometheus_away_is_no_loss(server: Server) -> None:
    times = past()
    away = (times > NOW - 3 * HOUR) & (times < NOW - 2 * HOUR)
    server.write("rps", times[~away], traffic(times)[~away], job="a")
    server.write("up", times[~away], 1.0, job="a", instance="i")
    settings = Settings.model_validate(
        {
            "prometheus": {"url": server.url},
            "rules": {"enabled": False},
            "signals": [{"name": "rps", "kind": "traffic", "query": "rps"}],
        }
    )
    asked = replace(ASKED, start=NOW - 6 * HOUR, truth=(), incidents=())
    outcome = backtest(settings, asked, NOW + 30, threading.Event(), lambda line: None)
    assert outcome.vanished == []


def test_many_are_counted_and_a_few_told(monkeypatch: pytest.MonkeyPatch) -> None:
    times = grid(9, 300)
    gone = times >= MONDAY + 8 * DAY + HOUR
    rows = {labels(job=f"{i:02}"): np.where(gone, NAN, 1.0) for i in range(12)}
    schedule = replace(SCHEDULE, step=300)
    tally = Tally(SIGNAL, schedule, MONDAY + 8 * DAY, MONDAY + 9 * DAY)
    tally.add(matrix(times, rows))
    lines = told(vanished.vanished(tally.lost(), {}, None, {}, 0))
    assert not tally.left_out
    assert len(lines) == 6
    assert lines[-1] == "... and 7 more without data"
    monkeypatch.setattr(vanished, "MOST_JOBS", 10)
    small = Tally(SIGNAL, schedule, MONDAY + 8 * DAY, MONDAY + 9 * DAY)
    small.add(matrix(times, rows))
    assert small.left_out
    assert len(small.lost()) == 10


def test_what_traffic_tells_of_is_not_told_again() -> None:
    times = grid(9, 300)
    since = MONDAY + 8 * DAY + HOUR
    key = labels(job="a")
    traffic = {key: [Firing(since + 120, since + HOUR)], labels(job="b"): [Firing(0, since * 2)]}
    begins = []
    for signal in (SIGNAL, LATENCY):
        tally = Tally(signal, replace(SCHEDULE, step=300), MONDAY + 8 * DAY, MONDAY + 9 * DAY)
        tally.add(matrix(times, {key: np.where(times >= since, NAN, 1.0)}))
        (one,) = vanished.vanished(tally.lost(), {}, None, traffic, 0)
        begins.append(one.firing.start - since)
    # What hangs on requests waits for ten minutes after its end, and then as long as the others.
    assert begins == [600, HOUR + 1200]


@pytest.mark.parametrize(
    ("step", "profile", "minutes", "found"),
    [(300, 3600, 50, 1), (3600, 3600, 50, 0), (3600, 3600, 170, 1), (900, 900, 14, 0)],
)
def test_steps_of_any_length(step: int, profile: int, minutes: int, found: int) -> None:
    """One missing sample of a long step is none yet; short steps count on a long profile too."""
    times = grid(12, step)
    since = MONDAY + 10 * DAY + 8 * HOUR
    gone = (times >= since) & (times < since + minutes * 60)
    schedule = Schedule(step, profile, 7 * DAY, DAY)
    tally = Tally(SIGNAL, schedule, MONDAY + 9 * DAY, MONDAY + 12 * DAY)
    tally.add(matrix(times, {labels(job="a"): np.where(gone, NAN, 1.0)}))
    assert len(vanished.vanished(tally.lost(), {}, None, {}, 0)) == found
