"""Alertmanager's configuration: checked, routed, rendered, and delivered by the real program."""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import goldens
import httpx
import pytest
import yaml
from aiosmtpd.controller import Controller
from tools import ROOT, free_port, run, serving

from simulator.watch import Message

CONFIG = ROOT / "alertmanager" / "alertmanager.yml"
TEMPLATES = ROOT / "alertmanager" / "templates"
HOSTILE = '<!channel> *x* & <http://evil.invalid|Runbook>\nForged: line\u2028and "more" <script>'


def _alert(name: str, status: str = "firing", **labels: str) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, "severity": "warning", "category": "anomaly"} | labels,
        "annotations": {
            "summary": "Latency of churn is not what it usually is at this time.",
            "description": "Above the normal range: observed 413ms, expected 187.5ms "
            "(normal 0s to 250ms), score 3.1 (1 is the edge).",
            "runbook_url": f"http://localhost:9090/consoles/{name}.md",
            "dashboard_url": "http://localhost:3000/d/anomaly-signal?var-signal=s&var-job=churn",
            "query": 'anomaly_observed{signal="s"}',
        },
        "startsAt": "2026-11-21T03:02:00Z",
        "endsAt": "2026-11-21T03:20:30Z" if status == "resolved" else "0001-01-01T00:00:00Z",
        "generatorURL": "http://localhost:9090/graph?g0.expr=a%3D%3D1&g0.tab=1",
        "fingerprint": "0",
    }


def _message(alerts: list[dict[str, Any]], **group: str) -> dict[str, Any]:
    """What Alertmanager hands to its templates; common is what all alerts share."""

    def common(part: str) -> dict[str, str]:
        first, *others = [alert[part] for alert in alerts]
        return {k: v for k, v in first.items() if all(o.get(k) == v for o in others)}

    firing = any(alert["status"] == "firing" for alert in alerts)
    return {
        "receiver": "oncall",
        "status": "firing" if firing else "resolved",
        "alerts": alerts,
        "groupLabels": group,
        "commonLabels": common("labels"),
        "commonAnnotations": common("annotations"),
        "externalURL": "http://localhost:9093",
    }


def _two_features() -> dict[str, Any]:
    labels = {"job": "churn", "signal": "churn_feature_drift", "kind": "drift"}
    alerts = [
        _alert("AnomalyDrift", feature="MONTANT", instance="churn-0", **labels),
        _alert("AnomalyDrift", feature="REVENUE", instance="churn-0", **labels),
        _alert("AnomalyDrift", "resolved", feature="REGION", instance="churn-0", **labels),
    ]
    numbers = (
        "observed 0.843, expected 0.048 (normal 0 to 0.124), score 9.2",
        "observed 0.617, expected 0.052 (normal 0 to 0.131), score 6.4",
        "observed 0.164, expected 0.031 (normal 0 to 0.112), score 1.6",
    )
    for alert, text in zip(alerts, numbers, strict=True):
        alert["annotations"] |= {
            "summary": "The input of the model of churn is not what it usually is at this time "
            "(churn_feature_drift).",
            "description": f"Above the normal range: {text} (1 is the edge).",
        }
    return _message(alerts, alertname="AnomalyDrift", job="churn", signal="churn_feature_drift")


def _resolved() -> dict[str, Any]:
    labels = {"job": "churn", "signal": "churn_latency_p99", "kind": "latency"}
    alerts = [_alert("AnomalyLatency", "resolved", **labels)]
    return _message(alerts, alertname="AnomalyLatency", job="churn", signal="churn_latency_p99")


def _hostile() -> dict[str, Any]:
    labels = {"job": HOSTILE, "signal": HOSTILE, "kind": "other"}
    alerts = [_alert("AnomalyOther", path=HOSTILE, **labels) for _ in range(2)]
    for number, alert in enumerate(alerts):
        alert["annotations"] |= {
            "summary": f"{number} {HOSTILE}",
            "description": HOSTILE,
            "runbook_url": "javascript:alert(1)|x>",
            "query": HOSTILE,
        }
    return _message(alerts, alertname="AnomalyOther", job=HOSTILE, signal=HOSTILE)


