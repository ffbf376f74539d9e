"""`detector notify` against real services: messages, failures, storms, replays, hostile values."""

from __future__ import annotations

import email
import email.policy
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from notifying import (
    HOSTILE,
    NOW,
    P99,
    SINCE,
    Service,
    alert,
    http_service,
    notifying,
    secret_file,
    seed,
    settings,
    stamp,
    value,
    wait,
    webhook,
)
from server import Server
from tools import free_port, serving

from detector import configuration
from detector.errors import ConfigError
from detector.notify import inert
from detector.notify.message import compose
from detector.notify.picture import draw
from detector.notify.service import patient
from detector.notify.story import Story, tell
from detector.notify.webhook import KEPT, parse
from detector.notify.writing import html, plain, slack
from simulator.sink import sink

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def service() -> Iterator[Service]:
    with http_service() as one:
        yield one


def _bot(directory: Path, service: Service) -> dict[str, Any]:
    token = secret_file(directory, "token", "xoxb-secret")
    return {
        "name": "bot",
        "slack": {"channel": "#a", "token_file": token, "api_url": f"{service.url}/api"},
    }


def _hook(directory: Path, service: Service, name: str = "hook") -> dict[str, Any]:
    file = secret_file(directory, f"{name}.url", f"{service.url}/services/T0/B0/secret")
    return {"name": name, "slack": {"webhook_file": file}}


def _mail(port: int, **more: Any) -> dict[str, Any]:
    given = {"host": f"127.0.0.1:{port}", "from": "detector@example.org", "to": "a@example.org"}
    return {"name": "mail", "email": {**given, "tls": "none", **more}}


def _post(url: str, *hooks: dict[str, Any]) -> list[int]:
    with httpx.Client(timeout=30) as client:
        return [client.post(url, json=hook).status_code for hook in hooks]


def _texts(body: dict[str, Any]) -> str:
    """Return all that a Slack message says, links left out."""
    blocks = body["attachments"][0]["blocks"]
    found = [e["text"] for s in blocks[0]["elements"] for e in s["elements"] if e["type"] == "text"]
    return body["text"] + "\n" + "".join(found)


# What is said.


def test_two_lines_say_what_how_bad_since_when_and_where_to_look(
    server: Server, service: Service, tmp_path: Path
) -> None:
    seed(server)
    given = settings(tmp_path, [_hook(tmp_path, service)], server.url)
    with notifying(given, lambda: NOW + 5.0) as (_, url):
        assert _post(url, webhook(alert(**P99))) == [200]
        wait(lambda: service.got)
    ((_, body),) = service.got
    title, look, first, second, *rest = _texts(body).splitlines()
    assert look.startswith("Look: ")
    assert title == (
        "[WARNING] churn: churn_latency_p99 428ms instead of 202ms (2.1 times), since 03:02 UTC"
    )
    assert first == (
        "churn_latency_p99 has been off since 03:02 UTC (18 min): 428ms instead of 202ms "
        "(2.1 times), normal is up to 263ms."
    )
    assert second.startswith(
        "Why: above the normal range, and it has stayed away for minutes (sustained 55%, spike "
        "30%); "
    )
    assert "score 3.1, where 1 is the edge of normal; 9 of 10 samples at this hour are " in second
    assert second.endswith("incident 2 in 30 days.")
    # Ranked by score.
    assert [line for line in rest if line.startswith("• ")] == [
        "• churn_concurrency (saturation): 14 instead of 3.1, score 5.2",
        "• churn_traffic (traffic): 21 instead of 48, score 1.7",
    ]
    links = {
        e["text"]: e["url"]
        for s in body["attachments"][0]["blocks"][0]["elements"]
        for e in s["elements"]
        if e["type"] == "link"
    }
    assert list(links) == ["Dashboard", "Runbook", "Silence", "Prometheus"]
    assert links["Silence"].startswith("http://localhost:9093/#/silences/new?filter=%7Balertname")


