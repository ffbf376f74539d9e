"""Timelines and outcome of a demonstration, from views made by hand."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from simulator import demo, outcome
from simulator.demo import PROGRAMME
from simulator.faults import FAULTS, checked_size, fault_named
from simulator.layout import claimed, make_layout
from simulator.outcome import RECOVERY_SECONDS, Alert
from simulator.processes import Interrupted, PortReservations
from simulator.scaling import PROFILES
from simulator.timeline import CHANNELS, SIDE_EFFECTS, STAGES, Injection, Timeline, allowance
from simulator.watch import Message, View

LATENCY = Injection("latency", 0.1, "churn_latency_p50", "latency")
SUBJECT = "AnomalyLatency churn churn_latency_p50"
ENRICHED = "churn: churn_latency_p50"


def _view(time: float, state: int = 0, firing: bool = False, *messages: Message) -> View:
    return View(
        time=time,
        states={LATENCY.signal: {state}},
        firing={LATENCY.signal} if firing else set(),
        messages=list(messages),
    )


def _complete() -> Timeline:
    """An injection at 100 of which everything was heard until 180."""
    timeline = Timeline(LATENCY, 100.0)
    fired = [Message(130.0, "slack", f"[FIRING:1] {SUBJECT}")]
    told = [*fired, Message(131.0, "email", f"[FIRING:1] {SUBJECT}")]
    told += [Message(132.0, c, f"[WARNING] {ENRICHED} 31ms", "notify") for c in CHANNELS]
    over = [Message(180.0, c, f"[RESOLVED] {SUBJECT}") for c in CHANNELS]
    over += [Message(180.5, c, f"[RESOLVED] {ENRICHED}, over", "notify") for c in CHANNELS]
    for view in (
        _view(105),
        _view(112, 1),
        _view(125, 1, True),
        _view(130.5, 1, True, *fired),
        _view(131.5, 1, True, *told),
    ):
        timeline.update(view)
    timeline.times["stopped"] = 132.0
    timeline.update(_view(181, 0, False, *told, *over))
    return timeline


def test_the_programme_injects_each_kind_of_fault_and_one_at_half_size() -> None:
    injections = [one for act in PROGRAMME for row in act.rows for one in row]
    full = {one.fault for one in injections if one.size is None}
    assert full == set(FAULTS) - {"traffic_drop", "traffic_surge"}
    (half,) = [one for one in injections if one.size is not None]
    assert checked_size(FAULTS[half.fault], half.size) == FAULTS[half.fault].default_size / 2
    assert len({one.signal for one in injections}) == len(injections)
    for one in injections:
        assert one.signal in SIDE_EFFECTS[fault_named(one.fault).name]
    assert set(SIDE_EFFECTS) == set(FAULTS)


def test_faults_side_by_side_leave_each_others_signals_alone() -> None:
    for act in PROGRAMME:
        for row, other in itertools.permutations(act.rows, 2):
            watched = {one.signal for one in other}
            assert not any(SIDE_EFFECTS[one.fault] & watched for one in row)
        # A fault waits for its signal, which the one before it must not have moved.
        for row in act.rows:
            for first, second in itertools.pairwise(row):
                if first.fault != second.fault:
                    assert second.signal not in SIDE_EFFECTS[first.fault]


class _Injector:
    """Stands in for a stack: notes what is switched on and off."""

    def __init__(self) -> None:
        self.switched: list[tuple[str, bool]] = []

    def inject(self, fault: str, *, size: float | None = None, stop: bool = False) -> None:
        self.switched.append((fault, not stop))


def test_a_row_waits_until_its_signal_is_calm_and_the_fault_before_is_told() -> None:
    errors = Injection("errors", None, "churn_error_ratio", "errors")
    row, stack, timelines = demo._Row([LATENCY, errors]), _Injector(), []

    def go_on(view: View) -> None:
        row.go_on(view, stack, timelines, Console(file=io.StringIO()))  # type: ignore[arg-type]

    now = time.time()
    go_on(_view(now, 1))
    assert stack.switched == []
    go_on(_view(now))
    go_on(_view(now))
    assert stack.switched == [("latency", True)]
    timelines[0].times |= {"slack": now, "email": now}
    view = View(time=now, states={errors.signal: {0}}, pending={errors.signal})
    go_on(view)
    go_on(view)
    assert stack.switched[1:] == [("latency", False)]
    view.pending.clear()
    go_on(view)
    # Nobody noticed: given up after a while.
    go_on(View(time=now + 1000.0))
    assert stack.switched[2:] == [("errors", True), ("errors", False)]
    assert row.now is None
    assert row.later == []


def test_a_timeline_takes_the_first_moment_of_each_stage() -> None:
    timeline = _complete()
    seconds = {stage: timeline.since_injection(stage) for stage in STAGES}
    assert seconds == {
        "scored": 12.0,
        "firing": 25.0,
        "slack": 30.0,
        "email": 31.0,
        "notify": 32.0,
        "stopped": 32.0,
        "slack_resolved": 80.0,
        "email_resolved": 80.0,
        "notify_resolved": 80.5,
    }
    assert timeline.complete
    assert timeline.missing() == []
    assert timeline.notification_seconds == 19.0


def test_messages_of_before_and_of_others_do_not_count() -> None:
    timeline = Timeline(LATENCY, 100.0)
    others = (
        Message(99.0, "slack", f"[FIRING:1] {SUBJECT}"),
        Message(101.0, "slack", "[FIRING:1] AnomalyLatency churn churn_latency_p50_other"),
        Message(102.0, "slack", "[FIRING:1] AnomalyLatency churn churn_latency_p99"),
        Message(102.0, "slack", "[FIRING:1] AnomalyScoresStale detector churn_latency_p50"),
        # The end of an earlier incident of the same signal, and one without its beginning.
        Message(103.0, "slack", f"[RESOLVED] {SUBJECT}"),
        Message(104.0, "email", f"[RESOLVED] {SUBJECT}"),
    )
    assert timeline.update(_view(110.0, 0, False, *others)) == []
    assert not timeline.told
    assert timeline.missing() == list(STAGES.values())
    assert timeline.notification_seconds is None


def test_notify_is_told_apart_and_heard_when_both_of_its_messages_are_there() -> None:
    timeline = Timeline(LATENCY, 100.0)
    slack = Message(130.0, "slack", f"[WARNING] {ENRICHED} 31ms", "notify")
    others = [
        Message(131.0, "email", "[WARNING] churn: churn_latency_p99 31ms", "notify"),
        Message(131.0, "email", f"[RESOLVED] {ENRICHED}, over", "notify"),
        # Alertmanager's own is a stage of its own.
        Message(131.0, "email", f"[FIRING:1] {SUBJECT}", "alertmanager"),
    ]
    assert timeline.update(_view(132.0, 0, False, slack, *others)) == ["email"]
    mail = Message(133.0, "email", f"[WARNING] {ENRICHED} 31ms", "notify")
    assert timeline.update(_view(134.0, 0, False, slack, *others, mail)) == ["notify"]
    assert timeline.times["notify"] == 133.0


def test_a_new_stage_is_reported_once() -> None:
    timeline = Timeline(LATENCY, 100.0)
    assert timeline.update(_view(112.0, 1)) == ["scored"]
    assert timeline.update(_view(113.0, 1)) == []


def test_an_alert_is_explained_by_its_fault_only_while_that_lasts() -> None:
    timeline = _complete()

    def explained(signal: str, moment: float) -> bool:
        return not outcome.unexplained([Alert("A", signal, "anomaly", "", moment)], [timeline])

    assert explained("churn_latency_p99", 120.0)
    assert explained("churn_concurrency", 180.0 + RECOVERY_SECONDS)
    assert not explained("churn_concurrency", 181.0 + RECOVERY_SECONDS)
    assert not explained("churn_latency_p99", 99.0)
    assert not explained("churn_memory", 120.0)
    # A fault that never ends explains what it touches for ever.
    assert Timeline(LATENCY, 100.0).covers("churn_latency_p99", 1e9, 0.0)


class _Recorded:
    """Answers range queries from a list, as `Watch` does."""

    def __init__(self, series: list[dict[str, Any]]):
        self._series = series

    def range(self, query: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        return self._series


def test_highest_scores_leave_faults_out() -> None:
    values = [[moment, "0.5"] for moment in range(50, 100, 5)]
    during = [[moment, "9"] for moment in range(100, 300, 5)]
    recorded = _Recorded(
        [
            {"metric": {"signal": "churn_memory"}, "values": values + during},
            {"metric": {"signal": "churn_latency_p50"}, "values": values + during},
            {"metric": {"signal": "churn_latency_p99"}, "values": during[:5]},
        ]
    )
    p50, p99, memory = outcome.highest_scores(recorded, 50, 300, [_complete()])  # type: ignore[arg-type]
    assert (memory.signal, memory.score) == ("churn_memory", 9.0)
    assert (p50.score, round(p50.minutes, 2)) == (0.5, round(50 / 60, 2))
    assert p99.minutes == 0.0


def test_an_alert_that_fires_again_is_listed_again() -> None:
    labels = {"__name__": "ALERTS", "alertstate": "firing", "severity": "info", "job": "churn"}
    labels |= {"alertname": "AnomalyLatency", "category": "anomaly", "kind": "latency"}
    again = 180.0 + RECOVERY_SECONDS + 20
    moments = [120.001, 125.002, 130.001, again, again + 5.001]
    recorded = _Recorded(
        [
            {
                "metric": labels | {"signal": LATENCY.signal},
                "values": [[moment, "1"] for moment in moments],
            },
            {"metric": {"alertname": "JobDown", "job": "shop"}, "values": [[50, "1"]]},
        ]
    )
    found = outcome.alerts(recorded, 0, 900)  # type: ignore[arg-type]
    told = Alert("AnomalyLatency", LATENCY.signal, "anomaly", "job=churn", 120.001)
    assert found == [
        Alert("JobDown", "", "", "job=shop", 50.0),
        told,
        dataclasses.replace(told, fired=again),
    ]
    assert told not in outcome.unexplained(found, [_complete()])
    assert found[2] in outcome.unexplained(found, [_complete()])


def test_what_is_lost_late_or_unexpected_fails_the_demonstration() -> None:
    good = _complete()
    allowances = {"latency": 27.5, "errors": 27.5}
    about_us = Alert("AnomalyScoresStale", "churn_cpu", "meta", "job=detector", 1.0)
    assert outcome.failures([good], allowances, [about_us]) == []
    late = _complete()
    late.times["email"] = 170.0
    lost = Timeline(Injection("errors", None, "churn_error_ratio", "errors"), 200.0)
    lost.times |= dict.fromkeys(set(STAGES) - {"email", "email_resolved"}, 210.0)
    alert = Alert("AnomalySaturation", "churn_cpu", "anomaly", "instance=churn-0", 1.0)
    assert outcome.failures([good, late, lost], allowances, [alert, about_us]) == [
        "LATE  latency 0.1: 58.0 s from score to message, not 27.5 s",
        "DID NOT ARRIVE  errors: e-mail, e-mail resolved",
        "UNEXPECTED  AnomalySaturation churn_cpu instance=churn-0",
    ]


class _Nothing:
    """A stack of which only addresses are asked."""

    def addresses(self) -> str:
        return ""


@pytest.mark.parametrize(("interrupted", "code"), [("programme", 130), ("afterwards", 1)])
def test_after_an_interruption_the_verdict_counts(
    interrupted: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def programme(*_: object) -> int:
        if interrupted == "programme":
            raise Interrupted("SIGINT")
        return 1

    def keep_running(_: object) -> None:
        raise Interrupted("SIGINT")

    monkeypatch.setattr(demo, "running_stack", lambda **_: contextlib.nullcontext(_Nothing()))
    monkeypatch.setattr(demo, "_run_programme", programme)
    monkeypatch.setattr(demo, "keep_running_until_told", keep_running)
    assert demo.demo(at=None, directory=tmp_path, seed=7, keep_running=True) == code


def test_the_allowance_follows_the_files_of_the_stack(tmp_path: Path) -> None:
    ports = PortReservations()
    for profile, latency in (
        ("fast", 5 + 5 + 10 + 2.5 + 5),
        ("production", 15 + 60 + 120 + 30 + 5),
    ):
        with claimed(tmp_path / profile) as directory:
            layout = make_layout(directory, PROFILES[profile], ports)
            layout.write_rules()
            assert allowance(layout, "latency") == pytest.approx(latency)
            assert allowance(layout, "drift") > allowance(layout, "latency")
    ports.close()


def test_the_report_says_what_did_not_arrive_and_what_was_late() -> None:
    late = _complete()
    late.times["email"] = 170.0
    lost = Timeline(Injection("errors", None, "churn_error_ratio", "errors"), 200.0)
    output = io.StringIO()
    console = Console(file=output, width=160)
    console.print(outcome.table([late, lost], {"latency": 27.5, "errors": 27.5}))
    unexpected = [Alert("AnomalySaturation", "churn_cpu", "anomaly", "instance=churn-0", 1.0)]
    outcome.report(console, View(cycle_seconds=[0.2, 0.4, 0.3]), [], unexpected)
    text = output.getvalue()
    assert "58.0 (27.5) LATE" in text
    row = next(line for line in text.splitlines() if "churn_error_ratio" in line)
    assert row.split() == ["errors", "churn_error_ratio", *["-"] * 10]
    assert "UNEXPECTED ALERT  AnomalySaturation churn_cpu instance=churn-0" in text
    assert "0.30 s (median), 0.40 s at most" in text
