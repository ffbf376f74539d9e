"""Saves what people were sent about each fault of a demonstration, as files to read."""

from __future__ import annotations

import json
from email import message_from_string, policy
from pathlib import Path
from typing import Any

from detector.errors import ConfigError
from simulator.timeline import Timeline


def prepare(directory: Path) -> None:
    """Make the directory, so that one that cannot be made is known before the demonstration.

    Raises
    ------
    ConfigError
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--messages {directory}: cannot be made ({error.strerror})") from None


def save(timelines: list[Timeline], messages: list[dict[str, Any]], directory: Path) -> list[Path]:
    """Write a folder for each fault; return the files.

    Parameters
    ----------
    timelines : list of Timeline
    messages : list of dict
        All that the sink received, as it keeps them.
    directory : Path
        ``<fault>/<sender>[_resolved].slack.json``, ``.mail.txt`` (headers that people see, and the
        plain part) and ``.mail.png``.

    Raises
    ------
    ConfigError
        When the directory cannot be written.
    """
    known = {(m["channel"], m["sender"], m["received"]): m["raw"] for m in messages}
    files = []
    for timeline in timelines:
        place = directory / timeline.injection.title.replace(" ", "_")
        for letter, message in timeline.heard.items():
            raw = known[message.channel, message.sender, message.received]
            name = "notify" if letter.enriched else "alertmanager"
            stem = f"{name}_resolved" if letter.resolved else name
            for suffix, content in _parts(letter.channel, raw):
                files.append(place / f"{stem}.{suffix}")
                try:
                    place.mkdir(parents=True, exist_ok=True)
                    files[-1].write_bytes(content)
                except OSError as error:
                    raise ConfigError(f"cannot write {files[-1]}: {error.strerror}") from None
    return files


def _parts(channel: str, raw: Any) -> list[tuple[str, bytes]]:
    """Return name and content of the files of a message."""
    if channel == "slack":
        return [("slack.json", (json.dumps(raw, indent=2, ensure_ascii=False) + "\n").encode())]
    mail = message_from_string(raw, policy=policy.default)
    body = mail.get_body(("plain",))
    text = str(body.get_content()) if body is not None else ""
    head = "".join(f"{name}: {mail[name]}\n" for name in ("From", "To", "Subject"))
    lines = "\n".join(line.rstrip() for line in text.splitlines()).strip()
    found = [("mail.txt", f"{head}\n{lines}\n".encode())]
    for part in mail.walk():
        picture = part.get_payload(decode=True)
        if part.get_content_type() == "image/png" and isinstance(picture, bytes):
            found.append(("mail.png", picture))
    return found
