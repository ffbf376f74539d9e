"""The message sinks, spoken to as Slack's and an e-mail's senders do."""

from __future__ import annotations

import json
import re
import smtplib
import socket
import subprocess
import sys
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from detector.errors import ConfigError
from simulator.sink import MESSAGES_FILE, mail_text, sink, slack_text


def _mail(subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = (
        "a@example.invalid",
        "b@example.invalid",
        subject,
    )
    message.set_content(text)
    message.add_alternative(f"<p>{text}</p>", subtype="html")
    return message


def test_both_channels_are_kept_in_order_and_in_a_file(tmp_path: Path) -> None:
    attachment = {"title": "[FIRING:1] A churn", "text": "Wie geht's? ✓"}
    with sink("127.0.0.1", 0, 0, tmp_path) as (_, smtp, http):
        for path in ("/slack", "/services/T0/B0/secret"):
            answer = httpx.post(
                f"http://127.0.0.1:{http}{path}", json={"attachments": [attachment]}
            )
            assert (answer.status_code, answer.text) == (200, "ok")
        with smtplib.SMTP("127.0.0.1", smtp, timeout=5) as client:
            client.send_message(_mail("[RESOLVED] A ✓ " + "long " * 30, "all good again"))
        url = f"http://127.0.0.1:{http}"
        messages = httpx.get(f"{url}/messages").json()
        assert [m["channel"] for m in messages] == ["slack", "slack", "email"]
        assert (messages[0]["title"], messages[0]["text"]) == tuple(attachment.values())
        assert [m["sender"] for m in messages] == ["", "T0/B0/secret", "a"]
        assert messages[0]["raw"] == {"attachments": [attachment]}
        assert messages[2]["title"] == ("[RESOLVED] A ✓ " + "long " * 30).strip()
        assert messages[2]["text"].strip() == "all good again"
        assert "From: a@example.invalid" in messages[2]["raw"]
        assert messages[0]["received"] <= messages[2]["received"]
        assert httpx.get(f"{url}/messages?since=2").json() == messages[2:]
        assert httpx.get(f"{url}/messages?since=-1").status_code == 400
        assert httpx.get(f"{url}/healthz").text == "ok"
    lines = (tmp_path / MESSAGES_FILE).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == messages
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", smtp), timeout=1)


def test_the_log_has_a_line_a_message_and_nothing_of_the_protocol(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "simulator", "sink", "--smtp-port=0", "--http-port=0"]
    with subprocess.Popen(
        [*command, f"--dir={tmp_path}"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            port = re.search(r"SMTP on 127\.0\.0\.1:(\d+)", process.stderr.readline())
            assert port, "something else was logged before"
            with smtplib.SMTP("127.0.0.1", int(port[1]), timeout=5) as client:
                client.send_message(_mail("[FIRING:1] A", "text"))
        finally:
            process.terminate()
        lines = process.stderr.read().splitlines()
    assert [line.partition(" INFO ")[2] for line in lines] == ["email: [FIRING:1] A"]


@pytest.mark.parametrize("body", ["", "{", "[]", "{}", '"text"'])
def test_what_slack_would_refuse_is_refused(tmp_path: Path, body: str) -> None:
    with sink("127.0.0.1", 0, 0, tmp_path) as (store, _, http):
        answer = httpx.post(f"http://127.0.0.1:{http}/slack", content=body)
        assert answer.status_code == 400
        assert store.since() == []


def test_a_message_without_attachment_has_its_first_line_as_title() -> None:
    assert slack_text({"text": "one\ntwo"}) == ("one", "one\ntwo")
    assert slack_text({"attachments": ["nonsense"], "text": "x"}) == ("x", "x")


def test_the_words_of_blocks_are_read_in_order() -> None:
    section = {"type": "rich_text_section"}
    link = {"type": "link", "url": "http://x.invalid", "text": "Runbook"}
    elements = [
        section | {"elements": [{"type": "text", "text": "Look: "}, link]},
        section | {"elements": [{"type": "text", "text": "why"}, {"type": "link", "url": "u"}]},
    ]
    blocks = [{"type": "rich_text", "elements": elements}]
    message = {"text": "title", "attachments": [{"fallback": "title", "blocks": blocks}]}
    assert slack_text(message) == ("title", "title\nLook: Runbook\nwhyu")
    nonsense = {"text": "title", "attachments": [{"blocks": [1, {"elements": ["x", None]}]}]}
    assert slack_text(nonsense)[0] == "title"


def test_an_email_of_an_unknown_character_set_keeps_its_subject() -> None:
    raw = b"Subject: hello\r\nContent-Type: text/plain; charset=klingon\r\n\r\n\xff\xfe\r\n"
    assert mail_text(raw)[0] == "hello"


def test_an_email_of_html_alone_is_read() -> None:
    raw = b"Subject: a\r\n b\r\nContent-Type: text/html\r\n\r\n<b>x</b>\r\n"
    assert mail_text(raw) == ("a b", "<b>x</b>\n")


def test_a_taken_port_and_an_unwritable_directory_are_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"127.0.0.1:{port}.*choose another port"),
            sink("127.0.0.1", port, 0, tmp_path),
        ):
            pass
        with (
            pytest.raises(ConfigError, match="choose another port"),
            sink("127.0.0.1", 0, port, tmp_path),
        ):
            pass
    (tmp_path / "file").write_text("", encoding="utf-8")
    with (
        pytest.raises(ConfigError, match="cannot write messages"),
        sink("127.0.0.1", 0, 0, tmp_path / "file" / "x"),
    ):
        pass
