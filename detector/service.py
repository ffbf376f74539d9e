"""The running detector: each step it asks for signals and samples, scores, and publishes.

This is the one module that reads the clock. A signal that fails is counted by reason, its scores
are withdrawn once they are three steps old, and the others go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from prometheus_client import generate_latest

from detector.conditions import Conditions
from detector.discovery import Discovery, discover
from detector.errors import ConfigError, DetectorError, SourceError
from detector.export import FRESH_STEPS, Exposition, Published
from detector.group_runner import GroupRunner
from detector.prometheus import Prometheus, rules_source
from detector.runner import SignalRunner
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
        self.conditions = Conditions(source)
        self.telemetry = telemetry
        self.clock = clock
        self.exposition = Exposition(
            FRESH_STEPS * settings.step + settings.delay + settings.step, clock
        )
        self.ready = False
        self._runners: dict[str, SignalRunner] = {}
        self._groups: dict[str, GroupRunner] = {}
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

    def metrics(self) -> bytes:
        """Return what one scrape gets: the detector's own metrics, and the scores."""
        return generate_latest(self.telemetry.registry) + self.exposition.text()

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
        self.conditions.forget()
        self._refresh_signals(stop or threading.Event())
        for name, runner in self._runners.items():
            if name not in self._running:
                self._running[name] = self._submit(self._pool, runner.catch_up, until)
        self._publish()
        deadline = began + self.settings.step
        self._gather(deadline, stop)
        # Groups judge what their members have just said; a member that is late says nothing.
        newest = self._newest(self._runners)
        for name, group in self._groups.items():
            if name not in self._running:
                self._running[name] = self._submit(self._pool, group.catch_up, until, newest)
        self._gather(deadline, stop)
        now = self.clock()
        self.telemetry.lag.set(now - until)
        self.telemetry.cycle_at.set(now)
        self.telemetry.cycle_time.observe(time.perf_counter() - began)
        tried = self._tried.issuperset(self._runners)
        if not self.ready and self._rules_known and tried and self._shows_scores():
            self.ready = True
            log.info("ready: %d signals", len(self._runners))
        return until

    def _gather(self, deadline: float, stop: threading.Event | None) -> None:
        """Conclude and publish what is done, until nothing runs, it is too late, or the end."""
        while self._running:
            wait(self._running.values(), timeout=0.2, return_when=FIRST_COMPLETED)
            for name, task in list(self._running.items()):
                if task.done():
                    del self._running[name]
                    self._conclude(name, task)
            self._publish()
            if time.perf_counter() > deadline or (stop is not None and stop.is_set()):
                break

    def _shows_scores(self) -> bool:
        return not self._runners or bool(self.exposition.fresh())

    def _submit(self, pool: Executor, call: Callable[..., T], *given: Any) -> Future[T]:
        task = pool.submit(call, *given)
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)
        return task

    def _newest(self, runners: Mapping[str, SignalRunner | GroupRunner]) -> dict[str, Published]:
        return {name: r.newest for name, r in runners.items() if r.newest is not None}

    def _publish(self) -> None:
        self.exposition.publish(self._newest({**self._runners, **self._groups}))
        self.telemetry.count_states(self.exposition.states())

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
                    signal,
                    self.grid,
                    self.source,
                    self.conditions,
                    self.telemetry,
                    self.settings.max_series,
                )
        self._refresh_groups(found)
        self.telemetry.signals.set(len(self._runners))
        if changed and self.ready:
            self.telemetry.reloads.inc()

    def _refresh_groups(self, found: Discovery) -> None:
        """Take over groups whose signals are all known; one that changed begins anew."""
        complete = {g.name: g for g in found.groups if found.signals.keys() >= set(g.signals)}
        for name in self._groups.keys() - complete.keys():
            del self._groups[name]
            self._running.pop(name, None)
            self._faults.pop(f"signal {name}", None)
            self.telemetry.forget(name)
        for name, group in complete.items():
            members = {member: found.signals[member] for member in group.signals}
            known = self._groups.get(name)
            if known is None or known.group != group or known.members != members:
                self._running.pop(name, None)
                self._groups[name] = GroupRunner(
                    group, members, self.grid, self.source, self.conditions,
                    self.settings.max_series,
                )  # fmt: skip

    def _conclude(self, name: str, task: Future[None]) -> None:
        """Count the outcome of the evaluation of one signal or group."""
        runner = self._runners.get(name) or self._groups.get(name)
        if runner is None:
            return
        self._tried.add(name)
        dropped = runner.dropped if isinstance(runner, SignalRunner) else {}
        for reason, count in dropped.items():
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
