"""Writes the newest scores in Prometheus' text format, and forgets what is no longer true."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from detector import names
from detector.labels import output_labels
from detector.score import GONE
from detector.series import Scores, Signal

HELP = {
    names.SCORE: "How unusual: 0 as expected, 1 at the edge of normal, above 1 anomalous.",
    names.OBSERVED: "The value that was scored, in the signal's own unit.",
    names.EXPECTED: "The value the model expected.",
    names.LOWER: "Lower edge of normal.",
    names.UPPER: "Upper edge of normal.",
    names.STATE: "0 ok, 1 anomalous, 2 warming up, 3 no data, 4 masked.",
}
# Scores older than this many steps are withdrawn: never a stale value shown as fresh.
FRESH_STEPS = 3


@dataclass(frozen=True)
class Published:
    """The newest step of one signal: its scores at column -1, and the time of that step.

    `channels` names the last axis of its evidence: for a group these are its signals.
    """

    signal: Signal
    scores: Scores
    time: int
    channels: tuple[str, ...] = names.CHANNELS


class ScoreCollector(Collector):
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

    def publish(self, newest: dict[str, Published]) -> None:
        """Replace everything that is exposed, at once."""
        self._published = dict(newest)

    def fresh(self) -> list[Published]:
        """Return what is exposed now."""
        now = self._clock()
        return [p for p in list(self._published.values()) if abs(now - p.time) <= self._fresh]

    def states(self) -> dict[int, int]:
        """Return how many exposed series are in each state."""
        counts: dict[int, int] = {}
        for published in self.fresh():
            for state in published.scores.state[:, -1]:
                if state != GONE:
                    counts[int(state)] = counts.get(int(state), 0) + 1
        return counts

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metric families of one scrape; series with mixed labels may share one."""
        families = {name: GaugeMetricFamily(name, text) for name, text in HELP.items()}
        evidence = GaugeMetricFamily(names.EVIDENCE, "Share of each channel in an anomalous score.")
        for published in self.fresh():
            scores = published.scores
            columns = {
                names.SCORE: scores.score,
                names.OBSERVED: scores.observed,
                names.EXPECTED: scores.expected,
                names.LOWER: scores.lower,
                names.UPPER: scores.upper,
            }
            for s, key in enumerate(scores.labels):
                state = int(scores.state[s, -1])
                if state == GONE:
                    continue
                labels = output_labels(key, published.signal.name, published.signal.kind)
                families[names.STATE].add_sample(names.STATE, labels, state)
                for name, values in columns.items():
                    if np.isfinite(values[s, -1]):
                        families[name].add_sample(name, labels, float(values[s, -1]))
                if state == names.State.ANOMALOUS:
                    for c, channel in enumerate(published.channels):
                        share = float(scores.evidence[s, -1, c])
                        own = {**labels, names.CHANNEL: channel}
                        evidence.add_sample(names.EVIDENCE, own, share)
        yield from families.values()
        yield evidence
