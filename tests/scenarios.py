"""Made incidents with known truth: traffic with bursts and outages, slow drifts, quiet series.

Traffic is that of notes on the peers: one-minute steps, a day of +-50 % around its mean, weekends
at 70 %, 5 % noise that is correlated from minute to minute. Letters: S series, T times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from synthetic import DAY, MONDAY, column, labels

from detector.names import State
from detector.pipeline import replay
from detector.schedule import Schedule
from detector.series import SeriesMatrix, Signal
from detector.settings import KIND_POLICIES

MINUTE, HOUR = 60, 3600
SCHEDULE = Schedule(step=MINUTE, profile=5 * MINUTE, history=28 * DAY, refit=DAY)
# Monday of the week of the incidents: four weeks of history fit before it.
WEEK = MONDAY + 35 * DAY
DAYS = {"Mon": 0, "Tue": 1, "Wed": 2, "Thu": 3, "Fri": 4, "Sat": 5, "Sun": 6}
# Correlation of the noise from one minute to the next.
TRAFFIC_RHO = 0.8
# A drift statistic over a sliding window of about an hour.
DRIFT_RHO = float(np.exp(-1 / 60))
# An incident's end is looked for this many steps after it.
AFTERMATH_STEPS = 60

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Times = NDArray[np.int64]


@dataclass(frozen=True)
class Incident:
    """A stretch of time in which the value is multiplied by a factor."""

    begin: int
    seconds: int
    factor: float

    @property
    def end(self) -> int:
        """The first good step after it."""
        return self.begin + self.seconds


@dataclass(frozen=True)
class Case:
    """One series of traffic: when its first sample is, what happens to it, and its noise."""

    since: int
    incidents: tuple[Incident, ...]
    seed: int


@dataclass(frozen=True)
class Replayed:
    """What the detector said: times int64[T], the rest [S, T]."""

    times: Times
    on: Bools
    score: Floats
    expected: Floats
    lower: Floats
    upper: Floats


@dataclass(frozen=True)
class Verdict:
    """How one incident was told of.

    Parameters
    ----------
    delay : int, optional
        Steps from its first sample to the first alert in it; None: it was missed.
    left : int
        Steps after its end until the alert was off for good (within `AFTERMATH_STEPS`).
    """

    delay: int | None
    left: int


def at(day: str, hour: float) -> int:
    """Return a time in the week of the incidents."""
    return WEEK + DAYS[day] * DAY + round(hour * HOUR)


def signal(kind: str) -> Signal:
    """Return a signal of a kind, with the policy that kind has by default."""
    return Signal(f"made_{kind}", kind, (), KIND_POLICIES[kind])


def correlated(rng: np.random.Generator, count: int, rho: float) -> Floats:
    """Return stationary AR(1) noise of standard deviation 1, float64[T]."""
    kicks = rng.standard_normal(count) * np.sqrt(1 - rho * rho)
    kicks[:1] /= np.sqrt(1 - rho * rho)
    noise: Floats = lfilter([1.0], [1.0, -rho], kicks)
    return noise


def usual_traffic(times: Times) -> Floats:
    """Return requests a second without noise: trough at 04:00, weekends at 70 %."""
    day = 1 - 0.5 * np.cos((times % DAY / DAY - 4 / 24) * 2 * np.pi)
    weekend = (times // DAY - MONDAY // DAY) % 7 >= 5
    usual: Floats = 200 * day * np.where(weekend, 0.7, 1.0)
    return usual


def traffic(times: Times, seed: int) -> Floats:
    """Return traffic with noise."""
    rng = np.random.default_rng([1, seed])
    return usual_traffic(times) * (1 + 0.05 * correlated(rng, len(times), TRAFFIC_RHO))


def drift(times: Times, seed: int, ramp: tuple[int, int] | None = None) -> Floats:
    """Return a PSI around .05 that climbs to .20 over `ramp` (begin, seconds) and stays there."""
    rng = np.random.default_rng([2, seed])
    noise = 1 + 0.12 * correlated(rng, len(times), DRIFT_RHO)
    return (0.05 + 0.15 * _progress(times, ramp)) * noise


def memory(times: Times, seed: int, leak: tuple[int, int] | None = None) -> Floats:
    """Return a memory ratio around .40 that leaks to .95 over `leak` (begin, seconds)."""
    rng = np.random.default_rng([3, seed])
    count = len(times)
    day = 0.02 * np.sin(times % DAY / DAY * 2 * np.pi)
    # Half a day's wander is normal for caches.
    wander = 0.015 * correlated(rng, count, float(np.exp(-1 / 720)))
    quick = 0.01 * correlated(rng, count, 0.9)
    return np.clip(0.40 + day + wander + quick + 0.55 * _progress(times, leak), 0, 1)


def traffic_matrix(cases: Sequence[Case], until: int) -> SeriesMatrix:
    """Return one row a case, absent before its first sample; the last step is before `until`."""
    times = np.arange(min(case.since for case in cases), until, MINUTE)
    rows = np.array([traffic(times, case.seed) for case in cases])
    for row, case in zip(rows, cases, strict=True):
        for one in case.incidents:
            row[(times >= one.begin) & (times < one.end)] *= one.factor
        row[times < case.since] = np.nan
    return stacked(times, rows)


def stacked(times: Times, rows: Floats, step: int = MINUTE) -> SeriesMatrix:
    """Return [S, T] values as a matrix in which row i is labelled i; NaN is absence."""
    names = tuple(labels(case=f"{i:06}") for i in range(len(rows)))
    return SeriesMatrix(names, times, rows, np.isnan(rows), step)


def replayed(samples: SeriesMatrix, kind: str, start: int, end: int) -> Replayed:
    """Score the steps in [start, end) of every series as a live run would have."""
    schedule = replace(SCHEDULE, step=samples.step)
    parts = list(replay(signal(kind), schedule, samples, start, end))

    def all_of(name: str) -> Floats:
        return np.array([column(parts, name, key)[1] for key in samples.labels])

    times = column(parts, "state", samples.labels[0])[0]
    state = all_of("state")
    numbers = (all_of(name) for name in ("score", "expected", "lower", "upper"))
    return Replayed(times, state == State.ANOMALOUS, *numbers)


def judge(times: Times, on: Bools, incident: Incident) -> Verdict:
    """Return when an incident was told of and when that ended; `on` is bool[T]."""
    begin, end = np.searchsorted(times, [incident.begin, incident.end])
    during = np.flatnonzero(on[begin:end])
    after = np.flatnonzero(on[end : end + AFTERMATH_STEPS])
    return Verdict(
        delay=int(during[0]) if len(during) else None,
        left=int(after[-1]) + 1 if len(after) else 0,
    )


def episodes(on: Bools) -> list[tuple[int, int]]:
    """Return (first, last) index of each run of alerts in bool[T]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], on.astype(np.int8), [0]])))
    return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]


def _progress(times: Times, span: tuple[int, int] | None) -> Floats:
    if span is None:
        return np.zeros(len(times))
    return np.clip((times - span[0]) / span[1], 0.0, 1.0)
