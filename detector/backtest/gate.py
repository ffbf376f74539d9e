"""Requirements such as `recall>=0.8`, which decide on the exit code."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from detector.backtest.results import FIGURES
from detector.errors import ConfigError

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_FORM = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*([0-9.eE+-]+)\s*")


@dataclass(frozen=True)
class Requirement:
    """A figure, a comparison and its limit."""

    figure: str
    comparison: str
    limit: float


def parse_requirement(text: str) -> Requirement:
    """Return a requirement.

    Raises
    ------
    ConfigError
        When it is none, or names no figure.

    Examples
    --------
    >>> parse_requirement("recall>=0.8")
    Requirement(figure='recall', comparison='>=', limit=0.8)
    """
    match = _FORM.fullmatch(text)
    try:
        limit = float(match[3]) if match else 0.0
    except ValueError:
        match = None
    if match is None:
        raise ConfigError(f"--require {text!r}: write for example recall>=0.8")
    if match[1] not in FIGURES:
        raise ConfigError(f"--require {text!r}: no figure {match[1]}; use {', '.join(FIGURES)}")
    return Requirement(match[1], match[2], limit)


def failures(requirements: Sequence[Requirement], figures: Mapping[str, float | None]) -> list[str]:
    """Return a line for each requirement that is not met; one on an undefined figure is not."""
    found = []
    for one in requirements:
        value = figures[one.figure]
        if value is None:
            said = f"{one.figure} is undefined: no incident, no alert or no score to judge by"
            found.append(f"{said} (required {one.comparison} {one.limit:g})")
        elif not OPERATORS[one.comparison](value, one.limit):
            found.append(f"{one.figure} is {value:.4g}, required {one.comparison} {one.limit:g}")
    return found
