"""The messages of a demonstration, saved as files."""

from __future__ import annotations

import json
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from detector.errors import ConfigError
from simulator.keepsakes import save
from simulator.timeline import Injection, Letter, Timeline
from simulator.watch import Message

LATENCY = Injection("latency", 0.1, "churn_latency_p50", "latency")
TITLE = "[WARNING] churn: churn_latency_p50 31ms"


def _mail() -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "notify@x.invalid", "a@x.invalid", TITLE
    mail["Message-ID"] = "<1@x.invalid>"
    mail.set_content("what   \nwhy ✓\n")
    mail.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="anomaly.png")
    return mail


def _heard() -> tuple[Timeline, list[dict[str, Any]]]:
    slack, mail = (Message(1.0 + i, c, TITLE, "notify") for i, c in enumerate(("slack", "email")))
    raws = {"slack": {"text": TITLE}, "email": _mail().as_string()}
    kept = [
        {"channel": m.channel, "sender": m.sender, "received": m.received, "raw": raws[m.channel]}
        for m in (slack, mail)
    ]
    timeline = Timeline(LATENCY, 0.0)
    timeline.heard = {
        Letter(resolved=False, enriched=True, channel="slack"): slack,
        Letter(resolved=True, enriched=False, channel="email"): mail,
    }
    return timeline, kept


def test_each_message_is_a_file_to_read_and_the_picture_another(tmp_path: Path) -> None:
    timeline, kept = _heard()
    files = save([timeline], kept, tmp_path / "out")
    folder = tmp_path / "out" / "latency_0.1"
    assert sorted(path.name for path in files) == [
        "alertmanager_resolved.mail.png",
        "alertmanager_resolved.mail.txt",
        "notify.slack.json",
    ]
    assert sorted(folder.iterdir()) == sorted(files)
    assert json.loads((folder / "notify.slack.json").read_text("utf-8")) == {"text": TITLE}
    assert (folder / "alertmanager_resolved.mail.txt").read_text("utf-8") == (
        f"From: notify@x.invalid\nTo: a@x.invalid\nSubject: {TITLE}\n\nwhat\nwhy ✓\n"
    )
    assert (folder / "alertmanager_resolved.mail.png").read_bytes() == b"\x89PNG"


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    timeline, kept = _heard()
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"cannot write .*: Not a directory"):
        save([timeline], kept, tmp_path / "file")
