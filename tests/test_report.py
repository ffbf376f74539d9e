"""What `check` and `signals` find, as data."""

from __future__ import annotations

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from rich.console import Console
from server import Server
from synthetic import DAY, MONDAY

from detector import report
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
    assert good["signal no_errors"] == "errors, 0 series"
    assert good[server.url] == "answers queries"
    data = json.loads(json.dumps(result.as_dict()))
    assert data["ok"] is False
    assert data["settings"]["step"] == 60
    assert len(data["signals"]) == 6


def test_a_label_set_given_twice_is_said(server: Server) -> None:
    server.write("rps", NOW, 1.0, job="a")
    server.set_rules(
        {"record": "r:1", "expr": "rps", "labels": {"anomaly_name": "twice"}},
        {"record": "r:2", "expr": "rps * 2", "labels": {"anomaly_name": "twice"}},
    )
    result = report.check(settings(server), NOW)
    assert result.exit_code == 0
    assert "the first wins" in findings(result, "warning")["signal twice"]


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
    row = report.SignalRow("a", "latency", "rules", 2, float(MONDAY), 10, ("up",))
    failed = report.SignalRow("b[x]", "traffic", "rules", 0, None, 0, ("up",), "went wrong")
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=200, color_system=None)
    report.print_signals(console, [row, failed])
    text = out.getvalue()
    assert text.index("b[x]") < text.index("2025-10-06 00:00")
    assert "went wrong" in text
    if not terminal:
        assert text.splitlines()[2] == "a\tlatency\trules\t2\t2025-10-06 00:00\t10"


def test_printing_findings() -> None:
    out = io.StringIO()
    result = report.Check(
        Settings(), (report.Finding("error", "signal [x]", "[bold]no markup[/bold]"),), exit_code=1
    )
    report.print_check(Console(file=out, width=200), result)
    assert "error" in out.getvalue()
    assert "signal [x]: [bold]no markup[/bold]" in out.getvalue()
