"""What else was unusual in the job of an alert at its time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from detector import names, promql
from detector.labels import label_set
from detector.notify.webhook import Alert
from detector.prometheus import Prometheus
from detector.series import Labels

# Signals that are named.
OTHERS = 5
# Series they are chosen among.
SERIES = 100


@dataclass(frozen=True)
class Other:
    """Another anomalous signal of the job at that time, by its worst series.

    NaN where a number is not known; `more` are its further series among the worst.
    """

    signal: str
    kind: str
    labels: Labels
    score: float
    observed: float
    expected: float
    more: int = 0


def others_of(source: Prometheus, alerts: list[Alert], now: float) -> tuple[Other, ...]:
    """Return other anomalous signals of the first alert's job, the least usual first.

    Parameters
    ----------
    source : Prometheus
    alerts : list of Alert
        What is told already.
    now : float
        Unix seconds; nothing later is read.

    Raises
    ------
    SourceError
        When Prometheus cannot be read.
    """
    first = alerts[0]
    job = first.labels.get("job", "")
    if not job:
        return ()
    # While it fires: now. Afterwards: a moment of its time, as the others may be over as well.
    moment = now if first.firing else min(first.since + (first.until - first.since) / 2, now)
    of_job = f"{{job={promql.quoted(job)}}}"
    worst = f"topk({SERIES}, {names.SCORE}{of_job} and ({names.STATE}{of_job} == 1))"
    scored = dict(source.vector(worst, moment))
    values: dict[Labels, dict[str, float]] = {}
    query = f'{{__name__=~"{names.OBSERVED}|{names.EXPECTED}",{of_job[1:-1]}}} and {worst}'
    for labels, value in source.vector(query, moment) if scored else ():
        values.setdefault(_series(labels), {})[dict(labels)["__name__"]] = value
    told = [set(alert.labels.items()) for alert in alerts]
    found = []
    for labels, score in scored.items():
        series = _series(labels)
        if any(set(series) <= items for items in told):
            continue
        own = dict(series)
        known = values.get(series, {})
        found.append(
            Other(
                signal=own.pop(names.SIGNAL, ""),
                kind=own.pop(names.KIND, "other"),
                labels=label_set(own),
                score=score,
                observed=known.get(names.OBSERVED, np.nan),
                expected=known.get(names.EXPECTED, np.nan),
            )
        )
    # A line a signal: twenty features of one model would hide all else.
    by_signal: dict[str, list[Other]] = {}
    for other in sorted(found, key=lambda other: -other.score):
        by_signal.setdefault(other.signal, []).append(other)
    return tuple(
        replace(worst, more=len(rest)) for worst, *rest in list(by_signal.values())[:OTHERS]
    )


def _series(labels: Labels) -> Labels:
    return tuple((k, v) for k, v in labels if k != "__name__")
