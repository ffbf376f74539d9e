"""Finds the programs the tests drive; one that is missing is a failure, never a skip."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Debian's names beside those of the projects themselves.
_OTHER_NAMES = {
    "alertmanager": "prometheus-alertmanager",
    "pushgateway": "prometheus-pushgateway",
    "prometheus-alertmanager": "alertmanager",
    "prometheus-pushgateway": "pushgateway",
}


def tool(name: str) -> str:
    """Return the path of a program: from PATH, else from what `make` unpacked into .tools.

    Parameters
    ----------
    name : str
        As the project calls it, such as ``promtool`` or ``alertmanager``.
    """
    names = [name, *filter(None, [_OTHER_NAMES.get(name)])]
    unpacked = [ROOT / ".tools" / "bin", ROOT / ".tools" / "usr" / "bin"]
    for where in [None, *(str(directory) for directory in unpacked)]:
        for known in names:
            if found := shutil.which(known, path=where):
                return found
    raise FileNotFoundError(
        f"{' or '.join(names)} is neither on PATH nor in .tools; run `make test`, which fetches it"
    )


def run(name: str, *arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it printed and its exit code."""
    command = [tool(name), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
