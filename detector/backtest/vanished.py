"""Which jobs lost most of their usual series in a replay, and when AnomalyNoData would have fired.

Source of the rule: rules/anomaly.rules.yml, which a test compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from detector import names
from detector.backtest.alerting import Firing, Rule, firings
from detector.backtest.scores_file import text_of
from detector.census import Clock, count, job_of, usual
from detector.durations import format_duration
from detector.schedule import Schedule
from detector.series import Bool, Float, Int, Labels, SeriesMatrix, Signal

NO_DATA = Rule(600, 120)
# Less than this share of the usual series is most of them gone.
LEAST_SHARE = 0.5
# Where something else tells: all targets of the job failed, or its traffic was told of, lately.
LATELY = 600
DOWN = "max by (job) (min_over_time(up[10m])) == 0"
TOLD = 'last_over_time(ALERTS{alertname="AnomalyTraffic",alertstate="firing"}[10m])'
# Counts of a month are kept for so many jobs of a signal.
MOST_JOBS = 1000
# Lines of a summary.
WORST = 5


@dataclass(frozen=True)
class Vanished:
    """One alert: a job that had `present` of `usual` series when it began to fire."""

    signal: str
    job: Labels
    firing: Firing
    present: int
    usual: int


@dataclass(frozen=True)
class Lost:
    """A job some of whose times lack most of the usual series: `present` and `usual` at T times of
    the profile grid, int64[T] and float64[T]."""

    signal: str
    job: Labels
    times: Int
    present: Int
    usual: Float

    @property
    def missed(self) -> Bool:
        """Where most are gone, bool[T]."""
        missed: Bool = self.present < LEAST_SHARE * self.usual
        return missed


@dataclass
class _Counts:
    """Of one job, int64[T] or bool[T] on the profile grid: series that are counted; with a sample
    or muted; whether nothing is to be learnt."""

    seen: Int
    there: Int
    untaught: Bool


class Tally:
    """Counts the series of a signal, shard by shard, as `census.Census` counts them live.

    Parameters
    ----------
    signal : Signal
    schedule : Schedule
    start, end : int
        Unix seconds of the replay.
    """

    def __init__(self, signal: Signal, schedule: Schedule, start: int, end: int) -> None:
        self.left_out = False
        self._signal = signal
        self._schedule = schedule
        self._start, self._end = start, end
        first, _ = schedule.history_times(schedule.boundary(signal.name, start))
        self._times = np.arange(first, end, schedule.profile)
        self._jobs: dict[Labels, _Counts] = {}

    def add(self, samples: SeriesMatrix) -> None:
        """Count some series, history included."""
        if self._signal.policy.missing == "ignore":
            return
        some = samples.every(self._schedule.profile).between(int(self._times[0]), self._end)
        at = (some.times - self._times[0]) // self._schedule.profile
        there = ~some.absent | some.marked(names.Mask.MUTED)
        untaught = some.marked(names.Mask.UNTAUGHT)
        for s, key in enumerate(some.labels):
            job = job_of(key)
            if job not in self._jobs and len(self._jobs) == MOST_JOBS:
                self.left_out = True
                continue
            counts = self._jobs.setdefault(job, self._nothing())
            seen = np.zeros(len(at), np.int64)
            count(np.ascontiguousarray(some.values[s]), seen)
            counts.seen[at] += seen
            counts.there[at] += there[s]
            counts.untaught[at] |= untaught[s]

    def lost(self) -> list[Lost]:
        """Return the jobs that lost most of their series at some time of the replay."""
        begin = int(np.searchsorted(self._times, self._start))
        every = (
            Lost(
                self._signal.name,
                job,
                self._times[begin:],
                counts.there[begin:],
                self._usual(counts)[begin:],
            )
            for job, counts in sorted(self._jobs.items())
        )
        return [one for one in every if one.missed.any()]

    def _nothing(self) -> _Counts:
        count = len(self._times)
        return _Counts(np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, bool))

    def _usual(self, counts: _Counts) -> Float:
        """Return how many series of a job are usually there, as each refit would know it."""
        schedule, times = self._schedule, self._times
        clock = Clock(self._signal.policy.timezone, schedule.profile)
        due = np.full(len(times), np.nan)
        boundary = schedule.boundary(self._signal.name, self._start)
        while boundary < self._end:
            first, _ = schedule.history_times(boundary)
            a, b, c = np.searchsorted(times, [first, boundary, boundary + schedule.refit])
            table = usual(counts.seen[a:b], counts.untaught[a:b], times[a:b], boundary, clock)
            due[b:c] = table[clock.parts(times[b:c]) % clock.week]
            boundary += schedule.refit
        return due


def vanished(
    lost: Sequence[Lost],
    down: Mapping[Labels, Bool],
    traffic: Mapping[Labels, Sequence[Firing]],
    lag: int,
) -> list[Vanished]:
    """Return what would have fired, by time, to the slot of the profile.

    Parameters
    ----------
    lost : sequence of Lost
    down : mapping from Labels to bool[T]
        Where `DOWN` holds, by job, at the profile times of the replay.
    traffic : mapping from Labels to sequence of Firing
        When AnomalyTraffic fired, by job.
    lag : int
        Seconds by which alerts are dated later.
    """
    found = []
    for one in lost:
        waiting = down.get(one.job, np.zeros(len(one.times), bool)).copy()
        for firing in traffic.get(one.job, ()):
            seen = one.times + lag
            waiting |= (firing.start <= seen) & (seen < firing.end + LATELY)
        for firing in firings(one.times, one.missed & ~waiting, NO_DATA):
            t = int(np.searchsorted(one.times, firing.start))
            dated = Firing(firing.start + lag, firing.end + lag)
            found.append(
                Vanished(one.signal, one.job, dated, int(one.present[t]), int(one.usual[t]))
            )
    return sorted(found, key=lambda one: one.firing.start)


def told(found: Sequence[Vanished]) -> list[str]:
    """Return a line for each of the first, and how many more there are."""
    lines = [
        f"no data: {datetime.fromtimestamp(one.firing.start, UTC):%Y-%m-%d %H:%M} for "
        f"{format_duration(one.firing.end - one.firing.start)}, {one.signal} {text_of(one.job)}: "
        f"{one.present} of {one.usual} usual series ({names.NO_DATA_ALERT}, not in the figures)"
        for one in found[:WORST]
    ]
    more = len(found) - len(lines)
    return [*lines, f"... and {more} more without data"] if more > 0 else lines
