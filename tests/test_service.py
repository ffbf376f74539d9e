"""The running service against a real Prometheus, its clock in the test's hand."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from running import NOW, Metrics, Running, final_rows, past, rule
from server import Server
from synthetic import DAY, labels, traffic

from detector import report
from detector.absence import fill_zero
from detector.errors import ConfigError
from detector.names import CHANNELS, State
from detector.pipeline import replay
from detector.prometheus import Prometheus
from detector.settings import Settings
from detector.web import serve


@pytest.fixture
def run(server: Server) -> Callable[..., Running]:
    return lambda **given: Running(server.url, **given)


def feed(server: Server, name: str = "rps", **own: str) -> tuple[np.ndarray, np.ndarray]:
    times = past()
    values = traffic(times, len(name))
    server.write(name, times, values, **own)
    return times, values


def test_from_rules_to_scores(server: Server, run: Callable[..., Running]) -> None:
    times, values = feed(server, job="a")
    server.set_rules(rule("rps", "rps", team="web"))
    one = run().cycle()
    assert one.service.ready
    own = {"signal": "rps", "kind": "traffic", "job": "a", "team": "web", "instance": ""}
    assert one.get("anomaly_state", **own) == State.OK
    assert one.get("anomaly_observed", **own) == pytest.approx(values[-1], rel=1e-9)
    assert one.get("anomaly_score", **own) < 1
    lower, expected, upper = (
        one.get(f"anomaly_{name}", **own) for name in ("lower", "expected", "upper")
    )
    assert lower < expected < upper
    assert one.get("anomaly_evidence") is None
    assert one.get("detector_signal_up", signal="rps") == 1
    assert one.get("detector_signal_evaluated_timestamp_seconds", signal="rps") == NOW
    assert one.get("detector_rules_read_success") == 1
    assert one.get("detector_signals") == 1
    assert one.get("detector_series", state="ok") == 1
    assert one.get("detector_cycle_lag_seconds") == one.settings.delay
    assert one.get("detector_fits_total") == 1
    assert one.get("detector_samples_read_total") > 2000
    for minute in (1, 2):
        server.write("rps", NOW + 60 * minute, 0.0, job="a")
        one.cycle(NOW + 60 * minute)
    assert one.get("anomaly_state", **own) == State.ANOMALOUS
    assert one.get("anomaly_score", **own) > 1
    shares = [one.get("anomaly_evidence", channel=c, **own) for c in CHANNELS]
    assert sum(shares) == pytest.approx(1)
    # Only the new steps were read, and nothing was fitted again.
    assert one.get("detector_fits_total") == 1


def test_a_live_run_gives_the_rows_of_a_replay(server: Server) -> None:
    """Cycle by cycle over a refit boundary, with holes and with series that come and go."""
    refit = 3600
    given = {
        "rules": {"enabled": False},
        "history": "3d",
        "refit": refit,
        "signals": [
            {"name": "plain", "kind": "traffic", "query": "rps"},
            {"name": "failed", "kind": "errors", "query": "failed_ratio"},
        ],
    }
    start, end = NOW - 80 * 60, NOW
    times = np.concatenate(
        [np.arange(NOW - 4 * DAY, NOW - 4 * 3600, 300), np.arange(NOW - 4 * 3600, NOW + 1, 60)]
    )
    rate = traffic(times, 1)
    rate[times > NOW - 1000] = 0
    server.write("rps", times, rate, job="whole")
    for job, gone in (("comes", times < NOW - 3000), ("goes", times > NOW - 3000)):
        server.write("rps", times[~gone], traffic(times, 2)[~gone], job=job)
    holes = np.random.default_rng(3).random(len(times)) < 0.2
    server.write("rps", times[~holes], traffic(times, 3)[~holes], job="holes")
    for job in ("first", "second", "seldom"):
        server.write("up", np.arange(times[0], NOW + 1, 60), 1.0, job=job, instance="i")
    burst = times > NOW - 2400
    server.write("failed_ratio", times[burst], 0.2, job="first")
    server.write("failed_ratio", times[::40], 0.001, job="seldom")
    live = Running(server.url, **given)
    rows: dict[tuple[str, Any, int], tuple[float, ...]] = {}
    for now in range(start, end + 1, 60):
        # One long pause, after which the missed steps are caught up.
        if NOW - 1900 < now < NOW - 1600:
            continue
        live.cycle(now)
        for found in live.service.exposition.fresh():
            assert found.time == now
            rows |= final_rows(found.signal.name, found.scores)
    assert live.get("detector_fits_total") >= 4
    source = Prometheus(live.settings.prometheus)
    compared = 0
    for name, runner in live.service._runners.items():
        stored = source.read(runner.signal.queries, end - 4 * DAY, end, 60, 100).matrix
        if runner.signal.policy.missing == "zero":
            stored = fill_zero(stored, source.presence(end - 4 * DAY, end, 60))
        expected: dict[tuple[str, Any, int], tuple[float, ...]] = {}
        for part in replay(runner.signal, live.service.grid, stored, start, end + 60):
            for t in range(len(part.times)):
                expected |= final_rows(name, part, t)
        mine = {key: row for key, row in rows.items() if key[0] == name}
        assert mine
        for key, row in mine.items():
            np.testing.assert_array_equal(row, expected[key], err_msg=str(key))
            compared += 1
        # What is missing from the live run: pauses, and zeros of a series nobody knew yet.
        for key in expected.keys() - mine.keys():
            pause = NOW - 1900 < key[2] < NOW - 1600
            unknown = key[1] == labels(job="first") and key[2] < NOW - 2340
            assert pause or unknown, key
    assert compared > 350
    first = [row[-1] for key, row in rows.items() if key[1] == labels(job="first")]
    assert State.ANOMALOUS in first
    seldom = [row[-1] for key, row in rows.items() if key[1] == labels(job="seldom")]
    assert set(seldom) == {State.OK}


def test_a_bad_query_does_not_disturb_the_others(
    server: Server, run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    feed(server, job="a")
    one = run(
        rules={"enabled": False},
        signals=[
            {"name": "bad", "query": "sum(rps"},
            {"name": "good", "query": "rps"},
            {"name": "none", "query": "no_such_metric"},
            {"name": "scalar", "query": "'text'"},
        ],
    )
    with caplog.at_level(logging.WARNING):
        one.cycle().cycle(NOW + 60)
    assert one.service.ready
    assert one.get("anomaly_state", signal="good") is not None
    assert one.get("detector_signal_up", signal="good") == 1
    for name in ("bad", "scalar"):
        assert one.get("detector_signal_up", signal=name) == 0
        assert one.get("detector_signal_failures_total", signal=name, reason="bad_query") == 2, name
        assert one.get("anomaly_state", signal=name) is None
    # No result is no failure.
    assert one.get("detector_signal_up", signal="none") == 1
    assert one.get("detector_signal_evaluated_timestamp_seconds", signal="none") == NOW + 60
    assert one.get("anomaly_state", signal="none") is None
    assert sum("signal bad" in r.message for r in caplog.records) == 1


def test_nan_and_inf_samples(server: Server, run: Callable[..., Running]) -> None:
    times = past()
    for value in ("nan", "inf", "-inf"):
        values = traffic(times, 1)
        values[-1] = float(value)
        values[1000] = float(value)
        server.write("rps", times, values, case=value)
    one = run(rules={"enabled": False}, signals=[{"name": "rps", "query": "rps"}]).cycle()
    for value in ("nan", "inf", "-inf"):
        assert one.get("anomaly_state", case=value) == State.NO_DATA
        for name in ("score", "observed", "evidence"):
            assert one.get(f"anomaly_{name}", case=value) is None
    server.write("rps", NOW + 60, 20.0, case="inf")
    one.cycle(NOW + 60)
    assert one.get("anomaly_state", case="inf") == State.OK
    assert math.isfinite(one.get("anomaly_score", case="inf"))


def test_the_first_errors_ever_are_an_anomaly(server: Server, run: Callable[..., Running]) -> None:
    times = past()
    server.write("up", times, 1.0, job="a", instance="i")
    server.write("requests", times, 10.0, job="a", status="200")
    query = 'sum by (job) (requests{status=~"5.."}) / sum by (job) (requests)'
    one = run(
        rules={"enabled": False},
        signals=[{"name": "error_ratio", "kind": "errors", "query": query}],
    ).cycle()
    assert one.service.ready
    assert one.get("anomaly_state") is None
    new = np.array([NOW + 60])
    server.write("requests", new, 10.0, job="a", status="200")
    server.write("up", new, 1.0, job="a", instance="i")
    server.write("requests", new, 1.0, job="a", status="500")
    one.cycle(NOW + 60)
    assert one.get("anomaly_state", job="a") == State.ANOMALOUS
    assert one.get("anomaly_expected", job="a") == 0
    assert one.get("anomaly_upper", job="a") < 1 / 11
    # Errors stop and their series with them: zero again, while the job is up.
    for minute in range(2, 9):
        server.write("up", NOW + 60 * minute, 1.0, job="a", instance="i")
        one.cycle(NOW + 60 * minute)
    assert one.get("anomaly_state", job="a") == State.OK
    assert one.get("anomaly_observed", job="a") == 0
    # The job itself is gone: no data.
    one.cycle(NOW + 540)
    assert one.get("anomaly_state", job="a") == State.NO_DATA


def test_a_series_that_vanishes_and_returns(server: Server, run: Callable[..., Running]) -> None:
    feed(server, job="stays")
    times = past(NOW - 30 * 60)
    server.write("rps", times, traffic(times), job="goes")
    one = run(rules={"enabled": False}, signals=[{"name": "rps", "query": "rps"}]).cycle()
    assert one.get("anomaly_state", job="goes") == State.NO_DATA
    assert one.get("anomaly_score", job="goes") is None
    assert one.get("anomaly_state", job="stays") == State.OK
    one.cycle(NOW + 30 * 60)
    assert one.get("anomaly_state", job="goes") == State.NO_DATA
    one.cycle(NOW + 31 * 60)
    assert one.get("anomaly_state", job="goes") is None
    server.write("rps", NOW + 40 * 60, 25.0, job="goes")
    server.write("rps", NOW + 40 * 60, 25.0, job="comes")
    one.cycle(NOW + 40 * 60)
    assert one.get("anomaly_state", job="goes") == State.OK
    assert one.get("anomaly_score", job="goes") is not None
    assert one.get("anomaly_state", job="comes") == State.WARMING_UP
    assert one.get("anomaly_score", job="comes") is None


def test_a_job_that_loses_its_series_is_counted(
    server: Server, run: Callable[..., Running]
) -> None:
    """Of a signal by job and pod: one pod replaced, one metric gone, one job without a past."""
    times = past(NOW - 10 * 60)
    server.write("up", past(), 1.0, job="gone", instance="i")
    for i in range(3):
        server.write("rps", times, traffic(times, i), job="gone", pod=str(i))
    feed(server, job="pods", pod="0")
    feed(server, job="pods", pod="1")
    server.write("rps", times, traffic(times), job="pods", pod="2")
    server.write("rps", NOW, 20.0, job="pods", pod="new")
    server.write("rps", NOW, 20.0, job="new")
    signals = [
        {"name": "rps", "kind": "traffic", "query": "rps"},
        {"name": "free", "kind": "traffic", "query": "rps", "missing": "ignore"},
        {"name": "failing", "kind": "errors", "query": "rps{job='gone'}"},
        {"name": "total", "kind": "traffic", "query": "sum(rps{job='gone'})"},
    ]
    one = run(rules={"enabled": False}, signals=signals).cycle()
    own = {"instance": ""}

    def counted(signal: str, job: str) -> tuple[float | None, float | None]:
        names = ("anomaly_series_present", "anomaly_series_usual")
        present, usual = (one.get(name, signal=signal, job=job, **own) for name in names)
        return present, usual

    assert counted("rps", "pods") == (3, 3)
    assert counted("rps", "gone") == (0, 3)
    assert counted("rps", "new") == (None, None)
    assert counted("total", "") == (0, 1)
    assert counted("free", "gone") == (None, None)
    # Where errors are zero without series they are missed all the same.
    assert one.get("anomaly_observed", signal="failing", job="gone", pod="1") == 0
    assert counted("failing", "gone") == (0, 3)
    # It is still missed when its series are no longer written.
    one.cycle(NOW + 90 * 60)
    assert one.get("anomaly_state", signal="rps", job="gone") is None
    assert counted("rps", "gone") == (0, 3)


@pytest.mark.parametrize("hours", [1, 20])
def test_a_change_for_good_is_logged_once_when_it_is_normal(
    server: Server, run: Callable[..., Running], caplog: pytest.LogCaptureFixture, hours: int
) -> None:
    """Learnt half a day after it began, or, where it is fitted anew meanwhile, a little later."""
    times = np.concatenate([past(days=20), np.arange(NOW + 60, NOW + 4 * DAY, 60)])
    signals = [{"name": "rps", "kind": "traffic", "query": "rps"}]
    one = run(rules={"enabled": False}, signals=signals, history="20d")
    since = one.service.grid.boundary("rps", NOW) + DAY + hours * 3600
    values = traffic(times) * np.where(times >= since, 0.4, 1.0)
    server.write("rps", times, values, job="a")
    caplog.set_level(logging.INFO, "detector")
    learnt: list[tuple[float, str]] = []
    states = []
    for now in range(since - 3600, since + 18 * 3600, 1800):
        caplog.clear()
        one.cycle(now)
        states.append(one.get("anomaly_state"))
        hours = (now - since) / 3600
        learnt += [(hours, line) for line in caplog.messages if line.startswith("change point")]
    ((after, line),) = learnt
    assert 8 <= after <= 16
    assert line.startswith("change point signal=rps labels={'job': 'a'}: normal is ")
    # It was told of all the time until then, over a new fit as well.
    assert set(states[2 : round(2 * after) + 2]) == {State.ANOMALOUS}


def test_awkward_labels_survive_a_real_scrape(
    server: Server, new_server: Callable[..., Server], run: Callable[..., Running]
) -> None:
    times = past()
    sets = [
        {"job": "a", "instance": "i:1"},
        {"zone": 'quoted "z" \\ back\nline ü'},
        {"signal": "own", "kind": "mine", "channel": "five", "exported_signal": "old"},
        {},
    ]
    for own in sets:
        server.write("rps", times, traffic(times), **own)
    one = run(
        rules={"enabled": False}, signals=[{"name": "rps", "kind": "traffic", "query": "rps"}]
    ).cycle()
    web = serve("127.0.0.1:0", one.service.metrics, lambda: True)
    try:
        scrape = (
            "[{job_name: detector, honor_labels: true, "
            f"static_configs: [{{targets: ['127.0.0.1:{web.server_port}']}}]}}]"
        )
        second = new_server(scrape).start()
        deadline = time.monotonic() + 15
        while len(found := second.query('anomaly_state{signal="rps"}')) < 4:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
    finally:
        web.shutdown()
    ours = {"__name__": "anomaly_state", "signal": "rps", "kind": "traffic"}
    expected = [
        {**sets[0], **ours},
        {**sets[1], **ours},
        {
            "exported_signal": "old",
            "exported_exported_signal": "own",
            "exported_kind": "mine",
            "exported_channel": "five",
            **ours,
        },
        ours,
    ]
    assert {frozenset(r["metric"].items()) for r in found} == {
        frozenset(one.items()) for one in expected
    }
    assert second.query('anomaly_state{signal="rps",job="detector"}') == []
    assert second.query('detector_build_info{job="detector"}') != []
    # And `detector check` sees that it is scraped.
    listen = f"127.0.0.1:{web.server_port}"
    given = Settings(prometheus={"url": second.url}, listen=listen)
    assert any(f.level == "ok" and listen in f.message for f in report.check(given).findings)


def test_two_rules_of_one_name_are_a_union(server: Server, run: Callable[..., Running]) -> None:
    feed(server, "web", job="a")
    feed(server, "web", job="b")
    feed(server, "other", job="b")
    feed(server, "other", job="c")
    server.set_rules(rule("rps", "web"), rule("rps", "other * 100"))
    one = run().cycle()
    assert one.get("detector_signals") == 1
    for job in "abc":
        assert one.get("anomaly_state", job=job) == State.OK
    assert one.get("anomaly_observed", job="b") < 100 < one.get("anomaly_observed", job="c")
    assert one.get("detector_series_dropped", signal="rps", reason="duplicate") == 1


def test_more_series_than_the_limit(server: Server, run: Callable[..., Running]) -> None:
    for name in "bcd":
        feed(server, job=name)
    feed(server, "other", job="x")
    one = run(
        rules={"enabled": False},
        max_series=2,
        signals=[{"name": "rps", "query": "rps"}, {"name": "other", "query": "other"}],
    ).cycle()

    def jobs() -> set[str]:
        return {dict(k)["job"] for (n, k), _ in one.metrics().items() if n == "anomaly_state"}

    assert jobs() == {"b", "c", "x"}
    assert one.get("detector_series_dropped", signal="rps", reason="limit") == 1
    assert one.get("detector_series_dropped", signal="other", reason="limit") == 0
    # A newcomer that sorts first pushes nobody out, and is not let in.
    for name in "abcd":
        server.write("rps", NOW + 60, 20.0, job=name)
    one.cycle(NOW + 60)
    assert jobs() == {"b", "c", "x"}
    assert one.get("anomaly_state", job="b") == State.OK
    assert one.get("detector_series_dropped", signal="rps", reason="limit") == 2
    # Nor does one when those who are known fall silent.
    server.write("rps", NOW + 120, 20.0, job="a")
    server.write("rps", NOW + 120, 20.0, job="d")
    one.cycle(NOW + 120)
    assert jobs() == {"b", "c", "x"}
    assert one.get("detector_series_dropped", signal="rps", reason="limit") == 2


def test_series_that_are_gone_take_no_place(server: Server, run: Callable[..., Running]) -> None:
    times = past(NOW - DAY // 2, days=6)
    for name in ("dead-a", "dead-b"):
        server.write("rps", times, traffic(times, 1), job=name)
    feed(server, job="living")
    one = run(
        rules={"enabled": False}, max_series=2, signals=[{"name": "rps", "query": "rps"}]
    ).cycle()
    assert one.get("anomaly_state", job="living") == State.OK
    assert one.get("detector_series_dropped", signal="rps", reason="limit") == 0


def test_each_outage_and_its_end_are_told(
    new_server: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "detector")
    server = new_server().start()
    feed(server, job="a")
    one = Running(server.url, rules={"enabled": False}, signals=[{"name": "rps", "query": "rps"}])
    one.cycle()
    for minute in (1, 2):
        server.stop()
        one.cycle(NOW + 60 * (2 * minute - 1))
        server.start()
        one.cycle(NOW + 60 * (2 * minute))
    told = [r.getMessage() for r in caplog.records if "signal rps: " in r.getMessage()]
    assert ["works again" in line for line in told] == [False, True, False, True]


def test_no_signals_is_told(
    server: Server, run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    server.set_rules()
    run().cycle()
    assert "anomaly_name" in caplog.text


def test_a_signal_removed_while_it_is_read_leaves_no_trace(
    server: Server, run: Callable[..., Running]
) -> None:
    feed(server, job="a")
    server.set_rules(rule("rps", "rps"))
    one = run().cycle()
    runner = one.service._runners["rps"]
    server.set_rules()
    one.cycle(NOW + 60)
    # The query that was under way ends only now.
    runner.catch_up(NOW + 120)
    assert one.get("detector_signals") == 0
    assert {k for k in one.metrics() if dict(k[1]).get("signal") == "rps"} == set()


def test_editing_rules_changes_the_signals(server: Server, run: Callable[..., Running]) -> None:
    feed(server, "web", job="a")
    feed(server, "db", job="a")
    server.set_rules(rule("web", "web"))
    one = run().cycle()
    assert one.get("anomaly_state", signal="db") is None
    server.set_rules(rule("web", "web * 2"), rule("db", "db"))
    one.cycle(NOW)
    # At once with its full history, and the changed expression over its own past.
    assert one.get("anomaly_state", signal="db") == State.OK
    assert one.get("anomaly_state", signal="web") == State.OK
    assert one.get("anomaly_expected", signal="web") > 1.5 * one.get(
        "anomaly_expected", signal="db"
    )
    assert one.get("detector_rules_reloads_total") == 1
    # A broken file: Prometheus keeps the old rules, and so does the detector.
    assert server.load("groups: [{name: x, rules: [{record: 'a b', expr: 'sum('}]}]") != 200
    one.cycle(NOW)
    assert one.get("detector_signals") == 2
    server.set_rules(rule("db", "db"))
    one.cycle(NOW)
    assert one.get("anomaly_state", signal="web") is None
    assert one.get("detector_signal_up", signal="web") is None
    server.set_rules()
    one.cycle(NOW)
    assert one.get("detector_signals") == 0
    assert one.get("anomaly_state") is None
    assert one.get("detector_series", state="ok") == 0


def test_rules_that_cannot_be_read_leave_the_known_ones(
    server: Server, run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    feed(server, job="a")
    server.set_rules(rule("rps", "rps"))
    one = run(signals=[{"name": "own", "query": "rps"}]).cycle()
    # Now a rule takes the name of a signal of the configuration.
    server.set_rules(rule("own", "rps"))
    one.cycle(NOW + 60)
    assert one.get("detector_rules_read_success") == 0
    assert one.get("detector_signals") == 2
    assert "the known signals stay" in caplog.text
    server.set_rules(rule("rps", "rps"))
    assert one.cycle(NOW + 60).get("detector_rules_read_success") == 1


def test_a_name_given_twice_at_start_ends_the_service(
    server: Server, run: Callable[..., Running]
) -> None:
    server.set_rules(rule("own", "rps"))
    with pytest.raises(ConfigError, match="rename"):
        run(signals=[{"name": "own", "query": "rps"}]).cycle()


def test_unreachable_at_start_and_in_between(new_server: Callable[..., Server]) -> None:
    server = new_server()
    one = Running(server.url)
    web = serve("127.0.0.1:0", one.service.metrics, lambda: one.service.ready)
    ready = f"http://127.0.0.1:{web.server_port}/readyz"
    try:
        one.cycle()
        assert httpx.get(ready).status_code == 503
        assert one.get("detector_rules_read_success") == 0
        assert one.get("detector_queries_total", outcome="unreachable") >= 1

        server.start()
        times, _ = feed(server, job="a")
        server.set_rules(rule("rps", "rps"))
        one.cycle()
        assert httpx.get(ready).status_code == 200
        assert one.get("anomaly_state", job="a") == State.OK

        server.stop()
        for minute in (1, 2, 3):
            one.cycle(NOW + 60 * minute)
            assert one.get("anomaly_state", job="a") == State.OK, minute
            assert one.get("detector_signal_up", signal="rps") == 0
        one.now = NOW + 4 * 60 + one.settings.delay + 1
        assert one.get("anomaly_state", job="a") is None
        one.cycle(NOW + 5 * 60)
        assert one.get("anomaly_score", job="a") is None
        assert one.get("detector_series", state="ok") == 0
        assert one.get("detector_signal_failures_total", signal="rps", reason="unreachable") == 4
        assert one.get("detector_signal_evaluated_timestamp_seconds", signal="rps") == NOW

        server.start()
        late = np.arange(NOW + 60, NOW + 361, 60)
        server.write("rps", late, np.array([20, 20, 0, 0, 0, 0.0]), job="a")
        one.cycle(NOW + 360)
        # The missed steps were evaluated in order: the outage has been going on for some.
        assert one.get("anomaly_state", job="a") == State.ANOMALOUS
        newest = one.service.exposition.fresh()[0].scores
        assert newest.times[-6:].tolist() == late.tolist()
        assert newest.state[0, -6:].tolist()[3:] == [1, 1, 1]
        assert one.get("detector_fits_total") == 1
    finally:
        web.shutdown()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(200, text="<html>"), "bad_response"),
        (httpx.Response(401), "refused"),
        (httpx.Response(503, text="busy"), "timeout"),
        (
            httpx.Response(200, json={"data": {"resultType": "matrix", "result": [3]}}),
            "bad_response",
        ),
    ],
    ids=["garbage", "401", "503", "odd json"],
)
def test_a_server_that_starts_to_misbehave(
    server: Server, answer: httpx.Response, reason: str
) -> None:
    feed(server, job="a")
    broken = threading.Event()
    real = httpx.HTTPTransport()

    class Between(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            return answer if broken.is_set() else real.handle_request(request)

    one = Running(
        server.url,
        Between(),
        rules={"enabled": False},
        signals=[{"name": "rps", "query": "rps"}],
    ).cycle()
    broken.set()
    for minute in range(1, 6):
        one.cycle(NOW + 60 * minute)
    assert one.get("detector_signal_failures_total", signal="rps", reason=reason) == 5
    assert one.get("anomaly_state", job="a") is None
    broken.clear()
    server.write("rps", NOW + 360, 20.0, job="a")
    one.cycle(NOW + 360)
    assert one.get("anomaly_state", job="a") == State.OK
    assert one.get("detector_signal_up", signal="rps") == 1


def test_a_clock_that_is_set_back(server: Server, run: Callable[..., Running]) -> None:
    feed(server, job="a")
    one = run(rules={"enabled": False}, signals=[{"name": "rps", "query": "rps"}]).cycle()
    evaluated = "detector_signal_evaluated_timestamp_seconds"
    # A little: nothing to do, and what is exposed stays.
    one.cycle(NOW - 60)
    assert one.get(evaluated, signal="rps") == NOW
    assert one.get("anomaly_state", job="a") == State.OK
    # Much: scored anew as of then, never a value of the future.
    for back in (3600, 5 * 3600):
        one.cycle(NOW - back)
        assert one.get(evaluated, signal="rps") == NOW - back
        assert one.get("anomaly_state", job="a") == State.OK
    one.cycle()
    assert one.get(evaluated, signal="rps") == NOW


def test_a_slow_signal_delays_nobody(server: Server) -> None:
    feed(server, job="a")
    release = threading.Event()
    hang = threading.Event()
    real = httpx.HTTPTransport()

    class Slow(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if hang.is_set() and b"slow" in request.read():
                release.wait(20)
            return real.handle_request(request)

    one = Running(
        server.url,
        Slow(),
        step="1s",
        profile="60s",
        rules={"enabled": False},
        signals=[{"name": "slow", "query": "rps + 0 * slow"}, {"name": "quick", "query": "rps"}],
    ).cycle()
    evaluated = "detector_signal_evaluated_timestamp_seconds"
    hang.set()
    began = time.monotonic()
    one.cycle(NOW + 1)
    while one.get(evaluated, signal="quick") < NOW + 2:
        one.cycle(NOW + 2)
        assert time.monotonic() - began < 10
    assert one.get(evaluated, signal="slow") == NOW
    assert one.service.busy
    release.set()
    hang.clear()
    while one.get(evaluated, signal="slow") < NOW + 3:
        one.cycle(NOW + 3)
        assert time.monotonic() - began < 15


def test_run_stops_at_once(server: Server, run: Callable[..., Running]) -> None:
    one = run(rules={"enabled": False})
    stop = threading.Event()
    thread = threading.Thread(target=one.service.run, args=(stop,), daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not one.service.ready:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    stop.set()
    thread.join(2)
    assert not thread.is_alive()
    assert not one.service.busy


def test_restart_gives_the_same_scores(server: Server, run: Callable[..., Running]) -> None:
    feed(server, job="a")
    given = {"rules": {"enabled": False}, "signals": [{"name": "rps", "query": "rps"}]}
    first = run(**given)
    for now in range(NOW - 600, NOW + 1, 60):
        first.cycle(now)
    second = run(**given).cycle()

    def scores(one: Running) -> Metrics:
        return {k: v for k, v in one.metrics().items() if k[0].startswith("anomaly_")}

    assert scores(first) == scores(second)
    assert len(scores(first)) >= 6
