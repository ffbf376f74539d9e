"""The backtest from its request to its outcome: read, replay, judge, one signal after another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from detector.backtest.budget import CHOSEN_ON, Choice, choose
from detector.backtest.grouping import Inhibition, Route
from detector.backtest.request import Request, threads
from detector.backtest.results import Judged, Results, judge, lag_of, results
from detector.backtest.run import Trace, replayed, replayed_group
from detector.backtest.server import Cancelled
from detector.backtest.sources import Loaded, Opened, opened
from detector.backtest.truth import Incident
from detector.errors import ConfigError
from detector.series import Int, Labels, SeriesMatrix
from detector.settings import Settings

DAY = 86_400


@dataclass
class Outcome:
    """What a backtest found, as far as it came."""

    found: Results
    judged: list[Judged]
    step: int
    choice: Choice | None
    notes: list[str]
    history: dict[str, list[tuple[int, float]]]
    stamps: dict[str, tuple[tuple[Labels, ...], Int]]
    complete: bool
    lag: int
    inhibitions: list[Inhibition]
    timing: dict[str, float] = field(default_factory=dict)


def backtest(
    settings: Settings,
    request: Request,
    now: float,
    stop: threading.Event,
    say: Callable[[str], None],
    executor: Executor | None = None,
) -> Outcome:
    """Replay what is asked for, judge it, and look for the sensitivity that keeps to a budget.

    Parameters
    ----------
    settings : Settings
    request : Request
        Checked (`request.check`).
    now : float
        Unix seconds; nothing after it is read.
    stop : threading.Event
        When it is set, what is done so far is judged.
    say : callable
        Told a line after each signal.
    executor : Executor, optional
        What replays shards of series; threads without it.

    Raises
    ------
    ConfigError, SourceError
    """
    pool = executor or ThreadPoolExecutor(threads(request), thread_name_prefix="replay")
    try:
        return _backtest(settings, request, now, stop, say, pool)
    finally:
        if executor is None:
            pool.shutdown(wait=False, cancel_futures=True)


def _backtest(
    settings: Settings,
    request: Request,
    now: float,
    stop: threading.Event,
    say: Callable[[str], None],
    pool: Executor,
) -> Outcome:
    source = opened(settings, request, now, stop, say)
    grid, start, end = source.grid, source.start, source.end
    incidents, inhibitions = source.incidents, source.inhibitions
    ranked, delay = not request.scores_only, settings.delay
    judged: list[Judged] = []
    kept: list[Loaded] = []
    outcome = Outcome(
        results([], incidents, start, end),
        judged,
        grid.step,
        None,
        source.notes,
        {},
        {},
        True,
        lag_of(delay),
        inhibitions,
    )
    timing = {"read_seconds": 0.0, "replay_seconds": 0.0, "samples": 0.0}
    members = {name for group in source.groups for name in group.signals}
    traces: dict[str, tuple[SeriesMatrix, Trace]] = {}
    try:
        for loaded, seconds in _timed(source.load()):
            began = time.perf_counter()
            trace = replayed(loaded.signal, grid, loaded.samples, start, end, pool, stop)
            trace = _born(trace, loaded)
            judged.append(judge(trace, incidents, grid.step, delay, ranked))
            took = time.perf_counter() - began
            timing["read_seconds"] += seconds
            timing["replay_seconds"] += took
            timing["samples"] += int((~loaded.samples.between(start, end).absent).sum())
            name = loaded.signal.name
            outcome.history[name] = _history(loaded, grid.history, start, end)
            if loaded.stamps is not None:
                outcome.stamps[name] = loaded.samples.labels, loaded.stamps
            if request.budget is not None:
                kept.append(loaded)
            if name in members:
                traces[name] = loaded.samples, trace
            say(
                f"{name}: {len(trace.labels)} series, read in {seconds:.1f} s, replayed in "
                f"{took:.1f} s"
            )
            if stop.is_set():
                raise Cancelled("ended while replaying")
        for group in source.groups:
            known = {name: traces[name] for name in group.signals if name in traces}
            trace = replayed_group(group, grid, known, start, end)
            judged.append(judge(trace, incidents, grid.step, delay, ranked))
            say(f"{group.name}: group, {len(trace.labels)} series")
        if request.budget is not None:
            outcome.choice = _chosen(
                request.budget, kept, source, incidents, inhibitions, delay, pool, stop
            )
    except Cancelled:
        outcome.complete = False
        outcome.notes.append(
            f"cancelled: {len(judged)} of {len(source.names)} signals are judged, the last one "
            "perhaps without all its series"
        )
    outcome.found = results(judged, incidents, start, end, Route(), inhibitions)
    outcome.timing = timing
    if not any(len(one.trace.labels) for one in judged) and outcome.complete:
        raise ConfigError(
            f"no samples of {', '.join(source.names) or 'any signal'} in the range; are --from, "
            "--to and the signals right?"
        )
    return outcome


def _chosen(
    budget: float,
    kept: list[Loaded],
    source: Opened,
    incidents: tuple[Incident, ...],
    inhibitions: list[Inhibition],
    delay: float,
    pool: Executor,
    stop: threading.Event,
) -> Choice:
    grid, start, end = source.grid, source.start, source.end
    middle = start + int((end - start) * CHOSEN_ON) // grid.step * grid.step

    def replay(factor: float) -> tuple[Results, Results]:
        halves = []
        for a, b in ((start, middle), (middle, end)):
            inside = [one for one in incidents if a <= one.start < b]
            judged = []
            for loaded in kept:
                policy = loaded.signal.policy
                moved = min(max(policy.sensitivity * factor, 0.1), 10.0)
                signal = replace(loaded.signal, policy=replace(policy, sensitivity=moved))
                trace = replayed(signal, grid, loaded.samples, a, b, pool, stop)
                judged.append(judge(_born(trace, loaded), inside, grid.step, delay, ranked=False))
                if stop.is_set():
                    raise Cancelled("ended while looking for the sensitivity")
            halves.append(results(judged, inside, a, b, Route(), inhibitions))
        return halves[0], halves[1]

    return choose(budget, replay)


def _timed(loading: Iterator[Loaded]) -> Iterator[tuple[Loaded, float]]:
    """Yield what is loaded, with the seconds that took."""
    while True:
        began = time.perf_counter()
        loaded = next(loading, None)
        if loaded is None:
            return
        yield loaded, time.perf_counter() - began


def _born(trace: Trace, loaded: Loaded) -> Trace:
    """Return a trace without what a live run could not have said: of series not yet seen."""
    if loaded.born is None:
        return trace
    born = dict(zip(loaded.samples.labels, loaded.born, strict=True))
    early = np.array([trace.times < born[key] for key in trace.labels]).reshape(trace.state.shape)
    # GONE: nothing is written.
    return replace(trace, state=np.where(early, np.int8(-1), trace.state))


def _history(loaded: Loaded, longest: int, start: int, end: int) -> list[tuple[int, float]]:
    """Return how many days of history each day of the replay had, by the median series."""
    known = np.isfinite(loaded.samples.values)
    firsts = loaded.samples.times[known.argmax(axis=1)][known.any(axis=1)]
    if not len(firsts):
        return []
    oldest = float(np.median(firsts))
    days = range(start // DAY * DAY, end, DAY)
    return [(day, round(min(max(day - oldest, 0.0), longest) / DAY, 2)) for day in days]


def described(outcome: Outcome) -> str:
    """Return the line about history: from how much to how much."""
    lengths = [length for days in outcome.history.values() for _, length in days]
    if not lengths:
        return "history: none"
    return f"history behind a day of the replay: {min(lengths):.1f} to {max(lengths):.1f} days"
