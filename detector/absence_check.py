"""What `detector check` finds about signals whose absent samples count as zero."""

from __future__ import annotations

import difflib
from collections.abc import Collection

import numpy as np

from detector import expression
from detector.absence import bearers, identity_of
from detector.durations import format_duration
from detector.errors import SourceError
from detector.finding import Finding
from detector.prometheus import Prometheus
from detector.series import SeriesMatrix, Signal
from detector.settings import Settings

# What a few restarts leave out of a past is no absence that anything is to be made of.
LEAST_ABSENT = 0.01


def check_absence(
    source: Prometheus, signal: Signal, newest: SeriesMatrix, settings: Settings
) -> list[Finding]:
    """Say whether anything tells when an absent sample of a signal is a zero.

    Parameters
    ----------
    source : Prometheus
    signal : Signal
        With ``missing="zero"``.
    newest : SeriesMatrix
        [S, 1] its newest step.
    settings : Settings

    Returns
    -------
    list of Finding
        A warning when there was never a sample and a metric is not on the server; one when there
        are series that come and go and have neither a target in `up` nor siblings (see
        `absence.fill_zero`).

    Raises
    ------
    SourceError
    """
    subject, span = f"signal {signal.name}", f"the last {format_duration(settings.history)}"
    now = int(newest.times[0])
    end = now // settings.profile * settings.profile
    start = end - settings.history
    past = source.read(signal.queries, start, end, settings.profile, settings.max_series).matrix
    every = tuple(sorted({*past.labels, *newest.labels}))
    if not every:
        return [_never(source, signal, start, now, span)]
    found = []
    if not newest.labels:
        text = f"{signal.kind}, no series now, {len(every)} in {span}"
        found.append(Finding("ok", subject, text))
    targets, alike = bearers(tuple(source.presence(now, now, settings.step))), bearers(every)
    served = source.holds("count(up)", start, end, settings.profile).get((), None)
    absent = past.aligned(every).absent[:, slice(None) if served is None else served]
    seldom = absent.mean(axis=1) >= LEAST_ABSENT if absent.size else np.ones(len(every), bool)
    # Series that are gone have no target any more, and nothing depends on them.
    watched = frozenset(newest.labels or every)
    untold = 0
    for key, comes_and_goes in zip(every, seldom, strict=True):
        if key in watched and comes_and_goes:
            identity = identity_of(key)
            untold += not (identity and targets(identity)) and len(alike(identity)) < 2
    if untold:
        text = (
            f"missing: zero has no effect for {untold} of {len(watched)} series: up has no target "
            "with their job and instance, and no other series tells when they could be there, so "
            "that the first samples only warm up; sum by (job), or add `or vector(0)` to a sum "
            "without labels"
        )
        found.append(Finding("warning", subject, text))
    return found


def not_there(metric: str, known: Collection[str], span: str) -> str:
    """Return that a metric is not on the server, and which it could be."""
    close = difflib.get_close_matches(metric, list(known), 1)
    hint = f"; did you mean {close[0]}?" if close else "; is the name right, is its job scraped?"
    return f"metric {metric} was not on the server in {span}{hint}"


def _never(source: Prometheus, signal: Signal, start: int, now: int, span: str) -> Finding:
    """Return what to say of a signal without any sample: one of its metrics may be misspelt."""
    subject = f"signal {signal.name}"
    nothing = f"no sample in {span}: nothing to count so far, or is a label wrong?"
    try:
        known = source.metrics(start, now)
        trees = [expression.parse(query) for query, _ in signal.queries]
    # A server may have no such list, and an own dialect.
    except (SourceError, ValueError):
        return Finding("warning", subject, nothing)
    for tree in trees:
        for one in expression.selectors(tree):
            if one.metric and one.metric not in known:
                return Finding("warning", subject, not_there(one.metric, known, span))
    # A service that is well has no errors: that is nothing to be warned of.
    return Finding("ok", subject, f"{signal.kind}, {nothing}")
