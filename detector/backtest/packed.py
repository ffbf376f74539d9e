"""The scores that a report's sensitivity slider needs, packed for the browser.

Kept are the stretches where a score could matter at any sensitivity of the slider: most steps are
calm and say nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.backtest.alerting import RULES
from detector.backtest.grouping import Inhibition, Route
from detector.backtest.results import EARLY_STEPS, LATE_STEPS, Judged, Results, alert_labels
from detector.backtest.scores_file import EVERY
from detector.channels import SUSTAINED_STEPS
from detector.fold import CAPPED, LEAVE
from detector.names import State
from detector.series import Bool, Float, Int, Labels

# How far the slider goes: the lowest, and the highest for which the stretches are few enough.
LOWEST, HIGHEST = 0.35, (2.0, 1.5, 1.2, 1.0)
# Steps in one file, 2.7 bytes each.
MOST_STEPS = 1_500_000
# A score as 14 bits, in thousandths; then whether the value was normal, and the state anomalous.
NO_SCORE, NO_ANOMALY, NORMAL, ANOMALOUS = 0, 1, 1 << 14, 1 << 15


def packed(
    found: Results,
    judged: Sequence[Judged],
    step: int,
    lag: int,
    route: Route = Route(),  # noqa: B008  # frozen
    inhibitions: Sequence[Inhibition] = (),
    most: int = MOST_STEPS,
) -> dict[str, Any]:
    """Return what assets/replay.js reads; it makes alerts, pages and figures of it.

    Parameters
    ----------
    found : Results
    judged : sequence of Judged
    step : int
        Seconds.
    lag : int
        Alerts are dated so many seconds after the evaluation that fires them.
    route, inhibitions
        As `results` was given them.
    most : int
        Steps to keep; the range of the slider is cut to keep to it.

    Notes
    -----
    ``codes`` is base64 of uint16, little-endian, the stretches one after another: 0 is a step
    without score, 1 one that is no anomaly at any sensitivity (its deviation does not count, or
    it is the echo of an episode), else the score in thousandths. The highest bit is set where the
    replay's state was anomalous, the one below it where the value was inside the band.
    """
    for highest in HIGHEST:
        kept = [
            [_stretches(one.trace.score[s], _anomalous(one, s), highest) for s in _every(one)]
            for one in judged
        ]
        steps = sum(int((b - a).sum()) for rows in kept for a, b in rows)
        if steps <= most:
            break
    series = []
    for one, rows in zip(judged, kept, strict=True):
        rule = RULES[one.trace.signal.kind]
        for s, (begins, ends) in enumerate(rows):
            if not len(begins):
                continue
            codes = _codes(one, s)
            stretches = [codes[a:b] for a, b in zip(begins, ends, strict=True)]
            labels = _identity(one, s)
            own = dict(labels)
            series.append(
                {
                    "signal": one.trace.signal.name,
                    "group": [own.get(name, "") for name in route.group_by],
                    "hold": rule.hold,
                    "keep": rule.keep,
                    "first": int(one.trace.times[0]),
                    "steps": len(one.trace.times),
                    "begins": begins.tolist(),
                    "lengths": (ends - begins).tolist(),
                    "codes": base64.b64encode(np.concatenate(stretches).tobytes()).decode(),
                    "incidents": [
                        i
                        for i, incident in enumerate(found.incidents)
                        if incident.concerns(one.trace.signal.name, one.trace.labels[s])
                    ],
                    "muted": _muted(labels, inhibitions),
                }
            )
    return {
        "lowest": LOWEST,
        "highest": highest,
        "leave": LEAVE,
        "calm": SUSTAINED_STEPS,
        "lag": lag,
        "every": EVERY,
        "early": EARLY_STEPS,
        "late": LATE_STEPS,
        "route": {k: v for k, v in asdict(route).items() if k != "group_by"},
        "watched": _watched(found, judged),
        "series": series,
    }


def _every(one: Judged) -> range:
    return range(len(one.trace.labels))


def _anomalous(one: Judged, s: int) -> Bool:
    on: Bool = one.trace.state[s] == State.ANOMALOUS
    return on


def _stretches(score: Float, on: Bool, highest: float) -> tuple[Int, Int]:
    """Return begins and ends of the stretches that could be an anomaly at some sensitivity."""
    silent = ~np.isfinite(score) & ~on
    stays = on | silent | (score >= LEAVE / highest)
    edges = np.flatnonzero(np.diff(stays, prepend=False, append=False)).reshape(-1, 2)
    matters = on | ((score > 1.0 / highest) & (score != CAPPED))
    found = []
    for a, b in edges:
        if matters[a:b].any():
            # Trimmed: an episode goes on over a gap, but none begins or ends in one.
            known = a + np.flatnonzero(~silent[a:b])
            found.append((known[0], known[-1] + 1))
    both = np.array(found, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _codes(one: Judged, s: int) -> npt.NDArray[np.uint16]:
    trace = one.trace
    score = trace.score[s]
    known = np.isfinite(score)
    value = np.clip(np.round(np.where(known, score, 0.0) * 1000), 2, NORMAL - 1)
    code = np.where(known, np.where(score == CAPPED, NO_ANOMALY, value), NO_SCORE)
    # A bound that does not exist is NaN: nothing lies beyond it.
    normal = ~(trace.observed[s] > trace.upper[s]) & ~(trace.observed[s] < trace.lower[s])
    marks = np.where(normal, NORMAL, 0) | np.where(_anomalous(one, s), ANOMALOUS, 0)
    return (code.astype(np.int64) | marks).astype("<u2")


def _identity(one: Judged, s: int) -> Labels:
    """Return the labels of the alert of a series."""
    signal = one.trace.signal
    return alert_labels(signal.name, one.trace.labels[s], signal.kind)


def _muted(labels: Labels, inhibitions: Sequence[Inhibition]) -> list[list[int]]:
    return [
        [firing.start, firing.end]
        for rule in inhibitions
        for source, firings in rule.firings.items()
        if rule.mutes(source, labels)
        for firing in firings
    ]


def _watched(found: Results, judged: Sequence[Judged]) -> dict[str, list[int]]:
    """Return the incidents that concern a series of each signal."""
    return {
        one.trace.signal.name: [
            i
            for i, incident in enumerate(found.incidents)
            if any(incident.concerns(one.trace.signal.name, key) for key in one.trace.labels)
        ]
        for one in judged
    }
