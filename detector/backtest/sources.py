"""Opens what a backtest reads, files or a server, with grids, incidents and notes on both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from detector.backtest.alerting import Firing
from detector.backtest.files import read_file
from detector.backtest.grouping import Inhibition
from detector.backtest.recording import Recording
from detector.backtest.request import Request
from detector.backtest.run import Stored, Trace, in_memory
from detector.backtest.server import ChunkedPrometheus, read_signal
from detector.backtest.truth import (
    Incident,
    incidents_of_alerts,
    incidents_of_silences,
    incidents_where,
    inside,
    read_incidents,
)
from detector.backtest.zeros import with_zeros
from detector.discovery import discover
from detector.errors import ConfigError
from detector.masks import masked
from detector.models.baseline import DAY
from detector.prometheus import rules_source
from detector.schedule import Schedule
from detector.score import GONE
from detector.series import Group, Int, Labels, SeriesMatrix, Signal
from detector.settings import Settings, signal_of

# Chunks between two lines of progress.
SAID_CHUNKS = 20


@dataclass(frozen=True)
class Loaded:
    """A signal with its samples, history included.

    `stamps` are the samples' own times, [S, T]. `born` is the time of each series' first sample
    where absence counts as zero: there is nothing to say before it.
    """

    signal: Signal
    samples: Stored
    stamps: Int | None = None
    born: Mapping[Labels, int] | None = None

    def told(self, trace: Trace) -> Trace:
        """Return a trace without what a live run could not have said: of series not yet seen."""
        if self.born is None:
            return trace
        born = [self.born[key] for key in trace.labels]
        early = trace.times < np.array(born, np.int64)[:, None]
        return replace(trace, state=np.where(early, np.int8(GONE), trace.state))


@dataclass(frozen=True)
class Opened:
    """A source: the grids, the range, the incidents in it; `load` reads signal by signal.

    `server` answers other questions about the same range; files have none.
    """

    grid: Schedule
    start: int
    end: int
    names: tuple[str, ...]
    load: Callable[[], Iterator[Loaded]]
    incidents: tuple[Incident, ...]
    inhibitions: list[Inhibition] = field(default_factory=list)
    groups: tuple[Group, ...] = ()
    notes: list[str] = field(default_factory=list)
    server: ChunkedPrometheus | None = None


def opened(
    settings: Settings,
    request: Request,
    now: float,
    stop: threading.Event,
    say: Callable[[str], None],
) -> Opened:
    """Open the files or the server of a request.

    Raises
    ------
    ConfigError, SourceError
    """
    grid = grid_for(settings, request.step)
    if request.files:
        return _of_files(settings, request, grid)
    return _of_server(settings, request, grid, now, stop, say)


def grid_for(settings: Settings, step: int | None) -> Schedule:
    """Return the grids of the configuration, fitted to another step where one is given.

    Raises
    ------
    ConfigError
        When no multiple of the step divides a day.
    """
    if step is None:
        return Schedule(settings.step, settings.profile, settings.history, settings.refit)
    profile = profile_for(step, settings.profile)
    whole = (max(length // profile, 1) * profile for length in (settings.history, settings.refit))
    return Schedule(step, profile, *whole)


def profile_for(step: int, wanted: int) -> int:
    """Return the profile grid for a step: the least multiple >= `wanted` that divides a day.

    Raises
    ------
    ConfigError
        When no multiple of the step divides a day.
    """
    for profile in range(-(-wanted // step) * step, DAY + 1, step):
        if DAY % profile == 0:
            return profile
    raise ConfigError(f"--step {step}s: no multiple of it divides a day; use 60s, 300s or 3600s")


def _of_files(settings: Settings, request: Request, grid: Schedule) -> Opened:
    loaded: dict[str, tuple[Signal, SeriesMatrix, Recording]] = {}
    notes: list[str] = []
    for path in request.files:
        for name, recording in read_file(path, grid.step).items():
            if name in loaded:
                raise ConfigError(f"{path}: another file has a signal {name!r} too; rename one")
            signal = signal_of(settings, name, request.kind, (("", ()),))
            asked = ", ".join(c.setting for c in signal.conditions if isinstance(c.test, str))
            if asked:
                notes.append(f"{asked}: no server to ask; not in force for a file")
            notes += [f"{path}: {remark}" for remark in recording.remarks(name)]
            samples = recording.samples
            if signal.policy.missing == "zero":
                samples, untold = with_zeros(name, recording)
                notes += untold
            # A file has no server to ask for the other conditions.
            ranges = tuple(c for c in signal.conditions if not isinstance(c.test, str))
            samples = masked(samples, ranges, lambda condition, of: {})
            loaded[name] = signal, samples, recording
    notes += [f"groups.{group.name}: not in force for files" for group in settings.groups]
    first = min(int(samples.times[0]) for _, samples, _ in loaded.values())
    last = max(int(samples.times[-1]) for _, samples, _ in loaded.values())
    start = _on_grid(max(first, request.start or first), grid.step)
    end = min(last + grid.step, request.end or last + grid.step)
    if start >= end:
        raise ConfigError(
            f"no samples between --from and --to; the files have {_said(first)} to "
            f"{_said(last)} UTC"
        )
    given = _labelled(request, notes)
    if request.silences is not None:
        given += incidents_of_silences(request.silences, start, end)
    incidents, outside = inside(given, start, end)
    notes += _about(request, incidents, outside)
    return Opened(grid, start, end, tuple(loaded),
                  lambda: (_cut(*one, start, end) for one in loaded.values()),
                  incidents, notes=notes)  # fmt: skip


def _cut(
    signal: Signal, samples: SeriesMatrix, recording: Recording, start: int, end: int
) -> Loaded:
    """Return a signal with the stamps of the steps that are replayed."""
    grid = np.arange(start, end, samples.step)
    stamps = np.tile(grid, (len(samples.labels), 1))
    known, to, at = np.intersect1d(grid, samples.times, return_indices=True)
    if len(known):
        stamps[:, to] = recording.stamps[:, at]
    born = recording.born if signal.policy.missing == "zero" else None
    return Loaded(signal, in_memory(samples), stamps, born)


def _of_server(
    settings: Settings,
    request: Request,
    grid: Schedule,
    now: float,
    stop: threading.Event,
    say: Callable[[str], None],
) -> Opened:
    chunks = {True: 0, False: 0}

    def observe(samples: int, cached: bool) -> None:
        chunks[cached] += 1
        if sum(chunks.values()) % SAID_CHUNKS == 0:
            kept = f", {chunks[True]} of them from --cache" if request.cache else ""
            say(f"{sum(chunks.values())} chunks read{kept}")

    source = ChunkedPrometheus(settings.prometheus, request.cache, stop, observe)
    rules = rules_source(source, settings.prometheus, settings.rules.url)
    found = discover(settings, rules.rules)
    unknown = sorted(set(request.signals) - set(found.signals))
    if unknown:
        known = ", ".join(sorted(found.signals)) or "none"
        raise ConfigError(f"--signal {unknown[0]}: no such signal; there are: {known}")
    signals = [s for name, s in found.signals.items() if name in (request.signals or found.signals)]
    if not signals:
        raise ConfigError("there are no signals; give a recording rule the label anomaly_name")
    assert request.start is not None
    newest = int(min(now - settings.delay, request.end or now) // grid.step) * grid.step
    start, end = _on_grid(request.start, grid.step), newest + grid.step
    if start >= end:
        raise ConfigError("--from must be before --to, and both before now")
    notes = list(found.warnings)
    given = _labelled(request, notes)
    for query in request.truth:
        true = incidents_where(source, query, start, end, grid.step)
        if not true:
            notes.append(f"--truth {query}: never true in the range; is it spelt right?")
        given += true
    for alert in request.alerts:
        fired = incidents_of_alerts(source, [alert], start, end, grid.step)
        if not fired:
            notes.append(f"--alerts {alert}: did not fire in the range; is it spelt right?")
        given += fired
    if request.silences is not None:
        given += incidents_of_silences(request.silences, start, end)
    incidents, outside = inside(given, start, end)
    inhibitions = [
        Inhibition(_firings_of(source, alert, start, end, grid.step), equal)
        for alert, equal in request.inhibit
    ]
    for (alert, _), inhibition in zip(request.inhibit, inhibitions, strict=True):
        if not inhibition.firings:
            notes.append(f"--inhibit {alert}: did not fire in the range; is it spelt right?")
    names = {signal.name for signal in signals}
    groups = tuple(group for group in found.groups if names.issuperset(group.signals))
    notes += _about(request, incidents, outside)

    def load() -> Iterator[Loaded]:
        for signal in signals:
            of = [group.name for group in groups if signal.name in group.signals]
            past = read_signal(source, signal, grid, start, end, settings.max_series, of)
            if not past.stored.labels:
                notes.append(f"{signal.name}: no samples in the range")
            if past.left_out:
                notes.append(
                    f"{signal.name}: {past.left_out} series beyond max_series: "
                    f"{settings.max_series} are left out, as live"
                )
            yield Loaded(signal, past.stored, born=past.born)

    every = tuple(signal.name for signal in signals)
    return Opened(grid, start, end, every, load, incidents, inhibitions, groups, notes, source)


def _firings_of(
    source: ChunkedPrometheus, alert: str, start: int, end: int, step: int
) -> dict[Labels, list[Firing]]:
    found: dict[Labels, list[Firing]] = {}
    for one in incidents_of_alerts(source, [alert], start, end, step):
        found.setdefault(one.labels, []).append(Firing(one.start, one.end))
    return found


def _said(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _labelled(request: Request, notes: list[str]) -> list[Incident]:
    found = []
    for path in request.incidents:
        own = read_incidents(path)
        if not own:
            notes.append(f"--incidents {path}: no incidents in it")
        found += own
    return found


def _about(request: Request, incidents: tuple[Incident, ...], outside: list[Incident]) -> list[str]:
    notes = []
    if outside:
        every = len(outside) + len(incidents)
        notes.append(
            f"{len(outside)} of {every} incidents do not begin in the range and are left out"
        )
    weak = sum(one.weak for one in incidents)
    if weak:
        notes.append(f"{weak} of {len(incidents)} incidents are weak labels: alerts or silences")
    if not incidents and not request.scores_only:
        notes.append("no incidents in the range: recall, precision, F1 and delay are undefined")
    return notes


def _on_grid(seconds: int, step: int) -> int:
    return -(-seconds // step) * step
