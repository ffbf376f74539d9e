"""What a backtest found, as far as it came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from detector.backtest.budget import Choice
from detector.backtest.duel import Duel
from detector.backtest.grouping import Inhibition
from detector.backtest.judging import Judged
from detector.backtest.packed import Strip
from detector.backtest.results import Results
from detector.backtest.vanished import Vanished
from detector.series import Int, Labels, SeriesMatrix

DAY = 86_400
# Signals that a note names.
MOST_NAMES = 5


@dataclass
class Outcome:
    """What a backtest found.

    `history` has pairs of a day and how many days of history it had, by the median series; `strips`
    what the slider needs; `stamps` the samples' own times; `lag` by how many seconds alerts are
    dated later; `vanished` the jobs that lost their series.
    """

    found: Results
    judged: list[Judged]
    step: int
    notes: list[str]
    lag: int
    inhibitions: list[Inhibition]
    choice: Choice | None = None
    complete: bool = True
    history: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    stamps: dict[str, tuple[tuple[Labels, ...], Int]] = field(default_factory=dict)
    strips: list[Strip] = field(default_factory=list)
    timing: dict[str, float] = field(default_factory=dict)
    duels: list[Duel] = field(default_factory=list)
    vanished: list[Vanished] = field(default_factory=list)


def firsts(samples: SeriesMatrix) -> list[int]:
    """Return the time of the first number of each series that has one."""
    known = np.isfinite(samples.values)
    found: list[int] = samples.times[known.argmax(axis=1)][known.any(axis=1)].tolist()
    return found


def history(begins: list[int], longest: int, start: int, end: int) -> list[tuple[int, float]]:
    """Return how many days of history each day of a replay had, by the median series.

    Parameters
    ----------
    begins : list of int
        First times of the series.
    longest : int
        Seconds a fit looks back.
    start, end : int
        Unix seconds of the replay.
    """
    if not begins:
        return []
    oldest = float(np.median(begins))
    days = range(start // DAY * DAY, end, DAY)
    return [(day, round(min(max(day - oldest, 0.0), longest) / DAY, 2)) for day in days]


def described(outcome: Outcome) -> str:
    """Return the line about history: from how much to how much."""
    lengths = [length for days in outcome.history.values() for _, length in days]
    if not lengths:
        return "history: none"
    return f"history behind a day of the replay: {min(lengths):.1f} to {max(lengths):.1f} days"


def unscored(judged: Sequence[Judged]) -> str:
    """Return the line about series that were warming up throughout; empty when there are none."""
    series = sum(len(one.labels) for one in judged)
    warming = {one.trace.signal.name: one.unscored for one in judged if one.unscored}
    if not warming:
        return ""
    names = ", ".join(list(warming)[:MOST_NAMES])
    more = f" and {len(warming) - MOST_NAMES} more" if len(warming) > MOST_NAMES else ""
    return (
        f"{sum(warming.values())} of {series} series were warming up throughout and never scored "
        f"({names}{more}): scores begin with the first refit that finds a day of samples; give it "
        "two days or more"
    )
