"""Finds the programs the stack runs: those on PATH, else what `make` unpacked into .tools."""

from __future__ import annotations

import shutil
from pathlib import Path

from detector.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
_UNPACKED = (ROOT / ".tools" / "bin", ROOT / ".tools" / "usr" / "bin")


def program(name: str) -> str:
    """Return the path of a program such as ``alertmanager``, under its own or Debian's name.

    Raises
    ------
    ConfigError
        When there is none.
    """
    for place in (None, *map(str, _UNPACKED)):
        for known in (name, f"prometheus-{name}"):
            if found := shutil.which(known, path=place):
                return found
    raise ConfigError(f"{name} is neither on PATH nor in {_UNPACKED[0].parent}; run: make install")