def test_the_story_is_that_of_the_alert_and_of_no_other_series(
    server: Server, tmp_path: Path
) -> None:
    seed(server)
    seed(server, instance="churn-0")
    source = patient(settings(tmp_path, [], server.url))
    found = []
    # Labels that the rule added are on no series.
    for labels in ({}, {"instance": "churn-0"}, {"instance": "churn-1"}):
        hook = webhook(alert(team="ml", cluster="eu", **P99, **labels))
        group = parse(json.dumps(hook).encode())
        story = tell(source, group, NOW + 5.0, 60, 10_800)
        found.append([subject.anomaly.labels for subject in story.subjects])
    source.close()
    job = ("job", "churn")
    # The third has no series of its own; that of the whole job has no label that contradicts it.
    assert found == [[(job,)], [(("instance", "churn-0"), job)], [(job,)]]


def test_series_that_are_gone_are_no_anomaly_of_one_that_had_one_before(
    server: Server, tmp_path: Path
) -> None:
    seed(server)
    source = patient(settings(tmp_path, [], server.url))
    titles = []
    for until in (0, NOW - 60):
        gone = alert("AnomalyNoData", until, **P99)
        gone["annotations"] |= {"summary": "p99 of churn has no data.", "description": "0 of 1."}
        group = parse(json.dumps(webhook(gone)).encode())
        story = tell(source, group, NOW + 5.0, 60, 10_800)
        assert story.subjects == ()
        message = compose(group, story, NOW + 5.0)
        titles.append(message.title)
        assert f"{P99['signal']}: 0 of 1." in plain(message)
    source.close()
    assert titles == [
        "[WARNING] churn: p99 of churn has no data, since 03:04 UTC",
        f"[RESOLVED] churn: {P99['signal']} without data, over after 15 min",
    ]


def test_the_worst_of_an_incident_is_its_farthest_moment_and_not_that_of_one_before(
    server: Server, tmp_path: Path
) -> None:
    times = np.arange(NOW - 7200, NOW + 1, 60)
    before = (times >= NOW - 5400) & (times < NOW - 4800)
    on = (times >= NOW - 1200) & (times < NOW - 300)
    # The score grows while the value is on its way back.
    observed = np.where(before, 9.0, np.where(on, 5.0 - (times - (NOW - 1200)) / 300, 1.0))
    parts = {"observed": observed, "expected": 1.0, "lower": 0.5, "upper": 1.5}
    parts |= {"score": np.where(on, 1.0 + times % 3600 / 3600, 0.5), "state": on | before}
    labels = {"signal": "checkout_load", "kind": "other", "job": "shop"}
    for part, values in parts.items():
        server.write(f"anomaly_{part}", times, values * np.ones(len(times)), **labels)
    over = parse(
        json.dumps(
            webhook(alert(until=NOW - 300, **labels) | {"startsAt": stamp(NOW - 1080)})
        ).encode()
    )
    source = patient(settings(tmp_path, [], server.url))
    story = tell(source, over, NOW + 5.0, 60, 10_800)
    source.close()
    (subject,) = story.subjects
    assert (subject.anomaly.time, subject.anomaly.observed) == (NOW - 1200, 5.0)
    message = compose(over, story, NOW + 5.0)
    assert ", at its worst 5 instead of 1 (5 times)" in message.title
    assert "over after 15 min" in message.title


