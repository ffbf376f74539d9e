"""How many series of each job have a sample, and how many usually have: metrics that vanish.

A series without samples has no score, and one pod of many that is replaced is nothing to be told
of. A job most of whose usual series are gone is, and `rules/anomaly.rules.yml` compares the two.

Usual are series that are not zero most of the hour; present are all with a sample. So nobody misses
the counters that a restarted service writes with their first event only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector import names
from detector.kernels import jit
from detector.lesson import local_times
from detector.series import Bool, Float, Int, Labels, SeriesMatrix

HOUR, DAY = 3600, 86_400
# What is usual is a median over as many days, and over as many weeks.
DAYS, WEEKS = 7, 4
UNTAUGHT = int(names.Mask.UNTAUGHT)
Marks = npt.NDArray[np.uint8]
NO_MASK = np.empty((0, 0), np.uint8)


@dataclass(frozen=True)
class Attendance:
    """Series of J jobs with a sample at T times, int64[J, T], and how many are usually there,
    float64[J, T], NaN where nothing is known; `labels` name the jobs, one by none."""

    labels: tuple[Labels, ...]
    present: Int
    usual: Float


class Census:
    """Knows how many series of each job are usually there at an hour of the week.

    Parameters
    ----------
    history : SeriesMatrix
        [S, T] samples on the profile grid, all before the boundary, and the mask: absence that
        counts as zero is absence here.
    boundary : int
        Unix seconds.
    timezone : str
        IANA name of the zone whose clock counts; empty for UTC.

    Notes
    -----
    O(S * T) once a day, a job after the other in the cache; O(S) a step.
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
        mask = NO_MASK if history.mask is None else history.mask
        first, parts = self._clock.month(history.times, boundary)
        # In one layout: for each other one all would be compiled once more.
        values = np.ascontiguousarray(history.values)
        absent, marks = np.ascontiguousarray(history.absent), np.ascontiguousarray(mask)
        _learn(values, absent, marks, order, begins, parts, self._clock.day, first, self._usual)

    def at(self, samples: SeriesMatrix, muted: SeriesMatrix) -> Attendance:
        """Count the series of the jobs that the past knows.

        Parameters
        ----------
        samples : SeriesMatrix
            All that were read: without zeros for those that are absent.
        muted : SeriesMatrix
            Series at the same times, with their mask. Of a job with one that is muted none is
            missed; a closed gate may be closed because a metric is gone.
        """
        parts = self._clock.parts(samples.times) % self._clock.week
        usual = self._usual[:, parts]
        present = self._by_job(samples.labels, ~samples.absent)
        quiet = muted.marked(names.Mask.MUTED) & ~muted.marked(names.Mask.GATED)
        if quiet.any():
            least = np.nan_to_num(usual).astype(np.int64)
            said = self._by_job(muted.labels, quiet) > 0
            present = np.where(said, np.maximum(present, least), present)
        return Attendance(self.labels, present, usual)

    def _by_job(self, labels: tuple[Labels, ...], what: Bool) -> Int:
        """Return of how many series of each job something is true, int64[J, T] of bool[S, T]."""
        jobs = self._jobs(labels)
        counts = np.zeros((len(self.labels), what.shape[1]), np.int64)
        np.add.at(counts, jobs[jobs >= 0], what[jobs >= 0])
        return counts

    def _jobs(self, labels: tuple[Labels, ...]) -> Int:
        """Return the number of each series' job, -1 for one that the past does not know."""
        if self._known[0] != labels:
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

    def month(self, times: Int, boundary: int) -> tuple[int, Int]:
        """Return the first hour of the four weeks before a boundary, and the hours since then."""
        first = int(self.parts(np.array([boundary]))[0]) - WEEKS * self.week
        return first, self.parts(times) - first


