"""Reads the past of signals from a server in chunks that are kept on disk for the next time."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import zipfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from detector.absence import bearers, fill_zero
from detector.backtest.run import SHARD, Stored
from detector.backtest.spool import Spool
from detector.conditions import Conditions
from detector.errors import ConfigError, DetectorError
from detector.gathering import Reading
from detector.masks import Answer, masked
from detector.prometheus import Prometheus
from detector.schedule import Schedule
from detector.series import Bool, Condition, Labels, SeriesMatrix, Signal
from detector.settings import PrometheusSettings

# Chunks begin at absolute multiples of this many steps: a later run finds those of an earlier one.
CHUNK_POINTS = 2016
COUNTS = ("samples", "duplicates", "over_limit", "histograms")
# What a damaged file of the cache raises; it is read from the server again.
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


class Cancelled(DetectorError):
    """Reading was ended by the user."""

    exit_code = 130


class ChunkedPrometheus(Prometheus):
    """A client whose long reads are cut into chunks that can be kept, counted and ended.

    Parameters
    ----------
    settings : PrometheusSettings
    cache : Path, optional
        A folder in which each chunk is a file, written whole or not at all.
    stop : threading.Event
        When it is set, the next chunk raises `Cancelled`.
    observe : callable
        Called after each chunk with the number of samples and whether it came from the cache.

    Raises
    ------
    ConfigError
        When the cache cannot be written, such as on a full disk.
    """

    def __init__(
        self,
        settings: PrometheusSettings,
        cache: Path | None,
        stop: threading.Event,
        observe: Callable[[int, bool], None] = lambda samples, cached: None,
    ) -> None:
        super().__init__(settings)
        self._cache = cache
        self._stop = stop
        self._counted = observe
        if cache is not None:
            try:
                cache.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _unwritable(cache, error) from None

    @property
    def folder(self) -> Path | None:
        """Where chunks are kept."""
        return self._cache

    def read(
        self,
        queries: tuple[tuple[str, Labels], ...],
        start: int,
        end: int,
        step: int,
        limit: int,
        keep: Collection[Labels] = (),
    ) -> Reading:
        """Read as `Prometheus.read` does; the limit holds for each chunk."""
        return _joined(list(self.chunks(queries, start, end, step, limit)), step)

    def chunks(
        self, queries: tuple[tuple[str, Labels], ...], start: int, end: int, step: int, limit: int
    ) -> Iterator[Reading]:
        """Read as `read` does, but yield chunk by chunk."""
        size = CHUNK_POINTS * step
        for first in range(start // size * size, end + 1, size):
            if self._stop.is_set():
                raise Cancelled(
                    "ended while reading; --cache DIR keeps what is read for the next time"
                )
            a, b = max(first, start), min(first + size - step, end)
            yield self._chunk(queries, a, b, step, limit)

    def _chunk(
        self, queries: tuple[tuple[str, Labels], ...], start: int, end: int, step: int, limit: int
    ) -> Reading:
        key = json.dumps([self.url, queries, start, end, step, limit])
        name = hashlib.sha256(key.encode()).hexdigest()[:32] + ".npz"
        path = None if self._cache is None else self._cache / name
        known = None if path is None else _load(path, start, end, step)
        reading = known or super().read(queries, start, end, step, limit)
        if path is not None and known is None:
            _save(path, reading)
        self._counted(reading.samples, known is not None)
        return reading


@dataclass(frozen=True)
class Past:
    """What was read of a signal.

    `born` is the time of each series' first own sample, where absence counts as zero; `left_out`
    how many series are beyond `max_series`, in the chunk that has the most.
    """

    stored: Stored
    born: dict[Labels, int] | None
    left_out: int


def read_signal(
    source: ChunkedPrometheus,
    signal: Signal,
    grid: Schedule,
    start: int,
    end: int,
    max_series: int,
    groups: Collection[str] = (),
) -> Past:
    """Return all samples a replay of [start, end) looks at, prepared as the live run prepares them.

    The past that only a fit needs is read on the profile grid, what is calibrated or scored on the
    step grid; absence that counts as zero is filled, gates and masks are evaluated on both. Groups
    that it is a member of are refitted at boundaries of their own: their names extend the past.
    Samples are set aside on disk; those of a chunk of 2,016 steps are in memory at one time.

    Raises
    ------
    ConfigError, SourceError
        When samples cannot be set aside; when they or conditions cannot be read.
    """
    boundary = min(grid.boundary(name, start) for name in (signal.name, *groups))
    first, _ = grid.history_times(boundary)
    fine_from = grid.fold_start(boundary)
    spans = [(fine_from, end - grid.step, grid.step)]
    if grid.profile > grid.step and fine_from > first:
        spans.insert(0, (first, -(-fine_from // grid.profile - 1) * grid.profile, grid.profile))
    elif fine_from > first:
        spans = [(first, end - grid.step, grid.step)]
    spool = Spool(source.folder)
    left_out = 0
    try:
        for span in spans:
            spool.begin(span[2])
            for reading in source.chunks(signal.queries, *span, max_series):
                spool.add(reading.matrix)
                left_out = max(left_out, reading.over_limit)
        zero = signal.policy.missing == "zero"
        return Past(
            _prepared(source, signal, spool, zero, grid.step),
            spool.born if zero else None,
            left_out,
        )
    except BaseException:
        spool.close()
        raise


def _prepared(
    source: ChunkedPrometheus, signal: Signal, spool: Spool, zero: bool, step: int
) -> Stored:
    """Return the series of a spool, filled and masked as they are taken."""
    conditions = Conditions(source)
    # What is asked once for all series: presence of targets, and expressions, on each grid.
    presence = cache(source.presence)
    answers: dict[tuple[str, int], Answer] = {}
    siblings: dict[tuple[int, Labels], Bool] = {}
    labels = spool.labels
    alike = bearers(labels)

    def ask(condition: Condition, samples: SeriesMatrix) -> Answer:
        key = str(condition.test), samples.step
        if key not in answers:
            answers[key] = conditions.ask(condition, samples)
        return answers[key]

    def some(number: int, identity: Labels) -> Bool:
        if (number, identity) in siblings:
            return siblings[number, identity]
        found = spool.some(number, [labels[s] for s in alike(identity)])
        # What only one shard can ask for again is not worth its memory.
        if len(alike(identity)) > SHARD:
            siblings[number, identity] = found
        return found

    def part(a: int, b: int) -> SeriesMatrix:
        ready = []
        for number in range(spool.grids):
            matrix = spool.part(number, labels[a:b])
            if zero and matrix.values.size:
                span = int(matrix.times[0]), int(matrix.times[-1]), matrix.step
                matrix = fill_zero(matrix, presence(*span), partial(some, number))
            ready.append(masked(matrix, signal.conditions, ask))
        return _laid(ready, step)

    return Stored(labels, part, spool.close)


def _laid(parts: list[SeriesMatrix], step: int) -> SeriesMatrix:
    """Return matrices of the same series, one after another, on one grid."""
    if len(parts) == 1:
        return parts[0]
    times = np.arange(parts[0].times[0], parts[-1].times[-1] + step, step)
    shape = (len(parts[0].labels), len(times))
    values, absent = np.full(shape, np.nan), np.ones(shape, bool)
    mask = None if parts[-1].mask is None else np.zeros(shape, np.uint8)
    for part in parts:
        at = (part.times - times[0]) // step
        values[:, at], absent[:, at] = part.values, part.absent
        if mask is not None and part.mask is not None:
            mask[:, at] = part.mask
    return SeriesMatrix(parts[0].labels, times, values, absent, step, mask)


def _joined(parts: list[Reading], step: int) -> Reading:
    if len(parts) == 1:
        return parts[0]
    labels = tuple(sorted({key for part in parts for key in part.matrix.labels}))
    times = np.concatenate([part.matrix.times for part in parts])
    row = {key: s for s, key in enumerate(labels)}
    values = np.full((len(labels), len(times)), np.nan)
    absent = np.ones(values.shape, bool)
    a = 0
    for i, part in enumerate(parts):
        matrix = part.matrix
        b = a + len(matrix.times)
        rows = [row[key] for key in matrix.labels]
        values[rows, a:b], absent[rows, a:b] = matrix.values, matrix.absent
        a = b
        # Not two copies of a long past at one time.
        parts[i] = replace(part, matrix=matrix.between(0, 0))
    counts = {
        name: (sum if name == "samples" else max)(getattr(part, name) for part in parts)
        for name in COUNTS
    }
    return Reading(SeriesMatrix(labels, times, values, absent, step), **counts)


def _save(path: Path, reading: Reading) -> None:
    matrix = reading.matrix
    about = {"labels": matrix.labels, **{name: getattr(reading, name) for name in COUNTS}}
    half = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.part")
    try:
        with open(half, "wb") as file:
            np.savez(
                file,
                about=np.frombuffer(json.dumps(about).encode(), np.uint8),
                values=matrix.values,
                absent=np.packbits(matrix.absent, axis=1),
            )
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise _unwritable(path.parent, error) from None


def _load(path: Path, start: int, end: int, step: int) -> Reading | None:
    """Return a chunk that was kept; None where there is none, or a damaged one."""
    times = np.arange(start, end + 1, step, dtype=np.int64)
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(bytes(file["about"]))
            labels = tuple(tuple((str(k), str(v)) for k, v in key) for key in about["labels"])
            absent = np.unpackbits(file["absent"], axis=1, count=len(times)).astype(bool)
            matrix = SeriesMatrix(labels, times, file["values"], absent, step)
            return Reading(matrix, **{name: int(about[name]) for name in COUNTS})
    except DAMAGED:
        return None


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"--cache {folder}: cannot be written: {error.strerror}; make room, name another folder "
        "or leave it out"
    )
