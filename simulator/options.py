"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Seed = Annotated[int, typer.Option(help="Same seed, same result.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
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
