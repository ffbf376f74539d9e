"""What tests of the command `detector` share; the fixture that runs it is in conftest.py."""

from __future__ import annotations

from pathlib import Path

# Exit code, output, errors.
Result = tuple[int, str, str]


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "detector.yml"
    path.write_text(text)
    return path


def one_line(err: str) -> str:
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]