def test_others_are_a_line_a_signal_and_a_title_names_the_series(
    server: Server, tmp_path: Path
) -> None:
    labels = {"kind": "drift", "job": "model", "instance": "m-0"}
    for name, feature, score in (
        ("input_drift", "REGION", 3.0),
        ("input_drift", "REVENUE", 2.0),
        ("input_missing", "REGION", 1.5),
        ("input_missing", "REVENUE", 1.8),
        ("input_missing", "MONTANT", 1.2),
    ):
        own = {**labels, "signal": name, "feature": feature}
        for part, value_ in (("observed", 0.4), ("expected", 0.1), ("score", score), ("state", 1)):
            server.write(f"anomaly_{part}", np.arange(NOW - 600, NOW + 1, 60), float(value_), **own)
    told = [
        alert("AnomalyDrift", **labels, signal="input_drift", feature=feature)
        for feature in ("REGION", "REVENUE")
    ]
    group = parse(json.dumps(webhook(*told)).encode())
    source = patient(settings(tmp_path, [], server.url))
    message = compose(group, tell(source, group, NOW + 5.0, 60, 10_800), NOW + 5.0)
    source.close()
    assert message.title.startswith("[WARNING] model: input_drift feature=RE")
    assert "0.4 instead of 0.1 (4 times) and 1 more, since " in message.title
    assert message.sections[-1][1] == (
        "input_missing feature=REVENUE instance=m-0 and 2 more (drift): "
        "0.4 instead of 0.1, score 1.8",
    )


def test_an_app_updates_its_message_and_adds_the_picture(
    server: Server, service: Service, tmp_path: Path
) -> None:
    seed(server)
    given = settings(tmp_path, [_bot(tmp_path, service)], server.url)
    with notifying(given, lambda: NOW + 5.0) as (_, url):
        _post(url, webhook(alert(**P99)))
        wait(lambda: service.bodies("/api/files.completeUploadExternal"))
        _post(url, webhook(alert(until=NOW - 60.0, **P99)))
        wait(lambda: len(service.bodies("/api/chat.postMessage")) == 2)
    assert service.bodies("/upload")[0].startswith(PNG)
    (shared,) = service.bodies("/api/files.completeUploadExternal")
    assert (shared["channel_id"], shared["thread_ts"]) == ("C1", "1.0")
    (update,) = service.bodies("/api/chat.update")
    assert update["ts"] == "1.0"
    assert update["text"].startswith("[RESOLVED] churn: churn_latency_p99, over after 17 min")
    assert "from 03:02 UTC to 03:19 UTC; at its worst 4" in _texts(update)
    assert service.bodies("/api/chat.postMessage")[1]["thread_ts"] == "1.0"


def test_a_mail_has_the_picture_inside_and_says_all_without_it(
    server: Server, tmp_path: Path
) -> None:
    seed(server)
    port = free_port()
    given = settings(tmp_path, [_mail(port)], server.url)
    with (
        sink("127.0.0.1", port, 0, tmp_path / "mail") as (store, _, _),
        notifying(given, lambda: NOW + 5.0) as (_, url),
    ):
        _post(url, webhook(alert(**P99)))
        wait(store.since)
        _post(url, webhook(alert(until=NOW - 60.0, **P99)))
        wait(lambda: len(store.since()) == 2)
    first, second = (
        email.message_from_string(m["raw"], policy=email.policy.default) for m in store.since()
    )
    assert isinstance(first, EmailMessage)
    kinds = [part.get_content_type() for part in first.walk()]
    assert kinds[0] == "multipart/related"
    assert kinds[-3:] == ["text/plain", "text/html", "image/png"]
    page, text = first.get_body(("html",)), first.get_body(("plain",))
    assert page is not None
    assert text is not None
    assert "cid:anomaly.png" in page.get_content()
    words = text.get_content()
    for said in ("428ms instead of 202ms", "since 03:02 UTC", "churn_concurrency", "Runbook: http"):
        assert said in words
    assert second["Subject"].startswith("[RESOLVED] churn: churn_latency_p99")
    assert first["References"] == second["References"]


def test_without_prometheus_the_alert_goes_out_all_the_same(
    service: Service, tmp_path: Path
) -> None:
    with notifying(settings(tmp_path, [_hook(tmp_path, service)])) as (_, url):
        _post(url, webhook(alert(**P99)))
        wait(lambda: service.got)
    said = _texts(service.got[0][1])
    assert "observed 413ms, expected 187ms" in said
    assert "Prometheus gives no numbers for it now (unreachable)" in said


