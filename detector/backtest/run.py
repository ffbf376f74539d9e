"""Replays a signal, shards of its series in parallel, or the group that judges several."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from detector import groups, names
from detector.lesson import taught
from detector.models import registry
from detector.pipeline import Schedule, replay
from detector.score import GONE
from detector.series import Float, Group, Int, Labels, Scores, SeriesMatrix, Signal

# Series replayed in one piece: enough to share what a fit has in common, few enough to cancel.
SHARD = 32
# Shards in work or done and not yet taken, unless told otherwise.
AHEAD = 8
FIELDS = ("observed", "expected", "lower", "upper", "score")


@dataclass(frozen=True)
class Trace:
    """What a replay said of S series at T steps; all arrays are [S, T].

    `state` is `names.State`, or `score.GONE` where nothing is written. `channel` is the index in
    `channels` of what had the largest share in an anomalous score, -1 elsewhere.
    """

    signal: Signal
    labels: tuple[Labels, ...]
    times: Int
    observed: Float
    expected: Float
    lower: Float
    upper: Float
    score: Float
    state: npt.NDArray[np.int8]
    channel: npt.NDArray[np.int8]
    channels: tuple[str, ...] = names.CHANNELS


def replayed_shards(
    signal: Signal,
    schedule: Schedule,
    samples: SeriesMatrix,
    start: int,
    end: int,
    executor: Executor,
    stop: threading.Event,
    ahead: int = AHEAD,
) -> Iterator[Trace]:
    """Replay a signal over [start, end), as a live run would have scored it, shard by shard.

    Parameters
    ----------
    signal, schedule, samples
        As `pipeline.replay` takes them.
    start, end : int
        Unix seconds.
    executor : Executor
        Any; each shard of series is one call with picklable arguments.
    stop : threading.Event
        When it is set, shards not begun are left out.
    ahead : int
        Shards that may be done before one is taken: they bound the memory, not the executor.

    Yields
    ------
    Trace
        In the order of the series.
    """
    rest = iter(range(0, max(len(samples.labels), 1), SHARD))

    def submit(a: int) -> Future[Trace]:
        part = part_of(samples, a, a + SHARD)
        return executor.submit(replay_shard, signal, schedule, part, start, end)

    tasks = deque(submit(a) for a in islice(rest, ahead))
    while tasks:
        if stop.is_set():
            for waiting in tasks:
                waiting.cancel()
            return
        try:
            trace = tasks[0].result(timeout=0.2)
        except TimeoutError:
            continue
        tasks.popleft()
        tasks.extend(submit(a) for a in islice(rest, 1))
        yield trace


def replayed(
    signal: Signal,
    schedule: Schedule,
    samples: SeriesMatrix,
    start: int,
    end: int,
    executor: Executor,
    stop: threading.Event,
) -> Trace:
    """Replay all series of a signal at once; see `replayed_shards`."""
    done = replayed_shards(signal, schedule, samples, start, end, executor, stop)
    return stacked(list(done)) or collected(signal, [], schedule.step, start, end)


def stacked(parts: Sequence[Trace]) -> Trace | None:
    """Return the series of several traces of one signal as one; None of none."""
    if not parts:
        return None
    rows: dict[str, Any] = {
        name: np.concatenate([getattr(one, name) for one in parts])
        for name in (*FIELDS, "state", "channel")
    }
    return replace(parts[0], labels=tuple(key for one in parts for key in one.labels), **rows)


def picked(trace: Trace, series: Sequence[int]) -> Trace:
    """Return copies of some series of a trace."""
    rows: dict[str, Any] = {
        name: getattr(trace, name)[list(series)] for name in (*FIELDS, "state", "channel")
    }
    return replace(trace, labels=tuple(trace.labels[s] for s in series), **rows)


def part_of(samples: SeriesMatrix, a: int, b: int) -> SeriesMatrix:
    """Return some series, by number, without copying their samples."""
    return replace(
        samples,
        labels=samples.labels[a:b],
        values=samples.values[a:b],
        absent=samples.absent[a:b],
        mask=None if samples.mask is None else samples.mask[a:b],
    )


def replay_shard(
    signal: Signal, schedule: Schedule, samples: SeriesMatrix, start: int, end: int
) -> Trace:
    """Replay some series of a signal; see `replayed`."""
    parts = list(replay(signal, schedule, samples, start, end))
    return collected(signal, parts, schedule.step, start, end)


def replayed_group(
    group: Group,
    schedule: Schedule,
    members: Mapping[str, tuple[SeriesMatrix, Trace]],
    start: int,
    end: int,
) -> Trace:
    """Judge the members of a group step by step, refitted at the group's own boundaries.

    Parameters
    ----------
    group : Group
    schedule : Schedule
    members : mapping from name to (SeriesMatrix, Trace)
        Their samples, history included, and what was said of them in [start, end).
    """
    policies = {name: trace.signal.policy for name, (_, trace) in members.items()}
    every = schedule.profile // schedule.step
    said = {name: _as_scores(trace) for name, (_, trace) in members.items()}
    parts: list[Scores] = []
    fitted: groups.GroupFit | None = None
    boundary = schedule.boundary(group.name, start)
    while boundary < end:
        histories: dict[str, Float] = {}
        baselines = {}
        first, last = schedule.history_times(boundary)
        for name, (samples, trace) in members.items():
            past = samples.every(schedule.profile).between(first, last + 1)
            known = ~past.absent.all(axis=1)
            past = past.aligned(tuple(past.labels[s] for s in np.flatnonzero(known)))
            if past.labels:
                history = taught(past)
                histories[name] = history.values
                baselines[name] = registry.fit(trace.signal.model, history)
        fitted = groups.fit(group, every, histories, baselines, policies, fitted)
        times = np.arange(max(boundary, start), min(boundary + schedule.refit, end), schedule.step)
        parts.append(groups.advance(fitted, times, said, policies))
        boundary += schedule.refit
    trace = collected(Signal(group.name, "other", ()), parts, schedule.step, start, end)
    return replace(trace, channels=group.signals)


def collected(signal: Signal, parts: list[Scores], step: int, start: int, end: int) -> Trace:
    """Lay the scores of one period after another on the grid of [start, end)."""
    times = np.arange(-(-start // step) * step, end, step)
    labels = tuple(sorted({key for part in parts for key in part.labels}))
    row = {key: s for s, key in enumerate(labels)}
    shape = (len(labels), len(times))
    numbers = {name: np.full(shape, np.nan) for name in FIELDS}
    state, channel = np.full(shape, GONE, np.int8), np.full(shape, -1, np.int8)
    for part in parts:
        if not part.labels or not len(part.times):
            continue
        rows = [row[key] for key in part.labels]
        a = int(np.searchsorted(times, part.times[0]))
        place = np.ix_(rows, range(a, a + len(part.times)))
        for name in FIELDS:
            numbers[name][place] = getattr(part, name)
        state[place] = part.state
        told = part.state == names.State.ANOMALOUS
        shares = np.where(np.isnan(part.evidence), -1.0, part.evidence)
        channel[place] = np.where(told, shares.argmax(axis=2), -1) if told.any() else -1
    observed, expected, lower, upper, score = (numbers[name] for name in FIELDS)
    return Trace(signal, labels, times, observed, expected, lower, upper, score, state, channel)


def _as_scores(trace: Trace) -> Scores:
    nothing = np.empty((*trace.score.shape, 0))
    numbers = {name: getattr(trace, name) for name in FIELDS}
    return Scores(trace.labels, trace.times, **numbers, evidence=nothing, state=trace.state)
