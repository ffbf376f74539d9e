"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="detector.yml; without it defaults and DETECTOR_* hold."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
