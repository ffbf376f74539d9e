"""`detector backtest` in process: a series in, its scores and alerts out, for the open bench.

The same grids, policy and replay as the command; accuracy.py proves on some series that the
command's CSV holds the same numbers.
"""

from __future__ import annotations

import functools

import numpy as np

from detector import configuration
from detector.backtest.sources import profile_for
from detector.labels import label_set
from detector.names import State
from detector.pipeline import replay
from detector.schedule import Schedule
from detector.series import SeriesMatrix, Signal
from detector.settings import policy_of

# The bench hands the command a file `in.csv`; a signal is called like its file, and its name
# shifts the refits.
NAME = "in"
COMMAND = "backtest {in} --step {step}s --scores {out}"


def detect(ts: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
    """Score a series as the bench asks.

    Parameters
    ----------
    ts : int64[T]
        Unix seconds, ascending.
    values : float64[T]
        NaN where a sample is missing.

    Returns
    -------
    dict
        ``score`` float64[T], 0 where there is none, and ``alert`` bool[T].
    """
    step = int(np.median(np.diff(ts)))
    known = np.flatnonzero(np.isfinite(values))
    cells = -(-ts[known] // step)
    place = cells - cells[0]
    times = np.arange(cells[0], cells[-1] + 1) * step
    row = np.full((1, len(times)), np.nan)
    row[0, place] = values[known]
    samples = SeriesMatrix((label_set({}),), times, row, np.isnan(row), step)
    # Where two samples share a step, the later one stands for it.
    owner = np.full(len(times), -1)
    owner[place] = known

    score, alert = np.zeros(len(ts)), np.zeros(len(ts), bool)
    signal, schedule = _signal(), _schedule(step)
    for part in replay(signal, schedule, samples, int(times[0]), int(times[-1]) + step):
        if not part.labels:
            continue
        mine = owner[(part.times - times[0]) // step]
        there = mine >= 0
        score[mine[there]] = np.nan_to_num(part.score[0, there])
        alert[mine[there]] = part.state[0, there] == State.ANOMALOUS
    return {"score": score, "alert": alert}


@functools.cache
def _signal() -> Signal:
    settings = configuration.load(None)
    return Signal(NAME, "other", (("", ()),), policy_of(settings, NAME, "other"))


@functools.cache
def _schedule(step: int) -> Schedule:
    settings = configuration.load(None)
    profile = profile_for(step, settings.profile)
    whole = (max(length // profile, 1) * profile for length in (settings.history, settings.refit))
    return Schedule(step, profile, *whole)
