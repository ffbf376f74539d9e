"""What `check` and `signals` find, as data."""

from __future__ import annotations

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from server import Server
from synthetic import DAY, MONDAY

from detector import printing, report
from detector.settings import Settings

NOW = MONDAY + 3 * DAY


def settings(server: Server, **given: Any) -> Settings:
    return Settings(prometheus={"url": server.url}, history="2d", **given)


def findings(result: report.Check, level: str) -> dict[str, str]:
    return {f.subject: f.message for f in result.findings if f.level == level}


def test_each_signal_is_asked_once(server: Server) -> None:
    for job in "abc":
        server.write("rps", NOW, 1.0, job=job)
    server.write("other", NOW, 2.0, job="a")
    server.set_rules(
        {"record": "r:1", "expr": "rps", "labels": {"anomaly_name": "twice"}},
        {"record": "r:2", "expr": "other", "labels": {"anomaly_name": "twice"}},
        {"record": "r:3", "expr": "rps", "labels": {"anomaly_name": "x", "anomaly_type": "wether"}},
    )
    own = [
        {"name": "many", "query": "rps", "kind": "traffic"},
        {"name": "bad", "query": "sum("},
        {"name": "none", "query": "nothing"},
        {"name": "no_errors", "query": "nothing", "kind": "errors"},
    ]
    result = report.check(settings(server, signals=own, max_series=2), NOW)
    assert result.exit_code == 1
    errors, warnings, good = (findings(result, level) for level in ("error", "warning", "ok"))
    assert list(errors) == ["signal bad"]
    assert "parse error" in errors["signal bad"]
    assert "1 over max_series (2)" in warnings["signal many"]
    assert "no series now" in warnings["signal none"]
    assert "'wether' is not known" in warnings["rules"]
    assert "no scrape target on port 9112" in warnings["targets"]
    assert "signal no_errors" not in good
    text = "metric nothing was not on the server in the last 2d; is the name right, is its job"
    assert warnings["signal no_errors"].startswith(text)
    assert good["prometheus"] == f"{server.url} answers queries"
    data = json.loads(json.dumps(result.as_dict()))
    assert data["ok"] is False
    assert data["settings"]["step"] == 60
    assert len(data["signals"]) == 6


def test_absence_that_nothing_can_tell_from_zero_is_said(server: Server) -> None:
    past = np.arange(NOW - 2 * DAY, NOW + 1, 300)
    server.write("up", past, 1.0, job="web", instance="i")
    server.write("errs", past, 1.0, code="500", job="web")
    server.write("errs", past[:9], 1.0, code="503", job="web")
    server.write("total", past[:9], 1.0)
    server.write("whole", past[past > NOW - DAY], 1.0)
    server.write("always", past, 1.0)
    server.write("pushed", past[::2], 1.0, job="batch", code="1")
    server.write("pushed", past[:9], 1.0, job="batch", code="2")
    server.write("pushed", past[-3:], 1.0, job="other", code="1")
    queries = {
        "told": "errs", "gone": 'errs{code="503"}', "typo": "erss", "label": 'errs{code="9"}',
        "total": "total", "whole": "whole", "always": "always", "pushed": "pushed",
        "sum": "sum(total) or vector(0)",
    }  # fmt: skip
    own = [{"name": k, "kind": "errors", "query": query} for k, query in queries.items()]
    own.append({"name": "unknown", "kind": "errors", "query": "total", "missing": "nodata"})
    result = report.check(settings(server, signals=own), NOW)
    assert result.exit_code == 0
    said = {name: messages(result, f"signal {name}") for name in (*queries, "unknown")}
    assert said["told"] == [("ok", "errors, 1 series")]
    assert said["gone"] == [("ok", "errors, no series now, 1 in the last 2d")]
    assert said["typo"] == [
        ("warning", "metric erss was not on the server in the last 2d; did you mean errs?")
    ]
    ((level, text),) = said["label"]
    assert (level, text[:32]) == ("ok", "errors, no sample in the last 2d")
    nothing = "missing: zero has no effect for 1 of {} series: up has no target with"
    for name, of in (("total", 1), ("whole", 1), ("pushed", 2)):
        assert said[name][0][0] == "ok"
        level, text = said[name][1]
        assert level == "warning"
        assert text.startswith(nothing.format(of))
    assert said["always"] == said["sum"] == [("ok", "errors, 1 series")]
    assert said["unknown"] == [("warning", "no series now; is the metric's name right?")]