def test_alerts_without_a_story_are_told_in_the_order_of_their_gravity(tmp_path: Path) -> None:
    hook = webhook(
        alert("Disk", severity="info"),
        alert("Down", severity="critical"),
        alert("Old", until=NOW),
        truncatedAlerts=7,
    )
    group = parse(json.dumps(hook).encode())
    assert (group.firing, group.resolved, group.severity) == (9, 1, "critical")
    message = compose(group, Story(), NOW)
    assert message.title.startswith("[CRITICAL] Latency of churn is not what it usually is")
    assert [line.split(":")[0] for line in message.sections[0][1][:3]] == ["Down", "Disk", "Old"]
    assert "and 7 more alerts" in plain(message)


# What fails.


def test_rate_limits_are_honoured_and_errors_tried_again(service: Service, tmp_path: Path) -> None:
    service.answers = [
        (429, {"Retry-After": "2"}, "ratelimited"),
        (500, {}, "oops"),
        (403, {}, "invalid_token"),
    ]
    with notifying(settings(tmp_path, [_hook(tmp_path, service)])) as (notifier, url):
        _post(url, webhook(alert()))
        wait(lambda: value(notifier, "detector_notify_deliveries_total", outcome="sent") == 1)
        for reason in ("rate_limited", "server_error", "refused"):
            assert value(notifier, "detector_notify_failures_total", reason=reason) == 1
    assert service.times[1] - service.times[0] >= 2
    assert len(service.got) == 4


