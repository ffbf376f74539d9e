"""Brings what is due to one target: in order, patiently, and a storm as one summary."""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable

from detector.errors import ConfigError
from detector.notify.dead import DeadLetters
from detector.notify.message import Message, summary
from detector.notify.sender import FAILURES, DeliveryFailure, Sender
from detector.notify.spool import Pending, Spool
from detector.notify.telemetry import NotifyTelemetry
from detector.notify.webhook import Group

log = logging.getLogger("detector.notify")

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 300.0
# A service that asks for more is tried again sooner all the same.
LONGEST_ASKED_SECONDS = 3600.0
IDLE_SECONDS = 30.0
# The time in which `storm` messages are the most that anybody reads.
MINUTE = 60.0
# What becomes of a state; each is counted from 0 on, so that the first one is an increase.
OUTCOMES = ("sent", "summarised", "unchanged", "dead")


class Delivery:
    """The queue of one target and its worker.

    Parameters
    ----------
    name : str
    sender : Sender
    spool : Spool
    compose : callable
        Makes the message of a group.
    telemetry : NotifyTelemetry
    dead : DeadLetters
    give_up : float
        Seconds of failures after which a message is put aside.
    storm : int
        Messages a minute; what is more becomes a summary.
    clock : callable
        Unix seconds.
    chance : random.Random
        For the jitter.
    """

    def __init__(
        self,
        name: str,
        sender: Sender,
        spool: Spool,
        compose: Callable[[Group], Message],
        telemetry: NotifyTelemetry,
        dead: DeadLetters,
        give_up: float,
        storm: int,
        clock: Callable[[], float],
        chance: random.Random,
    ) -> None:
        self.name = name
        self.wake = threading.Event()
        self._sender = sender
        self._spool = spool
        self._compose = compose
        self._telemetry = telemetry
        self._dead = dead
        self._give_up = give_up
        self._storm = storm
        self._clock = clock
        self._chance = chance
        self._failures = 0
        self._crowded = False
        self._sent: deque[float] = deque(maxlen=storm)
        self._summarised = -MINUTE
        # From the spool at each scrape: right while a worker waits or hangs, too.
        telemetry.pending.labels(name).set_function(lambda: float(spool.backlog(name)[0]))
        telemetry.oldest.labels(name).set_function(self._oldest)
        for outcome in OUTCOMES:
            telemetry.deliveries.labels(name, outcome)
        # From 0 on, so that the first one is an increase.
        for reason in FAILURES:
            telemetry.failures.labels(name, reason)

    def run(self, stop: threading.Event) -> None:
        """Deliver until told to stop; what fails unexpectedly is logged and tried again."""
        while not stop.is_set():
            self.wake.clear()
            try:
                wait = self.step()
            except Exception:  # the worker of a target must outlive any one message
                log.exception("target %s: unexpected failure; trying again", self.name)
                wait = self._backoff(0.0)
            if self._failures:
                # New work is no reason to ask a failing service sooner.
                stop.wait(wait)
            elif self._crowded:
                # Nor to count a storm anew with each webhook of it.
                stop.wait(min(wait, 1.0))
            else:
                self.wake.wait(wait)

    def step(self) -> float:
        """Deliver what is due; return the seconds to wait before looking again."""
        self._crowded = False
        while True:
            due = self._spool.due(self.name, self._storm + 1)
            if not due:
                self._failures = 0
                return IDLE_SECONDS
            now = self._clock()
            crowded = len(self._sent) == self._storm and now - self._sent[0] < MINUTE
            if len(due) > self._storm and now - self._summarised >= MINUTE:
                failure = self._summarise()
            elif crowded or len(due) > self._storm:
                self._crowded = True
                begun = self._sent[0] if crowded else self._summarised
                return max(begun + MINUTE - now, 0.1)
            else:
                failure = self._deliver(due[0])
            if failure is not None:
                return self._backoff(failure.wait)
            self._failures = 0

    def _deliver(self, pending: Pending) -> DeliveryFailure | None:
        group = self._spool.group(pending.key)
        known = [(pending.key, pending.digest)]
        # Without updates a message that only says that some are over is left to the resolve.
        if (
            pending.firing
            and not self._sender.updates
            and group.status == "firing"
            and "@" not in pending.digest
            and set(group.told) <= pending.firing
        ):
            self._spool.told(self.name, known, firing=group.told)
            self._count("unchanged")
            return None
        message = self._compose(group)
        reference = pending.reference if pending.firing else ""
        try:
            told = self._send(message, reference)
        except DeliveryFailure as failure:
            return self._failed(failure, pending, message, group)
        self._spool.told(self.name, known, told, group.told)
        self._sent.append(self._clock())
        self._count("sent")
        self._telemetry.delay.labels(self.name).observe(self._clock() - pending.changed)
        log.info("target %s: sent: %s", self.name, message.title)
        return None

    def _summarise(self) -> DeliveryFailure | None:
        storm = self._spool.storm(self.name)
        message = summary(len(storm.digests), storm.alerts, storm.counts, storm.url)
        try:
            self._send(message, "")
        except DeliveryFailure as failure:
            self._note(failure)
            return failure
        self._spool.told(self.name, list(storm.digests))
        self._summarised = self._clock()
        self._count("summarised", len(storm.digests))
        log.warning("target %s: %s", self.name, message.title)
        return None

    def _send(self, message: Message, reference: str) -> str:
        try:
            told = self._sender.send(message, reference)
        except ConfigError as error:
            raise DeliveryFailure(str(error), "secret") from None
        self._telemetry.succeeded.labels(self.name).set(self._clock())
        return told

    def _failed(
        self, failure: DeliveryFailure, pending: Pending, message: Message, group: Group
    ) -> DeliveryFailure | None:
        """Note a failure; a message of which nothing more can come is put aside."""
        self._note(failure)
        now = self._clock()
        old = pending.failing and now - pending.failing > self._give_up
        if not failure.final and not old:
            self._spool.failed(self.name, pending, now)
            return failure
        self._dead.put(self.name, str(failure), message, group, now)
        self._spool.told(self.name, [(pending.key, pending.digest)], firing=group.told)
        self._count("dead")
        log.error("target %s: put aside as a dead letter: %s", self.name, message.title)
        return None if failure.final else failure

    def _note(self, failure: DeliveryFailure) -> None:
        self._telemetry.failures.labels(self.name, failure.reason).inc()
        log.warning("target %s: attempt %d: %s", self.name, self._failures + 1, failure)

    def _backoff(self, asked: float) -> float:
        """Return how long to wait after a failure: longer each time, never all at the same time."""
        longest = min(FIRST_WAIT_SECONDS * 2.0**self._failures, LONGEST_WAIT_SECONDS)
        self._failures = min(self._failures + 1, 30)
        wait = longest * self._chance.uniform(0.5, 1.0)
        return max(wait, min(asked, LONGEST_ASKED_SECONDS))

    def _count(self, outcome: str, number: int = 1) -> None:
        self._telemetry.deliveries.labels(self.name, outcome).inc(number)

    def _oldest(self) -> float:
        count, oldest = self._spool.backlog(self.name)
        return max(self._clock() - oldest, 0.0) if count else 0.0
