"""The running detector: each step it asks for signals and samples, scores, and publishes.

This is the one module that reads the clock. A signal that fails is counted by reason, its scores
are withdrawn once they are three steps old, and the others go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np

from detector.discovery import discover
from detector.errors import ConfigError, DetectorError, SourceError
from detector.export import FRESH_STEPS, Published, ScoreCollector
from detector.names import State
from detector.pipeline import Evaluation, Schedule, fill_zero
from detector.prometheus import Prometheus, Reading, rules_source
from detector.series import Labels, SeriesMatrix, Signal
from detector.settings import Settings, schedule
from detector.telemetry import Telemetry

log = logging.getLogger("detector")

# While nothing could be read yet, the server is asked this often.
RETRY_SECONDS = 5.0

T = TypeVar("T")


class SignalRunner:
    """Keeps one signal up to date: its evaluation and its newest scores."""

    def __init__(
        self,
        signal: Signal,
        grid: Schedule,
        source: Prometheus,
        telemetry: Telemetry,
        max_series: int,
    ) -> None:
        self.signal = signal
        self.newest: Published | None = None
        self._grid = grid
        self._source = source
        self._telemetry = telemetry
        self._max_series = max_series
        self._evaluation: Evaluation | None = None
        self._anomalous: set[Labels] = set()

    def catch_up(self, until: int) -> None:
        """Evaluate all steps up to `until` that have not been evaluated yet, in order.

        Raises
        ------
        SourceError
            When the samples cannot be read; nothing is lost, the next call catches up.
        """
        evaluation = self._evaluation
        if evaluation is None or until >= evaluation.due or self._set_back(evaluation, until):
            with self._telemetry.fit_time.time():
                boundary = self._grid.boundary(self.signal.name, until)
                first, last = self._grid.history_times(boundary)
                history = self._read(first, last, self._grid.profile)
                evaluation = Evaluation(self.signal, self._grid, boundary, history)
            self._telemetry.fits.inc()
        if until >= evaluation.next_time:
            window = self._read(evaluation.next_time, until, self._grid.step, evaluation.labels)
            self._admit(evaluation, window)
            scores = evaluation.advance(window.aligned(evaluation.labels))
            self.newest = Published(self.signal, scores, until)
            self._log_changes(scores.labels, scores.state[:, -1])
        self._evaluation = evaluation

    def _set_back(self, evaluation: Evaluation, until: int) -> bool:
        """Return whether the clock was set back so far that waiting for it is no answer."""
        return until < evaluation.next_time - (FRESH_STEPS + 1) * self._grid.step

    def _read(
        self, start: int, end: int, step: int, known: tuple[Labels, ...] = ()
    ) -> SeriesMatrix:
        """Read samples; where absence counts as zero, of the known series too."""
        reading = self._source.read(
            self.signal.queries, start, end, step, self._max_series, keep=known
        )
        self._count(reading)
        matrix = reading.matrix
        if self.signal.policy.missing == "zero":
            matrix = matrix.aligned(tuple(sorted({*matrix.labels, *known})))
            if matrix.labels:
                matrix = fill_zero(matrix, self._source.presence(start, end, step))
        return matrix

    def _count(self, reading: Reading) -> None:
        self._telemetry.samples.inc(reading.samples)
        for reason, count in (
            ("limit", reading.over_limit),
            ("duplicate", reading.duplicates),
            ("histogram", reading.histograms),
        ):
            gauge = self._telemetry.dropped.labels(self.signal.name, reason)
            gauge.set(count)

    def _admit(self, evaluation: Evaluation, window: SeriesMatrix) -> None:
        """Let series that appeared since the boundary in, with zeros as past where those count."""
        known = frozenset(evaluation.labels)
        new = tuple(key for key in window.labels if key not in known)
        room = max(self._max_series - len(known), 0)
        past = None
        if new[:room] and self.signal.policy.missing == "zero":
            first, last = self._grid.history_times(evaluation.boundary)
            past = self._read(first, last, self._grid.profile, new[:room])
        evaluation.admit(new[:room], past)
        self._telemetry.dropped.labels(self.signal.name, "limit").inc(len(new[room:]))

    def _log_changes(self, labels: tuple[Labels, ...], states: np.ndarray) -> None:
        now = {key for key, state in zip(labels, states, strict=True) if state == State.ANOMALOUS}
        for verb, keys in (("began", now - self._anomalous), ("ended", self._anomalous - now)):
            for key in sorted(keys):
                log.info("anomaly %s signal=%s labels=%s", verb, self.signal.name, dict(key))
        self._anomalous = now


class Service:
    """All signals of one configuration, evaluated step by step.

    Parameters
    ----------
    settings : Settings
    source : Prometheus
    telemetry : Telemetry
    clock : callable
        Returns unix seconds.
    """

    def __init__(
        self,
        settings: Settings,
        source: Prometheus,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.grid = schedule(settings)
        self.source = source
        self.rules_source = rules_source(source, settings.prometheus, settings.rules.url)
        self.telemetry = telemetry
        self.clock = clock
        self.collector = ScoreCollector(
            FRESH_STEPS * settings.step + settings.delay + settings.step, clock
        )
        self.ready = False
        self._runners: dict[str, SignalRunner] = {}
        self._rules_known = False
        self._running: dict[str, Future[None]] = {}
        self._warned: set[str] = set()
        self._pool = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="signal")
        # Of its own: slow queries do not keep the rules from being read.
        self._rules_pool = ThreadPoolExecutor(1, thread_name_prefix="rules")
        self._in_flight: set[Future[Any]] = set()

    def run(self, stop: threading.Event) -> None:
        """Run a cycle a step until `stop` is set."""
        while not stop.is_set():
            evaluated = self.cycle(stop)
            # A cycle that took longer than a step is followed by the next one at once; a clock
            # that was set back must not stop the loop.
            due = evaluated + self.settings.step + self.settings.delay
            longest = self.settings.step if self.ready else RETRY_SECONDS
            stop.wait(min(max(due - self.clock(), 0.05), longest))
        for pool in (self._pool, self._rules_pool):
            pool.shutdown(wait=False, cancel_futures=True)

    @property
    def busy(self) -> bool:
        """Whether a query is still in flight, which can last until it times out."""
        return bool(self._in_flight)

    def newest_step(self, now: float) -> int:
        """Return the newest step that is old enough to be complete."""
        return int((now - self.settings.delay) // self.settings.step) * self.settings.step

    def cycle(self, stop: threading.Event | None = None) -> int:
        """Evaluate every signal up to the newest complete step and publish; return that step.

        A signal that is still busy when the step is over goes on in the background and is left
        out of the cycles until it is done: a slow query delays nobody else.
        """
        began = time.perf_counter()
        until = self.newest_step(self.clock())
        self._refresh_signals(stop or threading.Event())
        for name, runner in self._runners.items():
            if name not in self._running:
                self._running[name] = self._submit(self._pool, runner.catch_up, until)
        self._publish()
        while self._running:
            wait(self._running.values(), timeout=0.2, return_when=FIRST_COMPLETED)
            for name, task in list(self._running.items()):
                if task.done():
                    del self._running[name]
                    self._conclude(name, task)
            self._publish()
            overdue = self.ready and time.perf_counter() - began > self.settings.step
            if overdue or (stop is not None and stop.is_set()):
                break
        now = self.clock()
        self.telemetry.lag.set(now - until)
        self.telemetry.cycle_at.set(now)
        self.telemetry.cycle_time.observe(time.perf_counter() - began)
        if not self.ready and self._rules_known and (not self._runners or self.collector.fresh()):
            self.ready = True
            log.info("ready: %d signals", len(self._runners))
        return until

    def _submit(self, pool: Executor, call: Callable[..., T], *given: Any) -> Future[T]:
        task = pool.submit(call, *given)
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)
        return task

    def _publish(self) -> None:
        newest = {name: r.newest for name, r in self._runners.items() if r.newest is not None}
        self.collector.publish(newest)
        self.telemetry.count_states(self.collector.states())

    def _refresh_signals(self, stop: threading.Event) -> None:
        """Take over added, changed and removed signals; on failure the known ones stay."""
        reading = self._submit(self._rules_pool, discover, self.settings, self.rules_source.rules)
        while not wait([reading], timeout=0.2).done:
            if stop.is_set():
                return
        try:
            found = reading.result()
        except DetectorError as error:
            if isinstance(error, ConfigError) and not self._rules_known:
                raise
            self.telemetry.rules_read.set(0)
            self._warn(f"rules cannot be read, the known signals stay: {error}")
            return
        self.telemetry.rules_read.set(1)
        self._rules_known = True
        for warning in found.warnings:
            self._warn(warning)
        changed = False
        for name in list(self._runners):
            if name not in found.signals:
                del self._runners[name]
                self._running.pop(name, None)
                self.telemetry.forget(name)
                log.info("signal removed: %s", name)
                changed = True
        for name, signal in found.signals.items():
            known = self._runners.get(name)
            if known is None or known.signal != signal:
                log.info("signal %s: %s", "changed" if known else "added", name)
                changed = True
                self._running.pop(name, None)
                self._runners[name] = SignalRunner(
                    signal, self.grid, self.source, self.telemetry, self.settings.max_series
                )
        self.telemetry.signals.set(len(self._runners))
        if changed and self.ready:
            self.telemetry.reloads.inc()

    def _conclude(self, name: str, task: Future[None]) -> None:
        """Count the outcome of one signal's evaluation."""
        runner = self._runners.get(name)
        if runner is None:
            return
        error = task.exception()
        up = self.telemetry.signal_up.labels(name)
        if error is None:
            up.set(1)
            if runner.newest is not None:
                self.telemetry.evaluated.labels(name).set(runner.newest.time)
            return
        up.set(0)
        reason = error.reason if isinstance(error, SourceError) else "internal"
        self.telemetry.failures.labels(name, reason).inc()
        if isinstance(error, DetectorError):
            self._warn(f"signal {name}: {error}")
        else:
            log.error("signal %s: unexpected error, please report it", name, exc_info=error)

    def _warn(self, message: str) -> None:
        """Log a message the first time it occurs, so that a lasting fault is one line."""
        if message not in self._warned:
            self._warned.add(message)
            log.warning("%s", message)
