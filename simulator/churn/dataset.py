"""Reads a Train.csv of the Expresso churn challenge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from detector.errors import ConfigError
from simulator.churn.schema import COLUMNS, NUMBERS, TARGET
from simulator.population import Columns

# Rows read at once: the challenge's file has 2.1 million, of which few are kept.
_CHUNK_ROWS = 100_000
_FEWEST_ROWS = 100
_FEWEST_OF_A_CLASS = 10


def read_customers(path: Path, rows: int, rng: np.random.Generator) -> Columns:
    """Return customers of the file, at most `rows` of them, drawn at random.

    Parameters
    ----------
    path : Path
        CSV with the columns of `COLUMNS` in any order; further ones are left out.
    rows : int
        Customers wanted.
    rng : Generator
        Source of randomness for the draw.

    Returns
    -------
    dict of str to ndarray
        As from `simulator.population.synthetic_customers`.

    Raises
    ------
    ConfigError
        When the file cannot be read, lacks a column, holds a cell that is no number where one is
        needed, or too few customers of either class.
    """
    kept = pd.DataFrame()
    line = 2
    try:
        with pd.read_csv(path, dtype=str, chunksize=_CHUNK_ROWS, encoding="utf-8") as chunks:
            for chunk in chunks:
                checked = _checked(chunk, path, line)
                line += len(chunk)
                # The rows with the smallest random keys of the whole file are a fair draw.
                checked["key"] = rng.random(len(checked))
                kept = pd.concat([kept, checked]).nsmallest(rows, "key")
    except OSError as error:
        raise ConfigError(f"cannot read {path} ({error.strerror}); give --data a file") from error
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"{path} is no CSV file in UTF-8 ({reason})") from error
    smallest_class = min((kept[TARGET] == value).sum() for value in (0, 1)) if len(kept) else 0
    if len(kept) < _FEWEST_ROWS or smallest_class < _FEWEST_OF_A_CLASS:
        raise ConfigError(
            f"{path} gives {len(kept)} rows, {smallest_class} of the smaller class of {TARGET}; "
            f"at least {_FEWEST_ROWS} and {_FEWEST_OF_A_CLASS} are needed"
        )
    return {
        name: kept[name].to_numpy()
        if name in (*NUMBERS, TARGET)
        else kept[name].astype(object).where(kept[name].notna(), None).to_numpy()
        for name in COLUMNS
    }


def _checked(chunk: pd.DataFrame, path: Path, first_line: int) -> pd.DataFrame:
    """Return the columns wanted, numbers as floats; ConfigError names the first that is wrong."""
    missing = [name for name in COLUMNS if name not in chunk.columns]
    if missing:
        raise ConfigError(
            f"{path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            "it must be a Train.csv of the Expresso churn challenge"
        )
    checked = chunk[list(COLUMNS)].copy()
    for name in (*NUMBERS, TARGET):
        cells = checked[name]
        values = pd.to_numeric(cells, errors="coerce").astype(float)
        fits = (
            values.isin([0.0, 1.0]) if name == TARGET else values.between(0.0, np.finfo(float).max)
        )
        # An empty cell is a missing value, but not of the class.
        wrong = ~fits & (cells.notna() | (name == TARGET))
        if wrong.any():
            place = int(np.argmax(wrong.to_numpy()))
            wanted = "0 or 1" if name == TARGET else "numbers from 0 on"
            raise ConfigError(
                f"{path}: {name} must hold {wanted}; {int(wrong.sum())} of its cells do not, the "
                f"first in line {first_line + place}: {cells.iloc[place]!r:.40}"
            )
        checked[name] = values.astype(np.int64) if name == TARGET else values
    return checked
