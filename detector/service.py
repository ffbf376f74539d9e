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
NO_SIGNALS = (
    "there are none; give a recording rule the label anomaly_name, or add signals: to the "
    "configuration"
)

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
        # Series left out of the newest window, by reason.
        self.dropped: dict[str, int] = {}
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
                evaluation, window = self._begin(until)
            self._telemetry.fits.inc()
        elif until < evaluation.next_time:
            return
        else:
            window = self._read_window(evaluation.next_time, until, evaluation.labels)
        self._admit(evaluation, window)
        scores = evaluation.advance(self._zeroed(window, evaluation.labels))
        self.newest = Published(self.signal, scores, until)
        self._log_changes(scores.labels, scores.state[:, -1])
        self._evaluation = evaluation

    def _begin(self, until: int) -> tuple[Evaluation, SeriesMatrix]:
        """Fit at the last boundary before `until`; return that and the window to score first.

        The window is read first: series that live now have their place before those of which
        only the history knows.
        """
        boundary = self._grid.boundary(self.signal.name, until)
        window = self._read_window(self._grid.fold_start(boundary), until, ())
        first, last = self._grid.history_times(boundary)
        history = self._read(first, last, self._grid.profile, window.labels).matrix
        past = self._zeroed(history, history.labels)
        return Evaluation(self.signal, self._grid, boundary, past), window

    def _set_back(self, evaluation: Evaluation, until: int) -> bool:
        """Return whether the clock was set back so far that waiting for it is no answer."""
        return until < evaluation.next_time - (FRESH_STEPS + 1) * self._grid.step

    def _read(self, start: int, end: int, step: int, keep: tuple[Labels, ...]) -> Reading:
        reading = self._source.read(
            self.signal.queries, start, end, step, self._max_series, keep=keep
        )
        self._telemetry.samples.inc(reading.samples)
        return reading

    def _read_window(self, start: int, end: int, keep: tuple[Labels, ...]) -> SeriesMatrix:
        """Read steps to be scored, and note what had to be left out of them."""
        reading = self._read(start, end, self._grid.step, keep)
        self.dropped = {
            "limit": reading.over_limit,
            "duplicate": reading.duplicates,
            "histogram": reading.histograms,
        }
        return reading.matrix

    def _zeroed(self, matrix: SeriesMatrix, known: tuple[Labels, ...]) -> SeriesMatrix:
        """Return rows for the known series; where absence counts as zero, with those zeros."""
        matrix = matrix.aligned(known)
        if self.signal.policy.missing != "zero" or not known or not len(matrix.times):
            return matrix
        start, end = int(matrix.times[0]), int(matrix.times[-1])
        return fill_zero(matrix, self._source.presence(start, end, matrix.step))

    def _admit(self, evaluation: Evaluation, window: SeriesMatrix) -> None:
        """Let series that appeared since the boundary in, with zeros as past where those count.

        Series that are gone take no place from them.
        """
        known = frozenset(evaluation.labels)
        new = tuple(key for key in window.labels if key not in known)
        if not new:
            return
        room = max(self._max_series - evaluation.living, 0)
        past = None
        if new[:room] and self.signal.policy.missing == "zero":
            first, last = self._grid.history_times(evaluation.boundary)
            siblings = self._read(first, last, self._grid.profile, evaluation.labels).matrix
            both = tuple(sorted({*siblings.labels, *new[:room]}))
            past = self._zeroed(siblings, both).aligned(new[:room])
        evaluation.admit(new[:room], past)
        self.dropped["limit"] += len(new[room:])

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
        self._tried: set[str] = set()
        self._faults: dict[str, str] = {}
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
            overdue = time.perf_counter() - began > self.settings.step
            if overdue or (stop is not None and stop.is_set()):
                break
        now = self.clock()
        self.telemetry.lag.set(now - until)
        self.telemetry.cycle_at.set(now)
        self.telemetry.cycle_time.observe(time.perf_counter() - began)
        tried = self._tried.issuperset(self._runners)
        if not self.ready and self._rules_known and tried and self._shows_scores():
            self.ready = True
            log.info("ready: %d signals", len(self._runners))
        return until

    def _shows_scores(self) -> bool:
        return not self._runners or bool(self.collector.fresh())

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
            self._warn("rules", f"cannot be read, the known signals stay: {error}")
            return
        self.telemetry.rules_read.set(1)
        self._rules_known = True
        self._works("rules")
        for warning in found.warnings:
            self._warn(warning, "see detector check")
        if found.signals:
            self._works("signals")
        else:
            self._warn("signals", NO_SIGNALS)
        changed = False
        for name in list(self._runners):
            if name not in found.signals:
                del self._runners[name]
                self._running.pop(name, None)
                self._tried.discard(name)
                self._faults.pop(f"signal {name}", None)
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
        self._tried.add(name)
        for reason, count in runner.dropped.items():
            self.telemetry.dropped.labels(name, reason).set(count)
        error = task.exception()
        up = self.telemetry.signal_up.labels(name)
        if error is None:
            up.set(1)
            self._works(f"signal {name}")
            if runner.newest is not None:
                self.telemetry.evaluated.labels(name).set(runner.newest.time)
            return
        up.set(0)
        reason = error.reason if isinstance(error, SourceError) else "internal"
        self.telemetry.failures.labels(name, reason).inc()
        if isinstance(error, DetectorError):
            self._warn(f"signal {name}", str(error))
        else:
            log.error("signal %s: unexpected error, please report it", name, exc_info=error)

    def _warn(self, subject: str, message: str) -> None:
        """Log what is wrong with a subject once, until it works again or something else is."""
        if self._faults.get(subject) != message:
            self._faults[subject] = message
            log.warning("%s: %s", subject, message)

    def _works(self, subject: str) -> None:
        if self._faults.pop(subject, None) is not None:
            log.info("%s: works again", subject)
