"""Reads stored series from CSV and Parquet tables, OpenMetrics text and range API answers."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from detector.backtest import exports
from detector.backtest.recording import Recording, placed
from detector.errors import ConfigError
from detector.series import Bool, Float, Int, Labels

TIME, VALUE, SERIES = "timestamp", "value", "series"
Line = Callable[[int], str]


def read_file(path: Path, step: int) -> dict[str, Recording]:
    """Read the series of a file by the name of their signal.

    Parameters
    ----------
    path : Path
        Told apart by its ending: ``.parquet``, ``.json`` (an answer of the range API),
        ``.om``, ``.prom`` or ``.txt`` (OpenMetrics text with timestamps), else CSV.
    step : int
        Seconds of the grid.

    Returns
    -------
    dict
        A table is one signal, called like the file; others have one for each metric name.

    Raises
    ------
    ConfigError
        When the file cannot be read or understood; the message names the line where it has any.
    """
    ending = path.suffix.lower()
    if ending in (".json", ".om", ".prom", ".txt"):
        read = exports.read_answer if ending == ".json" else exports.read_openmetrics
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file") from None
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        found = read(str(path), content)
        return {
            name or path.stem: placed(str(path), step, series) for name, series in found.items()
        }
    read_table = read_parquet if ending in (".parquet", ".pq") else read_csv
    return {path.stem: read_table(path, step)}


def read_csv(path: Path, step: int) -> Recording:
    """Read `timestamp,value` rows, or one column for each series.

    Parameters
    ----------
    path : Path
        Timestamps are unix seconds or ISO 8601 (UTC unless they say otherwise); an empty or NaN
        value is a sample without information. Where there is a column `value` all others are
        ignored; otherwise each is a series with the label `series`, which has no sample where
        the cell is empty.
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
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: no CSV file: save it as text in UTF-8") from None
    except ValueError as error:
        raise ConfigError(f"{path}: no CSV file: {str(error).splitlines()[0]}") from None
    _check_header(path)
    return _table(path, frame, step, lambda row: f"{path}:{_line(path, row)}")


def read_parquet(path: Path, step: int) -> Recording:
    """Read a Parquet file with the columns that `read_csv` describes.

    Raises
    ------
    ConfigError
        When the file is missing, is none, or the library for it is not installed.
    """
    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except ImportError:
        raise ConfigError(
            f"{path}: reading Parquet needs a library more: pip install pyarrow; or save it as CSV"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: no Parquet file: {str(error).splitlines()[0]}") from None
    if frame.index.name == TIME:
        frame = frame.reset_index()
    frame.columns = pd.Index([str(column) for column in frame.columns])
    return _table(path, frame, step, lambda row: f"{path}: row {row + 1}")


def _table(path: Path, frame: pd.DataFrame, step: int, line: Line) -> Recording:
    columns = list(map(str, frame.columns))
    own = [name for name in columns if name != TIME]
    missing = [name for name in (TIME, VALUE) if name not in columns]
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t|"):
        raise ConfigError(
            f"{path}: no comma in the first line; columns must be separated by commas, and numbers "
            "written with a point"
        )
    if TIME in missing or not own:
        raise ConfigError(
            f"{path}: no column {', '.join(missing)}; the first line must be timestamp,value or "
            "timestamp and a column for each series"
        )
    if len(set(columns)) < len(columns):
        raise ConfigError(f"{path}: two columns have the same name; rename one")
    if frame.empty:
        raise ConfigError(f"{path}: no samples; there must be rows below the column names")
    times = _times(frame[TIME], line, path)
    if VALUE in own:
        return placed(str(path), step, {(): (times, _values(frame[VALUE], line))})
    series: dict[Labels, tuple[Int, Float]] = {}
    for column in own:
        values, filled = _values(frame[column], line), _filled(frame[column])
        # A column without any sample is a series all the same, of which is said that it has none.
        some = filled if filled.any() else ~filled
        series[((SERIES, column),)] = times[some], values[some]
    return placed(str(path), step, series)


def _times(column: pd.Series[str], line: Line, path: Path) -> Int:
    if pd.api.types.is_datetime64_any_dtype(column):
        stamps = pd.to_datetime(column, utc=True)
        wrong, seconds = stamps.isna(), _seconds(stamps)
    else:
        numbers = pd.to_numeric(column, errors="coerce")
        if numbers.notna().any():
            wrong, seconds = numbers.isna(), numbers.to_numpy(float)
        else:
            stamps = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601")
            wrong, seconds = stamps.isna(), _seconds(stamps)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ConfigError(
            f"{line(row)}: {column.iloc[row]!r} is no time; write unix seconds or ISO 8601"
        )
    if not np.isfinite(seconds).all() or np.abs(seconds).max() > 1e11:
        raise ConfigError(f"{path}: timestamps must be unix seconds, not milliseconds")
    whole: Int = np.floor(seconds).astype(np.int64)
    return whole


def _seconds(stamps: pd.Series[pd.Timestamp]) -> Float:
    since = stamps - pd.Timestamp(0, tz="UTC")
    seconds = np.asarray(since.dt.total_seconds(), np.float64)
    return seconds


def _values(column: pd.Series[str], line: Line) -> Float:
    if pd.api.types.is_numeric_dtype(column):
        stored: Float = column.to_numpy(float, na_value=np.nan)
        return np.where(np.isfinite(stored), stored, np.nan)
    text = column.where(column.notna(), "").astype(str)
    blank = text.str.strip().str.lower().isin(["", "nan", "null", "none"])
    numbers = pd.to_numeric(text.where(~blank, "nan"), errors="coerce")
    wrong = numbers.isna() & ~blank
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ConfigError(f"{line(row)}: {column.iloc[row]!r} is no number")
    found: Float = numbers.to_numpy(float)
    return np.where(np.isfinite(found), found, np.nan)


def _filled(column: pd.Series[str]) -> Bool:
    """Return which cells are not empty, bool[N]; in Parquet those that are not null."""
    filled: Bool = (column.notna() & (column.astype(str).str.strip() != "")).to_numpy(bool)
    return filled


def _check_header(path: Path) -> None:
    """Refuse two columns of one name among those that are read; pandas would rename the second."""
    # A pipe can be read only once.
    if not path.is_file():
        return
    first = pd.read_csv(
        path, header=None, nrows=1, dtype=str, skipinitialspace=True, keep_default_na=False
    )
    columns = first.iloc[0].tolist()
    used = {TIME, VALUE} if VALUE in columns else set(columns) - {""}
    for name in columns:
        if name in used and columns.count(name) > 1:
            raise ConfigError(f"{path}: two columns have the name {name!r}; rename one")


def _line(path: Path, row: int) -> int:
    """Return the line of the file on which a row ends; blank lines are no rows."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        filled = (reader.line_num for cells in reader if "".join(cells).strip() or len(cells) > 1)
        # The first is the header.
        return next(itertools.islice(filled, row + 1, None), row + 2)
