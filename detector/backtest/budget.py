"""The sensitivity that keeps to a budget of pages, chosen on one part of the past, then confirmed.

The fold depends on the sensitivity (an episode changes what is learnt), so each one is a replay of
its own: nothing here is an approximation, and the price is one replay for each.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from detector.backtest.results import Results
from detector.durations import parse_duration
from detector.errors import ConfigError

SENSITIVITIES = (0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 2.0)
# The sensitivity is chosen on this share of the range, the rest confirms it.
CHOSEN_ON = 0.6
WEEK = 604_800
_FORM = re.compile(r"\s*([0-9.]+)\s*(?:pages?|alerts?)?\s*(?:/|per|a)\s*([0-9.]*\s*\w+)\s*")
_WORDS = {"minute": "1m", "hour": "1h", "day": "1d", "week": "1w", "month": "30d"}


@dataclass(frozen=True)
class Trial:
    """What a sensitivity gives on the first part and on the rest: recall, pages a week.

    None where it is not defined: without incidents, and where nothing was ever scored.
    """

    sensitivity: float
    recall: tuple[float | None, float | None]
    pages_per_week: tuple[float | None, float | None]
    seconds: float


@dataclass(frozen=True)
class Choice:
    """All trials, and the one chosen; None where none keeps to the budget."""

    budget: float
    trials: tuple[Trial, ...]
    chosen: Trial | None

    columns = ("sensitivity", "recall", "pages/week", "recall, rest", "pages/week, rest", "")

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """One row a trial."""
        return [
            (
                f"{one.sensitivity:g}",
                _ratio(one.recall[0]),
                _ratio(one.pages_per_week[0]),
                _ratio(one.recall[1]),
                _ratio(one.pages_per_week[1]),
                "chosen" if one is self.chosen else "",
            )
            for one in self.trials
        ]

    @property
    def verdict(self) -> str:
        """One line: which sensitivity, whether the rest confirms it, and what it cost."""
        cost = f"{len(self.trials)} replays, {sum(one.seconds for one in self.trials):.0f} s"
        if all(one.pages_per_week[0] is None for one in self.trials):
            return (
                f"no sensitivity can be chosen: on the first {CHOSEN_ON:.0%} of the range every "
                f"series was warming up or had no data; take a longer range ({cost})"
            )
        if self.chosen is None:
            return f"no sensitivity keeps to {self.budget:g} pages a week ({cost})"
        rest = self.chosen.pages_per_week[1]
        recall = self.chosen.recall[0]
        finds = "" if recall is None else f" and finds {recall:.0%} of the incidents"
        if rest is None:
            kept = "NOT confirmed, nothing was scored on the rest"
        elif rest <= self.budget:
            kept = f"confirmed on the rest with {rest:.2f}"
        else:
            kept = f"NOT confirmed on the rest with {rest:.2f}"
        return (
            f"sensitivity {self.chosen.sensitivity:g} keeps to {self.budget:g} pages a week"
            f"{finds}; {kept} ({cost})"
        )


def parse_budget(text: str) -> float:
    """Return pages a week.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> parse_budget("2 pages/week"), parse_budget("1 per day")
    (2.0, 7.0)
    """
    match = _FORM.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        pages = float(match[1])
        word = match[2].strip()
        seconds = parse_duration(_WORDS.get(word, word))
    except (ValueError, ConfigError):
        raise ConfigError(f"--budget {text!r}: write for example '2 pages/week'") from None
    return pages * WEEK / seconds


def choose(
    budget: float,
    replay: Callable[[float], tuple[Results, Results]],
    sensitivities: Sequence[float] = SENSITIVITIES,
) -> Choice:
    """Try sensitivities and take the one that finds most within the budget.

    Parameters
    ----------
    budget : float
        Pages a week.
    replay : callable
        Returns the results of the first part and of the rest for a sensitivity.
    sensitivities : sequence of float
    """
    trials = []
    for sensitivity in sorted(sensitivities):
        began = time.perf_counter()
        first, rest = replay(sensitivity)
        trials.append(
            Trial(
                sensitivity,
                (first.figures["recall"], rest.figures["recall"]),
                (first.figures["pages_per_week"], rest.figures["pages_per_week"]),
                time.perf_counter() - began,
            )
        )
    within = [one for one in trials if _keeps(one.pages_per_week[0], budget)]
    # Of those that find as much the one nearest to what is shipped.
    chosen = max(
        within, key=lambda one: (one.recall[0] or 0.0, -abs(one.sensitivity - 1.0)), default=None
    )
    return Choice(budget, tuple(trials), chosen)


def _keeps(pages: float | None, budget: float) -> bool:
    return pages is not None and pages <= budget


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
