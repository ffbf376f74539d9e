"""The backtest from its request to its outcome: read, replay, judge, one signal after another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from detector import limits
from detector.backtest.alerting import Firing
from detector.backtest.document import MOST_SERIES
from detector.backtest.duel import Watched, alike, duel, judged_rival
from detector.backtest.foremost import Foremost
from detector.backtest.grafana import grafana_alerts
from detector.backtest.grouping import Route
from detector.backtest.judging import Judged, joined, judge, lag_of
from detector.backtest.outcome import Outcome, firsts, history, unscored
from detector.backtest.packed import strips
from detector.backtest.request import STRATEGIES, Request, threads
from detector.backtest.results import results
from detector.backtest.rival_rules import compared_files, read_rules, rule_alerts
from detector.backtest.run import (
    Trace,
    collected,
    picked,
    replayed_group,
    replayed_shards,
    stacked,
)
from detector.backtest.sensitivity import chosen
from detector.backtest.server import Cancelled
from detector.backtest.sources import Loaded, Opened, opened
from detector.backtest.truth import Incident
from detector.backtest.vanished import AWAY, DOWN, MOST_JOBS, Lost, Tally, looks, told, vanished
from detector.census import job_of
from detector.errors import ConfigError, SourceError
from detector.series import Bool, Int, Labels, SeriesMatrix
from detector.settings import Settings

# Told of each shard that is replayed: its scores, and the samples' own times where they differ
# from the grid, [S, T].
Sink = Callable[[Trace, Int | None], None]
# Told how many of a signal's series are replayed.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Listening:
    """Who hears of a replay while it goes on.

    Parameters
    ----------
    say : callable
        Told a line after each signal.
    progress : callable
    sink : callable, optional
    """

    say: Callable[[str], None] = lambda line: None
    progress: Progress = lambda signal, done, series: None
    sink: Sink | None = None


def backtest(
    settings: Settings,
    request: Request,
    now: float,
    stop: threading.Event,
    say: Callable[[str], None],
    executor: Executor | None = None,
    against: Mapping[str, Settings] = MappingProxyType({}),
    progress: Progress = Listening.progress,
    sink: Sink | None = None,
) -> Outcome:
    """Replay what is asked for, judge it, compare it, look for the sensitivity for a budget.

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
    against : mapping from name to Settings
        Other configurations, to be put beside the first on the same data and incidents.
    progress, sink : callable
        See `Listening`.

    Raises
    ------
    ConfigError, SourceError
    """
    pool = executor or ThreadPoolExecutor(threads(request), thread_name_prefix="replay")
    listening = Listening(say, progress, sink)
    try:
        outcome = _backtest(settings, request, now, stop, listening, pool)
        for name, other in against.items() if outcome.complete else ():
            plain = replace(request, budget=None, compare=(), scores=None)
            incidents = outcome.found.incidents
            found = _backtest(other, plain, now, stop, Listening(say, progress), pool, incidents)
            outcome.duels.append(duel(outcome.found, alike(name, found.found)))
            outcome.complete &= found.complete
            outcome.notes += [
                f"{name}: {note}" for note in found.notes if note not in outcome.notes
            ]
        return outcome
    finally:
        if executor is None:
            pool.shutdown(wait=False, cancel_futures=True)


def _backtest(
    settings: Settings,
    request: Request,
    now: float,
    stop: threading.Event,
    listening: Listening,
    pool: Executor,
    incidents: tuple[Incident, ...] | None = None,
) -> Outcome:
    source = opened(settings, request, now, stop, listening.say)
    if incidents is None:
        incidents = source.incidents
    grid, start, end = source.grid, source.start, source.end
    inhibitions = source.inhibitions
    rules = _compared_rules(source, request)
    strategies = [name for name in request.compare if name in STRATEGIES]
    ranked, delay = not request.scores_only, settings.delay
    judged: list[Judged] = []
    kept: list[Loaded] = []
    empty_results = results([], incidents, start, end)
    lag = lag_of(delay)
    outcome = Outcome(empty_results, judged, grid.step, source.notes, lag, inhibitions)
    outcome.timing = {"read_seconds": 0.0, "replay_seconds": 0.0, "samples": 0.0}
    members = {name for group in source.groups for name in group.signals}
    traces: dict[str, tuple[SeriesMatrix, Trace]] = {}
    others: dict[str, list[Watched]] = {name: [] for name in strategies}
    lost: list[Lost] = []
    shown = Foremost(None if request.scores is not None else MOST_SERIES)

    def take(number: int, first: int, trace: Trace, stamps: Int | None) -> Judged:
        """Judge some series, and let go of their scores where there is no room."""
        part = judge(trace, incidents, grid.step, delay, ranked)
        shown.add(number, first, trace, part.alerts)
        if request.html is not None:
            outcome.strips += strips(trace)
        if listening.sink is not None:
            listening.sink(trace, stamps)
        return replace(part, trace=picked(trace, []))

    try:
        for number, (loaded, seconds) in enumerate(_timed(source.load())):
            kept.append(loaded)
            began = time.perf_counter()
            name, count = loaded.signal.name, len(loaded.samples.labels)
            parts: list[Judged] = []
            whole: list[Trace] = []
            begins: list[int] = []
            beyond, numbers = 0, 0
            empty = collected(loaded.signal, [], grid.step, start, end)
            tally = Tally(loaded.signal, grid, start, end)
            first = 0
            for samples, shard in replayed_shards(
                loaded.signal, grid, loaded.samples, start, end, pool, stop, 2 * threads(request)
            ):
                trace = loaded.told(shard)
                parts.append(take(number, first, trace, _own(loaded, trace)))
                if name in members:
                    whole.append(trace)
                for strategy in strategies:
                    others[strategy] += grafana_alerts(strategy, name, samples, start, end, pool)
                begins += firsts(samples)
                tally.add(samples)
                cut = samples.between(start, end)
                outcome.timing["samples"] += int((~cut.absent).sum())
                beyond += int(limits.outside(cut.values, loaded.signal.policy).sum())
                numbers += int(np.isfinite(cut.values).sum())
                first += len(trace.labels)
                listening.progress(name, first, count)
            judged.append(joined(parts, empty))
            lost += tally.lost()
            if tally.left_out:
                outcome.notes.append(f"{name}: series of {MOST_JOBS:,} jobs are counted, no more")
            if beyond:
                outcome.notes.append(
                    f"{name}: {beyond / numbers:.1%} of its samples are outside "
                    f"{limits.described(loaded.signal, settings)}"
                )
            took = time.perf_counter() - began
            outcome.timing["read_seconds"] += seconds
            outcome.timing["replay_seconds"] += took
            outcome.history[name] = history(begins, grid.history, start, end)
            if loaded.stamps is not None:
                outcome.stamps[name] = loaded.samples.labels, loaded.stamps
            if name in members:
                traces[name] = loaded.samples.part(0, count), stacked(whole) or empty
            if request.budget is None:
                kept.pop().samples.close()
            listening.say(
                f"{name}: {first} series, read in {seconds:.1f} s, replayed in {took:.1f} s"
            )
            if stop.is_set():
                raise Cancelled("ended while replaying")
        for number, group in enumerate(source.groups, len(judged)):
            known = {name: traces[name] for name in group.signals if name in traces}
            trace = replayed_group(group, grid, known, start, end)
            judged.append(take(number, 0, trace, None))
            listening.say(f"{group.name}: group, {len(trace.labels)} series")
        if request.budget is not None:
            outcome.choice = chosen(
                request.budget, kept, source, incidents, inhibitions, delay, pool, stop
            )
    except Cancelled:
        outcome.complete = False
        outcome.notes.append(
            f"cancelled: {len(judged)} of {len(source.names)} signals are judged, the last one "
            "perhaps without all its series"
        )
    finally:
        for loaded in kept:
            loaded.samples.close()
    judged[:] = [replace(one, trace=shown.of(i, one.trace)) for i, one in enumerate(judged)]
    outcome.found = results(judged, incidents, start, end, Route(), inhibitions)
    if shown.dropped:
        outcome.notes.append(
            f"too many series to keep all scores: {MOST_SERIES} are drawn, those with the most "
            "alerts; the figures are of all"
        )
    if not any(len(one.labels) for one in judged) and outcome.complete:
        raise ConfigError(
            f"no samples of {', '.join(source.names) or 'any signal'} in the range; are --from, "
            "--to and the signals right?"
        )
    _tell_vanished(outcome, source, lost, lag)
    outcome.notes += [line for line in (unscored(judged), *told(outcome.vanished)) if line]
    outcome.duels += [
        duel(outcome.found, judged_rival(name, outcome.found, found, grid.step, inhibitions))
        for name, found in (rules | others).items()
    ]
    return outcome


def _tell_vanished(outcome: Outcome, source: Opened, lost: Sequence[Lost], lag: int) -> None:
    """Put into the outcome when AnomalyNoData would have fired, as far as the server says."""
    times, every = looks(source.grid.step, source.start, source.end)
    down: dict[Labels, Bool] = {}
    away: Bool | None = None
    if lost and source.server is not None and len(times):
        span = int(times[0]), int(times[-1]), every
        try:
            down = source.server.holds(DOWN, *span)
            away = next(iter(source.server.holds(AWAY, *span).values()), None)
        except (Cancelled, SourceError):
            outcome.notes.append("jobs that lost their series: not known, up could not be read")
            return
    outcome.vanished = vanished(lost, down, away, _of_traffic(outcome.judged), lag)


def _of_traffic(judged: Sequence[Judged]) -> dict[Labels, list[Firing]]:
    """Return when the traffic of each job was told of."""
    found: dict[Labels, list[Firing]] = {}
    for alert in (a for one in judged if one.trace.signal.kind == "traffic" for a in one.alerts):
        found.setdefault(job_of(alert.labels), []).append(alert.firing)
    return found


def _compared_rules(source: Opened, request: Request) -> dict[str, list[Watched]]:
    """Return the alerts of each rule file that is compared with; notes go to the source's."""
    found = {}
    for name, path in compared_files(request.compare):
        assert source.server is not None
        alerts, notes = rule_alerts(source.server, read_rules(path), source.start, source.end)
        found[name] = alerts
        source.notes.extend(notes)
    return found


def _own(loaded: Loaded, trace: Trace) -> Int | None:
    """Return the rows of the samples' own times that belong to a trace."""
    if loaded.stamps is None:
        return None
    row = {key: s for s, key in enumerate(loaded.samples.labels)}
    return loaded.stamps[[row[key] for key in trace.labels]]


def _timed(loading: Iterator[Loaded]) -> Iterator[tuple[Loaded, float]]:
    """Yield what is loaded, with the seconds that took."""
    while True:
        began = time.perf_counter()
        loaded = next(loading, None)
        if loaded is None:
            return
        yield loaded, time.perf_counter() - began
