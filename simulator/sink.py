"""Receives e-mail over SMTP and Slack messages over HTTP, and keeps each of them in a file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from detector.command_line import stopped_by_signals
from detector.errors import ConfigError
from simulator import serving

log = logging.getLogger("simulator.sink")

MESSAGES_FILE = "messages.jsonl"
_LARGEST_MESSAGE_BYTES = 4 * 1024 * 1024


def run_sink(*, host: str, smtp_port: int, http_port: int, directory: Path) -> None:
    """Receive messages until SIGTERM or Ctrl-C; see `sink`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # It tells of every command of every connection.
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    stop = stopped_by_signals()
    with sink(host, smtp_port, http_port, directory) as (_, smtp, http):
        log.info("SMTP on %s:%d, Slack on http://%s:%d/slack", host, smtp, host, http)
        stop.wait()


@contextlib.contextmanager
def sink(
    host: str, smtp_port: int, http_port: int, directory: Path
) -> Iterator[tuple[MessageStore, int, int]]:
    """Run both servers while the block runs.

    Parameters
    ----------
    host : str
        Address to listen on.
    smtp_port, http_port : int
        Ports to listen on; 0 takes free ones.
    directory : Path
        Gets `messages.jsonl`.

    Yields
    ------
    tuple of MessageStore, int, int
        What was received, the SMTP port and the HTTP port.

    Raises
    ------
    ConfigError
        When an address cannot be listened on or the directory not be written.
    """
    store = MessageStore(directory)
    try:
        listener = socket.create_server((host, smtp_port))
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cannot listen on {host}:{smtp_port} ({error}); choose another port"
        ) from error
    mail = _Controller(store, listener)
    mail.start()
    try:
        with serving.background_server(http_app(store), host, http_port) as port:
            yield store, listener.getsockname()[1], port
    finally:
        mail.stop()


class MessageStore:
    """The messages received, oldest first, each also a line of `messages.jsonl`.

    A message is ``{"received": unix seconds, "channel": "slack" or "email", "sender": str,
    "title": str, "text": str, "raw": ...}``: raw is Slack's JSON, or the e-mail as text; sender is
    what follows ``/services/`` in the webhook's address, or the name before the @ of the envelope.
    """

    def __init__(self, directory: Path):
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = (directory / MESSAGES_FILE).open("a", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write messages to {directory}: {error.strerror}") from error
        self._lock = threading.Lock()
        self._messages: list[dict[str, Any]] = []

    def add(self, channel: str, sender: str, title: str, text: str, raw: Any) -> None:
        """Keep a message that has just arrived."""
        message = {
            "received": time.time(),
            "channel": channel,
            "sender": sender,
            "title": title,
            "text": text,
            "raw": raw,
        }
        with self._lock:
            self._messages.append(message)
            self._file.write(json.dumps(message, ensure_ascii=False) + "\n")
            self._file.flush()
        log.info("%s: %s", channel, title)

    def since(self, index: int = 0) -> list[dict[str, Any]]:
        """Return the messages from the given one on."""
        with self._lock:
            return self._messages[index:]


def http_app(store: MessageStore) -> Starlette:
    """Return the app that takes Slack's incoming webhooks and shows what came.

    ``POST /slack`` and ``POST /services/...`` answer as Slack does; ``GET /messages?since=N`` lists
    the messages of both channels from the N-th on; ``GET /healthz``.
    """

    async def receive(request: Request) -> Response:
        body = await request.body()
        try:
            message = json.loads(body) if len(body) <= _LARGEST_MESSAGE_BYTES else None
        except ValueError:
            message = None
        if not isinstance(message, dict):
            return PlainTextResponse("invalid_payload", status_code=400)
        title, text = slack_text(message)
        if not title and not text:
            return PlainTextResponse("no_text", status_code=400)
        store.add("slack", request.path_params.get("path", ""), title, text, message)
        return PlainTextResponse("ok")

    async def show(request: Request) -> Response:
        since = request.query_params.get("since", "0")
        if not since.isascii() or not since.isdigit():
            return PlainTextResponse("since must be a whole number", status_code=400)
        return JSONResponse(store.since(int(since)))

    async def healthy(request: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(
        routes=[
            Route("/slack", receive, methods=["POST"]),
            Route("/services/{path:path}", receive, methods=["POST"]),
            Route("/messages", show, methods=["GET"]),
            Route("/healthz", healthy, methods=["GET"]),
        ]
    )


def slack_text(message: dict[str, Any]) -> tuple[str, str]:
    """Return title and text of a Slack message, from its first attachment or its own text.

    Of blocks the words are taken, without their looks.
    """
    attachments = message.get("attachments")
    first = attachments[0] if isinstance(attachments, list) and attachments else {}
    if not isinstance(first, dict):
        first = {}
    own = str(message.get("text") or "")
    text = str(first.get("text") or "\n".join([own, *_words(first.get("blocks"))]))
    return str(first.get("title") or own.partition("\n")[0]), text


def _words(block: Any) -> Iterator[str]:
    """Yield the texts of blocks in reading order; those of a section in one piece."""
    if isinstance(block, list):
        for one in block:
            yield from _words(one)
    elif isinstance(block, dict) and isinstance(block.get("elements"), list):
        parts = block["elements"]
        if all(isinstance(part, dict) and "elements" not in part for part in parts):
            yield "".join(str(part.get("text") or part.get("url") or "") for part in parts)
        else:
            yield from _words(parts)


class _MailHandler:
    """Hands each e-mail to the store."""

    def __init__(self, store: MessageStore):
        self._store = store

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content or b""
        raw = content if isinstance(content, bytes) else content.encode()
        title, text = mail_text(raw)
        sender = (envelope.mail_from or "").partition("@")[0]
        self._store.add("email", sender, title, text, raw.decode("utf-8", "replace"))
        return "250 Message accepted for delivery"


def mail_text(raw: bytes) -> tuple[str, str]:
    """Return subject and plain text of an e-mail (its HTML when there is nothing else)."""
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    body = message.get_body(("plain", "html"))
    try:
        text = str(body.get_content()) if body is not None else ""
    except (KeyError, LookupError, UnicodeError):
        # An unknown type or character set: the raw message is kept all the same.
        text = ""
    return " ".join(str(message["subject"] or "").split()), text.replace("\r\n", "\n")


class _Controller(Controller):
    """An SMTP server on a socket that listens already, so that a taken port is known at once."""

    def __init__(self, store: MessageStore, listener: socket.socket):
        host, port = listener.getsockname()[:2]
        # The base class connects to this address to see that it works.
        super().__init__(
            _MailHandler(store), hostname=host, port=port, data_size_limit=_LARGEST_MESSAGE_BYTES
        )
        self._listener = listener

    def _create_server(self) -> Coroutine[Any, Any, asyncio.Server]:
        return self.loop.create_server(self._factory_invoker, sock=self._listener)
