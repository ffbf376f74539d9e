"""Compares the synthetic customers with those of a file: the `simulator compare` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from simulator.churn import dataset
from simulator.churn.binning import make_reference
from simulator.churn.distances import distance
from simulator.churn.floors import LEVEL, Floors, make_floors
from simulator.churn.model import cross_validated_auc
from simulator.churn.reference import FeatureReference
from simulator.churn.schema import TARGET
from simulator.population import Columns, as_requests, synthetic_customers

_FOLDS = 5


def likeness_report(*, data: Path, rows: int, seed: int, as_json: bool) -> str:
    """Return each column's distance from the file's, and both cross-validated AUCs.

    The file is the reference; a distance below its floor is what two draws of one population show.

    Parameters
    ----------
    data : Path
        A Train.csv of the Expresso churn challenge; nothing of it is kept.
    rows : int
        Most customers read, and as many made.
    seed : int
    as_json : bool
        One JSON object instead of a table.

    Raises
    ------
    ConfigError
        When the file cannot be used.
    """
    real_rng, synthetic_rng = np.random.default_rng(seed).spawn(2)
    real = dataset.read_customers(data, rows, real_rng)
    synthetic = synthetic_customers(synthetic_rng, rows)
    reference = make_reference(real)
    floors = make_floors(reference)
    columns = [
        _compared(feature, feature.slots(synthetic[feature.name].tolist()), floors)
        for feature in reference.features
    ]
    aucs = {
        name: _auc(customers, seed)
        for name, customers in (("file", real), ("synthetic", synthetic))
    }
    if as_json:
        content = {"columns": columns, "auc": aucs}
        return orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()
    lines = [
        f"{'column':<16}{'statistic':<12}{'value':>8}{f'{LEVEL:.0%} floor':>11}{'PSI':>8}{'JS':>8}"
        f"{'missing: file':>15}{'synthetic':>11}"
    ]
    for one in columns:
        lines.append(
            f"{one['column']:<16}{one['statistic']:<12}{one['value']:>8.3f}{one['floor']:>11.3f}"
            f"{one['psi']:>8.3f}{one['jensen_shannon']:>8.3f}"
            f"{one['missing_in_file']:>15.3f}{one['missing']:>11.3f}"
        )
    for name, auc in aucs.items():
        lines.append(
            f"AUC of {_FOLDS} folds, {name}: {auc['mean']:.3f} "
            f"({auc['lowest']:.3f} to {auc['highest']:.3f}), {auc['rows']} customers"
        )
    return "\n".join(lines)


def _compared(
    feature: FeatureReference, slots: NDArray[np.int64], floors: Floors
) -> dict[str, Any]:
    by_slot = np.bincount(slots, minlength=feature.width)
    counts = feature.folded(by_slot)
    return {
        "column": feature.name,
        "statistic": feature.statistic,
        "value": float(distance(feature, counts, feature.statistic)),
        "floor": float(floors.at(feature.name, feature.statistic, counts.sum())[1]),
        "psi": float(distance(feature, counts, "psi")),
        "jensen_shannon": float(distance(feature, counts, "jensen_shannon")),
        "missing_in_file": feature.missing_ratio,
        "missing": float(by_slot[feature.bins] / by_slot.sum()),
    }


def _auc(columns: Columns, seed: int) -> dict[str, float]:
    found = cross_validated_auc(as_requests(columns), columns[TARGET], seed, _FOLDS)
    return {
        "mean": float(found.mean()),
        "lowest": float(found.min()),
        "highest": float(found.max()),
        "rows": len(columns[TARGET]),
    }
