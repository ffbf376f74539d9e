"""Puts others beside the detector: the same range, the same incidents, the same grouping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detector.backtest.alerting import Firing, Rule, firings
from detector.backtest.grouping import Inhibition, Page, Route, pages
from detector.backtest.judging import Alert, belongs
from detector.backtest.results import Results, delay_of, figures_of
from detector.labels import label_set
from detector.series import Bool, Int, Labels

# Of the detector, an incident at a time.
EARLIER, LATER, SAME = "earlier", "later", "same"
MISSED, ALONE, NEITHER = "missed", "alone", "neither"
NOISE = "quieter", "as noisy", "noisier"


@dataclass(frozen=True)
class Watched:
    """An alert of somebody else that fires.

    `labels` decide which incidents it may belong to, `identity` is what Alertmanager groups by;
    its condition has held since `begun`, unix seconds.
    """

    signal: str
    labels: Labels
    identity: Labels
    firing: Firing
    begun: int


@dataclass(frozen=True)
class Rival:
    """Somebody else's figures; `delays` has one entry an incident, None where it is missed."""

    name: str
    figures: Mapping[str, float | None]
    delays: tuple[int | None, ...]
    alerts: tuple[Alert, ...]
    pages: tuple[Page, ...]


@dataclass(frozen=True)
class Duel:
    """The detector beside a rival.

    `words` says of each incident how the detector did: earlier, later or at the same time; missed
    what the rival found, or found it alone; neither. None where the incident concerns no series.
    `noise` compares false pages.
    """

    rival: Rival
    words: tuple[str | None, ...]
    noise: str

    def count(self, word: str) -> int:
        """Return of how many incidents the word is said."""
        return self.words.count(word)


def duel(ours: Results, rival: Rival) -> Duel:
    """Compare incident by incident, and the noise."""
    words = tuple(
        _word(ours.delays[i], rival.delays[i]) if i in ours.watched else None
        for i in range(len(ours.incidents))
    )
    mine, other = (
        figures["false_pages_per_week"] or 0.0 for figures in (ours.figures, rival.figures)
    )
    return Duel(rival, words, NOISE[int(np.sign(mine - other)) + 1])


def judged_rival(
    name: str,
    ours: Results,
    found: Sequence[Watched],
    step: int,
    inhibitions: Sequence[Inhibition] = (),
) -> Rival:
    """Hold alerts of somebody else to the incidents, as `results` does with our own.

    What is measured in scores or steps (VUS-PR, shares of time) is None.
    """
    alerts: list[Alert] = []
    seen: dict[Labels, list[Firing]] = {}
    false: set[tuple[Labels, Firing]] = set()
    for one in sorted(found, key=lambda one: (one.firing.start, one.identity)):
        mine = tuple(
            i
            for i, incident in enumerate(ours.incidents)
            if incident.concerns(one.signal or incident.signal, one.labels)
            and belongs(incident, one.firing, one.begun, step)
        )
        alerts.append(Alert(one.signal, one.labels, one.firing, float("nan"), one.begun, "", mine))
        seen.setdefault(one.identity, []).append(one.firing)
        false |= set() if mine else {(one.identity, one.firing)}
    sent = tuple(pages(seen, Route(), inhibitions))
    seconds = ours.end - ours.start
    figures = figures_of([], alerts, ours.incidents, ours.watched, sent, false, seconds)
    delays = tuple(delay_of(i, ours.incidents, alerts) for i in range(len(ours.incidents)))
    return Rival(name, figures, delays, tuple(alerts), sent)


def alike(name: str, found: Results) -> Rival:
    """Return another configuration's results, held to the same incidents, as a rival."""
    return Rival(name, found.figures, found.delays, found.alerts, found.pages)


def watched_firings(
    signal: str, labels: Labels, identity: Mapping[str, str], times: Int, active: Bool, rule: Rule
) -> list[Watched]:
    """Return when a rule fires on one result of its expression.

    Parameters
    ----------
    signal : str
        Empty for an alert that belongs to no signal in particular.
    labels : Labels
    identity : mapping
        Labels of the alert beside those of its result.
    times : int64[E]
        Evaluations.
    active : bool[E]
        Where the expression has this result.
    rule : Rule
    """
    known = label_set({**dict(labels), **identity})
    found = []
    for firing in firings(times, active, rule):
        a = int(np.searchsorted(times, firing.start))
        quiet = np.flatnonzero(~active[:a])
        begun = int(times[quiet[-1] + 1 if len(quiet) else 0])
        found.append(Watched(signal, labels, known, firing, begun))
    return found


def _word(ours: int | None, theirs: int | None) -> str:
    if ours is None or theirs is None:
        return NEITHER if ours is theirs else MISSED if ours is None else ALONE
    return SAME if ours == theirs else EARLIER if ours < theirs else LATER
