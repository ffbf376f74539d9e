"""What Prometheus knows of the anomalies in a group of alerts: their course, why, and what else.

The webhook only fills values into our own queries; it names no server and no query.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector import names, promql
from detector.anomaly import Anomaly, describe
from detector.errors import SourceError
from detector.labels import label_set, result_labels
from detector.notify.others import Other, others_of
from detector.notify.webhook import Alert, Group
from detector.prometheus import Prometheus
from detector.series import Labels, Scores, SeriesMatrix, Signal

# Alerts that are explained; a picture has one.
EXPLAINED = 3
# Incidents and the usual range of the hour are taken from so long a past, on this grid.
LONG_SECONDS = 30 * 86400
LONG_STEP = 300
# A picture has no use for more points.
POINTS = 720
# Labels of the alert that its rule or Prometheus gave it; no series need have them.
ALERT_LABELS = frozenset({"alertname", "severity", "category"})
PART = "__part__"
PARTS = ("observed", "expected", "lower", "upper", "score", "state")


@dataclass(frozen=True)
class Subject:
    """One alert explained: its anomaly, and the scores [1, T] of the time around it."""

    alert: Alert
    anomaly: Anomaly
    scores: Scores


@dataclass(frozen=True)
class Story:
    """What is known: subjects in the order of the alerts, others by score, what went wrong."""

    subjects: tuple[Subject, ...] = ()
    others: tuple[Other, ...] = ()
    problem: str = ""


def tell(source: Prometheus, group: Group, now: float, step: int, window: float) -> Story:
    """Return what can be said of a group of alerts.

    Parameters
    ----------
    source : Prometheus
    group : Group
    now : float
        Unix seconds; nothing later is read.
    step : int
        Seconds between scores.
    window : float
        Least seconds of the past that a picture shows.

    Returns
    -------
    Story
        Empty for alerts that are no anomalies; with a problem when Prometheus cannot be read.
    """
    anomalies = [a for a in group.alerts if names.SIGNAL in a.labels]
    if not anomalies:
        return Story()
    explained = [a for a in anomalies if a.labels.get("alertname") != names.NO_DATA_ALERT]
    try:
        found = [_subject(source, alert, now, step, window) for alert in explained[:EXPLAINED]]
        others = others_of(source, anomalies, now)
    except SourceError as error:
        return Story(problem=f"Prometheus gives no numbers for it now ({error.reason})")
    return Story(tuple(s for s in found if s is not None), others)


def _subject(
    source: Prometheus, alert: Alert, now: float, step: int, window: float
) -> Subject | None:
    """Return one alert explained, None when its series has no anomaly in the scores."""
    end = min(now, alert.until + window / 6) if alert.until else now
    start = min(end - window, alert.since - window / 3)
    grid = step * max(int(np.ceil((end - start) / step / POINTS)), 1)
    first, last = int(start // grid) * grid, int(end // grid) * grid
    selector = _selector(alert)
    fine = _read(source, PARTS, selector, first, last, grid, alert)
    if fine is None:
        return None
    labels, parts = fine
    scores = _scores(source, labels, parts, selector, first, last, grid)
    on = _anomalous(scores, alert)
    if not len(on):
        return None
    column = int(on[-1] if alert.firing else on[_worst(scores, on)])
    ages = int((first - LONG_SECONDS) // LONG_STEP) * LONG_STEP, first // LONG_STEP * LONG_STEP
    long = _read(source, ("observed", "state"), selector, *ages, LONG_STEP, alert)
    past, history = _joined(scores, long, labels, ages)
    signal = Signal(alert.labels[names.SIGNAL], alert.labels.get(names.KIND, "other"), ())
    anomaly = describe(signal, past, 0, len(past.times) - len(scores.times) + column, history)
    return None if anomaly is None else Subject(alert, anomaly, scores)


def _anomalous(scores: Scores, alert: Alert) -> npt.NDArray[np.intp]:
    """Return the anomalous steps of an alert's incident; all there are when it has none of its own.

    It began before the alert, by the patience of its rule; earlier incidents are not its own.
    """
    on = scores.state[0] == names.State.ANOMALOUS
    begin = int(np.searchsorted(scores.times, alert.since))
    while begin > 0 and on[begin - 1]:
        begin -= 1
    every = np.flatnonzero(on)
    own = every[every >= begin]
    return own if len(own) else every


def _worst(scores: Scores, on: npt.NDArray[np.intp]) -> int:
    """Return which step was farthest from what was expected, else the one with the highest score.

    The score is no measure of how bad: it saturates, and still grows while the value comes back.
    """
    far = np.abs(scores.observed[0, on] - scores.expected[0, on])
    how_bad = far if np.isfinite(far).any() else scores.score[0, on]
    return int(np.where(np.isfinite(how_bad), how_bad, -np.inf).argmax())


def _selector(alert: Alert) -> str:
    """Return a selector of the alert's series.

    A label that the rule or Prometheus added is on the alert and not on the series: each may be
    absent, and none may have another value.
    """
    parts = []
    for name, value in sorted(alert.labels.items()):
        if name in ALERT_LABELS or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            continue
        exact = name in (names.SIGNAL, names.KIND)
        given = promql.quoted(value if exact else f"|{re.escape(value)}")
        parts.append(f"{name}{'=' if exact else '=~'}{given}")
    return ",".join(parts)


def _read(
    source: Prometheus,
    parts: tuple[str, ...],
    selector: str,
    start: int,
    end: int,
    step: int,
    alert: Alert,
) -> tuple[Labels, dict[str, np.ndarray]] | None:
    """Return the alert's series with its values [T] of each part."""
    wanted = "|".join(parts)
    query = (
        f'label_replace({{__name__=~"{names.RULE_LABEL_PREFIX}({wanted})",{selector}}}, '
        f'"{PART}", "$1", "__name__", "{names.RULE_LABEL_PREFIX}(.*)")'
    )
    matrix = source.read(((query, ()),), start, end, step, limit=64 * len(parts)).matrix
    # The reader renames the labels that the detector sets.
    own = dict(result_labels(alert.labels, ()))
    rows: dict[Labels, dict[str, np.ndarray]] = {}
    for row, labels in enumerate(matrix.labels):
        series = {k: v for k, v in labels if k != PART}
        if series.items() <= own.items():
            rows.setdefault(label_set(series), {})[dict(labels)[PART]] = matrix.values[row]
    if not rows:
        return None
    # The series that says most about itself: with all labels of the alert that a series has.
    labels = max(rows, key=len)
    missing = np.full(len(matrix.times), np.nan)
    return labels, {part: rows[labels].get(part, missing) for part in parts}