def test_a_label_set_given_twice_is_said(server: Server) -> None:
    server.write("rps", NOW, 1.0, job="a")
    server.set_rules(
        {"record": "r:1", "expr": "rps", "labels": {"anomaly_name": "twice"}},
        {"record": "r:2", "expr": "rps * 2", "labels": {"anomaly_name": "twice"}},
    )
    result = report.check(settings(server), NOW)
    assert result.exit_code == 0
    assert "the first wins" in findings(result, "warning")["signal twice"]


def test_samples_beyond_the_limits_are_said_with_their_origin(server: Server) -> None:
    for job, value in (("a", 20.0), ("b", 0.5)):
        server.write("shop", NOW, value, job=job)
    server.write("cold", NOW, -3.0)
    server.write("one", NOW, 1.0 + 1e-12)
    rule = {"record": "r:1", "expr": "shop", "labels": {"anomaly_name": "shop_rate_ratio"}}
    server.set_rules(rule)
    own = [
        {"name": "own", "query": "shop", "limits": [None, 5]},
        {"name": "named", "query": "shop"},
        {"name": "kind", "query": "shop", "kind": "drift"},
        {"name": "cold", "query": "cold", "kind": "traffic"},
        {"name": "one_ratio", "query": "one"},
        {"name": "free_ratio", "query": "shop", "limits": [None, None]},
    ]
    policies = {"named": {"limits": [1, None]}, "drift": {"limits": [0, 10]}}
    result = report.check(settings(server, signals=own, policies=policies), NOW)
    assert result.exit_code == 0
    warnings = findings(result, "warning")
    ratio = warnings["signal shop_rate_ratio"]
    assert "1 of 2 series are now outside its limits [0, 1] (its name ends in _ratio" in ratio
    assert "set policies.shop_rate_ratio.limits to what is possible" in ratio
    assert "(such as 20)" in ratio
    assert "[null, 5] (its own)" in warnings["signal own"]
    assert "set limits of the signal own to" in warnings["signal own"]
    assert "1 of 2" in warnings["signal named"]
    assert "[1, null] (from policies.named.limits)" in warnings["signal named"]
    assert "[0, 10] (from policies.drift.limits)" in warnings["signal kind"]
    assert "set policies.kind.limits to" in warnings["signal kind"]
    assert "[0, null] (those of its kind, traffic)" in warnings["signal cold"]
    assert warnings.keys().isdisjoint({"signal one_ratio", "signal free_ratio"})


def test_groups_whose_members_share_no_labels_are_said(server: Server) -> None:
    server.write("rps", NOW, 1.0, job="a", path="/")
    server.write("lat", NOW, 1.0, job="a")
    server.write("err", NOW, 1.0, job="b")
    own = [{"name": name, "query": name} for name in ("rps", "lat", "err", "none")]
    groups = [
        {"name": "good", "signals": ["rps", "lat", "none"], "by": "job"},
        {"name": "all", "signals": ["rps", "err"]},
        {"name": "nobody", "signals": ["rps", "lat"], "by": ["instance", "job"]},
        {"name": "half", "signals": ["rps", "lat"], "by": "path"},
        {"name": "apart", "signals": ["rps", "err"], "by": "job"},
        {"name": "empty", "signals": ["none", "rps"], "by": "job"},
    ]
    result = report.check(settings(server, signals=own, groups=groups), NOW)
    assert result.exit_code == 0
    assert messages(result, "group good") == [("ok", "forest, 1 joint series")]
    assert messages(result, "group all") == [("ok", "forest, 1 joint series")]
    ((level, text),) = messages(result, "group nobody")
    assert level == "warning"
    assert text.startswith("by: instance: no series of its signals has this label")
    assert text.endswith("labels they share: job")
    ((_, text),) = messages(result, "group half")
    assert text.startswith("by: path: no series of lat has this label, so it has no say")
    ((_, text),) = messages(result, "group apart")
    assert text.startswith("no two of its signals have series with the same job")
    assert messages(result, "group empty") == [("ok", "forest, 0 joint series")]


def messages(result: report.Check, subject: str) -> list[tuple[str, str]]:
    return [(f.level, f.message) for f in result.findings if f.subject == subject]


