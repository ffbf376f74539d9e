"""How many series of each job have a sample, and how many usually have: metrics that vanish.

A series without samples has no score, and one pod of many that is replaced is nothing to be told
of. A job most of whose usual series are gone is, and `rules/anomaly.rules.yml` compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector import names
from detector.lesson import local_times
from detector.series import Bool, Float, Int, Labels, SeriesMatrix

HOUR, DAY = 3600, 86_400
# What is usual is a median over as many days, and over as many weeks.
DAYS, WEEKS = 7, 4
# Jobs that are counted together: their counts stay in the cache.
TOGETHER = 32


@dataclass(frozen=True)
class Attendance:
    """Series of J jobs with a sample at T times, int64[J, T], and how many usually have one,
    float64[J, T], NaN where nothing is known; `labels` name the jobs, one by none."""

    labels: tuple[Labels, ...]
    present: Int
    usual: Float


class Census:
    """Knows how many series of each job usually have a sample at an hour of the week.

    Parameters
    ----------
    history : SeriesMatrix
        [S, T] samples on the profile grid, all before the boundary.
    boundary : int
        Unix seconds.
    timezone : str
        IANA name of the zone whose clock counts; empty for UTC.

    Notes
    -----
    O(S * T) once a day, O(S) a step.
    """

    def __init__(self, history: SeriesMatrix, boundary: int, timezone: str) -> None:
        self._clock = Clock(timezone, history.step)
        self.labels: tuple[Labels, ...] = tuple(sorted({job_of(key) for key in history.labels}))
        # Of which job each series is, of the newest labels that were asked for.
        self._known: tuple[tuple[Labels, ...], Int] = ((), np.empty(0, np.int64))
        self._usual = np.full((len(self.labels), self._clock.week), np.nan)
        jobs = self._jobs(history.labels)
        order = np.argsort(jobs, kind="stable")
        begins = np.searchsorted(jobs[order], np.arange(len(self.labels) + 1))
        untaught = history.marked(names.Mask.UNTAUGHT) if history.mask is not None else None
        for a in range(0, len(self.labels), TOGETHER):
            b = min(a + TOGETHER, len(self.labels))
            rows, at = order[begins[a] : begins[b]], begins[a:b] - begins[a]
            counts = np.add.reduceat(~history.absent[rows], at, axis=0, dtype=np.int64)
            unknown = untaught is not None and np.logical_or.reduceat(untaught[rows], at, axis=0)
            self._usual[a:b] = usual(counts, unknown, history.times, boundary, self._clock)

    def at(self, samples: SeriesMatrix) -> Attendance:
        """Count the series of the jobs that the past knows; one that is muted is there."""
        jobs = self._jobs(samples.labels)
        here = ~samples.absent | samples.marked(names.Mask.MUTED)
        present = np.zeros((len(self.labels), len(samples.times)), np.int64)
        np.add.at(present, jobs[jobs >= 0], here[jobs >= 0])
        parts = self._clock.parts(samples.times) % self._clock.week
        return Attendance(self.labels, present, self._usual[:, parts])

    def _jobs(self, labels: tuple[Labels, ...]) -> Int:
        """Return the number of each series' job, -1 for one that the past does not know."""
        if self._known[0] is not labels:
            number = {job: j for j, job in enumerate(self.labels)}
            jobs = np.array([number.get(job_of(key), -1) for key in labels], np.int64)
            self._known = labels, jobs
        return self._known[1]


def job_of(key: Labels) -> Labels:
    """Return the label of a series that names its job, none where it has none."""
    return tuple(pair for pair in key if pair[0] == "job")


@dataclass(frozen=True)
class Clock:
    """The hours of a zone's clock; on grids of more than an hour a slot is one.

    Parameters
    ----------
    timezone : str
        IANA name; empty for UTC.
    profile : int
        Seconds of a slot.
    """

    timezone: str
    profile: int

    @property
    def day(self) -> int:
        """Hours of a day."""
        return DAY // max(HOUR, self.profile)

    @property
    def week(self) -> int:
        """Hours of a week."""
        return 7 * self.day

    def parts(self, times: Int) -> Int:
        """Return the hours that times lie in, counted since the epoch."""
        local = local_times(times, self.timezone, self.profile)
        parts: Int = local // max(HOUR, self.profile)
        return parts


def usual(counts: Int, unknown: Bool | bool, times: Int, boundary: int, clock: Clock) -> Float:
    """Return how many series usually have a sample, by hour of the week.

    Usual is what is there on most of the last seven days and in most of the last four weeks, at
    the worst moment of the hour: what is away every night, or at weekends, is not missed there.

    Parameters
    ----------
    counts : int64[J, T]
        Series of J jobs with a sample at T times before the boundary. None before the first
        sample of a job says nothing.
    unknown : bool[J, T]
        Times of which nothing is to be learnt.
    times : int64[T]
    boundary : int
        Unix seconds; four weeks before it are looked at.
    clock : Clock

    Returns
    -------
    float64[J, P]
        By hour of the week since the epoch; NaN where nothing is known.
    """
    known = np.logical_or.accumulate(counts > 0, axis=1) & ~np.asarray(unknown)
    seen = np.where(known, counts, np.nan)
    end = int(clock.parts(np.array([boundary]))[0])
    parts = clock.parts(times) - (end - WEEKS * clock.week)
    lows = np.full((WEEKS * clock.week, len(counts)), np.nan)
    within = (parts >= 0) & (parts < len(lows))
    if within.any():
        parts, seen = parts[within], seen[:, within]
        starts = np.flatnonzero(np.diff(parts, prepend=-1))
        # An hour may come twice, when clocks are set back.
        np.fmin.at(lows, parts[starts], np.fmin.reduceat(seen, starts, axis=1).T)
    weekly = _lower_median(lows.reshape(WEEKS, clock.week, -1))
    daily = _lower_median(lows[-DAYS * clock.day :].reshape(DAYS, clock.day, -1))
    least: Float = np.fmin(weekly, np.tile(daily, (7, 1))).T
    return np.roll(least, end % clock.week, axis=1)


def _lower_median(values: Float) -> Float:
    """Return medians [P, J] of [N, P, J], the lower of two in the middle; NaN is left out."""
    known = np.isfinite(values).sum(axis=0)
    middle = np.maximum(known - 1, 0) // 2
    ordered = np.sort(values, axis=0)
    median: Float = np.take_along_axis(ordered, middle[None], axis=0)[0]
    return median
