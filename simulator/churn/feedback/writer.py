"""Stores predictions from a thread of its own, so that no prediction waits for a disk."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from detector.errors import ConfigError
from simulator.churn.feedback.database import migrate
from simulator.churn.feedback.records import insert_predictions
from simulator.churn.feedback.spool import Spool, SpoolFullError
from simulator.churn.feedback.tables import PredictionRow

log = logging.getLogger("simulator.feedback")

# Two full requests; about 40 MB of customers.
LARGEST_QUEUE = 20_000
_BATCH_ROWS = 1000
# What a kill can take: predictions younger than this have not been written anywhere.
_GATHER_SECONDS = 0.2
_RETRY_SECONDS = 1.0
_STOP_SECONDS = 20.0


class Writer:
    """A bounded queue and the thread that empties it into the database, else into the spool.

    Parameters
    ----------
    engine : Engine
        The database; it may be away, now or later.
    spool : Spool
        Where predictions wait while it is; closed with the writer.
    largest_queue : int
        Predictions that may wait in memory; more are declared lost.
    """

    def __init__(self, engine: Engine, spool: Spool, largest_queue: int = LARGEST_QUEUE):
        self._engine = engine
        self._spool = spool
        self._largest = largest_queue
        self._queue: deque[Callable[[], Sequence[PredictionRow]]] = deque()
        self._waiting = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        # Predictions by outcome: stored, spooled, replayed; and lost, by reason.
        self.counts: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.up = False
        self._ready = False
        self._retry_at = 0.0
        self._thread = threading.Thread(target=self._run, name="feedback-writer", daemon=True)

    @property
    def waiting(self) -> int:
        """Predictions in memory."""
        return self._waiting

    @property
    def spool_bytes(self) -> int:
        """Bytes of predictions on disk that wait for the database."""
        return self._spool.bytes

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, count: int, make: Callable[[], Sequence[PredictionRow]]) -> None:
        """Take over as many predictions, made in the writer's thread; waits for nothing."""
        with self._lock:
            if self._waiting + count > self._largest:
                self.lost["queue_full"] += count
                return
            self._waiting += count
            self._queue.append(make)
        if self._waiting >= _BATCH_ROWS:
            self._wake.set()

    def stop(self) -> None:
        """Write what is in memory, into the spool if need be, and end."""
        self._stopping = True
        self._wake.set()
        self._thread.join(_STOP_SECONDS)
        self._spool.close()

    def _run(self) -> None:
        while True:
            stopping = self._stopping
            self._connect()
            while rows := self._take():
                self._keep(rows)
                with self._lock:
                    self._waiting -= len(rows)
            if stopping:
                return
            if not self._replay_one():
                self._wake.wait(_GATHER_SECONDS)
                self._wake.clear()

    def _take(self) -> list[PredictionRow]:
        rows: list[PredictionRow] = []
        while self._queue and len(rows) < _BATCH_ROWS:
            rows.extend(self._queue.popleft()())
        return rows

    def _connect(self) -> None:
        """Make the database ready when it is not; again after a while when it cannot be."""
        if self.up or time.monotonic() < self._retry_at:
            return
        try:
            if not self._ready:
                migrate(self._engine)
                self._ready = True
            with self._engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1")
        except (SQLAlchemyError, ConfigError) as error:
            self._note_down(error)
        else:
            self.up = True
            log.info("the feedback database answers")

    def _keep(self, rows: list[PredictionRow]) -> None:
        if self.up:
            try:
                self.counts["stored"] += self._insert(rows)
                return
            except SQLAlchemyError as error:
                self._note_down(error)
        try:
            self._spool.append(rows)
        except SpoolFullError:
            self._lose("spool_full", len(rows))
        except OSError as error:
            log.warning("cannot spool %d predictions: %s", len(rows), error.strerror)
            self._lose("spool_failed", len(rows))
        else:
            self.counts["spooled"] += len(rows)

    def _replay_one(self) -> bool:
        """Store the oldest segment of the spool; returns whether there was one."""
        if not self.up or not self._spool.bytes:
            return False
        segment = self._spool.oldest()
        if segment is None:
            return False
        replayed = 0
        try:
            for batch in segment.batches:
                replayed += self._insert(batch)
        except SQLAlchemyError as error:
            # Those stored are stored again later, which changes nothing.
            self._note_down(error)
            return False
        self._spool.done(segment)
        self.counts["replayed"] += replayed
        if segment.damaged:
            log.warning("%d damaged lines in %s were left out", segment.damaged, segment.path.name)
            # How many predictions they held nobody knows; at least one each.
            self._lose("spool_damaged", segment.damaged)
        return True

    def _insert(self, rows: Sequence[PredictionRow]) -> int:
        """Store predictions and return how many; those the database refuses for good are lost."""
        try:
            insert_predictions(self._engine, rows)
            return len(rows)
        except (DataError, IntegrityError, ValueError):
            if len(rows) == 1:
                self._lose("refused", 1)
                return 0
        middle = len(rows) // 2
        return self._insert(rows[:middle]) + self._insert(rows[middle:])

    def _lose(self, reason: str, count: int) -> None:
        with self._lock:
            self.lost[reason] += count

    def _note_down(self, error: Exception) -> None:
        if self.up or self._retry_at == 0.0:
            log.warning(
                "the feedback database fails (%s); predictions are spooled", first_line(error)
            )
        self.up = False
        self._retry_at = time.monotonic() + _RETRY_SECONDS


def first_line(error: Exception) -> str:
    """Return what an error says, without the statement and its customers."""
    cause = getattr(error, "orig", None) or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
