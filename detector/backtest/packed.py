"""The scores that a report's sensitivity slider needs, packed for the browser.

Kept are the stretches where a score could matter at any sensitivity of the slider: most steps are
calm and say nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.backtest.alerting import RULES
from detector.backtest.grouping import Inhibition, Route
from detector.backtest.judging import EARLY_STEPS, LATE_STEPS, Judged
from detector.backtest.results import Results, alert_labels
from detector.backtest.run import Trace
from detector.backtest.scores_file import EVERY
from detector.channels import SUSTAINED_STEPS
from detector.episodes import CAPPED, LEAVE
from detector.names import State
from detector.series import Labels, Signal

Codes = npt.NDArray[np.uint16]
# How far the slider goes: the lowest, and the highest for which the stretches are few enough.
LOWEST, HIGHEST = 0.35, (2.0, 1.5, 1.2, 1.0)
# Steps in one file, 2.7 bytes each.
MOST_STEPS = 1_500_000
# A score as 14 bits, in thousandths; then whether the value was well within the band, and the state
# anomalous.
NO_SCORE, NO_ANOMALY, NORMAL, ANOMALOUS = 0, 1, 1 << 14, 1 << 15


@dataclass(frozen=True)
class Strip:
    """The stretches of one series that matter at some sensitivity: from `begins` on, `codes`."""

    signal: Signal
    labels: Labels
    first: int
    steps: int
    begins: tuple[int, ...]
    codes: tuple[Codes, ...]


def strips(trace: Trace) -> list[Strip]:
    """Return what the slider needs of a trace, which can then be let go.

    Series of which no score matters have none.
    """
    found = []
    for s, key in enumerate(trace.labels):
        whole = 0, _codes(trace, s)
        pieces = _stretches(whole, HIGHEST[0])
        if pieces:
            begins, codes = zip(*((t, part.copy()) for t, part in pieces), strict=True)
            first = int(trace.times[0])
            found.append(Strip(trace.signal, key, first, len(trace.times), begins, codes))
    return found


def packed(
    found: Results,
    judged: Sequence[Judged],
    kept: Sequence[Strip],
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
    kept : sequence of Strip
        Of all series.
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
    replay's state was anomalous, the one below it where the value was well inside the band.
    """
    for highest in HIGHEST:
        pieces = [
            [
                piece
                for whole in zip(one.begins, one.codes, strict=True)
                for piece in _stretches(whole, highest)
            ]
            for one in kept
        ]
        if sum(len(codes) for some in pieces for _, codes in some) <= most:
            break
    series = []
    for one, some in zip(kept, pieces, strict=True):
        if not some:
            continue
        name, rule = one.signal.name, RULES[one.signal.kind]
        labels = alert_labels(name, one.labels, one.signal.kind)
        own = dict(labels)
        series.append(
            {
                "signal": name,
                "group": [own.get(label, "") for label in route.group_by],
                "hold": rule.hold,
                "keep": rule.keep,
                "first": one.first,
                "steps": one.steps,
                "begins": [begin for begin, _ in some],
                "lengths": [len(codes) for _, codes in some],
                "codes": base64.b64encode(b"".join(c.tobytes() for _, c in some)).decode(),
                "incidents": [
                    i
                    for i, incident in enumerate(found.incidents)
                    if incident.concerns(name, one.labels)
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


def _stretches(whole: tuple[int, Codes], highest: float) -> list[tuple[int, Codes]]:
    """Return what of a stretch could be an anomaly at some sensitivity up to the highest."""
    begin, codes = whole
    on = codes >= ANOMALOUS
    code = codes & (NORMAL - 1)
    silent = (code == NO_SCORE) & ~on
    capped = code == NO_ANOMALY
    score = np.where(capped, CAPPED, code / 1000)
    stays = on | silent | (score >= LEAVE / highest)
    matters = on | ((score > 1.0 / highest) & ~capped)
    found = []
    for a, b in np.flatnonzero(np.diff(stays, prepend=False, append=False)).reshape(-1, 2):
        if matters[a:b].any():
            # Trimmed: an episode goes on over a gap, but none begins or ends in one.
            known = a + np.flatnonzero(~silent[a:b])
            found.append((begin + int(known[0]), codes[known[0] : known[-1] + 1]))
    return found


def _codes(trace: Trace, s: int) -> Codes:
    score = trace.score[s]
    known = np.isfinite(score)
    value = np.clip(np.round(np.where(known, score, 0.0) * 1000), 2, NORMAL - 1)
    code = np.where(known, np.where(score == CAPPED, NO_ANOMALY, value), NO_SCORE)
    # A bound that does not exist is NaN: nothing lies beyond it.
    centre = trace.expected[s]
    above = centre + LEAVE * (trace.upper[s] - centre)
    below = centre + LEAVE * (trace.lower[s] - centre)
    normal = ~(trace.observed[s] > above) & ~(trace.observed[s] < below)
    on = trace.state[s] == State.ANOMALOUS
    marks = np.where(normal, NORMAL, 0) | np.where(on, ANOMALOUS, 0)
    return (code.astype(np.int64) | marks).astype("<u2")


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
            if any(incident.concerns(one.trace.signal.name, key) for key in one.labels)
        ]
        for one in judged
    }
