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

    Usual is what is there on most of the last seven days and in most of the last four weeks, at
    the worst moment of this hour: what is away every night, or at weekends, is not missed there.

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
    O(S * T) once a day, O(S) a step. A time before the first sample of a job says nothing of it,
    nor does one of which nothing is to be learnt.
    """

    def __init__(self, history: SeriesMatrix, boundary: int, timezone: str) -> None:
        self._timezone = timezone
        self._profile = history.step
        self._part = max(HOUR, history.step)
        self.labels: tuple[Labels, ...] = tuple(sorted({_job(key) for key in history.labels}))
        # Of which job each series is, of the newest labels that were asked for.
        self._known: tuple[tuple[Labels, ...], Int] = ((), np.empty(0, np.int64))
        self._usual = np.full((len(self.labels), 7 * DAY // self._part), np.nan)
        end = int(self._parts(np.array([boundary]))[0])
        parts = self._parts(history.times) - (end - WEEKS * self._usual.shape[1])
        jobs = self._jobs(history.labels)
        order = np.argsort(jobs, kind="stable")
        begins = np.searchsorted(jobs[order], np.arange(len(self.labels) + 1))
        for a in range(0, len(self.labels), TOGETHER):
            b = min(a + TOGETHER, len(self.labels))
            some = order[begins[a] : begins[b]]
            counts = _counts(history, some, begins[a:b] - begins[a])
            self._usual[a:b] = np.roll(
                _usual(counts, parts, DAY // self._part), end % self._usual.shape[1], axis=1
            )

    def at(self, samples: SeriesMatrix) -> Attendance:
        """Count the series of the jobs that the past knows; one that is muted is there."""
        jobs = self._jobs(samples.labels)
        here = ~samples.absent | samples.marked(names.Mask.MUTED)
        present = np.zeros((len(self.labels), len(samples.times)), np.int64)
        np.add.at(present, jobs[jobs >= 0], here[jobs >= 0])
        parts = self._parts(samples.times) % self._usual.shape[1]
        return Attendance(self.labels, present, self._usual[:, parts])

    def _parts(self, times: Int) -> Int:
        """Return the hours of the zone's clock that times lie in, since the epoch."""
        parts: Int = local_times(times, self._timezone, self._profile) // self._part
        return parts

    def _jobs(self, labels: tuple[Labels, ...]) -> Int:
        """Return the number of each series' job, -1 for one that the past does not know."""
        if self._known[0] is not labels:
            number = {job: j for j, job in enumerate(self.labels)}
            jobs = np.array([number.get(_job(key), -1) for key in labels], np.int64)
            self._known = labels, jobs
        return self._known[1]


def _job(key: Labels) -> Labels:
    return tuple(pair for pair in key if pair[0] == "job")


def _counts(history: SeriesMatrix, rows: Int, begins: Int) -> Float:
    """Return how many series of each job have a sample, float64[J, T]; NaN says nothing of it."""
    counts: Float = np.add.reduceat(~history.absent[rows], begins, axis=0, dtype=np.int64) * 1.0
    counts[~np.logical_or.accumulate(counts > 0, axis=1)] = np.nan
    if history.mask is not None:
        untaught: Bool = (history.mask[rows] & names.Mask.UNTAUGHT) != 0
        counts[np.logical_or.reduceat(untaught, begins, axis=0)] = np.nan
    return counts


def _usual(counts: Float, parts: Int, day: int) -> Float:
    """Return the usual counts of J jobs by hour of the week that ends with the last, float64[J, P].

    Parameters
    ----------
    counts : float64[J, T]
    parts : int64[T]
        Hours since the first of `WEEKS` weeks; those before it are left out.
    day : int
        Hours of a day.
    """
    lows = np.full((WEEKS * 7 * day, len(counts)), np.nan)
    within = (parts >= 0) & (parts < len(lows))
    if within.any():
        parts, counts = parts[within], counts[:, within]
        starts = np.flatnonzero(np.diff(parts, prepend=-1))
        # An hour may come twice, when clocks are set back.
        np.fmin.at(lows, parts[starts], np.fmin.reduceat(counts, starts, axis=1).T)
    weekly = _lower_median(lows.reshape(WEEKS, 7 * day, -1))
    daily = _lower_median(lows[-DAYS * day :].reshape(DAYS, day, -1))
    return np.fmin(weekly, np.tile(daily, (7, 1))).T


def _lower_median(values: Float) -> Float:
    """Return medians [P, J] of [N, P, J], the lower of two in the middle; NaN is left out."""
    known = np.isfinite(values).sum(axis=0)
    middle = np.maximum(known - 1, 0) // 2
    ordered = np.sort(values, axis=0)
    median: Float = np.take_along_axis(ordered, middle[None], axis=0)[0]
    return median
