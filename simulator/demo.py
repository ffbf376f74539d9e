"""Shows the whole way from a fault to a message on real programs: `make demo`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from detector.durations import format_duration, parse_duration
from detector.errors import ConfigError
from detector.names import State
from simulator import keepsakes, outcome
from simulator.processes import Interrupted, interruptible
from simulator.stack import Stack, new_directory, running_stack
from simulator.timeline import STAGES, Injection, Timeline, allowance
from simulator.up import keep_running_until_told
from simulator.watch import View, Watch


@dataclass(frozen=True)
class Act:
    """Faults that run side by side, each row one after another.

    Parameters
    ----------
    rows : tuple of tuple of Injection
        No fault of one row moves what another row watches.
    """

    rows: tuple[tuple[Injection, ...], ...]


# Labels come late, so the model that turns bad comes first and has company; no traffic disturbs all
# the others and comes last. Drifting customers and missing values act on the same window, so they
# follow each other.
PROGRAMME = (
    Act(
        (
            (Injection("concept_drift", None, "churn_performance", "quality"),),
            (
                Injection("latency", None, "churn_latency_p99", "latency"),
                Injection("errors", None, "churn_error_ratio", "errors"),
                Injection("latency", 0.1, "churn_latency_p50", "latency"),
            ),
            (
                Injection("feature_drift", None, "churn_feature_drift", "drift"),
                Injection("missing_values", None, "churn_feature_missing", "quality"),
            ),
        )
    ),
    Act(((Injection("traffic_zero", None, "churn_traffic", "traffic"),),)),
)
# What is normal, before anything is broken: every signal is seen outside faults.
_BEFORE_SECONDS = 30.0
# A fault that nobody noticed is stopped after this time.
_NOTICE_SECONDS = 180.0
# At night the drift window takes two minutes to fill with new customers, then the rate window, the
# alert and Alertmanager have to let go.
_RECOVERY_SECONDS = 360.0
_LOOK_SECONDS = 0.5
_QUIET_REPORT_SECONDS = 300.0


def demo(
    *,
    at: str | None,
    directory: Path | None,
    seed: int,
    quiet: str | None = None,
    messages: Path | None = None,
    keep_running: bool = False,
) -> int:
    """Run a stack, break it on purpose, and check that each fault becomes a message and is over.

    Parameters
    ----------
    at : str or None
        Weekday and UTC hour that now counts as.
    directory : Path or None
        For data and logs; None takes a new one below ``.run``.
    seed : int
    quiet : str or None
        A duration in which nothing is injected and no alert may fire, instead of the faults.
    messages : Path or None
        Gets the messages about each fault, as files.
    keep_running : bool
        Leave the stack running afterwards, until interrupted.

    Returns
    -------
    int
        0 when every fault was told in time, and its end too, and no other anomaly was (quiet: when
        there was no alert), else 1; 130 when interrupted before that is known.

    Raises
    ------
    ConfigError
        When an argument makes no sense, before anything is started.
    """
    seconds = parse_duration(quiet) if quiet is not None else None
    if messages is not None:
        if quiet is not None:
            raise ConfigError("--messages saves what is sent about faults; --quiet injects none")
        keepsakes.prepare(messages)
    console = _console()
    place = directory or new_directory("demo")
    code = 130
    try:
        with (
            interruptible(),
            running_stack(
                at=at, directory=place, seed=seed, profile="fast", say=lambda x: _say(console, x)
            ) as stack,
        ):
            _say(console, f"\n{stack.addresses()}\n")
            code = (
                _run_programme(console, stack, messages)
                if seconds is None
                else _stay_quiet(console, stack, seconds)
            )
            if keep_running:
                _say(console, "\neverything is left running; Ctrl-C stops it")
                keep_running_until_told(stack)
    except Interrupted as signal:
        _say(console, f"stopped by {signal}; all programs are stopped")
        return code
    if code == 0 and not keep_running:
        stack.layout.remove_data()
    return code


def _run_programme(console: Console, stack: Stack, messages: Path | None) -> int:
    """Inject the faults act by act, follow each to its end, and report."""
    watch = Watch(stack.layout)
    began = time.time()
    timelines: list[Timeline] = []
    _say(console, f"watching for {_BEFORE_SECONDS:.0f} s without a fault")
    while time.time() < began + _BEFORE_SECONDS:
        _look(watch, stack, timelines, console)
    for act in PROGRAMME:
        rows = [_Row(list(injections)) for injections in act.rows]
        while any(row.now or row.later for row in rows):
            _look(watch, stack, timelines, console)
            for row in rows:
                row.go_on(watch.view, stack, timelines, console)
    deadline = time.time() + _RECOVERY_SECONDS
    while not all(t.complete or not t.told for t in timelines) and time.time() < deadline:
        _look(watch, stack, timelines, console)
    ended = time.time()
    allowances = {t.injection.kind: allowance(stack.layout, t.injection.kind) for t in timelines}
    if messages is not None:
        files = keepsakes.save(timelines, watch.received(), messages)
        _say(console, f"{len(files)} files with the messages: {messages}")
    console.print()
    console.print(outcome.table(timelines, allowances))
    scores = outcome.highest_scores(watch, began, ended, timelines)
    alerts = outcome.alerts(watch, began, ended)
    unexplained = outcome.unexplained(alerts, timelines)
    outcome.report(console, watch.view, scores, unexplained)
    _say(console, f"messages, logs and configuration: {stack.layout.directory}")
    failures = outcome.failures(timelines, allowances, unexplained)
    for failure in failures:
        _say(console, failure)
    told = sum(not timeline.missing() for timeline in timelines)
    _say(console, f"{told} of {len(timelines)} faults were told and their end too")
    return 1 if failures else 0


def _stay_quiet(console: Console, stack: Stack, seconds: float) -> int:
    """Watch the stack without faults for some time, and report."""
    watch = Watch(stack.layout)
    began = time.time()
    _say(console, f"watching for {format_duration(seconds)} without a fault")
    next_report = began + _QUIET_REPORT_SECONDS
    while time.time() < began + seconds:
        _look(watch, stack, [], console)
        if time.time() >= next_report:
            next_report += _QUIET_REPORT_SECONDS
            passed = format_duration(round(time.time() - began))
            _say(console, f"{passed} passed, {len(watch.view.messages)} messages")
    ended = time.time()
    alerts = outcome.alerts(watch, began, ended)
    outcome.report(console, watch.view, outcome.highest_scores(watch, began, ended, []), alerts)
    messages = len(watch.view.messages)
    _say(console, f"alerts: {len(alerts)}, messages: {messages}, in {format_duration(seconds)}")
    return 1 if alerts or messages else 0


def _calm(signal: str, view: View) -> bool:
    """Return whether a signal is scored, normal, and nothing fires for it any more."""
    return view.states.get(signal) == {State.OK} and signal not in view.pending


@dataclass
class _Row:
    """Faults of an act that follow each other: those to come, the one at work, since when it may.

    Parameters
    ----------
    later : list of Injection
    now : Timeline or None
    since : float
        Unix second at which the fault before ended.
    """

    later: list[Injection]
    now: Timeline | None = None
    since: float = field(default_factory=time.time)

    def go_on(self, view: View, stack: Stack, timelines: list[Timeline], console: Console) -> None:
        """Stop a fault told or noticed by nobody; inject the next when its signal is calm."""
        if self.now is not None:
            if self.now.told or view.time > self.now.injected + _NOTICE_SECONDS:
                _stop(stack, self.now, console)
                self.now, self.since = None, view.time
        elif self.later:
            signal = self.later[0].signal
            calm = _calm(signal, view)
            if not calm and view.time < self.since + _RECOVERY_SECONDS:
                return
            if not calm:
                _say(console, f"{signal} is not normal yet; its fault is injected all the same")
            self.now = _injected(stack, self.later.pop(0), console)
            timelines.append(self.now)


def _look(watch: Watch, stack: Stack, timelines: list[Timeline], console: Console) -> None:
    """Refresh the view, tell what is new, and wait a moment."""
    stack.supervisor.check()
    view = watch.look()
    for timeline in timelines:
        for stage in timeline.update(view):
            score = view.scores.get(timeline.injection.signal)
            detail = f"  ({score:.2f})" if stage == "scored" and score is not None else ""
            _tell(console, timeline, STAGES[stage] + detail, timeline.times[stage])
    time.sleep(_LOOK_SECONDS)


def _injected(stack: Stack, injection: Injection, console: Console) -> Timeline:
    stack.inject(injection.fault, size=injection.size)
    timeline = Timeline(injection, time.time())
    _tell(console, timeline, f"injected, watched by {injection.signal}", timeline.injected)
    return timeline


def _stop(stack: Stack, timeline: Timeline, console: Console) -> None:
    stack.inject(timeline.injection.fault, stop=True)
    timeline.times["stopped"] = time.time()
    _tell(console, timeline, STAGES["stopped"], timeline.times["stopped"])


def _tell(console: Console, timeline: Timeline, what: str, moment: float) -> None:
    _say(console, f"{timeline.injection.title:<15}{moment - timeline.injected:+7.1f} s  {what}")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _console() -> Console:
    """Return a console that keeps the table in one piece where there is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=160)