def test_gates_and_masks_are_evaluated(server: Server) -> None:
    past = np.arange(NOW - 2 * DAY, NOW + 1, 300)
    for job in "ab":
        server.write("rps", past, 1.0, job=job)
    late = past > NOW - DAY // 2
    server.write("load", past, np.where(late, 5.0, 0.0), job="a")
    server.write("load", past, 5.0, job="b")
    server.write("deploying", past[:100], 1.0, job="a")
    own = [
        {"name": "gated", "query": "rps", "when": "load > 1"},
        {"name": "shut", "query": "rps", "when": "load * 0"},
        {"name": "none", "query": "rps", "when": "nothing"},
        {
            "name": "strange",
            "query": "rps",
            "when": 'label_replace(load{job="a"}, "job", "x", "", "")',
        },
        {"name": "bad", "query": "rps", "when": "sum("},
    ]
    masks = {
        "train": ["deploying", "sum(", "anomaly_state == 1"],
        "mute": [
            {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "match": {"job": "b"}},
            {"query": "deploying", "match": {"job": "z"}},
            {"from": "00:00", "to": "12:00", "signals": ["gated"]},
            {"query": "anomaly_state == 1"},
        ],
    }
    result = report.check(settings(server, signals=own, masks=masks), NOW)
    assert result.exit_code == 1
    ok = "open for 2 of 2 series now, closed in 37.5% of the last 2d"
    assert messages(result, "signal gated") == [("ok", "other, 2 series"), ("ok", f"when: {ok}")]
    shut = "when: open for 0 of 2 series now, closed in 100.0% of the last 2d"
    assert messages(result, "signal shut")[1] == ("ok", shut)
    for name, why in (
        ("none", "no result in the last 2d"),
        ("strange", "none of its results agrees with a series in the last 2d"),
    ):
        text = f"when: {why}, so it is closed all the time; are its labels right?"
        assert messages(result, f"signal {name}")[1] == ("warning", text)
    level, text = messages(result, "signal bad")[1]
    assert level == "error"
    assert text.startswith("when: ")
    assert "parse error" in text
    share = (100 - 1) / 576 / 2
    assert messages(result, "masks.train.0") == [
        ("ok", f"sets apart 0 of 10 series now, {share:.1%} of the last 2d")
    ]
    ((level, text),) = messages(result, "masks.train.1")
    assert level == "error"
    assert "parse error" in text
    assert not text.startswith("masks")
    assert [level for level, _ in messages(result, "masks.train.2")] == ["warning", "ok"]
    assert "own scores or alerts" in messages(result, "masks.train.2")[0][1]
    assert messages(result, "masks.mute.0") == [
        ("ok", "sets apart 5 of 10 series now, 50.0% of the last 2d")
    ]
    assert messages(result, "masks.mute.1") == [
        ("warning", "concerns none of 10 series; are its labels right?")
    ]
    assert messages(result, "masks.mute.2") == [
        ("ok", "sets apart 2 of 2 series now, 50.0% of the last 2d")
    ]
    # To mute by a score of one's own is no loop: it decides nothing that is learnt.
    assert [level for level, _ in messages(result, "masks.mute.3")] == ["ok"]
    rows = {row.name: row for row in report.signals(settings(server, signals=own[:2]), NOW)}
    assert (rows["gated"].gate, rows["shut"].gate) == ("open 2 of 2", "open 0 of 2")


def test_a_mask_over_all_of_the_past(server: Server) -> None:
    server.write("rps", np.arange(NOW - DAY, NOW + 1, 300), 1.0, job="a")
    own = [{"name": "rps", "query": "rps"}]
    for masks, stuck in (
        ({"train": [{"from": "2025-01-01", "to": "2026-01-01"}]}, True),
        ({"train": [{"from": "00:00", "to": "12:00"}, {"from": "12:00", "to": "00:00"}]}, True),
        ({"mute": [{"from": "2025-01-01", "to": "2026-01-01"}]}, False),
        ({"train": [{"from": "00:00", "to": "23:00"}]}, False),
    ):
        result = report.check(settings(server, signals=own, masks=masks), NOW)
        assert result.exit_code == 0
        said = [m for level, m in messages(result, "signal rps") if level == "warning"]
        assert len(said) == stuck, masks
        assert all("1 of 1 series are never learnt from in the last 2d" in m for m in said)


def test_excluded_alerts_must_exist_and_not_be_our_own(server: Server) -> None:
    server.write("rps", np.arange(NOW - DAY, NOW + 1, 300), 1.0, job="a")
    rules = [
        {"alert": "DiskFull", "expr": "disk > 1"},
        {"alert": "Ours", "expr": "x > 1", "labels": {"category": "anomaly"}},
        {"alert": "AlsoOurs", "expr": "max by (job) (anomaly_score) > 1"},
    ]
    server.set_rules(*rules)
    names = ["DiskFull", "Ours", "AlsoOurs", "Gone"]
    own = [{"name": "rps", "query": "rps"}]
    result = report.check(settings(server, signals=own, exclude_alerts=names), NOW)
    told = [text for level, text in messages(result, "exclude_alerts") if level == "warning"]
    said = {text.partition(":")[0]: text for text in told}
    assert result.exit_code == 0
    assert "DiskFull" not in said
    for name in ("Ours", "AlsoOurs"):
        assert "own scores or alerts" in said[name]
    assert said["Gone"] == "Gone: the server has no alert of this name"
    # One whose rule is gone is known by what it has left behind.
    firing = {"alertname": "Gone", "alertstate": "firing", "category": "anomaly"}
    server.write("ALERTS", np.arange(NOW - 3600, NOW, 300), 1.0, **firing)
    result = report.check(settings(server, signals=own, exclude_alerts=["Gone"]), NOW)
    assert any("own scores" in text for _, text in messages(result, "exclude_alerts"))