def usual(counts: Int, unknown: Bool, times: Int, boundary: int, clock: Clock) -> Float:
    """Return how many series of a job are usually there, by hour of the week.

    Usual is what is there on most of the last seven days and in most of the last four weeks, at
    the worst moment of the hour: what is away every night, or at weekends, is not missed there.

    Parameters
    ----------
    counts : int64[T]
        Series that are counted (`count`) at times before the boundary. None before the first of
        all says nothing.
    unknown : bool[T]
        Times of which nothing is to be learnt.
    times : int64[T]
    boundary : int
        Unix seconds; four weeks before it are looked at.
    clock : Clock

    Returns
    -------
    float64[P]
        By hour of the week since the epoch; NaN where nothing is known.
    """
    found = np.full(clock.week, np.nan)
    first, parts = clock.month(times, boundary)
    _usual(counts, unknown, parts, clock.day, first, np.empty(WEEKS * clock.week), found)
    return found


@jit
def count(values: Float, absent: Bool, parts: Int, counts: Int) -> None:
    """Add a series to `counts`, int64[T], where it has a sample, in hours in most of which it has a
    number other than zero.

    Parameters
    ----------
    values, absent : float64[T], bool[T]
    parts : int64[T]
        Hours, ascending but for clocks that are set back.
    """
    n = values.shape[0]
    begin = 0
    while begin < n:
        end = begin
        there, some = 0, 0
        while end < n and parts[end] == parts[begin]:
            there += not absent[end]
            some += (values[end] != 0.0) & (abs(values[end]) < np.inf)
            end += 1
        if 2 * some >= max(there, 1):
            for t in range(begin, end):
                counts[t] += not absent[t]
        begin = end


@jit
def _learn(
    values: Float,
    absent: Bool,
    mask: Marks,
    order: Int,
    begins: Int,
    parts: Int,
    day: int,
    first: int,
    found: Float,
) -> None:
    """Write what is usual of J jobs, float64[J, P], of series in the `order` of their jobs.

    Parameters
    ----------
    values, absent : float64[S, T], bool[S, T]
    mask : uint8[S, T]
        Bits of `names.Mask`; no row where there is none.
    order, begins : int64[S], int64[J + 1]
        Rows by job, and where those of each begin among them.
    parts, day, first, found
        See `_usual`.
    """
    n = values.shape[1]
    unknown = np.empty(n, np.bool_)
    counts = np.empty(n, np.int64)
    lows = np.empty(WEEKS * 7 * day)
    for j in range(found.shape[0]):
        counts[:] = 0
        unknown[:] = False
        for i in range(begins[j], begins[j + 1]):
            count(values[order[i]], absent[order[i]], parts, counts)
            if mask.shape[0] > 0:
                for t in range(n):
                    unknown[t] |= (mask[order[i], t] & UNTAUGHT) != 0
        _usual(counts, unknown, parts, day, first, lows, found[j])


@jit
def _usual(
    counts: Int, unknown: Bool, parts: Int, day: int, first: int, lows: Float, found: Float
) -> None:
    """Write what is usual of one job, see `usual`.

    Parameters
    ----------
    counts, unknown : int64[T], bool[T]
    parts : int64[T]
        Hours since the first of `WEEKS` weeks; times before it are left out.
    day, first : int
        Hours of a day; the first hour, since the epoch.
    lows : float64[WEEKS * P]
        Scratch: the lowest count of each hour.
    found : float64[P]
        Output.
    """
    lows[:] = np.nan
    seen = False
    for t in range(counts.shape[0]):
        seen = seen or counts[t] > 0
        p = parts[t]
        if seen and not unknown[t] and 0 <= p < lows.shape[0] and not lows[p] <= counts[t]:
            lows[p] = counts[t]
    week = found.shape[0]
    some = np.empty(max(DAYS, WEEKS))
    for p in range(week):
        weekly = _lower_median(lows[p::week], some)
        daily = _lower_median(lows[lows.shape[0] - DAYS * day + p % day :: day], some)
        # The less of both; either may be unknown.
        found[(first + p) % week] = weekly if weekly <= daily or daily != daily else daily


@jit
def _lower_median(values: Float, some: Float) -> float:
    """Median of some values, the lower of two in the middle; NaN is left out. `some` is room."""
    n = 0
    for v in values:
        if v == v:
            i = n
            while i > 0 and some[i - 1] > v:
                some[i] = some[i - 1]
                i -= 1
            some[i] = v
            n += 1
    return some[(n - 1) // 2] if n > 0 else np.nan