def test_a_service_that_does_not_answer_is_tried_again(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detector.notify.slack.TIMEOUT_SECONDS", 0.3)
    service.delay = 1
    with notifying(settings(tmp_path, [_hook(tmp_path, service)])) as (notifier, url):
        _post(url, webhook(alert()))
        wait(lambda: value(notifier, "detector_notify_failures_total", reason="timeout") == 1)
        service.delay = 0
        wait(lambda: value(notifier, "detector_notify_deliveries_total", outcome="sent") == 1)


def test_a_picture_that_is_not_taken_does_not_stop_the_message(
    server: Server, service: Service, tmp_path: Path
) -> None:
    seed(server)
    good = json.dumps({"ok": True, "channel": "C1", "ts": "1.0"})
    refused = json.dumps({"ok": False, "error": "missing_scope"})
    service.answers = [(200, {}, good), (200, {}, refused)]
    given = settings(tmp_path, [_bot(tmp_path, service)], server.url)
    with notifying(given, lambda: NOW + 5.0) as (notifier, url):
        _post(url, webhook(alert(**P99)))
        wait(lambda: value(notifier, "detector_notify_deliveries_total", outcome="sent") == 1)
    assert [path for path, _ in service.got] == [
        "/api/chat.postMessage",
        "/api/files.getUploadURLExternal",
    ]


def test_a_picture_goes_to_no_foreign_address(
    server: Server, service: Service, tmp_path: Path
) -> None:
    seed(server)
    good = json.dumps({"ok": True, "channel": "C1", "ts": "1.0"})
    with http_service() as foreign:
        named = json.dumps({"ok": True, "upload_url": f"http://localhost:{foreign.port}/upload"})
        service.answers = [(200, {}, good), (200, {}, named)]
        given = settings(tmp_path, [_bot(tmp_path, service)], server.url)
        with notifying(given, lambda: NOW + 5.0) as (notifier, url):
            _post(url, webhook(alert(**P99)))
            wait(lambda: value(notifier, "detector_notify_deliveries_total", outcome="sent") == 1)
        assert foreign.got == []


def test_a_message_that_is_refused_for_good_is_put_aside(service: Service, tmp_path: Path) -> None:
    service.answers = [(400, {}, "invalid_payload")]
    with notifying(settings(tmp_path, [_hook(tmp_path, service)])) as (notifier, url):
        _post(url, webhook(alert("First")), webhook(alert("Second")))
        wait(lambda: len(service.got) == 2)
        wait(lambda: value(notifier, "detector_notify_deliveries_total", outcome="sent") == 1)
        assert value(notifier, "detector_notify_deliveries_total", outcome="dead") == 1
    (line,) = (tmp_path / "spool" / "dead.jsonl").read_text(encoding="utf-8").splitlines()
    dead = json.loads(line)
    assert (dead["target"], dead["reason"]) == ("hook", "slack: HTTP 400 invalid_payload")
    assert "observed 413ms" in dead["text"]


def test_a_slow_service_does_not_hold_up_another(service: Service, tmp_path: Path) -> None:
    with http_service() as quick:
        service.delay = 3
        targets = [_hook(tmp_path, service, "slow"), _hook(tmp_path, quick, "quick")]
        with notifying(settings(tmp_path, targets)) as (_, url):
            _post(url, webhook(alert()))
            wait(lambda: quick.got)
            assert not service.got
            wait(lambda: service.got)


def test_what_waits_is_measured_while_a_service_hangs(service: Service, tmp_path: Path) -> None:
    service.delay = 3
    now = [float(NOW)]
    with notifying(settings(tmp_path, [_hook(tmp_path, service)]), lambda: now[0]) as (one, url):
        assert value(one, "detector_notify_deliveries_total", outcome="dead") == 0
        assert value(one, "detector_notify_webhooks_total", outcome="failed") == 0
        _post(url, webhook(alert()))
        now[0] += 700
        assert value(one, "detector_notify_oldest_pending_seconds") == 700
        wait(lambda: value(one, "detector_notify_pending") == 0)
        assert value(one, "detector_notify_oldest_pending_seconds") == 0


def test_an_hour_of_failures_ends_in_the_dead_letters(service: Service, tmp_path: Path) -> None:
    service.answers = [(500, {}, "")] * 2
    now = [float(NOW)]
    given = settings(tmp_path, [_hook(tmp_path, service)], give_up="1h")
    with notifying(given, lambda: now[0]) as (notifier, url):
        _post(url, webhook(alert()))
        # The failure is noted with its time; only then an hour may pass.
        wait(lambda: notifier.spool.due("hook", 1)[0].attempts == 1)
        now[0] += 3700
        wait(lambda: value(notifier, "detector_notify_deliveries_total", outcome="dead") == 1)
        assert value(notifier, "detector_notify_pending") == 0


class _Refusing:
    """An SMTP server that knows nobody."""

    async def handle_DATA(self, *_: Any) -> str:  # noqa: N802
        return "250 ok"


def test_mail_is_tried_again_when_nobody_listens_and_when_the_password_is_wrong(
    tmp_path: Path,
) -> None:
    port = free_port()
    with notifying(settings(tmp_path, [_mail(port)])) as (notifier, url):
        _post(url, webhook(alert()))
        wait(lambda: value(notifier, "detector_notify_failures_total", reason="unreachable") >= 1)
        with sink("127.0.0.1", port, 0, tmp_path / "mail") as (store, _, _):
            wait(store.since)
    # A real server that refuses AUTH; without TLS the shipped settings send no password, hence
    # Apprise's own address.
    smtp = Controller(
        _Refusing(),
        hostname="127.0.0.1",
        port=free_port(),
        auth_require_tls=False,
        auth_required=True,
        authenticator=lambda *_: AuthResult(success=False, handled=False),
    )
    smtp.start()
    address = (
        f"mailto://u:wrong@127.0.0.1:{smtp.port}?mode=insecure&from=a@example.org&to=b@example.org"
    )
    file = secret_file(tmp_path, "apprise", address)
    given = settings(tmp_path / "second", [{"name": "auth", "apprise_file": file}])
    try:
        with notifying(given) as (notifier, url):
            _post(url, webhook(alert()))
            wait(lambda: value(notifier, "detector_notify_failures_total", reason="refused") >= 1)
    finally:
        smtp.stop()


def test_apprise_sends_text_and_picture_to_any_service(
    server: Server, service: Service, tmp_path: Path
) -> None:
    seed(server)
    service.answers = [(503, {}, "")]
    file = secret_file(tmp_path, "apprise", f"json://127.0.0.1:{service.port}/p")
    given = settings(tmp_path, [{"name": "any", "apprise_file": file}], server.url)
    with notifying(given, lambda: NOW + 5.0) as (notifier, url):
        _post(url, webhook(alert(**P99)))
        wait(lambda: len(service.got) == 2)
        assert value(notifier, "detector_notify_failures_total", reason="server_error") == 1
    body = service.got[1][1]
    assert "428ms instead of 202ms" in body["title"]
    assert "churn_concurrency" in body["message"]
    assert body["type"] == "warning"
    assert len(body["attachments"]) == 1


# What is kept.


def test_replays_are_dropped_and_reminders_are_not(service: Service, tmp_path: Path) -> None:
    now = [float(NOW)]
    given = settings(tmp_path, [_hook(tmp_path, service)], repeat="1h")
    with notifying(given, lambda: now[0]) as (notifier, url):
        hook = webhook(alert(path="a"), alert(path="b"))
        _post(url, hook, hook, hook)
        wait(lambda: len(service.got) == 1)
        # One of two is over: not a message of its own where nothing can be updated.
        _post(url, webhook(alert(path="a"), alert(path="b", until=NOW)))
        wait(lambda: value(notifier, "detector_notify_deliveries_total", outcome="unchanged") == 1)
        now[0] += 43_200
        _post(url, webhook(alert(path="a"), alert(path="b", until=NOW)))
        wait(lambda: len(service.got) == 2)
        _post(url, webhook(alert(path="a", until=NOW), alert(path="b", until=NOW)))
        wait(lambda: len(service.got) == 3)
        assert value(notifier, "detector_notify_webhooks_total", outcome="duplicate") == 2
    assert service.got[2][1]["text"].startswith("[RESOLVED]")


def test_nothing_is_lost_when_the_process_is_killed(service: Service, tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "detector.yml"
    target = _hook(tmp_path, service)
    target["slack"]["webhook_file"] = str(target["slack"]["webhook_file"])
    own = {"listen": f"127.0.0.1:{port}", "directory": str(tmp_path / "spool"), "targets": [target]}
    document = {"prometheus": {"url": "http://127.0.0.1:1"}, "notify": own}
    config.write_text(yaml.safe_dump(document), encoding="utf-8")
    code = "import sys; from detector.cli import main; main()"
    command = [sys.executable, "-c", code, "notify", "--config", str(config)]
    service.answers = [(500, {}, "")] * 3

    def started() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stderr=subprocess.PIPE)

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait(listens)
        return process

    process = started()
    url = f"http://127.0.0.1:{port}"
    assert _post(f"{url}/alerts", webhook(alert("A")), webhook(alert("B"))) == [200, 200]
    wait(lambda: service.got)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    service.got.clear()
    service.answers.clear()
    process = started()
    try:
        wait(lambda: len(service.got) == 2)
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert "detector_notify_pending" in httpx.get(f"{url}/metrics").text
    finally:
        process.terminate()
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    # Neither address nor token is in the log.
    assert b"secret" not in log
    assert (tmp_path / "spool" / "spool.sqlite").stat().st_mode & 0o077 == 0


def test_ten_thousand_alerts_are_few_messages(service: Service, tmp_path: Path) -> None:
    given = settings(tmp_path, [_hook(tmp_path, service)], storm=5)
    many = [alert("AnomalyLatency", job=f"job{i % 7}", path=str(i)) for i in range(10_000)]
    with notifying(given) as (notifier, url):
        # In one group: one message.
        assert _post(url, webhook(*many)) == [200]
        wait(lambda: len(service.got) == 1)
        assert len(notifier.spool.group(parse(json.dumps(webhook(*many)).encode()).key).alerts) == (
            KEPT
        )
        # A group each: a few messages, and summaries of the rest.
        service.delay = 0.5
        groups = [webhook(one, group=f"g{i}") for i, one in enumerate(many[:2_000])]
        sharers = [threading.Thread(target=_post, args=(url, *groups[i::4])) for i in range(4)]
        for thread in sharers:
            thread.start()
        for thread in sharers:
            thread.join()
        wait(lambda: value(notifier, "detector_notify_deliveries_total", outcome="summarised") > 0)
        assert len(service.got) <= 1 + 5 + 1
        summary = service.got[-1][1]
    assert "groups of alerts changed at once" in summary["text"]
    assert "By job" in _texts(summary)
    assert "and 9,999 more" in service.got[0][1]["text"]


# What is hostile.


def _hostile() -> dict[str, Any]:
    labels = {"job": HOSTILE, "signal": HOSTILE, "kind": "other", "path": HOSTILE + "x" * 10_000}
    one = alert("AnomalyOther", **labels)
    one["annotations"] = {
        "summary": HOSTILE,
        "description": HOSTILE + "y" * 10_000,
        "runbook_url": "javascript:alert(1)|x>",
        "dashboard_url": "http://user@evil.invalid/<script>|x",
    }
    return webhook(one, externalURL="http://am.invalid/")


def test_hostile_values_are_inert_in_every_form() -> None:
    group = parse(json.dumps(_hostile()).encode())
    message = compose(group, Story(), NOW)
    body, page, text = slack(message), html(message), plain(message)
    assert len(json.dumps(body)) < 6_000
    # Only the title is read as mrkdwn, and only its escapes are left there.
    for place in (body["text"], body["attachments"][0]["fallback"]):
        assert not {"<", ">"} & set(place)
        assert "&lt;!channel&gt;" in place
    assert body["mrkdwn"] is False
    assert {
        e["type"] for s in body["attachments"][0]["blocks"][0]["elements"] for e in s["elements"]
    } <= {"text", "link"}
    assert "<script>" not in page
    assert "javascript:" not in page + text + json.dumps(body)
    assert not [line for line in text.splitlines() if line.startswith("Forged")]
    assert "\n" not in message.title
    assert "\\[a\\]\\(http" in inert.markdown("[a](http://x)")
    assert "@everyone" not in inert.unmarked(text)


@pytest.mark.parametrize("form", ["text", "html", "markdown"])
def test_hostile_values_are_inert_in_what_apprise_sends(
    form: str, service: Service, tmp_path: Path
) -> None:
    address = f"json://127.0.0.1:{service.port}/p?format={form}"
    file = secret_file(tmp_path, "apprise", address)
    with notifying(settings(tmp_path, [{"name": "any", "apprise_file": file}])) as (_, url):
        _post(url, _hostile())
        wait(lambda: service.got)
    sent = service.got[0][1]
    said = sent["title"] + "\n" + sent["message"]
    assert "Forged" in said
    assert not [line for line in said.splitlines() if line.startswith("Forged")]
    assert "{{ .Values }}" in said.replace("\\", "")
    assert "@everyone" not in said
    assert not {"<", ">"} & set(said.replace("<br", "").replace("/>", ""))
    assert "[a](" not in said
    if form == "markdown":
        assert "*x*" not in said.replace("\\*", "")


# A long one cuts the heading, which may leave an odd number of $: no mathematics at all.
@pytest.mark.parametrize("path", ["short", HOSTILE.strip()])
def test_a_hostile_series_is_found_drawn_and_told(
    path: str, server: Server, tmp_path: Path
) -> None:
    labels = {"signal": "x$^{$<b>", "kind": "other", "job": 'a"b\\c{{.}}', "path": path}
    seed(server, **labels)
    hook = webhook(alert("AnomalyOther", team="not on the series", **labels))
    group = parse(json.dumps(hook).encode())
    given = settings(tmp_path, [], server.url)
    source = patient(given)
    story = tell(source, group, NOW + 5.0, 60, 10_800)
    source.close()
    (subject,) = story.subjects
    assert subject.anomaly.observed == pytest.approx(0.428, abs=0.001)
    assert subject.anomaly.since == SINCE
    assert subject.anomaly.episodes == 2
    assert np.isfinite(subject.anomaly.usual).all()
    assert draw(subject).startswith(PNG)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"groupKey": 1}', b'{"groupKey": "a", "alerts": []}', b"\xff\xfe"]
)
def test_what_is_no_webhook_is_refused_in_one_line(
    body: bytes, service: Service, tmp_path: Path
) -> None:
    with notifying(settings(tmp_path, [_hook(tmp_path, service)])) as (_, url):
        answer = httpx.post(url, content=body)
        assert answer.status_code == 400
        assert answer.text.startswith("no webhook of Alertmanager: ")
        assert httpx.get(url).status_code == 405
        with socket.create_connection(("127.0.0.1", httpx.URL(url).port)) as caller:
            caller.sendall(b"POST /alerts HTTP/1.0\r\nContent-Length: 1073741824\r\n\r\n")
            assert b" 413 " in caller.recv(100)
    assert service.got == []


