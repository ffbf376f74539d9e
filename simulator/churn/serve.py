"""Runs the churn-prediction service with its fault control until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path

import numpy as np
import uvicorn
from prometheus_client import disable_created_metrics

from detector.errors import ConfigError
from simulator.churn import artefact
from simulator.churn.app import create_app
from simulator.churn.featurestore import FeatureStore
from simulator.churn.feedback.api import erasure_route
from simulator.churn.feedback.loop import Feedback
from simulator.churn.feedback.settings import FeedbackSettings
from simulator.churn.served import Served
from simulator.control import control_server, control_token
from simulator.faults import FaultBoard, faults_of

_STOP_SECONDS = 5
_BACKLOG = 2048


def serve(
    *,
    model: Path,
    host: str,
    port: int,
    control_port: int,
    token_file: Path,
    seed: int,
    feedback: FeedbackSettings,
    monitored: bool = True,
) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first.

    SIGHUP loads the model again; one that cannot be used changes nothing.

    Parameters
    ----------
    model : Path
        Directory written by `simulator train`.
    host, port : str, int
        Where the API and /metrics listen; port 0 takes a free one.
    control_port : int
        Loopback port that switches faults.
    token_file : Path
        File with the control token; made when missing.
    seed : int
        Of the feature store's times and failures.
    feedback : FeedbackSettings
        Where predictions are kept.
    monitored : bool
        Whether drift and data quality are watched.

    Raises
    ------
    ConfigError
        When the model cannot be used or a port is taken.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types here
    served = Served(lambda: artefact.load(model), monitored)
    board = FaultBoard(faults_of("churn"))
    store = FeatureStore(np.random.default_rng(seed), board.size)
    try:
        listener = socket.create_server((host, port), backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error}); choose another --port"
        ) from error
    with listener, Feedback(feedback) as loop:
        config = uvicorn.Config(
            create_app(served, store, board, loop),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        server = uvicorn.Server(config)
        # uvicorn raises the signal again once it has stopped; that one must not kill the process.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(server, "should_exit", True))
        routes = [erasure_route(loop)]
        with control_server(board, control_token(token_file), control_port, routes) as control:
            greeting = _greeting(served.active.artefact, host, listener.getsockname()[1], control)
            print(greeting, flush=True)  # noqa: T201
            asyncio.run(_serve(server, listener, served))


async def _serve(server: uvicorn.Server, listener: socket.socket, served: Served) -> None:
    reloads: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        print(await served.reload(), file=sys.stderr, flush=True)  # noqa: T201

    def start() -> None:
        task = asyncio.create_task(reload())
        # The loop itself holds no task.
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, start)
    await server.serve([listener])


def _greeting(loaded: artefact.Artefact, host: str, port: int, control: int) -> str:
    return (
        f"churn service with model {loaded.version} on http://{host}:{port}, "
        f"fault control on 127.0.0.1:{control}"
    )
