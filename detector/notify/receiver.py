"""Takes Alertmanager's webhooks: each is on disk before it is answered."""

from __future__ import annotations

import hmac
import logging
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from detector.notify.spool import Spool
from detector.notify.telemetry import NotifyTelemetry
from detector.notify.webhook import parse

log = logging.getLogger("detector.notify")

# `max_alerts` of Alertmanager keeps a webhook far below this.
MOST_BYTES = 32 << 20
# Bodies in memory at one time.
AT_ONCE = 2


class Receiver:
    """What POST /alerts does.

    Parameters
    ----------
    spool : Spool
    telemetry : NotifyTelemetry
    repeat : float
        Seconds in which the same state again is a replay.
    token : str
        What a caller has to show as bearer token; empty for nothing.
    clock : callable
        Unix seconds.
    wake : callable
        Called when there is something new.
    """

    def __init__(
        self,
        spool: Spool,
        telemetry: NotifyTelemetry,
        repeat: float,
        token: str,
        clock: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self._spool = spool
        self._telemetry = telemetry
        self._repeat = repeat
        self._token = token
        self._clock = clock
        self._wake = wake
        self._room = threading.BoundedSemaphore(AT_ONCE)

    def post(self, environ: dict[str, Any]) -> tuple[str, str]:
        """Answer one request: HTTP status and text."""
        status, outcome, text = self._receive(environ)
        self._telemetry.webhooks.labels(outcome).inc()
        if outcome not in ("new", "duplicate"):
            log.warning("webhook refused: %s", text)
        return status, text

    def _receive(self, environ: dict[str, Any]) -> tuple[str, str, str]:
        shown = environ.get("HTTP_AUTHORIZATION", "").encode()
        if self._token and not hmac.compare_digest(shown, f"Bearer {self._token}".encode()):
            return "401 Unauthorized", "unauthorized", "show the token of notify.token_file"
        length = environ.get("CONTENT_LENGTH") or ""
        if not (length.isascii() and length.isdigit()):
            return "411 Length Required", "malformed", "send Content-Length"
        if int(length) > MOST_BYTES:
            text = f"more than {MOST_BYTES >> 20} MiB; set max_alerts in Alertmanager's webhook"
            return "413 Content Too Large", "too_large", text
        with self._room:
            try:
                group = parse(environ["wsgi.input"].read(int(length)))
            except ValueError as error:
                return "400 Bad Request", "malformed", str(error)
            try:
                new = self._spool.accept(group, self._clock(), self._repeat)
            except sqlite3.Error as error:
                # Alertmanager tries again after a 5xx.
                return "503 Service Unavailable", "failed", f"cannot be kept: {error}"
        if new:
            self._wake()
        return "200 OK", "new" if new else "duplicate", "kept"
