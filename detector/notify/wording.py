"""Puts an anomaly into words: its numbers with their units, and two sentences."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from detector.anomaly import Anomaly
from detector.notify.inert import line
from detector.series import Labels

# A name in a sentence; longer ones are cut.
NAME = 120
_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: float, kind: str, signal: str) -> str:
    """Return a value with the unit of its signal, as the alert rules write it.

    Examples
    --------
    >>> number(0.4131, "latency", "p99"), number(0.031, "errors", "x_ratio")
    ('413ms', '3.1%')
    >>> number(1234567.0, "traffic", "rate"), number(float("nan"), "other", "x")
    ('1.23M', 'unknown')
    """
    if not math.isfinite(value):
        return "unknown"
    if kind == "latency":
        return _seconds(value)
    if signal.endswith("_ratio"):
        return f"{value * 100:.3g}%"
    for size, letter in _SCALES:
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def ago(seconds: float) -> str:
    """Return a duration in at most two units.

    Examples
    --------
    >>> ago(45), ago(1090), ago(93_600)
    ('45 s', '18 min', '1 d 2 h')
    """
    whole = max(int(seconds), 0)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def clock(time: float, now: float) -> str:
    """Return a moment in UTC, with its date when that is not today's."""
    moment = datetime.fromtimestamp(time, UTC)
    same = moment.date() == datetime.fromtimestamp(now, UTC).date()
    return moment.strftime("%H:%M UTC" if same else "%Y-%m-%d %H:%M UTC")


def told_apart(labels: Labels) -> str:
    """Return the labels that tell one series of a job from another, empty when none does."""
    return line(" ".join(f"{k}={v}" for k, v in labels if k not in ("job",)), NAME)


def deviation(anomaly: Anomaly) -> str:
    """Return what was seen instead of what, with the factor where it says something."""
    seen, due = _number(anomaly, anomaly.observed), _number(anomaly, anomaly.expected)
    if not math.isfinite(anomaly.expected):
        return f"at {seen}"
    factor = anomaly.observed / anomaly.expected if anomaly.expected > 0 else 0.0
    times = f" ({factor:.2g} times)" if 1.2 <= factor < 1000 else ""
    share = f" ({factor - 1:+.0%})" if 0 <= factor <= 0.85 and anomaly.expected > 0 else ""
    return f"{seen} instead of {due}{times}{share}"


def sentences(anomaly: Anomaly, now: float, until: float = 0.0) -> tuple[str, str]:
    """Return what is wrong, how much and since when; and why it counts as unusual.

    Parameters
    ----------
    anomaly : Anomaly
    now, until : float
        Unix seconds; `until` 0 while it lasts, then the anomaly is that of the worst moment.
    """
    whose = told_apart(anomaly.labels)
    name = f"{line(anomaly.signal, NAME)}{f' of {whose}' if whose else ''}"
    end = until or now
    begin = clock(anomaly.since, now)
    when = f"has been off since {begin} ({ago(end - anomaly.since)}):"
    if until:
        when = f"was off from {begin} to {clock(until, now)}; at its worst"
    normal = _between(anomaly, anomaly.lower, anomaly.upper)
    first = f"{name} {when} {deviation(anomaly)}"
    first += f", normal is {normal}." if normal else "."
    usual = _between(anomaly, *anomaly.usual)
    shares = ", ".join(f"{channel} {share:.0%}" for channel, share in anomaly.evidence[:2])
    reason = ", and ".join(filter(None, (_place(anomaly), anomaly.reason))) or "the score says so"
    second = f"Why: {reason}{f' ({shares})' if shares else ''}; score {anomaly.score:.1f}, "
    second += "where 1 is the edge of normal"
    second += f"; 9 of 10 samples at this hour are {usual}" if usual else ""
    if anomaly.episodes > 1:
        second += f"; incident {anomaly.episodes} in 30 days"
    return first, f"{second}."


def _place(anomaly: Anomaly) -> str:
    """Return on which side of its normal range a value is, empty when it is inside."""
    if anomaly.observed > anomaly.upper:
        return "above the normal range"
    return "below the normal range" if anomaly.observed < anomaly.lower else ""


def _between(anomaly: Anomaly, low: float, high: float) -> str:
    lower, upper = _number(anomaly, low), _number(anomaly, high)
    if not math.isfinite(low) or low == 0 < high:
        return f"up to {upper}" if math.isfinite(high) else ""
    return f"{lower} to {upper}" if math.isfinite(high) else f"from {lower}"


def _number(anomaly: Anomaly, value: float) -> str:
    return number(value, anomaly.kind, anomaly.signal)


def _seconds(value: float) -> str:
    size = abs(value)
    if size >= 120:
        return ("-" if value < 0 else "") + ago(size)
    if size >= 1:
        return f"{value:.3g}s"
    return f"{value * 1000:.3g}ms" if size >= 1e-3 or size == 0 else f"{value * 1e6:.3g}us"
