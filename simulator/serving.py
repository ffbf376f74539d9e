"""Serves a small ASGI app from a thread, beside a process's main work."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn

from detector.errors import ConfigError

_STOP_SECONDS = 5


@contextlib.contextmanager
def background_server(app: Any, host: str, port: int) -> Iterator[int]:
    """Serve an ASGI app while the block runs.

    Parameters
    ----------
    app : ASGI application
        It must not need lifespan events.
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 takes a free one.

    Yields
    ------
    int
        The port listened on; connections are accepted from then on.

    Raises
    ------
    ConfigError
        When the address cannot be listened on.
    """
    try:
        listener = socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error}); choose another port"
        ) from error
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    server = uvicorn.Server(config)
    # Outside the main thread uvicorn leaves the signals to the process.
    thread = threading.Thread(target=server.run, args=([listener],), name=f"port-{port}")
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