def test_each_excluded_alert_is_told_of_by_itself(server: Server) -> None:
    """One that sets something apart hides neither those that concern nothing, nor is ours twice."""
    past = np.arange(NOW - 2 * DAY, NOW + 1, 300)
    server.write("rps", past, 1.0, job="a", severity="page")
    server.write("rps", past, 1.0, job="b", severity="page")
    rules = [{"alert": name, "expr": "up == 0"} for name in ("Fits", "Severe", "Other", "Calm")]
    rules.append({"alert": "Ours", "expr": "x > 1", "labels": {"category": "anomaly"}})
    server.set_rules(*rules)
    # 288 of 576 steps of one of two series.
    for name, own in (
        ("Fits", {"job": "a"}),
        ("Severe", {"job": "a", "severity": "critical"}),
        ("Other", {"job": "db"}),
        ("Ours", {"job": "b", "category": "anomaly"}),
    ):
        server.write("ALERTS", past[100:388], 1.0, alertname=name, alertstate="firing", **own)
    names = ["Fits", "Severe", "Fits", "Other", "Calm", "Ours"]
    own = [{"name": name, "query": "rps"} for name in ("rps", "again")]
    result = report.check(settings(server, signals=own, exclude_alerts=names), NOW)
    apart = "sets apart 0 of 4 series now, 25.0% of the last 2d"
    ours = "reads the detector's own scores or alerts, so that what it has said decides what it "
    assert messages(result, "exclude_alerts") == [
        ("warning", f"Ours: {ours}learns; choose others"),
        ("ok", f"Fits: {apart}"),
        ("warning", "Severe: concerns none of 4 series; are its labels right?"),
        ("warning", "Other: concerns none of 4 series; are its labels right?"),
        ("ok", "Calm: sets apart 0 of 4 series now, 0.0% of the last 2d"),
        ("ok", f"Ours: {apart}"),
    ]


def test_the_real_span_of_history(server: Server) -> None:
    server.write("old", range(NOW - DAY, NOW + 1, 300), 1.0, job="a")
    server.write("young", range(NOW - 3600, NOW + 1, 300), 1.0, job="a")
    own = [{"name": n, "query": n} for n in ("old", "young", "none")]
    own.append({"name": "bad", "query": "sum("})
    rows = {r.name: r for r in report.signals(settings(server, signals=own), NOW)}
    assert rows["old"].oldest == NOW - DAY
    assert (rows["old"].series, rows["old"].samples) == (1, 289)
    assert rows["young"].oldest == NOW - 3600
    assert (rows["none"].oldest, rows["none"].series) == (None, 0)
    assert "parse error" in rows["bad"].error


def test_every_series_is_told_its_model_and_why(server: Server) -> None:
    times = np.arange(NOW - 4 * DAY, NOW + 1, 300)
    noise = np.random.default_rng(1).standard_normal(len(times))
    server.write("flat", times, 100 + noise, job="a")
    server.write("daily", times, 100 + 50 * np.sin(times / DAY * 2 * np.pi) + noise, job="a")
    server.write("daily", times[-300:], 1.0, job="b")
    own = [
        {"name": "flat", "query": "flat", "model": "auto"},
        {"name": "daily", "query": "daily", "model": "auto"},
        {"name": "usual", "query": "flat"},
        {"name": "chosen", "query": "daily", "model": "stl", "timezone": "Asia/Tokyo"},
        {"name": "bad", "query": "sum("},
    ]
    given = Settings(prometheus={"url": server.url}, history="4d", signals=own)
    found = report.signals(given, NOW, explained=True)
    rows = {row.name: row for row in found}
    assert [one.model for one in rows["flat"].models or ()] == ["zscore"]
    assert (rows["usual"].models or ())[0].reason == "the default"
    daily, young = rows["daily"].models or ()
    assert daily.labels == {"job": "a"}
    assert daily.model in ("seasonal", "stl")
    assert "held back: zscore" in daily.reason
    assert (young.model, young.reason[:18]) == ("seasonal", "less than two days")
    assert rows["bad"].models is None
    data = json.loads(json.dumps([row.as_dict() for row in found]))
    assert data[0]["models"][0]["model"] == "zscore"
    assert "models" not in report.signals(given, NOW)[0].as_dict()
    out = io.StringIO()
    printing.print_models(Console(file=out), found)
    lines = [line.split("\t") for line in out.getvalue().splitlines()]
    assert lines[0] == ["signal", "series", "model", "why"]
    assert ["chosen", '{job="a"}', "stl", "as configured"] in lines
    assert ["chosen", '{job="b"}', "stl", "as configured; warming up: less than a day"] in lines
    assert ["usual", '{job="a"}', "seasonal", "the default"] in lines


