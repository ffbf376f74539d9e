"""Curves for pictures: a series, or a part of it, with no more points than can be seen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from detector.backtest.judging import Judged
from detector.backtest.run import FIELDS
from detector.backtest.scores_file import firing_steps
from detector.names import State
from detector.score import GONE


def curve(
    one: Judged, s: int, step: int, most: int, first: int = 0, last: int | None = None
) -> Any:
    """Return series `s` between two steps, thinned to at most `most` points, as data for JSON.

    Parameters
    ----------
    one : Judged
    s : int
        Row in its trace.
    step : int
        Seconds.
    most : int
        Of each bucket of steps the one with the highest score is kept.
    first, last : int
        Steps, `last` not included; all without them.
    """
    trace = one.trace
    last = len(trace.times) if last is None else last
    bucket = max(math.ceil((last - first) / most), 1)
    rank = np.nan_to_num(trace.score[s], nan=-1.0)
    firing = firing_steps(trace, s)
    spans = [(a, min(a + bucket, last)) for a in range(first, last, bucket)]
    chosen = [a + int(np.argmax(rank[a:b])) for a, b in spans]
    state = np.where(trace.state[s] == GONE, int(State.NO_DATA), trace.state[s])
    return {
        "signal": trace.signal.name,
        "labels": dict(trace.labels[s]),
        "bucket": bucket * step,
        "times": trace.times[chosen].tolist(),
        **{name: [number(value) for value in getattr(trace, name)[s, chosen]] for name in FIELDS},
        "state": state[chosen].tolist(),
        "firing": [int(firing[a:b].any()) for a, b in spans],
    }


def number(value: float) -> float | None:
    """Return six significant digits; JSON has no NaN."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
