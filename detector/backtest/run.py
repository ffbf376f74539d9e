"""Replays a signal, shards of its series in parallel, or the group that judges several."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from detector import groups, names
from detector.lesson import taught
from detector.models import registry
from detector.pipeline import replay
from detector.schedule import Schedule
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
    `channels` of what had the largest share in an anomalous score, -1 elsewhere. `shares` [N, C]
    are those of all channels at the N steps with a channel, series after series.
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
    shares: Float = field(default_factory=lambda: np.empty((0, len(names.CHANNELS))))


@dataclass(frozen=True)
class Stored:
    """S series whose samples are had some at a time: those of 10,000 need not fit into memory.

    Parameters
    ----------
    labels : tuple of Labels
    part : callable
        Returns series [a, b) as a matrix on the step grid, history included.
    close : callable
        Lets go of what holds them.
    """

    labels: tuple[Labels, ...]
    part: Callable[[int, int], SeriesMatrix]
    close: Callable[[], None] = lambda: None

    def shards(self) -> Iterator[SeriesMatrix]:
        """Yield the series, `SHARD` at a time; one empty matrix when there are none."""
        for a in range(0, max(len(self.labels), 1), SHARD):
            yield self.part(a, a + SHARD)


def in_memory(samples: SeriesMatrix) -> Stored:
    """Return series that are in memory anyway."""
    return Stored(samples.labels, lambda a, b: part_of(samples, a, b))


def replayed_shards(
    signal: Signal,
    schedule: Schedule,
    stored: Stored,
    start: int,
    end: int,
    executor: Executor,
    stop: threading.Event,
    ahead: int = AHEAD,
) -> Iterator[tuple[SeriesMatrix, Trace]]:
    """Replay a signal over [start, end), as a live run would have scored it, shard by shard.

    Parameters
    ----------
    signal, schedule
        As `pipeline.replay` takes them.
    stored : Stored
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
    SeriesMatrix, Trace
        Samples, and what was said of them, in the order of the series.
    """
    rest = stored.shards()

    def submit(part: SeriesMatrix) -> tuple[SeriesMatrix, Future[Trace]]:
        return part, executor.submit(replay_shard, signal, schedule, part, start, end)

    tasks = deque(submit(part) for part in islice(rest, ahead))
    while tasks:
        if stop.is_set():
            for _, waiting in tasks:
                waiting.cancel()
            return
        part, task = tasks[0]
        try:
            trace = task.result(timeout=0.2)
        except TimeoutError:
            continue
        tasks.popleft()
        tasks.extend(submit(part) for part in islice(rest, 1))
        yield part, trace


def replayed(
    signal: Signal,
    schedule: Schedule,
    stored: Stored,
    start: int,
    end: int,
    executor: Executor,
    stop: threading.Event,
) -> Trace:
    """Replay all series of a signal at once; see `replayed_shards`."""
    done = replayed_shards(signal, schedule, stored, start, end, executor, stop)
    return stacked([trace for _, trace in done]) or collected(signal, [], schedule.step, start, end)


def stacked(parts: Sequence[Trace]) -> Trace | None:
    """Return the series of several traces of one signal as one; None of none."""
    if not parts:
        return None
    rows: dict[str, Any] = {
        name: np.concatenate([getattr(one, name) for one in parts])
        for name in (*FIELDS, "state", "channel", "shares")
    }
    return replace(parts[0], labels=tuple(key for one in parts for key in one.labels), **rows)


def picked(trace: Trace, series: Sequence[int]) -> Trace:
    """Return copies of some series of a trace."""
    rows: dict[str, Any] = {
        name: getattr(trace, name)[list(series)] for name in (*FIELDS, "state", "channel")
    }
    return replace(
        trace,
        labels=tuple(trace.labels[s] for s in series),
        shares=shares_of(trace, series),
        **rows,
    )


def shares_of(trace: Trace, series: Sequence[int]) -> Float:
    """Return the shares of some series of a trace."""
    ends = np.cumsum((trace.channel >= 0).sum(axis=1))
    begins = np.concatenate([[0], ends])
    return np.concatenate([trace.shares[:0], *(trace.shares[begins[s] : ends[s]] for s in series)])


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
    told_at: list[tuple[Int, Int, Float]] = []
    width = len(names.CHANNELS)
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
        s, t = np.nonzero(told)
        told_at.append((np.array(rows)[s], a + t, part.evidence[s, t]))
        width = part.evidence.shape[2]
    observed, expected, lower, upper, score = (numbers[name] for name in FIELDS)
    return Trace(
        signal, labels, times, observed, expected, lower, upper, score, state, channel,
        shares=_in_order(told_at, width),
    )  # fmt: skip


def _in_order(told: Sequence[tuple[Int, Int, Float]], width: int) -> Float:
    """Return shares by series and time, from those of one period after another."""
    if not told:
        return np.empty((0, width))
    s, t, shares = (np.concatenate(parts) for parts in zip(*told, strict=True))
    ordered: Float = shares[np.lexsort((t, s))]
    return ordered


def _as_scores(trace: Trace) -> Scores:
    nothing = np.empty((*trace.score.shape, 0))
    numbers = {name: getattr(trace, name) for name in FIELDS}
    return Scores(trace.labels, trace.times, **numbers, evidence=nothing, state=trace.state)
