"""Writes the scores of a replay as CSV, one row a step and series."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from detector.backtest.alerting import RULES, evaluated, firings, marks
from detector.backtest.run import FIELDS, Trace
from detector.errors import ConfigError
from detector.names import State
from detector.score import GONE
from detector.series import Bool, Int, Labels

COLUMNS = ("timestamp", "observed", "expected", "lower", "upper", "score", "state", "alert")
FIRING = "firing"
# Prometheus evaluates rules once a minute unless told otherwise.
EVERY = 60


def write_scores(
    path: Path, traces: list[Trace], stamps: Mapping[str, tuple[tuple[Labels, ...], Int]]
) -> tuple[int, int]:
    """Write the scores; return the number of rows and of episodes.

    `state` is `names.State`, `alert` 1 while it is 1 (anomalous), `firing` 1 while the alert of
    the signal's kind fires. A number that does not exist (no data, warming up, no limit) is an
    empty field. More than one series has two columns in front: `signal` and `series`.

    Parameters
    ----------
    path : Path
    traces : list of Trace
    stamps : mapping from signal to (labels, int64[S, T])
        The samples' own times, on the grid of the trace; without them it is the grid's.

    Raises
    ------
    ConfigError
        When the file cannot be written.
    """
    many = sum(len(trace.labels) for trace in traces) > 1
    rows = episodes = 0
    try:
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            front = ("signal", "series") if many else ()
            writer.writerow((*front, *COLUMNS, FIRING))
            for trace in traces:
                for s, row in _lines(trace, stamps.get(trace.signal.name)):
                    name = (trace.signal.name, text_of(trace.labels[s])) if many else ()
                    writer.writerow((*name, *row))
                    rows += 1
                on = trace.state == State.ANOMALOUS
                episodes += int(np.count_nonzero(np.diff(on, axis=1, prepend=False) & on))
    except OSError as error:
        # Half a file would be taken for a whole one.
        if path.is_file():
            path.unlink()
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
    return rows, episodes


def text_of(labels: Labels) -> str:
    """Return labels as PromQL writes them.

    Examples
    --------
    >>> text_of((("job", "a"),))
    '{job="a"}'
    """
    return "{" + ", ".join(f'{k}="{v}"' for k, v in labels) + "}"


def firing_steps(trace: Trace, s: int) -> Bool:
    """Return at which steps the alert of the signal's kind fires for a series, bool[T]."""
    active: Bool = trace.state[s] == State.ANOMALOUS
    if not active.any():
        return active
    step = int(trace.times[1] - trace.times[0]) if len(trace.times) > 1 else EVERY
    fine, seen = evaluated(trace.times, active, step, EVERY)
    return marks(trace.times, step, firings(fine, seen, RULES[trace.signal.kind]))


def _lines(
    trace: Trace, own: tuple[tuple[Labels, ...], Int] | None
) -> Iterator[tuple[int, tuple[object, ...]]]:
    for s, key in enumerate(trace.labels):
        stamps = trace.times if own is None else own[1][own[0].index(key)]
        firing = firing_steps(trace, s)
        for t, stamp in enumerate(stamps):
            state = int(trace.state[s, t])
            alert = int(state == State.ANOMALOUS)
            numbers = (_text(getattr(trace, name)[s, t]) for name in FIELDS)
            shown = int(State.NO_DATA) if state == GONE else state
            yield s, (int(stamp), *numbers, shown, alert, int(firing[t]))


def _text(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else ""
