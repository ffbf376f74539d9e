"""What to watch on a server: which signals of the library have data there, and their cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from detector import expression, names
from detector.catalogue import Entry, entries
from detector.errors import SourceError
from detector.prometheus import NO_LIMIT, Prometheus, Reading
from detector.settings import Settings

DAY = 86400
# Topics that fit every job: they say nothing about what a job does.
_ANY_JOB = frozenset({"scrape", "process"})


@dataclass(frozen=True)
class Proposed:
    """One signal that has data, and what a day of it and one step took the server."""

    entry: Entry
    series: int
    day_samples: int
    day_seconds: float
    now_seconds: float
    note: str = ""


@dataclass(frozen=True)
class Proposal:
    """The signals for a server, those left out with the reason, and jobs none of them is for."""

    url: str
    signals: tuple[Proposed, ...]
    left_out: tuple[tuple[str, str], ...]
    other_jobs: tuple[str, ...]
    metrics: int

    @property
    def series(self) -> int:
        """Return the number of series of all signals."""
        return sum(signal.series for signal in self.signals)


def propose(
    settings: Settings,
    source: Prometheus,
    now: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Proposal:
    """Look at a server and choose signals of the library.

    Parameters
    ----------
    settings : Settings
        For the grids and the most series of a signal.
    source : Prometheus
    now : int
        Unix seconds.
    clock : callable
        Measures how long the server takes.

    Raises
    ------
    SourceError
    """
    known = source.metrics(now - DAY, now)
    taken = set(_signals_of_rules(source))
    signals: list[Proposed] = []
    left_out: list[tuple[str, str]] = []
    jobs: set[str] = set()
    for entry in entries():
        if not any(selector.metric in known for selector in entry.selectors):
            continue
        if entry.name in taken:
            left_out.append((entry.name, "a rule of the server has this anomaly_name already"))
            continue
        found = _tried(entry, settings, source, now, clock)
        if isinstance(found, str):
            left_out.append((entry.name, found))
            continue
        if found is not None:
            signals.append(found[0])
            jobs |= found[1] if entry.topic not in _ANY_JOB else set()
    up = _jobs(source.read((("count by (job) (up)", ()),), now, now, settings.step, NO_LIMIT))
    return Proposal(
        source.url, tuple(signals), tuple(left_out), tuple(sorted(up - jobs)), len(known)
    )


def _tried(
    entry: Entry, settings: Settings, source: Prometheus, now: int, clock: Callable[[], float]
) -> tuple[Proposed, set[str]] | str | None:
    """Return a signal with the jobs it has, why it is left out, or None when it has no data."""

    def read(query: str, start: int, end: int, step: int) -> tuple[Reading, float]:
        began = clock()
        reading = source.read(((query, ()),), start, end, step, NO_LIMIT)
        return reading, clock() - began

    query = entry.rule.expr.value
    day = now // settings.profile * settings.profile
    try:
        newest, now_seconds = read(query, now, now, settings.step)
        series, note = len(newest.matrix.labels), ""
        if series > settings.max_series:
            return f"{series} series, over max_series ({settings.max_series}); aggregate it"
        past, day_seconds = read(query, day - DAY, day, settings.profile)
        samples = int(np.isfinite(past.matrix.values).sum())
        jobs = _jobs(newest)
        if not samples and not np.isfinite(newest.matrix.values).any():
            if series or entry.kind != "errors":
                return "no numbers in the last day" if series else None
            # Without an error so far: the series will be those that the share is taken of.
            whole = [
                read(part, now, now, settings.step)[0]
                for part in expression.divisors(expression.parse(query))
            ]
            series = sum(len(reading.matrix.labels) for reading in whole)
            jobs = set().union(*map(_jobs, whole))
            note = "no error in the last day; absent counts as zero"
    except SourceError as error:
        if error.reason == "unreachable":
            raise
        return str(error)
    if not series:
        return None
    return Proposed(entry, series, samples, day_seconds, now_seconds, note), jobs


def _signals_of_rules(source: Prometheus) -> Iterator[str]:
    """Yield the signals that the server's rules have already; some servers have no rules."""
    try:
        rules = source.rules()
    except SourceError as error:
        if error.reason != "bad_response":
            raise
        return
    for rule in rules:
        if name := (rule.get("labels") or {}).get(names.RULE_NAME):
            yield str(name)


def _jobs(reading: Reading) -> set[str]:
    return {value for labels in reading.matrix.labels for key, value in labels if key == "job"}