def test_a_token_is_asked_for_where_one_is_set(service: Service, tmp_path: Path) -> None:
    token = secret_file(tmp_path, "bearer", "hello")
    given = settings(tmp_path, [_hook(tmp_path, service)], token_file=token)
    with notifying(given) as (_, url):
        assert httpx.post(url, json=webhook(alert())).status_code == 401
        good = {"Authorization": "Bearer hello"}
        assert httpx.post(url, json=webhook(alert()), headers=good).status_code == 200


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"name": "a", "apprise_file": "tgram://token/1"}, "write it into a file"),
        ({"name": "a", "url": "https://hooks.slack.com/services/T/B/s"}, "write it into a file"),
        ({"name": "a"}, "needs one of slack, email and apprise_file"),
        ({"name": "a", "slack": {"channel": "#a"}}, "channel and token_file of a bot"),
        ({"name": "a", "slack": {"webhok_file": "x"}}, "did you mean 'webhook_file'?"),
        (
            {"name": "a", "email": {"host": "u:p@h:25", "from": "a", "to": "b"}},
            "without credentials",
        ),
        (
            {"name": "a", "slack": {"channel": "a", "token_file": "x", "api_url": "http://u:p@h"}},
            "credentials do not belong in a URL",
        ),
    ],
)
def test_mistakes_in_the_configuration_are_one_line_without_the_secret(
    target: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "detector.yml"
    path.write_text(yaml.safe_dump({"notify": {"targets": [target]}}), encoding="utf-8")
    with pytest.raises(ConfigError, match="notify") as raised:
        configuration.load(path)
    line = str(raised.value)
    assert said in line
    assert "\n" not in line
    assert "token/1" not in line
    assert "services/T" not in line


def test_alertmanager_sends_what_we_read(service: Service, tmp_path: Path) -> None:
    with notifying(settings(tmp_path, [_hook(tmp_path, service)])) as (_, url):
        config = tmp_path / "alertmanager.yml"
        receiver = {"name": "n", "webhook_configs": [{"url": url, "send_resolved": True}]}
        route = {"receiver": "n", "group_by": ["job"], "group_wait": "0s", "group_interval": "1s"}
        config.write_text(yaml.safe_dump({"route": route, "receivers": [receiver]}), "utf-8")
        flags = (
            f"--config.file={config}",
            f"--storage.path={tmp_path / 'am'}",
            "--cluster.listen-address=",
        )
        with serving("alertmanager", tmp_path, *flags) as client:
            now = time.time()
            for ended in (False, True):
                one = {
                    "labels": alert(**P99)["labels"],
                    "annotations": {"summary": "Slow."},
                    "startsAt": _utc(now - 60),
                } | ({"endsAt": _utc(now - 1)} if ended else {})
                client.post("/api/v2/alerts", json=[one]).raise_for_status()
                wait(lambda ended=ended: len(service.got) == 1 + ended)
    assert [body["text"][:11] for _, body in service.got] == ["[WARNING] c", "[RESOLVED] "]


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
