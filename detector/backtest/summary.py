"""The summary of a backtest for a terminal, and as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console

from detector.backtest.budget import Choice
from detector.backtest.judging import Alert
from detector.backtest.results import Results
from detector.backtest.scores_file import text_of
from detector.durations import format_duration
from detector.tables import print_table

COLUMNS = (
    "signal", "found", "recall", "delay p50", "p90", "precision", "F1", "VUS-PR",
    "false/week", "pages/week", "in alert", "no data",
)  # fmt: skip
WORST = 5


def rows(found: Results) -> list[tuple[str, ...]]:
    """Return one row a signal, and one for all of them where there are several."""
    listed = list(found.by_signal.items())
    if len(listed) != 1:
        listed.append(("all", found.figures))
    return [(name, *_cells(figures)) for name, figures in listed]


def lines(found: Results, notes: Sequence[str]) -> list[str]:
    """Return what a table cannot say: missed incidents, the worst false alarms, notes."""
    missed = [
        f"missed: {when(one.start)} for {format_duration(one.end - one.start)}"
        + (f", {one.note}" if one.note else "")
        + (" (weak label)" if one.weak else "")
        for one, delay in zip(found.incidents, found.delays, strict=True)
        if delay is None
    ]
    false = sorted((a for a in found.alerts if not a.incidents), key=lambda a: -a.peak)
    more = [f"... and {len(missed) - WORST} more missed"] if len(missed) > WORST else []
    return [*missed[:WORST], *more, *(_false(one) for one in false[:WORST]), *notes]


def span(found: Results) -> str:
    """Return the range that was replayed."""
    length = format_duration(found.end - found.start)
    return f"{when(found.start)} to {when(found.end)} UTC, {length}"


def print_summary(
    console: Console, found: Results, notes: Sequence[str], choice: Choice | None
) -> None:
    """Print a table on a terminal, tab-separated lines elsewhere."""
    console.print(span(found), markup=False)
    print_table(console, COLUMNS, rows(found))
    if choice is not None:
        print_table(console, choice.columns, choice.rows)
        console.print(choice.verdict, markup=False)
    for line in lines(found, notes):
        console.print(line, markup=False)


def markdown(found: Results, notes: Sequence[str], choice: Choice | None) -> str:
    """Return the summary as Markdown."""
    parts = [f"### Backtest: {span(found)}", markdown_table(COLUMNS, rows(found))]
    if choice is not None:
        parts += [markdown_table(choice.columns, choice.rows), choice.verdict]
    said = lines(found, notes)
    if said:
        parts.append("\n".join(f"- {_escaped(line)}" for line in said))
    return "\n\n".join(parts) + "\n"


def _cells(figures: dict[str, float | None]) -> tuple[str, ...]:
    return (
        f"{figures['found']:g}/{figures['incidents']:g}",
        *(ratio(figures["recall"]),),
        *(duration(figures[name]) for name in ("delay_median_seconds", "delay_p90_seconds")),
        *(ratio(figures[name]) for name in ("precision", "f1", "vus_pr")),
        *(ratio(figures[name]) for name in ("false_alerts_per_week", "pages_per_week")),
        *(_share(figures[name]) for name in ("time_in_alert_ratio", "no_data_ratio")),
    )


def ratio(value: float | None) -> str:
    """Return a share or a rate with two digits; a dash where there is none."""
    return "-" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def duration(seconds: float | None) -> str:
    """Return seconds as a duration; a dash where there are none."""
    return "-" if seconds is None else format_duration(round(seconds))


def when(seconds: int) -> str:
    """Return a time in UTC, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _false(alert: Alert) -> str:
    channel = f", {alert.channel}" if alert.channel else ""
    length = format_duration(alert.firing.end - alert.firing.start)
    return (
        f"false: {when(alert.firing.start)} for {length}, {alert.signal} {text_of(alert.labels)}, "
        f"score {alert.peak:.1f}{channel}"
    )


def markdown_table(header: Sequence[str], body: Sequence[tuple[str, ...]]) -> str:
    """Return a table as Markdown."""
    out = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    out += ["| " + " | ".join(map(_escaped, line)) + " |" for line in body]
    return "\n".join(out)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
