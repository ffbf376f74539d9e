"""Serves /metrics, /healthz, /readyz and what is posted to a running detector."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CONTENT_TYPE_LATEST

from detector.errors import ConfigError

INDEX = b"detector: /metrics  /healthz  /readyz\n"
# Takes a WSGI environment, returns an HTTP status and a line of text.
Post = Callable[[dict[str, Any]], tuple[str, str]]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    # A caller that stops in the middle of a request is let go.
    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:
        logging.getLogger("detector.web").debug(format, *args)


def serve(
    listen: str,
    metrics: Callable[[], bytes],
    ready: Callable[[], bool],
    posts: Mapping[str, Post] | None = None,
    healthy: Callable[[], bool] = lambda: True,
) -> _Server:
    """Start the HTTP server in a daemon thread.

    Parameters
    ----------
    listen : str
        ``host:port``; port 0 picks a free one (see ``server_port`` of the result).
    metrics : callable
        What /metrics shows, in the text format.
    ready : callable
        Whether /readyz answers 200 (else 503).
    posts : mapping, optional
        What answers a POST to a path.
    healthy : callable, optional
        Whether /healthz answers 200 (else 503).

    Raises
    ------
    ConfigError
        When the address cannot be bound.
    """

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        post = (posts or {}).get(path)
        if post is not None:
            if environ.get("REQUEST_METHOD") == "POST":
                status, text = post(environ)
            else:
                status, text = "405 Method Not Allowed", "POST only"
            body, kind = f"{text}\n".encode(), "text/plain; charset=utf-8"
        elif path == "/metrics":
            status, body, kind = "200 OK", metrics(), CONTENT_TYPE_LATEST
        elif path == "/healthz":
            good = healthy()
            status = "200 OK" if good else "503 Service Unavailable"
            body, kind = (b"ok\n" if good else b"a worker has ended\n"), "text/plain"
        elif path == "/readyz":
            good = ready()
            status = "200 OK" if good else "503 Service Unavailable"
            body, kind = (b"ready\n" if good else b"not ready\n"), "text/plain"
        elif path == "/":
            status, body, kind = "200 OK", INDEX, "text/plain"
        else:
            status, body, kind = "404 Not Found", b"not found\n", "text/plain"
        start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    host, _, port = listen.rpartition(":")
    try:
        server = make_server(host, int(port), app, _Server, _QuietHandler)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"listen {listen}: {error}; choose another address") from None
    threading.Thread(target=server.serve_forever, name="web", daemon=True).start()
    return server
