"""Which jobs lost most of their usual series in a replay, and when AnomalyNoData would have fired.

Source of the rule: rules/anomaly.rules.yml, which a test compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from detector import names
from detector.backtest.alerting import Firing, Rule, evaluated, firings
from detector.backtest.scores_file import text_of
from detector.census import Clock, count, job_of, usual
from detector.durations import format_duration
from detector.schedule import Schedule
from detector.series import Bool, Float, Int, Labels, SeriesMatrix, Signal

NO_DATA = Rule(600, 120)
# Less than this share of the usual series is most of them gone.
LEAST_SHARE = 0.5
# It waits so long after another alert of the job; that of its traffic concerns some kinds only.
LATELY = 600
REQUESTED = ("latency", "errors", "drift", "quality")
# Where no target of a job answers, which JobDown tells; where Prometheus itself was away.
DOWN, AWAY = 'sum by (job) (up{job!="detector"}) == 0', "absent(up)"
# Seconds between two looks, or a step where that is longer: then the better of two counts.
EVERY = 300
# Counts are kept for so many jobs of a signal.
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
    """A job that lacks most of its usual series at some of T times.

    times : int64[T], `every` seconds apart; present, usual : int32[T];
    missed : bool[T], where most are gone.
    """

    signal: Signal
    job: Labels
    times: Int
    every: int
    present: np.ndarray
    usual: np.ndarray
    missed: Bool


@dataclass
class _Counts:
    """Of one job: series that are `count`ed, int64[P], and whether nothing is to be learnt,
    bool[P], on the profile grid; series there, int32[T], and whether one is muted, bool[T]."""

    seen: Int
    untaught: Bool
    there: np.ndarray
    muted: Bool


class Tally:
    """Counts the series of a signal, shard by shard, as `census.Census` counts them live.

    Absence that counts as zero cannot be told from zeros here: of such signals nothing is said.

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
        self._learnt = np.arange(first, end, schedule.profile)
        self._clock = Clock(signal.policy.timezone, schedule.profile)
        self._parts = self._clock.parts(self._learnt)
        self._times, self._every = looks(schedule.step, start, end)
        self._jobs: dict[Labels, _Counts] = {}

    def add(self, samples: SeriesMatrix) -> None:
        """Count some series, history included."""
        if self._signal.policy.missing != "nodata":
            return
        past = samples.every(self._schedule.profile).between(int(self._learnt[0]), self._end)
        now = samples.between(self._start, self._end)
        now = now.every(self._every)
        before = (past.times - self._learnt[0]) // self._schedule.profile
        at = np.searchsorted(self._times, now.times)
        untaught = past.marked(names.Mask.UNTAUGHT)
        muted = now.marked(names.Mask.MUTED) & ~now.marked(names.Mask.GATED)
        for s, key in enumerate(samples.labels):
            job = job_of(key)
            if job not in self._jobs and len(self._jobs) == MOST_JOBS:
                self.left_out = True
                continue
            counts = self._jobs.setdefault(job, self._nothing())
            seen = np.zeros(len(before), np.int64)
            values, absent = (np.ascontiguousarray(m[s]) for m in (past.values, past.absent))
            count(values, absent, self._parts[before], seen)
            counts.seen[before] += seen
            counts.untaught[before] |= untaught[s]
            counts.there[at] += ~now.absent[s]
            counts.muted[at] |= muted[s]

    def lost(self) -> list[Lost]:
        """Return the jobs that lost most of their series at some time of the replay."""
        found = []
        for job, counts in sorted(self._jobs.items()):
            due = self._usual(counts)
            there = counts.there
            if self._every > EVERY:
                there = np.maximum(there, np.concatenate([there[:1], there[:-1]]))
            missed = (there < LEAST_SHARE * due) & ~counts.muted
            if missed.any():
                known = np.nan_to_num(due).astype(np.int32)
                found.append(
                    Lost(self._signal, job, self._times, self._every, there, known, missed)
                )
        return found

    def _nothing(self) -> _Counts:
        before, now = len(self._learnt), len(self._times)
        return _Counts(
            np.zeros(before, np.int64),
            np.zeros(before, bool),
            np.zeros(now, np.int32),
            np.zeros(now, bool),
        )

    def _usual(self, counts: _Counts) -> Float:
        """Return how many series of a job are usually there, as each refit would know it."""
        schedule, times, clock = self._schedule, self._times, self._clock
        parts = clock.parts(times) % clock.week
        due = np.full(len(times), np.nan)
        boundary = schedule.boundary(self._signal.name, self._start)
        while boundary < self._end:
            first, _ = schedule.history_times(boundary)
            a, b = np.searchsorted(self._learnt, [first, boundary])
            here = slice(*np.searchsorted(times, [boundary, boundary + schedule.refit]))
            seen, untaught = counts.seen[a:b], counts.untaught[a:b]
            due[here] = usual(seen, untaught, self._learnt[a:b], boundary, clock)[parts[here]]
            boundary += schedule.refit
        return due


def looks(step: int, start: int, end: int) -> tuple[Int, int]:
    """Return the times at which a replay looks who is there, and how far they are apart."""
    every = step * max(EVERY // step, 1)
    return np.arange(-(-start // every) * every, end, every), every


def vanished(
    lost: Sequence[Lost],
    down: Mapping[Labels, Bool],
    away: Bool | None,
    traffic: Mapping[Labels, Sequence[Firing]],
    lag: int,
) -> list[Vanished]:
    """Return what would have fired, the longest first.

    Parameters
    ----------
    lost : sequence of Lost
    down : mapping from Labels to bool[T]
        Where `DOWN` holds, by job, at the times of the lost.
    away : bool[T]
        Where `AWAY` does.
    traffic : mapping from Labels to sequence of Firing
        When AnomalyTraffic fired, by job.
    lag : int
        Seconds by which alerts are dated later.
    """
    found = []
    for one in lost:
        waiting = _lately(down.get(one.job), one) | _lately(away, one)
        for firing in traffic.get(one.job, ()) if one.signal.kind in REQUESTED and one.job else ():
            seen = one.times + lag
            waiting |= (firing.start <= seen) & (seen < firing.end + LATELY)
        fine, active = evaluated(one.times, one.missed & ~waiting, one.every, EVERY)
        for firing in firings(fine, active, NO_DATA):
            t = int(np.searchsorted(one.times, firing.start, side="right")) - 1
            dated = Firing(firing.start + lag, firing.end + lag)
            found.append(
                Vanished(one.signal.name, one.job, dated, int(one.present[t]), int(one.usual[t]))
            )
    return sorted(found, key=lambda one: (one.firing.start - one.firing.end, one.firing.start))


def _lately(what: Bool | None, lost: Lost) -> Bool:
    """Return where something is true or was within the last ten minutes, bool[T]."""
    if what is None:
        return np.zeros(len(lost.times), bool)
    recent = what.copy()
    for k in range(1, LATELY // lost.every + 1):
        recent[k:] |= what[: len(what) - k]
    return recent


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
