"""A duel for a terminal, as Markdown and as data for the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from detector.backtest.duel import ALONE, EARLIER, LATER, MISSED, NEITHER, SAME, Duel
from detector.backtest.results import Results
from detector.backtest.summary import (
    duration,
    markdown_table,
    ratio,
    when,
)
from detector.tables import print_table

COLUMNS = (
    "beside us", "found", "recall", "delay p50", "precision", "false/week", "pages/week",
    "we: earlier", "same", "later", "missed", "alone", "we are",
)  # fmt: skip
WORDS = (EARLIER, SAME, LATER, MISSED, ALONE)
# Incidents listed on a terminal; Markdown and report.json have them all.
LISTED = 20


def duel_rows(ours: Results, duels: Sequence[Duel]) -> list[tuple[str, ...]]:
    """Return one row for the detector, then one for each rival."""
    first = ("detector", *_cells(ours.figures), *("" for _ in WORDS), "")
    return [
        first,
        *(
            (
                one.rival.name,
                *_cells(one.rival.figures),
                *(f"{one.count(word)}" for word in WORDS),
                one.noise,
            )
            for one in duels
        ),
    ]


def incident_rows(ours: Results, duels: Sequence[Duel]) -> list[tuple[str, ...]]:
    """Return a row for each incident that concerns a series: the delay of each, or `missed`."""
    return [
        (
            when(ours.incidents[i].start),
            ours.incidents[i].note or ours.incidents[i].signal,
            _found(ours.delays[i]),
            *(_found(one.rival.delays[i]) for one in duels),
        )
        for i in ours.watched
    ]


def print_duels(console: Console, ours: Results, duels: Sequence[Duel]) -> None:
    """Print both tables; nothing without a duel."""
    if not duels:
        return
    print_table(console, COLUMNS, duel_rows(ours, duels))
    every = incident_rows(ours, duels)
    if every:
        print_table(console, _header(duels), every[:LISTED])
    if len(every) > LISTED:
        rest = len(every) - LISTED
        console.print(f"... and {rest} more incidents, in --markdown and --report", markup=False)


def duels_markdown(ours: Results, duels: Sequence[Duel]) -> str:
    """Return both tables as Markdown; empty without a duel."""
    if not duels:
        return ""
    parts = [markdown_table(COLUMNS, duel_rows(ours, duels))]
    every = incident_rows(ours, duels)
    if every:
        parts.append(markdown_table(_header(duels), every))
    return "\n" + "\n\n".join(parts) + "\n"


def duels_document(duels: Sequence[Duel]) -> list[dict[str, Any]]:
    """Return the duels as plain data for JSON; docs/report.md has the meaning of each key."""
    return [
        {
            "name": one.rival.name,
            "figures": dict(one.rival.figures),
            "noise": one.noise,
            **{word: one.count(word) for word in (*WORDS, NEITHER)},
            "incidents": [
                {
                    "word": word,
                    "delay": one.rival.delays[i],
                    "alerts": sum(i in alert.incidents for alert in one.rival.alerts),
                }
                for i, word in enumerate(one.words)
            ],
            "alerts": [
                {
                    "signal": alert.signal,
                    "labels": dict(alert.labels),
                    "start": alert.firing.start,
                    "end": alert.firing.end,
                    "peak": float(f"{alert.peak:.6g}") if math.isfinite(alert.peak) else None,
                    "incidents": list(alert.incidents),
                }
                for alert in one.rival.alerts
            ],
        }
        for one in duels
    ]


def _header(duels: Sequence[Duel]) -> tuple[str, ...]:
    return ("incident", "what", "detector", *(one.rival.name for one in duels))


def _found(delay: int | None) -> str:
    return "missed" if delay is None else duration(delay)


def _cells(figures: Any) -> tuple[str, ...]:
    return (
        f"{figures['found']:g}/{figures['incidents']:g}",
        ratio(figures["recall"]),
        duration(figures["delay_median_seconds"]),
        ratio(figures["precision"]),
        ratio(figures["false_alerts_per_week"]),
        ratio(figures["pages_per_week"]),
    )
