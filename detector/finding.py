"""One thing that `detector check` found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was checked: ``ok``, ``warning`` or ``error``, and what to do."""

    level: str
    subject: str
    message: str
