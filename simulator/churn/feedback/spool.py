"""Keeps predictions on disk while the database is away, in files that survive a kill."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from detector.errors import ConfigError
from simulator.churn.feedback.tables import PredictionRow

# A segment is read as a whole when it is replayed.
_SEGMENT_BYTES = 4 * 1024 * 1024
LARGEST_SPOOL_BYTES = 256 * 1024 * 1024
_SUFFIX = ".spool"


class SpoolFullError(Exception):
    """The spool holds as much as it may."""


@dataclass(frozen=True)
class Segment:
    """One file of the spool: its whole batches, and how many lines were damaged."""

    path: Path
    batches: list[list[PredictionRow]]
    damaged: int


class Spool:
    """A directory of append-only segments; of one process, and one thread of it, at a time.

    A line is a CRC-32 and a JSON list of predictions. `append` returns when the line is on disk.

    Parameters
    ----------
    directory : Path
        Made when missing.
    largest_bytes : int
        More is refused.

    Raises
    ------
    ConfigError
        When the directory cannot be used, or another process uses it.
    """

    def __init__(self, directory: Path, largest_bytes: int = LARGEST_SPOOL_BYTES):
        self._directory = directory
        self._largest = largest_bytes
        self._open: tuple[Path, int] | None = None
        try:
            # It holds customers: nobody else's business.
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(directory / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{directory} is used by another service; give each its own --feedback-dir"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"cannot use {directory} ({error.strerror}); choose another --feedback-dir"
            ) from error
        self._bytes = sum(path.stat().st_size for path in self._segments())

    @property
    def bytes(self) -> int:
        """Bytes that wait for the database."""
        return self._bytes

    def append(self, rows: Sequence[PredictionRow]) -> None:
        """Write predictions and wait until they are on disk.

        Raises
        ------
        SpoolFullError
            Nothing of them was written.
        OSError
            The disk failed; nothing of them is read later.
        """
        text = orjson.dumps([tuple(row) for row in rows])
        line = b"%08x %b\n" % (zlib.crc32(text), text)
        if self._bytes + len(line) > self._largest:
            raise SpoolFullError
        path, descriptor = self._segment()
        start = os.lseek(descriptor, 0, os.SEEK_END)
        try:
            written = os.write(descriptor, line)
            if written < len(line):
                raise OSError(28, "the disk is full")
            os.fdatasync(descriptor)
        except OSError:
            # Half a line would damage the next one.
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, start)
            self._close()
            raise
        self._bytes += len(line)
        if start + len(line) > _SEGMENT_BYTES:
            self._close()

    def oldest(self) -> Segment | None:
        """Return the oldest segment, None when there is none; it stays until `done`."""
        self._close()
        path = min(self._segments(), default=None)
        if path is None:
            return None
        batches, damaged = [], 0
        for line in path.read_bytes().splitlines():
            rows = _rows(line)
            if rows is None:
                damaged += 1
            else:
                batches.append(rows)
        return Segment(path, batches, damaged)

    def done(self, segment: Segment) -> None:
        """Delete a segment whose predictions are stored."""
        self._bytes -= segment.path.stat().st_size
        segment.path.unlink()

    def close(self) -> None:
        """Let another process use the directory."""
        self._close()
        os.close(self._lock)

    def _segments(self) -> Iterator[Path]:
        return self._directory.glob(f"*{_SUFFIX}")

    def _segment(self) -> tuple[Path, int]:
        if self._open is None:
            # Wide enough to sort as text for as long as there are clocks.
            path = self._directory / f"{time.time_ns():020d}{_SUFFIX}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            self._open = path, os.open(path, flags, 0o600)
            directory = os.open(self._directory, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        return self._open

    def _close(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._open = None


def _rows(line: bytes) -> list[PredictionRow] | None:
    """Return the predictions of a line, None when it is not as it was written."""
    checksum, _, text = line.partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(text):
            return None
        return [PredictionRow(*row) for row in orjson.loads(text)]
    except (ValueError, TypeError):
        return None
