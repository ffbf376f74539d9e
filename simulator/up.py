"""Leaves the example running until told to stop: the commands `simulator up` and `down`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import typer

from detector.errors import SourceError
from simulator.layout import owner
from simulator.processes import Interrupted, interruptible
from simulator.stack import Stack, running_stack

_STOP_SECONDS = 60.0
_WATCH_SECONDS = 1.0


def up(*, at: str | None, directory: Path | None, seed: int, profile: str = "fast") -> None:
    """Run a stack until Ctrl-C, SIGTERM or `simulator down`; edited rules are taken over."""
    with (
        interruptible(),
        contextlib.suppress(Interrupted),
        running_stack(
            at=at, directory=directory, seed=seed, profile=profile, say=typer.echo
        ) as stack,
    ):
        typer.echo(f"\n{stack.addresses()}\n")
        command = os.path.relpath(Path(sys.executable).with_name("simulator"))
        typer.echo(
            f"  A fault        . {stack.write_environment()} && {command} inject latency --for 2m\n"
            f"  Stop           Ctrl-C, or: {command} down --dir {stack.layout.directory}\n"
            "  Edited files in rules/ are taken over.\n"
        )
        keep_running_until_told(stack)
    typer.echo("all programs are stopped")


def keep_running_until_told(stack: Stack) -> None:
    """Watch programs and rule files until interrupted."""
    while True:
        stack.supervisor.check()
        if stack.layout.write_rules():
            try:
                stack.reload()
                typer.echo("rules changed; Prometheus has read them")
            except SourceError as error:
                typer.echo(f"rules changed; {error}")
        time.sleep(_WATCH_SECONDS)


def down(*, directory: Path) -> None:
    """Stop the stack that runs in a directory and wait until it has."""
    process = owner(directory)
    if process is None:
        typer.echo(f"no stack is running in {directory}")
        return
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while owner(directory) is not None:
        if time.monotonic() > deadline:
            raise SourceError(f"process {process} does not end; look into {directory}/logs")
        time.sleep(0.1)
    typer.echo("stopped")
