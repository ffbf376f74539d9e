"""What the commands `detector` and `simulator` share: errors, an end by signals, --version."""

from __future__ import annotations

import signal
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from detector.errors import ConfigError, DetectorError

# The library has its own copy of click, and this is the one public way to its class.
UsageError = typer.BadParameter.__bases__[0]
# What ends a command in good order.
STOPPING = (signal.SIGTERM, signal.SIGINT)


def invoke(app: typer.Typer) -> None:
    """Run a command line and leave; what is wrong is one line on stderr and an exit code."""
    try:
        sys.exit(_invoke(app))
    except DetectorError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"error: {error}", style="bold red", markup=False
        )
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)


def _invoke(app: typer.Typer) -> int:
    try:
        return int(app(standalone_mode=False) or 0)
    except UsageError as error:  # type: ignore[misc]  # see above
        message = error.format_message()
        if "\n" in message:
            # A command without anything to do says what it could.
            typer.echo(message, err=True)
            return int(error.exit_code)
        command = error.ctx.command_path if error.ctx else Path(sys.argv[0]).name
        raise ConfigError(f"{message.rstrip('.')}; see {command} --help") from None


def stopped_by_signals() -> threading.Event:
    """Return what SIGTERM and Ctrl-C set from here on.

    Those that follow the first are ignored: setting takes a lock, and a handler that came in
    between would wait for itself.
    """
    stop = threading.Event()

    def handle(*_: object) -> None:
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        stop.set()

    for number in STOPPING:
        signal.signal(number, handle)
    return stop


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("prometheus-anomaly-detector"))
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option(
        "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
]
