"""Runs `detector notify`: one receiver, one spool, and one worker for each target."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from prometheus_client import generate_latest

from detector.errors import ConfigError
from detector.notify import apprise_sender
from detector.notify.dead import DeadLetters
from detector.notify.delivery import Delivery
from detector.notify.message import Message, compose
from detector.notify.picture import draw
from detector.notify.receiver import Receiver
from detector.notify.sender import Sender, secret
from detector.notify.slack import SlackBot, SlackWebhook
from detector.notify.spool import Spool
from detector.notify.story import Story, tell
from detector.notify.telemetry import NotifyTelemetry
from detector.notify.webhook import Group
from detector.notify_settings import TargetSettings
from detector.prometheus import Prometheus
from detector.settings import Settings
from detector.web import serve

log = logging.getLogger("detector.notify")

# Messages kept for the other targets of the same group.
MADE = 8
# Prometheus is asked at the time of an incident; a message does not wait for it long.
PATIENCE_SECONDS = 10.0
FORGET_SECONDS = 600.0


class Notifier:
    """One running `detector notify`.

    Parameters
    ----------
    settings : Settings
    source : Prometheus
    clock : callable, optional
        Unix seconds.
    chance : random.Random, optional

    Raises
    ------
    ConfigError
        When there is no target, a secret cannot be read or the spool not be written.
    """

    def __init__(
        self,
        settings: Settings,
        source: Prometheus,
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        own = settings.notify
        if not own.targets:
            raise ConfigError("notify.targets is empty; name at least one target")
        self._settings = settings
        self._source = source
        self._clock = clock
        self._made: OrderedDict[tuple[str, str], Message] = OrderedDict()
        self._making = threading.Lock()
        self._stop = threading.Event()
        self.telemetry = NotifyTelemetry()
        senders = {target.name: sender_of(target) for target in own.targets}
        token = secret(own.token_file, "token_file") if own.token_file else ""
        self.spool = Spool(own.directory)
        dead = DeadLetters(own.directory)
        self.deliveries = [
            Delivery(
                name,
                sender,
                self.spool,
                self._message,
                self.telemetry,
                dead,
                own.give_up,
                own.storm,
                clock,
                chance or random.Random(),
            )
            for name, sender in senders.items()
        ]
        self._receiver = Receiver(self.spool, self.telemetry, own.repeat, token, clock, self._wake)
        self._threads: list[threading.Thread] = []

    def start(self) -> int:
        """Listen and deliver in threads; return the port."""
        self._threads = [
            threading.Thread(target=one.run, args=(self._stop,), name=one.name, daemon=True)
            for one in self.deliveries
        ]
        self._threads.append(threading.Thread(target=self._forget, name="forget", daemon=True))
        for thread in self._threads:
            thread.start()
        self._server = serve(
            self._settings.notify.listen,
            lambda: generate_latest(self.telemetry.registry),
            lambda: self.healthy,
            {"/alerts": self._receiver.post},
            lambda: self.healthy,
        )
        return int(self._server.server_port)

    @property
    def healthy(self) -> bool:
        """Whether every worker lives."""
        return all(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Stop listening and delivering; what is due stays in the spool."""
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._wake()
        for thread in self._threads:
            thread.join(15)
        self.spool.close()

    def _wake(self) -> None:
        for one in self.deliveries:
            one.wake.set()

    def _forget(self) -> None:
        names = [one.name for one in self.deliveries]
        while not self._stop.wait(FORGET_SECONDS):
            try:
                self.spool.forget(names, self._clock(), self._settings.notify.repeat)
            except Exception:  # disk full now is no reason never to tidy up again
                log.exception("the spool could not be tidied; trying again")

    def _message(self, group: Group) -> Message:
        """Return the message of a group's state, made once for all targets."""
        with self._making:
            known = (group.key, group.digest)
            if known not in self._made:
                self._made[known] = self._make(group)
            self._made.move_to_end(known)
            while len(self._made) > MADE:
                self._made.popitem(last=False)
            return self._made[known]

    def _make(self, group: Group) -> Message:
        own, now = self._settings.notify, self._clock()
        try:
            story = tell(self._source, group, now, self._settings.step, own.window)
        except Exception:  # an alert must go out whatever its explanation runs into
            log.exception("no explanation for group %s", group.key)
            story = Story(problem="The explanation failed; see the log of detector notify")
        picture, outcome = b"", "none"
        if story.subjects:
            try:
                picture, outcome = draw(story.subjects[0]), "drawn"
            except Exception:  # nor for its picture
                log.exception("no picture for group %s", group.key)
                outcome = "failed"
        self.telemetry.pictures.labels(outcome).inc()
        return compose(group, story, now, own.grafana_url or "", picture)


def sender_of(target: TargetSettings) -> Sender:
    """Return the sender of a target.

    Raises
    ------
    ConfigError
        When a file cannot be read or holds what cannot be used.
    """
    if target.slack is not None:
        return SlackBot(target.slack) if target.slack.token_file else SlackWebhook(target.slack)
    if target.email is not None:
        return apprise_sender.email(target.name, target.email)
    assert target.apprise_file is not None
    return apprise_sender.from_file(target.name, target.apprise_file)


def patient(settings: Settings) -> Prometheus:
    """Return the client for the numbers of a message."""
    given = settings.prometheus
    timeout = min(given.timeout, PATIENCE_SECONDS)
    return Prometheus(given.model_copy(update={"timeout": timeout}))