def _scores(
    source: Prometheus,
    labels: Labels,
    parts: dict[str, np.ndarray],
    selector: str,
    start: int,
    end: int,
    step: int,
) -> Scores:
    times = np.arange(start, end + 1, step, dtype=np.int64)
    evidence = np.full((1, len(times), len(names.CHANNELS)), np.nan)
    query = f"{names.EVIDENCE}{{{selector}}}"
    matrix = source.read(((query, ()),), start, end, step, limit=64 * len(names.CHANNELS)).matrix
    renamed = names.EXPORTED_PREFIX + names.CHANNEL
    for row, found in enumerate(matrix.labels):
        channel = dict(found).get(renamed)
        series = tuple((k, v) for k, v in found if k != renamed)
        if channel in names.CHANNELS and series == labels:
            evidence[0, :, names.CHANNELS.index(channel)] = matrix.values[row]
    evidence = np.where(
        np.isnan(evidence).all(axis=2, keepdims=True), np.nan, np.nan_to_num(evidence)
    )
    return Scores(
        labels=(_shown(labels),),
        times=times,
        observed=parts["observed"][None],
        expected=parts["expected"][None],
        lower=parts["lower"][None],
        upper=parts["upper"][None],
        score=parts["score"][None],
        evidence=evidence,
        state=_state(parts["state"])[None],
    )


def _joined(
    scores: Scores,
    long: tuple[Labels, dict[str, np.ndarray]] | None,
    labels: Labels,
    ages: tuple[int, int],
) -> tuple[Scores, SeriesMatrix | None]:
    """Return the scores with a coarse month before them, and that month's samples."""
    if long is None or long[0] != labels:
        return scores, None
    times = np.arange(ages[0], ages[1] + 1, LONG_STEP, dtype=np.int64)
    before = times < scores.times[0]
    times, count = times[before], int(before.sum())
    observed, state = long[1]["observed"][before], _state(long[1]["state"][before])
    gap = np.full((1, count), np.nan)
    joined = Scores(
        labels=scores.labels,
        times=np.concatenate([times, scores.times]),
        observed=np.hstack([observed[None], scores.observed]),
        expected=np.hstack([gap, scores.expected]),
        lower=np.hstack([gap, scores.lower]),
        upper=np.hstack([gap, scores.upper]),
        score=np.hstack([gap, scores.score]),
        evidence=np.concatenate(
            [np.full((1, count, len(names.CHANNELS)), np.nan), scores.evidence], axis=1
        ),
        state=np.hstack([state[None], scores.state]),
    )
    values = observed[None]
    return joined, SeriesMatrix(scores.labels, times, values, np.isnan(values), LONG_STEP)


def _state(values: np.ndarray) -> npt.NDArray[np.int8]:
    return np.where(np.isnan(values), int(names.State.NO_DATA), values).astype(np.int8)


def _shown(labels: Labels) -> Labels:
    """Return labels without those that every message names anyway."""
    hidden = {names.EXPORTED_PREFIX + names.SIGNAL, names.EXPORTED_PREFIX + names.KIND}
    return tuple((k, v) for k, v in labels if k not in hidden)
