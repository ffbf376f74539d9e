"""Every program of the bench starts and is listed, every module of it is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tools import ROOT

BENCH = sorted((ROOT / "tests" / "bench").glob("*.py"))
PROGRAMS = [path for path in BENCH if "def main(" in path.read_text(encoding="utf-8")]
MODULES = [path for path in BENCH if path not in PROGRAMS]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_says_how_it_is_used(path: Path, tmp_path: Path) -> None:
    done = _python(str(path), "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {path.name} ")
    assert list(tmp_path.iterdir()) == []


def test_modules_are_imported(tmp_path: Path) -> None:
    # As the programs find them: by the folder of the program.
    code = f"import sys; sys.path.insert(0, {str(BENCH[0].parent)!r})"
    code += "".join(f"; import {path.stem}" for path in MODULES)
    done = _python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_every_program_is_listed() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [path.name for path in PROGRAMS if f"`{path.name}`" not in text] == []


def _python(*given: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *given], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