def test_the_model_that_is_in_force_is_told(server: Server) -> None:
    """Of 36 hours `stl` learns no season; of ten hours nothing is learnt at all."""
    times = np.arange(NOW - 5 * DAY, NOW + 1, 300)
    values = 100 + 50 * np.sin(times / DAY * 2 * np.pi)
    for name, hours in (("long", 120), ("half", 36), ("short", 10)):
        some = times > NOW - hours * 3600
        server.write("load", times[some], values[some], case=name)
    server.write("load", times, 7.0, case="flat")
    server.write("load", times[::30], values[::30], case="seldom")
    signal = {"name": "load", "query": "load", "model": "stl"}
    # The refit is at NOW, or less than an hour before.
    given = {"prometheus": {"url": server.url}, "history": "5d", "refit": "1h", "signals": [signal]}
    (row,) = report.signals(Settings(**given), NOW, explained=True)
    told = {one.labels["case"]: (one.model, one.reason) for one in row.models or ()}
    assert told["long"] == ("stl", "as configured")
    assert told["half"][0] == "zscore"
    assert told["half"][1].startswith("stl, as configured, needs more than 2d; there is 1d1")
    assert told["short"] == ("stl", "as configured; warming up: less than a day")
    for name in ("flat", "seldom"):
        text = "stl, as configured, has samples in too few hours, or of one value only"
        assert told[name] == ("zscore", text)


def test_header_values_are_not_printed() -> None:
    headers = {"Authorization": "Basic hunter2", "X-Scope-OrgID": "tenant"}
    data = report.Check(Settings(prometheus={"headers": headers}), ()).as_dict()
    assert data["settings"]["prometheus"]["headers"] == dict.fromkeys(headers, "***")
    assert "hunter2" not in json.dumps(data)


class Targets(BaseHTTPRequestHandler):
    """A server of many tenants: it answers everything, but only to a known tenant."""

    def do_GET(self) -> None:
        known = self.headers["X-Scope-OrgID"] == "tenant"
        data = b'{"status": "success", "data": {"activeTargets": [], "groups": []}}'
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


def test_the_targets_are_asked_with_the_headers() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Targets) as tenants:
        threading.Thread(target=tenants.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{tenants.server_port}"
        given = {"url": url, "headers": {"X-Scope-OrgID": "tenant"}}
        result = report.check(Settings(prometheus=given), NOW)
        tenants.shutdown()
    assert "no scrape target on port 9112" in findings(result, "warning")["targets"]


@pytest.mark.parametrize("key", ["ca_file", "cert_file"])
def test_targets_behind_certificates_are_not_looked_at(server: Server, key: str) -> None:
    # Over plain http the files are not read.
    given = {"url": server.url, key: "/nowhere.pem"}
    result = report.check(Settings(prometheus=given), NOW)
    assert "targets" not in {f.subject for f in result.findings}


@pytest.mark.parametrize("terminal", [True, False])
def test_printing(terminal: bool) -> None:
    row = report.SignalRow(
        "a", "latency", "rules", 2, float(MONDAY), 10, ("up",), "", "open 1 of 2"
    )
    failed = report.SignalRow("b[x]", "traffic", "rules", 0, None, 0, ("up",), "went wrong")
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=200, color_system=None)
    printing.print_signals(console, [row, failed])
    text = out.getvalue()
    assert text.index("b[x]") < text.index("2025-10-06 00:00")
    assert "went wrong" in text
    if not terminal:
        assert text.splitlines()[2] == "a\tlatency\trules\t2\t2025-10-06 00:00\t10\topen 1 of 2"


def test_printing_findings() -> None:
    out = io.StringIO()
    result = report.Check(
        Settings(), (report.Finding("error", "signal [x]", "[bold]no markup[/bold]"),), exit_code=1
    )
    printing.print_check(Console(file=out, width=200), result)
    assert "error" in out.getvalue()
    assert "signal [x]: [bold]no markup[/bold]" in out.getvalue()