MESSAGES = {"two_features": _two_features, "resolved": _resolved, "hostile": _hostile}
PARTS = {
    "slack.title": "text",
    "slack.text": "text",
    "slack.color": "text",
    "email.subject": "text",
    "email.text": "text",
    "email.html": "html",
}


def _render(part: str, message: dict[str, Any], directory: Path) -> str:
    data = directory / "data.json"
    data.write_text(json.dumps(message), encoding="utf-8")
    result = run(
        "amtool",
        "template",
        "render",
        f"--template.glob={TEMPLATES}/*.tmpl",
        f"--template.type={PARTS[part]}",
        f'--template.text={{{{ template "anomaly.{part}" . }}}}',
        f"--template.data={data}",
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_amtool_accepts_configuration_and_templates(tmp_path: Path) -> None:
    config = _native(tmp_path, slack_port=1, smtp_port=2)
    result = run("amtool", "check-config", config)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 templates" in result.stdout


def test_amtool_refuses_a_misspelt_key(tmp_path: Path) -> None:
    wrong = tmp_path / "alertmanager.yml"
    wrong.write_text(CONFIG.read_text("utf-8").replace("group_wait", "group_wayt"), "utf-8")
    assert run("amtool", "check-config", wrong).returncode == 1


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("part", PARTS)
def test_messages_are_the_golden_ones(part: str, message: str, tmp_path: Path) -> None:
    suffix = "" if PARTS[part] == "html" else ".txt"
    goldens.check(
        f"alertmanager/{message}.{part}{suffix}", _render(part, MESSAGES[message](), tmp_path)
    )


def test_the_first_two_lines_say_what_how_bad_and_since_when(tmp_path: Path) -> None:
    title = _render("slack.title", _two_features(), tmp_path)
    first, second, *_ = _render("slack.text", _two_features(), tmp_path).splitlines()
    assert title == "[FIRING:2] AnomalyDrift churn churn_feature_drift (warning)"
    assert first.startswith("*The input of the model of churn is not what it usually is at this ")
    assert "MONTANT" in second
    assert "observed 0.843, expected 0.048" in second
    assert "Firing since 2026-11-21 03:02:00 UTC" in second


def test_a_page_is_red_until_it_is_over(tmp_path: Path) -> None:
    page = _alert("AnomalyBurnsBudget", severity="critical")
    group = {"alertname": "AnomalyBurnsBudget"}
    assert _render("slack.color", _message([page], **group), tmp_path) == "danger"
    over = _message([page | {"status": "resolved"}], **group)
    assert _render("slack.color", over, tmp_path) == "good"
    for part in ("slack.title", "email.subject"):
        assert _render(part, _message([page], **group), tmp_path).endswith("(critical)")


def test_a_resolved_message_says_so_before_it_speaks_of_the_present(tmp_path: Path) -> None:
    text = _render("slack.text", _resolved(), tmp_path)
    assert text.startswith("*Resolved: Latency of churn is not")
    assert _render("email.text", _resolved(), tmp_path).startswith("Resolved: Latency")
    assert "<strong>Resolved: Latency" in _render("email.html", _resolved(), tmp_path)
    # Each summary for itself where they differ.
    message = _hostile()
    message["alerts"][0]["status"] = "resolved"
    first, second, *_ = _render("slack.text", message, tmp_path).splitlines()
    assert first.startswith("*Resolved: 0 ")
    assert second.startswith("*1 ")


def test_a_flood_is_cut_and_counted(tmp_path: Path) -> None:
    labels = {"job": "churn", "signal": "s", "kind": "latency"}
    alerts = [_alert("AnomalyLatency", path=f"{i}{'x' * 10_000}", **labels) for i in range(300)]
    for number, one in enumerate(alerts):
        one["annotations"]["summary"] = f"{number}"
    message = _message(alerts, alertname="AnomalyLatency", job="churn", signal="s")
    for part in ("slack.text", "email.text", "email.html"):
        text = _render(part, message, tmp_path)
        assert len(text) < 30_000
        assert text.count("xxx…") == 20
        assert "and more: 300 in all, see Alertmanager." in text


def test_a_silence_is_one_click_away(tmp_path: Path) -> None:
    want = "/#/silences/new?filter=%7Balertname%3D%22AnomalyDrift%22%2Cjob%3D%22churn%22%2Csignal"
    for part in ("slack.text", "email.text", "email.html"):
        assert want in _render(part, _two_features(), tmp_path)
        assert "silences" not in _render(part, _resolved(), tmp_path)


def test_hostile_values_stay_text_in_slack(tmp_path: Path) -> None:
    text = _render("slack.title", _hostile(), tmp_path) + _render(
        "slack.text", _hostile(), tmp_path
    )
    assert "<!channel>" not in text
    assert "<http://evil" not in text
    assert "javascript:" not in text
    assert not [line for line in text.splitlines() if line.startswith("Forged")]
    # Every < that is left opens one of our own links.
    own = ("Runbook", "Dashboard", "Prometheus", "Silence")
    assert text.count("<") == sum(text.count(f"|{name}>") for name in own)


def test_hostile_values_stay_text_in_email(tmp_path: Path) -> None:
    html = _render("email.html", _hostile(), tmp_path)
    assert "<script>" not in html
    assert "javascript:" not in html
    text = _render("email.text", _hostile(), tmp_path) + _render(
        "email.subject", _hostile(), tmp_path
    )
    assert not [line for line in text.splitlines() if line.startswith(("Forged", "and "))]


# What an alert is, and who gets it.
ROUTES = {
    "category=meta severity=critical alertname=AnomalyDetectorDown": "pager",
    "category=meta severity=warning alertname=JobDown kind=drift team=ml": "oncall",
    "category=anomaly severity=warning kind=latency": "notify,oncall",
    "category=anomaly severity=warning kind=drift": "notify,ml",
    "category=anomaly severity=warning kind=quality": "notify,ml",
    "category=anomaly severity=warning kind=latency team=ml": "notify,ml",
    "category=anomaly severity=critical kind=drift team=ml": "notify,pager",
    "category=anomaly severity=info kind=other": "notify,mail",
    "category=anomaly severity=info kind=drift team=ml": "notify,mail",
    "category=anomaly": "notify,oncall",
    "category=anomaly severity=warning kind=drift alertname=AnomalyNoData": "notify,oncall",
    "alertname=OfSomebodyElse": "oncall",
}


@pytest.mark.parametrize("labels", ROUTES)
def test_every_alert_goes_where_the_table_says(labels: str) -> None:
    flags = (f"--verify.receivers={ROUTES[labels]}", f"--config.file={CONFIG}")
    result = run("amtool", "config", "routes", "test", *flags, *labels.split())
    assert result.returncode == 0, result.stdout + result.stderr


def _leaves(route: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield route
    for child in route.get("routes", []):
        yield from _leaves(child)


def test_messages_about_the_detector_never_pass_through_it() -> None:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    direct = {r["name"] for r in config["receivers"] if "webhook_configs" not in r}
    routes = config["route"]["routes"]
    meta = next(r for r in routes if r["matchers"] == ['category="meta"'])
    # Above all others, so that no label of an alert leads past it.
    assert routes[0] is meta
    assert {route["receiver"] for route in _leaves(meta)} <= direct
    assert all("mute_time_intervals" not in route for route in _leaves(meta))


def test_hours_and_maintenance_concern_only_what_can_wait() -> None:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    anomaly = [r for r in config["route"]["routes"] if r["matchers"] == ['category="anomaly"']]
    assert [route["receiver"] for route in anomaly] == ["notify", "oncall"]
    for route in (leaf for one in anomaly for leaf in _leaves(one)):
        critical = route.get("matchers") == ['severity="critical"']
        assert route.get("mute_time_intervals", []) == ([] if critical else ["maintenance"])
        hours = ["office-hours"] if route.get("matchers") == ['severity="info"'] else []
        assert route.get("active_time_intervals", []) == hours


# Of each route: what it takes, who gets it, its own grouping and waits, whether others follow.
AGREED = [
    " oncall by alertname job signal 30s 5m 12h",
    'category="meta" oncall by alertname job 10s',
    'severity="critical" pager by alertname job 10s 1h',
    'category="anomaly" notify on',
    'severity="critical" notify 10s 1h',
    'severity="info" notify',
    'alertname="AnomalyNoData" notify by alertname job',
    'category="anomaly" oncall',
    'severity="critical" pager 10s 1h',
    'severity="info" mail',
    'alertname="AnomalyNoData" oncall by alertname job',
    'team="ml" ml',
    'kind=~"drift|quality" ml',
]
PLACES = {
    "oncall": ["#alerts", "oncall@example.invalid"],
    "pager": ["#pages", "pager@example.invalid"],
    "ml": ["#ml-alerts", "ml@example.invalid"],
    "mail": ["oncall@example.invalid"],
    "notify": [],
}


def _agreed(route: dict[str, Any]) -> str:
    group = ["by", *route["group_by"]] if "group_by" in route else []
    waits = ("group_wait", "group_interval", "repeat_interval")
    own = [route[key] for key in waits if key in route]
    more = ["on"] if route.get("continue") else []
    return " ".join([" ".join(route.get("matchers", [])), route["receiver"], *group, *own, *more])


def test_routes_and_receivers_are_what_was_agreed() -> None:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    route = config["route"]
    assert [_agreed(one) for one in _leaves(route)] == AGREED
    # Somebody is at the desk on working days; the example of a maintenance is over.
    hours, maintenance = (entry["time_intervals"] for entry in config["time_intervals"])
    assert [hours[0]["weekdays"], hours[0]["times"]] == [
        ["monday:friday"],
        [{"start_time": "08:00", "end_time": "18:00"}],
    ]
    assert maintenance[0]["years"] == ["2025"]
    for receiver in config["receivers"]:
        places = PLACES[receiver["name"]]
        assert [s["channel"] for s in receiver.get("slack_configs", [])] == places[:-1]
        assert [e["to"] for e in receiver.get("email_configs", [])] == places[-1:]
        for kind in ("slack_configs", "email_configs", "webhook_configs"):
            assert all(entry["send_resolved"] for entry in receiver.get(kind, []))


def test_secrets_are_in_files() -> None:
    text = CONFIG.read_text(encoding="utf-8")
    config = yaml.safe_load(text)["global"]
    assert config["slack_api_url_file"].startswith("/run/secrets/")
    assert config["smtp_auth_password_file"].startswith("/run/secrets/")
    for key in ("slack_api_url:", "smtp_auth_password:", "api_url:", "auth_password:"):
        assert key not in text


# The real program, from here on.


@dataclass
class Sinks:
    """What a Slack-like endpoint and an SMTP server without AUTH received."""

    slack: list[dict[str, Any]] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)


class _MailHandler:
    def __init__(self, sinks: Sinks) -> None:
        self._sinks = sinks

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self._sinks.mails.append(message)
        return "250 ok"


@contextlib.contextmanager
def _listening(sinks: Sinks) -> Iterator[tuple[int, int]]:
    class Slack(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sinks.slack.append(json.loads(body)["attachments"][0])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test output clean."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Slack)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
    smtp = Controller(_MailHandler(sinks), hostname="127.0.0.1", port=free_port())
    thread.start()
    smtp.start()
    try:
        yield http.server_port, smtp.port
    finally:
        smtp.stop()
        http.shutdown()
        thread.join()
        http.server_close()


def _native(directory: Path, slack_port: int, smtp_port: int) -> Path:
    """Write the shipped file with our own paths and ports, and waits of a second."""
    (directory / "slack").write_text(f"http://127.0.0.1:{slack_port}/services/x\n", "utf-8")
    (directory / "password").write_text("never asked for\n", "utf-8")
    shutil.copytree(TEMPLATES, directory / "templates")
    text = CONFIG.read_text(encoding="utf-8")
    for old, new in {
        "/run/secrets/slack_api_url": str(directory / "slack"),
        "/run/secrets/smtp_password": str(directory / "password"),
        "/etc/alertmanager/templates": str(directory / "templates"),
        "sink:2525": f"127.0.0.1:{smtp_port}",
        "group_wait: 30s": "group_wait: 0s",
        "group_wait: 10s": "group_wait: 0s",
        "group_interval: 5m": "group_interval: 1s",
    }.items():
        assert old in text
        text = text.replace(old, new)
    config = directory / "alertmanager.yml"
    config.write_text(text, encoding="utf-8")
    return config


@contextlib.contextmanager
def _alertmanager(directory: Path, sinks: Sinks) -> Iterator[httpx.Client]:
    with _listening(sinks) as (slack_port, smtp_port):
        flags = (
            f"--config.file={_native(directory, slack_port, smtp_port)}",
            f"--storage.path={directory / 'data'}",
            "--cluster.listen-address=",
        )
        with serving("alertmanager", directory, *flags) as client:
            yield client


def _wait(condition: Callable[[], bool], explain: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, f"not within 15 s: {explain()}"
        time.sleep(0.05)


def _post(client: httpx.Client, *alerts: dict[str, Any], ended: bool = False) -> None:
    def stamp(age: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - age))

    body = [
        {"labels": a["labels"], "annotations": a["annotations"], "startsAt": stamp(60)}
        | ({"endsAt": stamp(1)} if ended else {})
        for a in alerts
    ]
    client.post("/api/v2/alerts", json=body).raise_for_status()


def test_slack_and_email_arrive_firing_and_resolved(tmp_path: Path) -> None:
    alert = _alert(
        "AnomalyLatency", job="churn", signal="churn_latency_p99", kind="latency", path=HOSTILE
    )
    title = "[FIRING:1] AnomalyLatency churn churn_latency_p99 (warning)"
    done = "[RESOLVED] AnomalyLatency churn churn_latency_p99 (warning)"
    sinks = Sinks()
    with _alertmanager(tmp_path, sinks) as client:
        _post(client, alert)
        _wait(
            lambda: len(sinks.slack) == 1 == len(sinks.mails),
            (tmp_path / "alertmanager.log").read_text,
        )
        _post(client, alert, ended=True)
        _wait(
            lambda: len(sinks.slack) == 2 == len(sinks.mails),
            (tmp_path / "alertmanager.log").read_text,
        )
    assert [s["title"] for s in sinks.slack] == [title, done]
    assert [s["color"] for s in sinks.slack] == ["warning", "good"]
    assert [m["Subject"] for m in sinks.mails] == [title, done]
    told = Message(0.0, "email", sinks.mails[0]["Subject"])
    assert told.is_about(False, "AnomalyLatency", "churn_latency_p99")
    assert "<!channel>" not in sinks.slack[0]["text"]
    assert "observed 413ms" in sinks.slack[0]["text"]
    assert ", resolved " in sinks.slack[1]["text"]
    plain, html = (sinks.mails[0].get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert html is not None
    assert "observed 413ms" in plain.get_content()
    assert "observed 413ms" in html.get_content()
    assert "<script>" not in html.get_content()


def test_causes_mute_effects_and_nothing_else(tmp_path: Path) -> None:
    anomaly = {"signal": "s", "kind": "traffic"}
    meta = {"category": "meta"}

    def muted(client: httpx.Client) -> set[str]:
        return {
            " ".join(
                a["labels"][key] for key in ("alertname", "job", "instance") if key in a["labels"]
            )
            for a in client.get("/api/v2/alerts").json()
            if a["status"]["state"] == "suppressed"
        }

    def instance(number: int) -> dict[str, Any]:
        return _alert("AnomalySaturation", job="churn", instance=f"churn-{number}", **anomaly)

    with _alertmanager(tmp_path, Sinks()) as client:
        _post(client, _alert("InstanceDown", job="churn", instance="churn-0", **meta))
        _post(client, instance(0), instance(1))
        _post(client, _alert("AnomalyTraffic", job="churn", **anomaly))
        _post(client, _alert("AnomalyTraffic", job="shop", **anomaly))
        # One dead instance of two: neither the other one nor the job as a whole is silenced.
        expected = {"AnomalySaturation churn churn-0"}
        _wait(lambda: muted(client) == expected, lambda: muted(client))
        _post(client, _alert("JobDown", job="churn", **meta))
        expected |= {
            "AnomalySaturation churn churn-1",
            "AnomalyTraffic churn",
            "InstanceDown churn churn-0",
        }
        _wait(lambda: muted(client) == expected, lambda: muted(client))
        _post(client, _alert("AnomalyDetectorDown", job="detector", **meta))
        expected |= {"AnomalyTraffic shop"}
        _wait(lambda: muted(client) == expected, lambda: muted(client))


def test_a_storm_mutes_anomalies_and_neither_pages_nor_itself(tmp_path: Path) -> None:
    anomaly = {"job": "churn", "signal": "s", "kind": "errors"}
    with _alertmanager(tmp_path, Sinks()) as client:
        _post(client, _alert("AnomalyStorm"), _alert("AnomalyErrors", **anomaly))
        _post(client, _alert("AnomalyBurnsBudget", severity="critical", **anomaly))
        _post(client, _alert("JobDown", job="shop", category="meta"))

        def states() -> dict[str, str]:
            alerts = client.get("/api/v2/alerts").json()
            return {a["labels"]["alertname"]: a["status"]["state"] for a in alerts}

        expected = {
            "AnomalyStorm": "active",
            "AnomalyErrors": "suppressed",
            "AnomalyBurnsBudget": "active",
            "JobDown": "active",
        }
        _wait(lambda: states() == expected, states)


def test_a_broken_objective_and_a_graver_alert_mute_the_anomaly(tmp_path: Path) -> None:
    anomaly = {"kind": "latency"}

    def muted(client: httpx.Client) -> set[str]:
        return {
            f"{a['labels']['alertname']} {a['labels']['severity']} {a['labels'].get('job', '')}"
            for a in client.get("/api/v2/alerts").json()
            if a["status"]["state"] == "suppressed"
        }

    with _alertmanager(tmp_path, Sinks()) as client:
        # Without a job an objective says nothing about anybody's anomalies.
        _post(client, _alert("ErrorBudgetBurn", category="slo"))
        _post(client, _alert("AnomalyOther", **anomaly))
        _post(client, _alert("AnomalyLatency", job="churn", signal="p99", **anomaly))
        _post(client, _alert("AnomalyLatency", job="shop", signal="p99", **anomaly))
        # Another signal of the same job is another matter.
        _post(client, _alert("AnomalyTraffic", job="shop", signal="rate", **anomaly))
        _post(client, _alert("Grave", job="shop", signal="p99", **anomaly, severity="critical"))
        expected = {"AnomalyLatency warning shop"}
        _wait(lambda: muted(client) == expected, lambda: muted(client))
        _post(client, _alert("ErrorBudgetBurn", job="churn", category="slo", severity="critical"))
        _post(client, _alert("ErrorBudgetBurn", job="shop", category="slo", severity="critical"))
        expected |= {"AnomalyLatency warning churn", "AnomalyTraffic warning shop"}
        _wait(lambda: muted(client) == expected, lambda: muted(client))
