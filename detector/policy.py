"""What counts as worth saying: direction, floors, physical limits and what absence means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Direction = Literal["up", "down", "both"]
Missing = Literal["nodata", "zero", "ignore"]


@dataclass(frozen=True)
class Policy:
    """What counts as worth saying for one signal.

    Parameters
    ----------
    direction : {"up", "down", "both"}
        The side of the expected value on which a deviation counts.
    min_abs : float
        Smallest deviation that counts, in the signal's own unit.
    min_rel : float
        Smallest deviation that counts, as a share of the expected value's magnitude.
    missing : {"nodata", "zero", "ignore"}
        What an absent sample means: no information (state 3), a zero while the target is up (see
        `absence.fill_zero`), or nothing at all (the series is dropped at once).
    lower, upper : float
        Physical limits of the signal; expected value and band stay inside.
    sensitivity : float
        The edge of normal is divided by it: 2 needs half the evidence, 0.5 twice as much.
    timezone : str
        IANA name of the zone whose clock and calendar the season follows; empty for UTC.
    trend : bool
        Whether the level of the day is held against that of the last weeks: a slow drift is news.

    Raises
    ------
    ValueError
        When a word is unknown, a number is NaN or out of range, or the limits are not in order.
    """

    direction: Direction = "both"
    min_abs: float = 0.0
    min_rel: float = 0.0
    missing: Missing = "nodata"
    lower: float = -math.inf
    upper: float = math.inf
    sensitivity: float = 1.0
    timezone: str = ""
    trend: bool = False

    def __post_init__(self) -> None:
        words = (("direction", get_args(Direction)), ("missing", get_args(Missing)))
        for name, allowed in words:
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r}; choose from {allowed}")
        for name in ("min_abs", "min_rel"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)} must be finite and not negative")
        if not 0.0 < self.sensitivity < math.inf:
            raise ValueError(f"sensitivity {self.sensitivity} must be finite and above zero")
        if not self.lower < self.upper:
            raise ValueError(f"lower {self.lower} must be below upper {self.upper}")
