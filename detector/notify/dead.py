"""Keeps what could not be delivered in a file that people and scripts can read."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from detector.notify.message import Message
from detector.notify.webhook import Group
from detector.notify.writing import plain

# Two files of this size at most: the newest, and the one before.
MOST_BYTES = 16 << 20


class DeadLetters:
    """`dead.jsonl`: one line a message, with time (unix seconds), target, reason, text."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "dead.jsonl"
        self._lock = threading.Lock()

    def put(self, target: str, reason: str, message: Message, group: Group, now: float) -> None:
        """Add a message; it is on disk when this returns."""
        entry = {
            "time": now,
            "target": target,
            "reason": reason,
            "status": message.status,
            "title": message.title,
            "text": plain(message),
            "labels": group.labels,
        }
        with self._lock:
            if self._path.exists() and self._path.stat().st_size > MOST_BYTES:
                self._path.replace(self._path.with_suffix(".1.jsonl"))
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
