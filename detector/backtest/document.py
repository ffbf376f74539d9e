"""The document `report.json`: all that a report shows, in a tested and versioned shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from detector.backtest.curves import curve, number
from detector.backtest.judging import Judged
from detector.backtest.pictures import pictures, why_missed
from detector.backtest.results import Results
from detector.series import Labels

# Raised when a key changes its meaning or goes; added keys do not raise it.
VERSION = 1
# Most series drawn, and most points of each.
MOST_SERIES = 60
MOST_POINTS = 2_000


def document(
    found: Results,
    judged: Sequence[Judged],
    step: int,
    history: Mapping[str, Sequence[tuple[int, float]]],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the report as plain data for JSON; docs/report.md has the meaning of each key.

    Parameters
    ----------
    found : Results
    judged : sequence of Judged
    step : int
        Seconds.
    history : mapping from signal to sequence of (day, days)
        How many days of history each day of the replay had.
    about : mapping
        What the run was asked, and notes on it.
    """
    signals = [
        {
            "name": one.trace.signal.name,
            "kind": one.trace.signal.kind,
            "model": one.trace.signal.model,
            "sensitivity": one.trace.signal.policy.sensitivity,
            "series": len(one.labels),
            "figures": found.by_signal[one.trace.signal.name],
            "history_days": [list(pair) for pair in history.get(one.trace.signal.name, ())],
        }
        for one in judged
    ]
    return {
        "version": VERSION,
        "start": found.start,
        "end": found.end,
        "step": step,
        **about,
        "figures": found.figures,
        "signals": signals,
        "incidents": [
            {
                **asdict(one),
                "labels": dict(one.labels),
                "delay": delay,
                "why": why_missed(one, judged, step) if delay is None else None,
            }
            for one, delay in zip(found.incidents, found.delays, strict=True)
        ],
        "alerts": [
            {
                "signal": one.signal,
                "labels": dict(one.labels),
                "start": one.firing.start,
                "end": one.firing.end,
                "peak": number(one.peak),
                "peak_time": one.peak_time,
                "channel": one.channel,
                "incidents": list(one.incidents),
            }
            for one in found.alerts
        ],
        "pages": [
            {
                "time": page.time,
                "group": dict(page.group),
                "alerts": len(page.alerts),
                "repeated": page.repeated,
            }
            for page in found.pages
        ],
        "series": _drawn(found, judged, step),
        "pictures": pictures(found, judged, step),
    }


def _drawn(found: Results, judged: Sequence[Judged], step: int) -> list[dict[str, Any]]:
    """Return the curves of the series with the most to show: alerts first, then high scores."""
    alerts: dict[tuple[str, Labels], int] = {}
    for alert in found.alerts:
        key = alert.signal, alert.labels
        alerts[key] = alerts.get(key, 0) + 1
    ranked = sorted(
        (
            (-alerts.get((one.trace.signal.name, key), 0), -_highest(one.trace.score[s]), i, s)
            for i, one in enumerate(judged)
            for s, key in enumerate(one.trace.labels)
        )
    )
    return [curve(judged[i], s, step, MOST_POINTS) for _, _, i, s in ranked[:MOST_SERIES]]


def _highest(score: np.ndarray) -> float:
    known = score[np.isfinite(score)]
    return float(known.max()) if len(known) else 0.0
