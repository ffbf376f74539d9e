"""Computes performance again and again, on the replica that holds the lease."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from simulator.churn.feedback.cohorts import Cohort, cohort_of, read_joined
from simulator.churn.feedback.lease import acquire, release
from simulator.churn.feedback.records import forget_before
from simulator.churn.feedback.settings import MINIMUM_COVERAGE, FeedbackSettings
from simulator.churn.feedback.writer import Writer, first_line

log = logging.getLogger("simulator.feedback")

_LEASE = "performance"
# Two computations may fail before another replica takes over, and before figures are withdrawn.
_LEASE_REFRESHES = 3.0
_CLEAN_SECONDS = 3600.0
_STOP_SECONDS = 10.0


class Reporter:
    """The newest mature window's performance, and the deletion of what is too old.

    Parameters
    ----------
    engine : Engine
        The database.
    writer : Writer
        Knows whether the database is there and of the right revision.
    settings : FeedbackSettings
        Window, maturity, retention.
    """

    def __init__(self, engine: Engine, writer: Writer, settings: FeedbackSettings):
        self._engine = engine
        self._writer = writer
        self._settings = settings
        self._holder = f"{socket.gethostname()[:32]}:{os.getpid()}:{time.time_ns() % 10**9}"
        self._stopping = threading.Event()
        self._cleaned_at = 0.0
        self._newest: tuple[float, Cohort] | None = None
        self._thread = threading.Thread(target=self._run, name="feedback-reporter", daemon=True)

    def start(self) -> None:
        """Begin to compute."""
        self._thread.start()

    def stop(self) -> None:
        """End, and leave the lease to another replica."""
        self._stopping.set()
        self._thread.join(_STOP_SECONDS)
        if self._newest is not None and self._writer.up:
            try:
                release(self._engine, _LEASE, self._holder)
            except SQLAlchemyError as error:
                log.info("the lease was not given back: %s", first_line(error))

    def newest(self, now: float) -> Cohort | None:
        """Return the window's performance, None from other replicas and when it is out of date."""
        newest = self._newest
        if newest is None or now - newest[0] > _LEASE_REFRESHES * self._settings.refresh_seconds:
            return None
        return newest[1]

    def refresh(self, now: float) -> None:
        """Compute what is true at a unix second, when this replica is the one to do it."""
        wanted = self._settings
        lease_seconds = _LEASE_REFRESHES * wanted.refresh_seconds
        if not acquire(self._engine, _LEASE, self._holder, now, lease_seconds):
            self._newest = None
            return
        end = now - wanted.maturity_seconds
        joined = read_joined(self._engine, end - wanted.window_seconds, end)
        self._newest = now, cohort_of(joined, True, MINIMUM_COVERAGE)
        if now - self._cleaned_at > _CLEAN_SECONDS:
            deleted = forget_before(self._engine, now - wanted.retain_seconds, now)
            self._cleaned_at = now
            if deleted:
                log.info("%d predictions were older than the retention and are deleted", deleted)

    def _run(self) -> None:
        while not self._stopping.wait(self._settings.refresh_seconds):
            if not self._writer.up:
                continue
            try:
                self.refresh(time.time())
            except SQLAlchemyError as error:
                log.warning("performance was not computed: %s", first_line(error))
