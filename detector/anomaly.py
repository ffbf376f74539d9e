"""Why a series is anomalous, as data: for messages, reports and pages to put into words.

Everything is computed from scores and samples that are at hand; nothing is asked of a server.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector import names
from detector.models.baseline import DAY
from detector.series import Float, Labels, Scores, SeriesMatrix, Signal

# How often it happened is counted over this time.
RECENT_SECONDS = 30 * DAY
# Two runs closer than this are one incident.
SAME_SECONDS = 600
# The usual range of a slot of the day: samples within this time of it, on all days, between
# these quantiles.
SLOT_SECONDS = 1800
USUAL = (0.05, 0.95)

REASONS = {
    "spike": "this value is far off",
    "jump": "it moved away at once",
    "sustained": "it has stayed away for minutes",
    "trend": "the level of the day has left that of the weeks",
    "spread": "it moves more, or less, from sample to sample than it does",
    "novelty": "the last minutes look like none before",
    "shape": "the course of the last hours looks like none before",
    "unrest": "it has been off by more than usual for hours",
}


@dataclass(frozen=True)
class Anomaly:
    """What is known of one anomalous series at one step.

    Parameters
    ----------
    signal, kind : str
    labels : Labels
    time : int
        Unix seconds of the step.
    observed, expected, lower, upper : float
        In the signal's unit; NaN where there is no such number.
    score : float
    evidence : tuple of (str, float)
        Channels with their share of the score, largest first, shares below 1 % left out.
    since : int
        Unix seconds of the first step of the episode, as far as the scores reach back.
    episodes : int
        Incidents in the last 30 days, this one included, as far as the scores reach back.
    usual : (float, float)
        5 % and 95 % quantile of the history within half an hour of this time of day; NaN
        without history.
    """

    signal: str
    kind: str
    labels: Labels
    time: int
    observed: float
    expected: float
    lower: float
    upper: float
    score: float
    evidence: tuple[tuple[str, float], ...]
    since: int
    episodes: int
    usual: tuple[float, float]

    @property
    def reason(self) -> str:
        """The channel that says most, in words."""
        return REASONS[self.evidence[0][0]] if self.evidence else ""


def describe(
    signal: Signal,
    scores: Scores,
    row: int,
    column: int = -1,
    history: SeriesMatrix | None = None,
) -> Anomaly | None:
    """Explain one series at one step.

    Parameters
    ----------
    signal : Signal
    scores : Scores
        Up to 30 days of scores before the step, the more the better.
    row, column : int
        The series and the step.
    history : SeriesMatrix, optional
        Samples of the past, for the usual range; rows are found by their labels.

    Returns
    -------
    Anomaly, or None when the series is not anomalous at that step.
    """
    column = range(len(scores.times))[column]
    if scores.state[row, column] != names.State.ANOMALOUS:
        return None
    time = int(scores.times[column])
    known = scores.times[: column + 1] > time - RECENT_SECONDS
    times = scores.times[: column + 1][known]
    begins, ends = _runs(scores.state[row, : column + 1][known] == names.State.ANOMALOUS)
    apart = times[begins[1:]] - times[ends[:-1]] > SAME_SECONDS
    shares = scores.evidence[row, column]
    ranked = sorted(zip(names.CHANNELS, shares, strict=True), key=lambda pair: -pair[1])
    return Anomaly(
        signal=signal.name,
        kind=signal.kind,
        labels=scores.labels[row],
        time=time,
        observed=float(scores.observed[row, column]),
        expected=float(scores.expected[row, column]),
        lower=float(scores.lower[row, column]),
        upper=float(scores.upper[row, column]),
        score=float(scores.score[row, column]),
        evidence=tuple((name, float(share)) for name, share in ranked if share >= 0.01),
        since=int(times[begins[-1]]),
        episodes=1 + int(apart.sum()),
        usual=_usual(history, scores.labels[row], time),
    )


def _runs(on: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[np.ndarray, np.ndarray]:
    """Return first and last index of each run of True."""
    edges = np.diff(np.concatenate([[0], on.astype(np.int8), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1


def _usual(history: SeriesMatrix | None, labels: Labels, time: int) -> tuple[float, float]:
    """Return the usual range of the series around this time of day."""
    if history is None or labels not in history.labels:
        return np.nan, np.nan
    distance = np.abs((history.times - time + DAY // 2) % DAY - DAY // 2)
    near = (distance <= SLOT_SECONDS) & (history.times < time)
    values: Float = history.values[history.labels.index(labels), near]
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.quantile(values, USUAL)
    return float(low), float(high)
