"""One thing that `detector check` found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was checked: ``ok``, ``warning`` or ``error``, and what to do."""

    level: str
    subject: str
    message: str


@dataclass(frozen=True)
class RuleFinding:
    """One thing that was checked about a rule; `line` counts from 1, `rule` may be empty."""

    level: str
    check: str
    file: str
    line: int
    rule: str
    message: str

    @property
    def place(self) -> str:
        """Return file and line as editors and compilers write them."""
        return f"{self.file}:{self.line}"
