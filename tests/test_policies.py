"""Gates, masks and excluded alerts in the running service, against a real Prometheus."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from running import NOW, Metrics, Running, final_rows, past, rule
from server import Server
from synthetic import DAY, labels, traffic

from detector.absence import fill_zero
from detector.conditions import Conditions
from detector.masks import masked
from detector.names import State
from detector.pipeline import replay
from detector.prometheus import Prometheus


@pytest.fixture
def run(server: Server) -> Callable[..., Running]:
    def make(**given: Any) -> Running:
        return Running(server.url, **{"rules": {"enabled": False}, **given})

    return make


def iso(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat()


def state(one: Running, **own: str) -> State:
    found = one.get("anomaly_state", **own)
    assert found is not None
    return State(int(found))


def test_a_gate_opens_and_closes(server: Server, run: Callable[..., Running]) -> None:
    times = past()
    for job in "ab":
        server.write("rps", times, traffic(times, 1), job=job, instance="i")
        server.write("load", times, 5.0, job=job)
    own = {"name": "rps", "kind": "traffic", "query": "rps", "when": "sum by (job) (load) > 1"}
    one = run(signals=[own]).cycle()
    assert state(one, job="a") == State.OK
    for minute, load in enumerate((0.5, 0.5, 0.5, 0.5, 5.0), start=1):
        now = NOW + 60 * minute
        for job in "ab":
            server.write("rps", now, 0.0 if job == "a" else 20.0, job=job, instance="i")
        server.write("load", now, load, job="a")
        server.write("load", now, 5.0, job="b")
        one.cycle(now)
        assert state(one, job="b") == State.OK
        if load > 1:
            continue
        # Closed for one job only: nothing is said, whatever the value.
        assert state(one, job="a") == State.MASKED
        assert one.get("anomaly_score", job="a") is None
        assert one.get("anomaly_evidence", job="a") is None
        assert one.get("anomaly_observed", job="a") == 0
        assert one.get("detector_series", state="masked") == 1
    assert one.get("anomaly_score", job="a") is not None
    assert state(one, job="a") != State.MASKED
    # No result at all closes it as well.
    server.write("rps", NOW + 360, 20.0, job="b", instance="i")
    assert state(one.cycle(NOW + 360), job="b") == State.MASKED


def test_what_happened_while_the_gate_was_closed_is_not_learnt(
    server: Server, run: Callable[..., Running]
) -> None:
    times = past()
    closed = times < NOW - 3 * DAY
    values = np.where(closed, 500.0, 20.0) * (1 + 0.02 * np.sin(np.arange(len(times))))
    server.write("rps", times, values, job="a")
    server.write("serving", times, np.where(closed, 0.0, 1.0))
    own = {"kind": "other", "query": "rps"}
    one = run(
        signals=[
            {"name": "plain", **own},
            {"name": "gated", **own, "when": "serving"},
            {"name": "bool", **own, "when": "serving > bool 0"},
        ]
    ).cycle()
    assert one.get("anomaly_upper", signal="plain") > 50
    for name in ("gated", "bool"):
        assert one.get("anomaly_upper", signal=name) < 40
        assert one.get("anomaly_expected", signal=name) == pytest.approx(20, rel=0.05)


def test_incidents_behind_chosen_alerts_are_not_learnt(
    server: Server, run: Callable[..., Running]
) -> None:
    times = past()
    given = {
        "exclude_alerts": ["Outage"],
        "signals": [{"name": "rps", "kind": "traffic", "query": "rps"}],
    }
    one = run(**given)
    boundary = one.service.grid.boundary("rps", NOW)
    incident = (times >= boundary - 6 * 86_400) & (times < boundary - 2 * 3600)
    for job in "ab":
        server.write("rps", times, np.where(incident, 1.0, 20.0), job=job, instance="i")
    firing = {"alertname": "Outage", "severity": "page", "alertstate": "firing"}
    server.write("ALERTS", times[incident], 1.0, job="a", **firing)
    # Another alert, and one that only might become one.
    server.write("ALERTS", times[incident], 1.0, job="b", **{**firing, "alertname": "Other"})
    server.write("ALERTS", times[incident], 1.0, job="b", **{**firing, "alertstate": "pending"})
    one.cycle()
    assert one.get("anomaly_expected", job="a") == pytest.approx(20, rel=0.05)
    assert one.get("anomaly_expected", job="b") < 15
    assert state(one, job="a") == State.OK


def test_muted_ranges_are_silent_but_learnt(server: Server, run: Callable[..., Running]) -> None:
    times = past()
    # All of the past is muted, and still the signal knows it.
    server.write("rps", times, traffic(times, 1), job="a")
    mute = [
        {"from": iso(NOW - 20 * DAY), "to": iso(NOW + 180)},
        {"query": "maintenance", "match": {"job": "b"}},
    ]
    one = run(signals=[{"name": "rps", "query": "rps"}], masks={"mute": mute}).cycle()
    assert state(one, job="a") == State.MASKED
    for minute in range(1, 5):
        server.write("rps", NOW + 60 * minute, 0.0, job="a")
        server.write("maintenance", NOW + 60 * minute, 1.0)
        one.cycle(NOW + 60 * minute)
        assert (state(one, job="a") == State.MASKED) == (minute < 3)
    assert state(one, job="a") == State.ANOMALOUS
    assert one.get("anomaly_expected", job="a") > 10


def test_a_past_that_is_set_apart_entirely_warms_up(
    server: Server, run: Callable[..., Running]
) -> None:
    times = past()
    server.write("rps", times, traffic(times, 1), job="a")
    train = [{"from": iso(NOW - 20 * DAY), "to": iso(NOW + DAY)}]
    one = run(signals=[{"name": "rps", "query": "rps"}], masks={"train": train}).cycle()
    assert state(one, job="a") == State.WARMING_UP
    assert one.get("anomaly_score") is None


def test_a_bad_gate_is_the_failure_of_its_signal(
    server: Server, run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    times = past()
    server.write("rps", times, traffic(times, 1), job="a")
    server.set_rules(rule("gated", "rps"), rule("good", "rps"))
    one = run(rules={}, policies={"gated": {"when": "sum(rps"}})
    with caplog.at_level(logging.WARNING):
        one.cycle()
        server.write("rps", NOW + 60, 20.0, job="a")
        one.cycle(NOW + 60)
    assert one.get("detector_signal_up", signal="gated") == 0
    assert one.get("detector_signal_failures_total", signal="gated", reason="bad_query") == 2
    assert one.get("anomaly_state", signal="gated") is None
    assert state(one, signal="good") == State.OK
    (said,) = [r.getMessage() for r in caplog.records if "signal gated" in r.getMessage()]
    assert said.startswith("signal gated: when: ")
    assert "parse error" in said
    assert "\n" not in said


def test_one_mask_is_one_query_a_cycle(server: Server, run: Callable[..., Running]) -> None:
    times = past()
    server.write("rps", times, traffic(times, 1), job="a")
    signals = [{"name": f"rps{i}", "query": "rps"} for i in range(5)]
    one = run(signals=signals, masks={"train": ["deploying"]}).cycle()
    before = one.get("detector_queries_total", outcome="ok")
    server.write("rps", NOW + 60, 20.0, job="a")
    one.cycle(NOW + 60)
    after = one.get("detector_queries_total", outcome="ok")
    assert after - before == 5 + 1


def test_masks_are_the_same_live_replayed_and_after_a_restart(server: Server) -> None:
    """Over refit boundaries, with a gate, all kinds of masks, holes and a newcomer."""
    times = np.concatenate(
        [np.arange(NOW - 4 * DAY, NOW - 4 * 3600, 300), np.arange(NOW - 4 * 3600, NOW + 1, 60)]
    )
    rng = np.random.default_rng(5)
    for number, job in enumerate(("first", "second", "comes")):
        kept = (rng.random(len(times)) > 0.1) & ((job != "comes") | (times > NOW - 2400))
        server.write("rps", times[kept], traffic(times, number)[kept], job=job)
        server.write("up", times, 1.0, job=job, instance="i")
        server.write("load", times, rng.random(len(times)) * 4, job=job)
    server.write("failed_ratio", times[::7], 0.01, job="first")
    deploys = rng.random(len(times)) < 0.1
    server.write("deploying", times[deploys], 1.0)
    alert = {"alertname": "Outage", "alertstate": "firing", "job": "second"}
    server.write("ALERTS", times[400:430], 1.0, **alert)
    given = {
        "rules": {"enabled": False},
        "history": "3d",
        "refit": 3600,
        "signals": [
            {"name": "plain", "kind": "traffic", "query": "rps", "when": "load > 1"},
            {"name": "failed", "kind": "errors", "query": "failed_ratio"},
        ],
        "masks": {
            "train": ["deploying", {"from": iso(NOW - 2 * DAY), "to": iso(NOW - 2 * DAY + 7200)}],
            "mute": [{"from": "11:40", "to": "11:50", "match": {"job": "first"}}],
        },
        "exclude_alerts": ["Outage"],
    }
    start = NOW - 80 * 60
    live = Running(server.url, **given)
    rows: dict[tuple[str, Any, int], tuple[float, ...]] = {}
    for now in range(start, NOW + 1, 60):
        live.cycle(now)
        for found in live.service.exposition.fresh():
            rows |= final_rows(found.signal.name, found.scores)
    source = Prometheus(live.settings.prometheus)
    compared = 0
    for name, runner in live.service._runners.items():
        stored = source.read(runner.signal.queries, NOW - 4 * DAY, NOW, 60, 100).matrix
        if runner.signal.policy.missing == "zero":
            stored = fill_zero(stored, source.presence(NOW - 4 * DAY, NOW, 60))
        stored = masked(stored, runner.signal.conditions, Conditions(source).ask)
        expected: dict[tuple[str, Any, int], tuple[float, ...]] = {}
        for part in replay(runner.signal, live.service.grid, stored, start, NOW + 60):
            for t in range(len(part.times)):
                expected |= final_rows(name, part, t)
        mine = {key: row for key, row in rows.items() if key[0] == name}
        for key, row in mine.items():
            np.testing.assert_array_equal(row, expected[key], err_msg=str(key))
            compared += 1
        assert mine.keys() == expected.keys()
    assert compared > 250
    muted = [key for key, row in rows.items() if row[-1] == State.MASKED]
    assert {key[0] for key in muted} == {"plain", "failed"}
    first = {key[2] for key in muted if key[1] == labels(job="first") and key[0] == "failed"}
    assert first == set(range(NOW - 1200, NOW - 600, 60))

    def scores(one: Running) -> Metrics:
        return {k: v for k, v in one.metrics().items() if k[0].startswith("anomaly_")}

    assert scores(Running(server.url, **given).cycle()) == scores(live)
