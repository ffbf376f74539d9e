"""Replays stored samples from a CSV file through the live path and writes its scores."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from detector.durations import format_duration
from detector.errors import ConfigError
from detector.masks import masked
from detector.models.baseline import DAY
from detector.names import State
from detector.pipeline import Schedule, replay
from detector.score import GONE
from detector.series import Float, Int, Scores, SeriesMatrix, Signal, label_set

# About 19 years of minutes; a mistyped timestamp would otherwise take all memory.
MOST_STEPS = 10_000_000
COLUMNS = ("timestamp", "observed", "expected", "lower", "upper", "score", "state", "alert")


@dataclass(frozen=True)
class Recording:
    """One stored series on a grid, with the time each sample really had.

    Parameters
    ----------
    samples : SeriesMatrix
        [1, T] on the step grid: each sample stands at the first grid time not before it.
    stamps : int64[T]
        The sample's own time; the grid time where there is none.
    replaced : int
        Samples that a later one in the same step replaced.
    """

    samples: SeriesMatrix
    stamps: Int
    replaced: int


def read_csv(path: Path, step: int) -> Recording:
    """Read `timestamp,value` rows; other columns are ignored.

    Parameters
    ----------
    path : Path
        Timestamps are unix seconds or ISO 8601 (UTC unless they say otherwise); an empty or NaN
        value is a sample without information.
    step : int
        Seconds of the grid.

    Raises
    ------
    ConfigError
        When the file is missing, has no such columns, or holds text where numbers belong; the
        message names the line.
    """
    try:
        frame = pd.read_csv(path, dtype=str, skipinitialspace=True, keep_default_na=False)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{path}: no CSV file: {str(error).splitlines()[0]}") from None
    missing = {"timestamp", "value"} - set(frame.columns)
    if missing:
        raise ConfigError(
            f"{path}: no column {', '.join(sorted(missing))}; the first line must be "
            "timestamp,value"
        )
    if frame.empty:
        raise ConfigError(f"{path}: no samples; there must be rows below timestamp,value")
    times = _times(path, frame["timestamp"])
    values = _values(path, frame["value"])
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    cell = -(-times // step)
    if cell[-1] - cell[0] >= MOST_STEPS:
        raise ConfigError(
            f"{path}: timestamps span {format_duration(float(times[-1] - times[0]))}, more than "
            f"{MOST_STEPS} steps; is one of them wrong?"
        )
    grid = np.arange(cell[0], cell[-1] + 1) * step
    at = cell - cell[0]
    row = np.full((1, len(grid)), np.nan)
    absent = np.ones(row.shape, bool)
    stamps = grid.copy()
    row[0, at], absent[0, at], stamps[at] = values, False, times
    samples = SeriesMatrix((label_set({}),), grid, row, absent, step)
    return Recording(samples, stamps, len(times) - int((~absent).sum()))


def backtest(recording: Recording, signal: Signal, schedule: Schedule) -> Iterator[Scores]:
    """Yield the scores of a whole recording, a refit period at a time.

    The signal's masks that are ranges of time hold; a file has no server to ask for the others.
    """
    ranges = tuple(c for c in signal.conditions if not isinstance(c.test, str))
    samples = masked(recording.samples, ranges, lambda condition, of: {})
    first, last = int(samples.times[0]), int(samples.times[-1])
    yield from replay(signal, schedule, samples, first, last + schedule.step)


def write_scores(path: Path, recording: Recording, parts: Iterator[Scores]) -> tuple[int, int]:
    """Write one row a step; return the number of rows and of episodes.

    `state` is `names.State`, `alert` 1 while it is 1 (anomalous). A number that does not exist
    (no data, warming up, no limit) is an empty field.

    Raises
    ------
    ConfigError
        When the file cannot be written.
    """
    first = int(recording.samples.times[0])
    rows = episodes = 0
    before = 0
    try:
        file = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115  # closed just below
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
    with file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for part in parts:
            for t, time in enumerate(part.times):
                stamp = recording.stamps[(int(time) - first) // recording.samples.step]
                known = len(part.labels) > 0
                state = int(part.state[0, t]) if known else int(State.NO_DATA)
                alert = int(state == State.ANOMALOUS)
                numbers = [
                    _text(column[0, t]) if known else ""
                    for column in (
                        part.observed,
                        part.expected,
                        part.lower,
                        part.upper,
                        part.score,
                    )
                ]
                state = int(State.NO_DATA) if state == GONE else state
                writer.writerow([int(stamp), *numbers, state, alert])
                rows += 1
                episodes += alert > before
                before = alert
    return rows, episodes


def profile_for(step: int, wanted: int) -> int:
    """Return the profile grid for a step: the least multiple >= `wanted` that divides a day.

    Raises
    ------
    ConfigError
        When no multiple of the step divides a day.
    """
    for profile in range(step * math.ceil(wanted / step), DAY + 1, step):
        if DAY % profile == 0:
            return profile
    raise ConfigError(f"--step {step}s: no multiple of it divides a day; use 60s, 300s or 3600s")


def _text(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else ""


def _times(path: Path, column: pd.Series[str]) -> Int:
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().any():
        wrong, seconds = numbers.isna(), numbers.to_numpy(float)
    else:
        stamps = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601")
        since = stamps - pd.Timestamp(0, tz="UTC")
        wrong, seconds = stamps.isna(), since.dt.total_seconds().to_numpy(float)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ConfigError(
            f"{path}:{_line(path, row)}: {column.iloc[row]!r} is no time; write unix seconds or "
            "ISO 8601"
        )
    if not np.isfinite(seconds).all() or np.abs(seconds).max() > 1e11:
        raise ConfigError(f"{path}: timestamps must be unix seconds, not milliseconds")
    whole: Int = np.floor(seconds).astype(np.int64)
    return whole


def _values(path: Path, column: pd.Series[str]) -> Float:
    blank = column.str.strip().str.lower().isin(["", "nan", "null", "none"])
    numbers = pd.to_numeric(column.where(~blank, "nan"), errors="coerce")
    wrong = numbers.isna() & ~blank
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ConfigError(f"{path}:{_line(path, row)}: {column.iloc[row]!r} is no number")
    values: Float = numbers.to_numpy(float)
    return np.where(np.isfinite(values), values, np.nan)


def _line(path: Path, row: int) -> int:
    """Return the line of the file on which a row ends; blank lines are no rows."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        filled = (reader.line_num for cells in reader if "".join(cells).strip() or len(cells) > 1)
        # The first is the header.
        return next(itertools.islice(filled, row + 1, None), row + 2)
