"""Keeps what is to be told on disk: the newest state of each group, and who was told of it.

SQLite commits before a webhook is answered and after a message is accepted, so a process that is
killed loses nothing; at worst it says the last message again.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector.errors import ConfigError
from detector.notify.inert import line
from detector.notify.webhook import Group, decode, encode

SCHEMA = """
CREATE TABLE IF NOT EXISTS groups (
  key TEXT PRIMARY KEY, digest TEXT NOT NULL, said TEXT NOT NULL, status TEXT NOT NULL,
  alerts INTEGER NOT NULL, alertname TEXT NOT NULL, job TEXT NOT NULL, severity TEXT NOT NULL,
  url TEXT NOT NULL, payload BLOB NOT NULL, changed REAL NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
  key TEXT NOT NULL, target TEXT NOT NULL, told TEXT NOT NULL DEFAULT '',
  firing TEXT NOT NULL DEFAULT '[]', reference TEXT NOT NULL DEFAULT '',
  attempts INTEGER NOT NULL DEFAULT 0, failing REAL, PRIMARY KEY (key, target));
CREATE INDEX IF NOT EXISTS changed ON groups (changed);
"""
DUE = """
FROM groups g LEFT JOIN deliveries d ON d.key = g.key AND d.target = ?
WHERE g.digest != coalesce(d.told, '')
"""
# A firing group that Alertmanager has not spoken of for so long is gone.
FORGOTTEN_SECONDS = 7 * 86400
SUMMARY_ROWS = 5


@dataclass(frozen=True)
class Pending:
    """One group that a target has to be told of.

    Parameters
    ----------
    key, digest : str
        The group and the state to be told.
    changed : float
        Unix seconds when that state arrived.
    attempts : int
    failing : float
        Unix seconds of the first failure, 0 before one.
    reference : str
        How the target knows the message it has, empty without one.
    firing : frozenset of str
        The firing alerts it was told of.
    """

    key: str
    digest: str
    changed: float
    attempts: int
    failing: float
    reference: str
    firing: frozenset[str]


@dataclass(frozen=True)
class Storm:
    """All that is pending for a target, counted."""

    digests: tuple[tuple[str, str], ...]
    alerts: int
    url: str
    counts: dict[str, list[tuple[str, int]]]


class Spool:
    """The file of one process; safe to share between threads.

    Raises
    ------
    ConfigError
        When the directory cannot be written or belongs to something else.
    """

    def __init__(self, directory: Path) -> None:
        self._lock = threading.Lock()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            path = directory / "spool.sqlite"
            # Alerts name hosts and customers.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"notify.directory {directory}: {error}; name a directory that can be written"
            ) from None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def accept(self, group: Group, now: float, repeat: float) -> bool:
        """Keep the newest state of a group; return False when it is known already.

        A state that is known is news again `repeat` seconds later: that is Alertmanager's
        `repeat_interval`, not a replay.
        """
        with self._lock:
            known = self._db.execute(
                "SELECT said, changed FROM groups WHERE key = ?", (group.key,)
            ).fetchone()
            if known and known[0] == group.digest and now - known[1] < repeat:
                return False
            again = known is not None and known[0] == group.digest
            first = group.alerts[0].labels
            self._db.execute(
                "INSERT OR REPLACE INTO groups VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    group.key,
                    f"{group.digest}@{now:.0f}" if again else group.digest,
                    group.digest,
                    group.status,
                    group.firing + group.resolved,
                    line(first.get("alertname", ""), 80),
                    line(first.get("job", ""), 80),
                    line(group.severity, 20),
                    group.url,
                    encode(group),
                    now,
                ),
            )
            self._db.execute(
                "UPDATE deliveries SET attempts = 0, failing = NULL WHERE key = ?", (group.key,)
            )
            return True

    def group(self, key: str) -> Group:
        """Return the newest state of a group."""
        with self._lock:
            (payload,) = self._db.execute(
                "SELECT payload FROM groups WHERE key = ?", (key,)
            ).fetchone()
        return decode(payload)

    def due(self, target: str, most: int) -> list[Pending]:
        """Return what a target has to be told: what never failed first, then the oldest."""
        rows = self._all(
            "SELECT g.key, g.digest, g.changed, coalesce(d.attempts, 0), coalesce(d.failing, 0), "
            f"coalesce(d.reference, ''), coalesce(d.firing, '[]') {DUE} "
            "ORDER BY coalesce(d.attempts, 0), g.changed LIMIT ?",
            target,
            most,
        )
        return [
            Pending(key, digest, changed, attempts, failing, reference, frozenset(json.loads(told)))
            for key, digest, changed, attempts, failing, reference, told in rows
        ]

    def backlog(self, target: str) -> tuple[int, float]:
        """Return how many groups are due, and when the oldest of them arrived (0 for none)."""
        ((count, oldest),) = self._all(
            f"SELECT count(*), coalesce(min(g.changed), 0) {DUE}", target
        )
        return int(count), float(oldest)

    def storm(self, target: str) -> Storm:
        """Return all that is due, counted by what helps to see what happened."""
        digests = self._all(f"SELECT g.key, g.digest {DUE}", target)
        ((alerts, url),) = self._all(
            f"SELECT coalesce(sum(g.alerts), 0), coalesce(max(g.url), '') {DUE}", target
        )
        counts = {
            what: self._all(
                f"SELECT g.{column}, count(*) {DUE} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?",
                target,
                SUMMARY_ROWS,
            )
            for what, column in (
                ("status", "status"),
                ("severity", "severity"),
                ("alert", "alertname"),
                ("job", "job"),
            )
        }
        return Storm(tuple(digests), int(alerts), str(url), counts)

    def told(
        self,
        target: str,
        digests: list[tuple[str, str]],
        reference: str | None = None,
        firing: tuple[str, ...] = (),
    ) -> None:
        """Note that a target was told of these groups in these states.

        Parameters
        ----------
        target : str
        digests : list of (str, str)
            Key and digest of each.
        reference : str, optional
            How the target knows its message; without one the old one stays.
        firing : tuple of str
            The firing alerts it now knows of.
        """
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "INSERT INTO deliveries (key, target, told, firing, reference) "
                "VALUES (?, ?, ?, ?, coalesce(?, '')) ON CONFLICT (key, target) DO UPDATE SET "
                "told = excluded.told, firing = excluded.firing, attempts = 0, failing = NULL, "
                "reference = coalesce(?, reference)",
                [
                    (key, target, digest, json.dumps(firing), reference, reference)
                    for key, digest in digests
                ],
            )
            self._db.execute("COMMIT")

    def failed(self, target: str, pending: Pending, now: float) -> None:
        """Note a failure."""
        self._all(
            "INSERT INTO deliveries (key, target, attempts, failing) VALUES (?, ?, 1, ?) "
            "ON CONFLICT (key, target) DO UPDATE SET attempts = attempts + 1, "
            "failing = coalesce(failing, excluded.failing)",
            pending.key,
            target,
            now,
        )

    def forget(self, targets: list[str], now: float, repeat: float) -> int:
        """Delete groups of which all was told long ago; return how many."""
        asked = ", ".join("?" for _ in targets)
        with self._lock:
            gone = self._db.execute(
                "DELETE FROM groups WHERE changed < CASE status WHEN 'resolved' THEN ? ELSE ? END "
                "AND (SELECT count(*) FROM deliveries d WHERE d.key = groups.key "
                f"AND d.told = groups.digest AND d.target IN ({asked})) = ?",
                (now - repeat, now - FORGOTTEN_SECONDS, *targets, len(targets)),
            ).rowcount
            self._db.execute("DELETE FROM deliveries WHERE key NOT IN (SELECT key FROM groups)")
        return int(gone)

    def _all(self, statement: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()
