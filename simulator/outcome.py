"""What a demonstration found: the table of its faults, scores outside them, unexplained alerts."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from detector import names
from simulator.timeline import STAGES, Timeline
from simulator.watch import View, Watch

# One scrape of the fast profile.
_STEP_SECONDS = 5.0
# After the last message: a rate window of a minute, and the mean over five steps of ten seconds.
RECOVERY_SECONDS = 120.0


@dataclass(frozen=True)
class Alert:
    """An alert that fired, from its first moment (unix seconds)."""

    name: str
    signal: str
    category: str
    labels: str
    fired: float

    def __str__(self) -> str:
        """Return its name, signal and labels in a line."""
        return f"{self.name} {self.signal} {self.labels}"


@dataclass(frozen=True)
class Highest:
    """The highest score of a signal outside faults, and how many minutes it was looked at."""

    signal: str
    score: float
    minutes: float


def table(timelines: list[Timeline], allowances: dict[str, float]) -> Table:
    """Return the faults as rows: seconds since injection of each stage, and from score to message.

    Parameters
    ----------
    timelines : list of Timeline
    allowances : dict
        By kind, the most seconds from the first bad score to the message.
    """
    result = Table(box=box.SIMPLE, title="seconds since injection", title_justify="left")
    result.add_column("fault", no_wrap=True)
    result.add_column("signal", no_wrap=True)
    for words in STAGES.values():
        result.add_column(words, justify="right")
    result.add_column("score to message\n(at most)", justify="right", no_wrap=True)
    for timeline in timelines:
        most = allowances[timeline.injection.kind]
        taken = timeline.notification_seconds
        verdict = "-" if taken is None else f"{taken:.1f} ({most:.1f})"
        if _late(timeline, most):
            verdict += " LATE"
        stages = [_seconds(timeline.since_injection(stage)) for stage in STAGES]
        result.add_row(timeline.injection.title, timeline.injection.signal, *stages, verdict)
    return result


def _late(timeline: Timeline, most: float) -> bool:
    taken = timeline.notification_seconds
    return taken is not None and taken > most


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def highest_scores(
    watch: Watch, start: float, end: float, timelines: list[Timeline]
) -> list[Highest]:
    """Return each signal's highest score between two moments, outside what faults explain."""
    query = f"max by ({names.SIGNAL}) ({names.SCORE})"
    found = []
    for series in watch.range(query, start, end, _STEP_SECONDS):
        signal = series["metric"].get(names.SIGNAL, "")
        scores = [
            float(value)
            for moment, value in series["values"]
            if not any(t.covers(signal, moment, RECOVERY_SECONDS) for t in timelines)
        ]
        highest = max(scores, default=float("nan"))
        found.append(Highest(signal, highest, len(scores) * _STEP_SECONDS / 60.0))
    return sorted(found, key=lambda item: item.signal)


def alerts(watch: Watch, start: float, end: float) -> list[Alert]:
    """Return the alerts that fired between two moments, in order of time.

    One that fired, was over and fired again is there twice.
    """
    found = []
    for series in watch.range('ALERTS{alertstate="firing"}', start, end, _STEP_SECONDS):
        labels = {k: v for k, v in series["metric"].items() if k not in ("__name__", "alertstate")}
        name, signal = labels.pop("alertname"), labels.pop(names.SIGNAL, "")
        category = labels.pop("category", "")
        for skipped in ("severity", names.KIND):
            labels.pop(skipped, None)
        text = " ".join(f"{key}={value}" for key, value in sorted(labels.items()))
        before = -math.inf
        for moment, _ in series["values"]:
            # Half a step, because moments are rounded.
            if moment - before > 1.5 * _STEP_SECONDS:
                found.append(Alert(name, signal, category, text, float(moment)))
            before = moment
    return sorted(found, key=lambda alert: alert.fired)


def unexplained(found: list[Alert], timelines: list[Timeline]) -> list[Alert]:
    """Return the alerts no injected fault explains."""
    return [
        alert
        for alert in found
        if not any(t.covers(alert.signal, alert.fired, RECOVERY_SECONDS) for t in timelines)
    ]


def failures(
    timelines: list[Timeline], allowances: dict[str, float], unexpected: list[Alert]
) -> list[str]:
    """Return why a demonstration failed, a line a reason; none when it went well.

    Parameters
    ----------
    timelines : list of Timeline
    allowances : dict
        As of `table`.
    unexpected : list of Alert
        Those about anomalies count. Those about the stack itself are only reported: on a machine
        that is busy otherwise they may be right.
    """
    found = []
    for timeline in timelines:
        title, most = timeline.injection.title, allowances[timeline.injection.kind]
        if missing := timeline.missing():
            found.append(f"DID NOT ARRIVE  {title}: {', '.join(missing)}")
        if _late(timeline, most):
            taken = timeline.notification_seconds
            found.append(f"LATE  {title}: {taken:.1f} s from score to message, not {most:.1f} s")
    return found + [f"UNEXPECTED  {alert}" for alert in unexpected if alert.category == "anomaly"]


def report(console: Console, view: View, scores: list[Highest], unexpected: list[Alert]) -> None:
    """Print scores outside faults, alerts nobody ordered, and what the detector took."""
    result = Table(box=box.SIMPLE, title="outside faults", title_justify="left")
    result.add_column("signal")
    result.add_column("highest score", justify="right")
    result.add_column("minutes", justify="right")
    for highest in scores:
        score = "-" if highest.minutes == 0 else f"{highest.score:.2f}"
        result.add_row(highest.signal, score, f"{highest.minutes:.1f}")
    console.print(result)
    for alert in unexpected:
        text = f"UNEXPECTED ALERT  {alert}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    cycles = view.cycle_seconds or [float("nan")]
    text = (
        f"detector: a cycle takes {statistics.median(cycles):.2f} s (median), {max(cycles):.2f} s "
        f"at most, of {len(cycles)}; {view.resident_bytes / 2**20:.0f} MiB of memory"
    )
    console.print(text, highlight=False)
