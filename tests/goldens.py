"""Compares text with a file in tests/golden; `make golden` (UPDATE_GOLDEN=1) writes it anew."""

from __future__ import annotations

import os
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent / "golden"


def check(name: str, text: str) -> None:
    """Fail unless `text` is what the golden file holds.

    Parameters
    ----------
    name : str
        File name below tests/golden.
    text : str
        What the product wrote now.
    """
    path = DIRECTORY / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"{path} is missing; run `make golden` and read the difference"
    assert text == path.read_text(encoding="utf-8"), f"{name} changed; `make golden` if it should"
