"""The drift statistics of the churn service beside those of Evidently, on the same windows.

Reference and windows are synthetic customers: unchanged, drifted as `feature_drift` does at a tenth
of its size and in full, and with half of the nullable values missing. Evidently's own functions are
given what its report gives them, a column without NaN. Twice: the values, which it bins itself, and
the bins of our reference (a number stands as the mean of its bin), on which both should agree.

Evidently (Apache-2.0) is no dependency; 0.7.23 needs a pandas before 3:
    pip install --target /tmp/evidently evidently 'pandas<3'

Run: PYTHONPATH=/tmp/evidently .venv/bin/python tests/bench/evidently_drift.py [--rows 20000]
"""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from table import Cell, show

from simulator.churn.binning import make_reference
from simulator.churn.distances import applicable, distance, ks_p_value
from simulator.churn.reference import FeatureReference, Reference
from simulator.population import (
    as_requests,
    customer_stream,
    feature_drift,
    missing_values,
    synthetic_customers,
)

SEED = 11
# Name of the change, and the function and size that make it.
CHANGES: dict[str, tuple[Callable[..., dict[str, object]] | None, float]] = {
    "none": (None, 0.0),
    "drift 0.2": (feature_drift, 0.2),
    "drift 2": (feature_drift, 2.0),
    "missing 0.5": (missing_values, 0.5),
}
# Statistics of ours and their names at Evidently.
NAMES = {"psi": "psi", "jensen_shannon": "jensenshannon", "wasserstein": "wasserstein", "ks": "ks"}

# Values of the reference and of a window, and whether they are numbers.
Test = Callable[[Sequence[object], Sequence[object], bool], float]


def evidently_tests() -> dict[str, Test]:
    """Return Evidently's functions by our names; exits with one line where there is none."""
    warnings.simplefilter("ignore")
    try:
        import pandas as pd
        from evidently.legacy.calculations import stattests
        from evidently.legacy.core import ColumnType
    except ImportError as error:
        print(
            f"Evidently cannot be imported ({error}); "
            "pip install --target DIR evidently 'pandas<3', then PYTHONPATH=DIR",
            file=sys.stderr,
        )
        raise SystemExit(2) from None

    def test(name: str) -> Test:
        found = getattr(stattests, f"{name}_stat_test")

        def call(before: Sequence[object], after: Sequence[object], number: bool) -> float:
            kind = ColumnType.Numerical if number else ColumnType.Categorical
            known = (pd.Series(part).dropna() for part in (before, after))
            return float(found(*known, kind, 0.1).drift_score)

        return call

    return {ours: test(theirs) for ours, theirs in NAMES.items()}


def window(change: str, rows: int) -> dict[str, list[object]]:
    """Return the columns of a window of customers."""
    rng = np.random.default_rng(SEED + 1)
    function, size = CHANGES[change]
    customers = list(itertools.islice(customer_stream(rng), rows))
    if function is not None:
        customers = [function(rng, one, size) for one in customers]
    return {name: [one[name] for one in customers] for name in customers[0]}


def compared(
    column: FeatureReference, before: list[object], after: list[object], tests: Mapping[str, Test]
) -> dict[str, tuple[float, float, float]]:
    """Return (ours, theirs on the same bins, theirs on the values) by statistic."""
    number = column.kind == "number"
    placed = []
    for part in (before, after):
        slots = column.slots(part)
        slots[slots == column.bins + 1] = 0
        slots[slots == column.bins + 2] = column.bins - 1
        placed.append(slots[slots != column.bins])
    counts = np.bincount(placed[1], minlength=column.bins)
    means = np.asarray(column.means)
    out = {}
    for name, test in tests.items():
        if name == "ks":
            ours = ks_p_value(column, counts)
        elif name in applicable(column):
            ours = float(distance(column, counts, name))
        else:
            continue
        if ours is None or ours != ours:
            continue
        # As categories, since Evidently would bin the bins of a number once more.
        binned = [means[slots] if name == "wasserstein" else slots for slots in placed]
        same = test(*binned, name in ("wasserstein", "ks"))
        out[name] = (ours, same, test(before, after, number))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, help="of the reference")
    parser.add_argument("--window", type=int, default=1000)
    options = parser.parse_args()
    tests = evidently_tests()
    columns = synthetic_customers(np.random.default_rng(SEED), options.rows)
    reference: Reference = make_reference(columns)
    rows = as_requests(columns)
    found: dict[tuple[str, str, str], list[tuple[float, float, float, str]]] = defaultdict(list)
    for change in CHANGES:
        after = window(change, options.window)
        for column in reference.features:
            before = [row[column.name] for row in rows]
            for name, three in compared(column, before, after[column.name], tests).items():
                found[change, name, column.kind].append((*three, column.name))
    table: list[list[Cell]] = []
    for (change, name, kind), cells in found.items():
        same = max(abs(ours - theirs) for ours, theirs, _, _ in cells)
        ours, _, theirs, where = max(cells, key=lambda cell: abs(cell[0] - cell[2]))
        difference = abs(ours - theirs)
        table.append([change, name, f"{len(cells)} {kind}", same, difference, where, ours, theirs])
    show(
        f"largest differences, reference of {options.rows:,}, window of {options.window:,}",
        ("change", "statistic", "columns", "same bins", "values", "in", "ours", "theirs"),
        table,
        words=3,
    )


if __name__ == "__main__":
    main()
