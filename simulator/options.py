"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from detector.errors import ConfigError


def _named(host: str) -> str:
    """Return the address; an empty one would be all addresses of the machine."""
    if not host:
        raise ConfigError("--host is empty; write 127.0.0.1, or 0.0.0.0 for all addresses")
    return host


Seed = Annotated[int, typer.Option(help="Same seed, same result.")]
Host = Annotated[str, typer.Option(help="Address to listen on.", callback=_named)]
TokenFile = Annotated[
    Path,
    typer.Option(
        help="File with the control token; serve and run make it when it is missing.",
        envvar="SIMULATOR_TOKEN_FILE",
    ),
]
Model = Annotated[Path, typer.Option(help="Directory written by simulator train.")]
LabelMaturity = Annotated[
    str, typer.Option(help="Age at which a prediction's actual has usually arrived.")
]
PerformanceWindow = Annotated[
    str, typer.Option(help="Length of time whose predictions are measured together.")
]

TOKEN_FILE = Path(".simulator-token")
