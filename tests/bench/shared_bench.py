"""Finds the open bench (data sets, scorer, peers) beside the project and imports its modules."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ROOT.parent / "shared" / "bench"

Detect = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class SharedBench:
    """The bench's modules: `load` (series), `score`, `peers`, and `run`, which ties them."""

    load: ModuleType
    peers: ModuleType
    run: ModuleType

    @property
    def grafana(self) -> dict[str, Detect]:
        """The two strategies of grafana/promql-anomaly-detection, in numpy."""
        return {
            "adaptive": self.peers.REG["grafana_adaptive"],
            "robust": self.peers.REG["grafana_robust"],
        }


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Let the command line or $BENCH say where the bench is."""
    parser.add_argument(
        "--bench",
        type=Path,
        default=Path(os.environ.get("BENCH", DEFAULT)),
        help="folder with load.py, score.py, peers.py, run.py (default: $BENCH, ../shared/bench)",
    )


def open_bench(folder: Path) -> SharedBench:
    """Import the bench's modules; without them the program ends with a line that says so."""
    missing = [name for name in ("load", "score", "peers", "run") if not _there(folder, name)]
    if missing:
        sys.exit(
            f"error: the open bench is not in {folder} (no {missing[0]}.py); "
            "say where it is with --bench or BENCH=/path"
        )
    sys.path.insert(0, str(folder.resolve()))
    modules: dict[str, Any] = {
        name: importlib.import_module(name) for name in ("load", "peers", "run")
    }
    return SharedBench(**modules)


def _there(folder: Path, name: str) -> bool:
    return (folder / f"{name}.py").is_file()
