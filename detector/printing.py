"""Prints what `detector check` and `detector signals` found out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console

from detector.durations import format_duration
from detector.names import KINDS
from detector.report import Check, SignalRow
from detector.series import Group
from detector.tables import print_table

STYLE = {"ok": "green", "warning": "yellow", "error": "bold red"}


def print_check(console: Console, result: Check) -> None:
    """Print settings, then one line a finding."""
    settings = result.settings
    console.print(
        f"step {format_duration(settings.step)}, profile {format_duration(settings.profile)}, "
        f"history {format_duration(settings.history)}, refit every "
        f"{format_duration(settings.refit)}, delay {format_duration(settings.delay)}, "
        f"at most {settings.max_series} series a signal, listen {settings.listen}"
    )
    for signal in result.signals:
        policy = signal.policy
        console.print(
            f"  {signal.name}: {signal.kind} from {signal.source}, direction {policy.direction}, "
            f"floors {policy.min_abs:g} and {policy.min_rel:.0%}, missing {policy.missing}, "
            f"limits {policy.lower:g} to {policy.upper:g}, model {signal.model}, sensitivity "
            f"{policy.sensitivity:g}, time zone {policy.timezone or 'UTC'}",
            markup=False,
        )
    for group in result.groups:
        by = f" by {', '.join(group.by)}" if group.by else ""
        console.print(
            f"  {group.name}: {group.model} over {', '.join(group.signals)}{by}", markup=False
        )
    for finding in result.findings:
        console.print(f"{finding.level:<7}", style=STYLE[finding.level], end=" ")
        console.print(f"{finding.subject}: {finding.message}", markup=False)


def print_signals(console: Console, rows: list[SignalRow]) -> None:
    """Print a table on a terminal, tab-separated lines elsewhere."""
    header = ("signal", "kind", "source", "series", "history from (UTC)", "samples", "gate")
    lines = [
        (
            row.name,
            row.kind,
            row.source,
            str(row.series),
            row.error or _day(row.oldest),
            str(row.samples),
            row.gate,
        )
        for row in _ordered(rows)
    ]
    print_table(console, header, lines)


def print_groups(console: Console, groups: Sequence[Group]) -> None:
    """Print what is judged together, where there is any."""
    header = ("group", "model", "signals", "by")
    lines = [(g.name, g.model, ", ".join(g.signals), ", ".join(g.by)) for g in groups]
    if lines:
        print_table(console, header, lines)


def print_models(console: Console, rows: list[SignalRow]) -> None:
    """Print which model each series has and why; series of one model and reason share a line."""
    lines = []
    for row in _ordered(rows):
        series: dict[tuple[str, str], list[str]] = {}
        for one in row.models or ():
            text = ", ".join(f'{k}="{v}"' for k, v in one.labels.items())
            series.setdefault((one.model, one.reason), []).append("{" + text + "}")
        for (model, reason), alike in series.items():
            which = alike[0] if len(alike) == 1 else f"{len(alike)} series"
            lines.append((row.name, which, model, reason))
    print_table(console, ("signal", "series", "model", "why"), lines)


def _ordered(rows: list[SignalRow]) -> list[SignalRow]:
    return sorted(rows, key=lambda r: (KINDS.index(r.kind), r.name))


def _day(oldest: float | None) -> str:
    if oldest is None:
        return "no samples"
    return datetime.fromtimestamp(oldest, UTC).strftime("%Y-%m-%d %H:%M")
