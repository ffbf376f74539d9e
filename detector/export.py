"""Writes the newest scores in Prometheus' text format, and forgets what is no longer true.

The client library writes the labels, once; putting numbers behind them is left to us. Left to the
library it cost four fifths of the running detector's time (DECISIONS.md 46).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from detector import names
from detector.census import Attendance
from detector.labels import output_labels
from detector.score import GONE
from detector.series import Labels, Scores, Signal

HELP = {
    names.SCORE: "How unusual: 0 as expected, 1 at the edge of normal, above 1 anomalous.",
    names.OBSERVED: "The value that was scored, in the signal's own unit.",
    names.EXPECTED: "The value the model expected.",
    names.LOWER: "Lower edge of normal.",
    names.UPPER: "Upper edge of normal.",
    names.STATE: "0 ok, 1 anomalous, 2 warming up, 3 no data, 4 masked.",
    names.EVIDENCE: "Share of each channel in an anomalous score.",
    names.PRESENT: "Series of the job that have a sample now.",
    names.USUAL: "Series of the job usually there, and not zero, at this hour of the week.",
}
# Scores older than this many steps are withdrawn: never a stale value shown as fresh.
FRESH_STEPS = 3


@dataclass(frozen=True)
class Published:
    """The newest step of one signal: its scores at column -1, and the time of that step.

    `channels` names the last axis of its evidence: for a group these are its signals.
    `attendance` is of the same step, or of more of which the best counts; a group has none.
    """

    signal: Signal
    scores: Scores
    time: int
    channels: tuple[str, ...] = names.CHANNELS
    attendance: Attendance | None = None


class Exposition:
    """Exposes the published scores of all signals.

    Parameters
    ----------
    fresh_seconds : float
        A signal whose newest step is older is not exposed; nor is one as far in the future, which
        a clock that was set back leaves behind.
    clock : callable
        Returns unix seconds.
    """

    def __init__(self, fresh_seconds: float, clock: Callable[[], float]) -> None:
        self._fresh = fresh_seconds
        self._clock = clock
        self._published: dict[str, Published] = {}
        # Label sets as text, by signal and metric: with what they were written for.
        self._written: dict[tuple[str, str], tuple[tuple[Labels, ...], str, list[str]]] = {}

    def publish(self, newest: dict[str, Published]) -> None:
        """Replace everything that is exposed, at once."""
        self._published = dict(newest)
        # A copy first: scrapes add to it meanwhile.
        self._written = {k: v for k, v in self._written.copy().items() if k[0] in newest}

    def fresh(self) -> list[Published]:
        """Return what is exposed now."""
        now = self._clock()
        return [p for p in list(self._published.values()) if abs(now - p.time) <= self._fresh]

    def states(self) -> dict[int, int]:
        """Return how many exposed series are in each state."""
        newest = [published.scores.state[:, -1] for published in self.fresh()]
        if not newest:
            return {}
        counts = np.bincount(np.concatenate(newest).astype(int) - GONE)
        return {place + GONE: n for place, n in enumerate(counts.tolist()) if place and n}

    def text(self) -> bytes:
        """Return all metrics of one scrape, O(series); a number that is none is left out."""
        lines = {
            name: [f"# HELP {name} {said}\n# TYPE {name} gauge\n"] for name, said in HELP.items()
        }
        for published in self.fresh():
            scores = published.scores
            written = self._labels(published.signal, names.STATE, scores.labels)
            state = scores.state[:, -1]
            for name, values in (
                (names.SCORE, scores.score),
                (names.OBSERVED, scores.observed),
                (names.EXPECTED, scores.expected),
                (names.LOWER, scores.lower),
                (names.UPPER, scores.upper),
                (names.STATE, scores.state),
            ):
                newest = values[:, -1].astype(float)
                shown = np.flatnonzero(np.isfinite(newest) & (state != GONE))
                lines[name] += [
                    f"{name}{written[s]} {value!r}\n"
                    for s, value in zip(shown.tolist(), newest[shown].tolist(), strict=True)
                ]
            lines[names.EVIDENCE] += _evidence(published, written)
            self._count(published, lines)
        return "".join(line for family in lines.values() for line in family).encode()

    def _count(self, published: Published, lines: dict[str, list[str]]) -> None:
        """Add lines for each job of a signal that usually has series."""
        attendance = published.attendance
        if attendance is None:
            return
        written = self._labels(published.signal, names.USUAL, attendance.labels)
        present, usual = attendance.present.max(axis=1).tolist(), attendance.usual[:, -1]
        for j in np.flatnonzero(usual >= 1).tolist():
            lines[names.PRESENT].append(f"{names.PRESENT}{written[j]} {present[j]}\n")
            lines[names.USUAL].append(f"{names.USUAL}{written[j]} {usual[j]:.0f}\n")

    def _labels(self, signal: Signal, metric: str, labels: tuple[Labels, ...]) -> list[str]:
        """Return the label sets of a signal's series as text; they change seldom."""
        known = self._written.get((signal.name, metric))
        if known is None or known[:2] != (labels, signal.kind):
            texts = _written([output_labels(key, signal.name, signal.kind) for key in labels])
            known = self._written[signal.name, metric] = labels, signal.kind, texts
        return known[2]


def _evidence(published: Published, written: Sequence[str]) -> list[str]:
    """Return a line for each channel of each anomalous series."""
    scores = published.scores
    anomalous = np.flatnonzero(scores.state[:, -1] == int(names.State.ANOMALOUS)).tolist()
    if not anomalous:
        return []
    channels = _written([{names.CHANNEL: channel} for channel in published.channels])
    return [
        f"{names.EVIDENCE}{channel[:-1]},{written[s][1:]} {share!r}\n"
        for s in anomalous
        for channel, share in zip(channels, scores.evidence[s, -1].tolist(), strict=True)
    ]


class _Family(Collector):
    """One family, for the library to write."""

    def __init__(self, family: GaugeMetricFamily) -> None:
        self._family = family

    def collect(self) -> list[GaugeMetricFamily]:
        return [self._family]


def _written(sets: Sequence[dict[str, str]]) -> list[str]:
    """Return label sets, none of them empty, in the text format: braces, quotes, escapes."""
    family = GaugeMetricFamily("x", "")
    for labels in sets:
        family.add_sample("x", labels, 0.0)
    registry = CollectorRegistry()
    registry.register(_Family(family))
    lines = generate_latest(registry).decode().split("\n")
    return [line[len("x") : line.rindex(" ")] for line in lines if line.startswith("x{")]
