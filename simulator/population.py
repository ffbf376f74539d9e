"""Synthetic customers that look like those of the Expresso churn challenge.

A customer belongs to a group (which columns are known together), has a REGULARITY by the group's
quantiles, amounts by quantile tables joined by a Gaussian copula, and churns by log-odds. The
figures are in `simulator.population_tables`; no row of the challenge is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri

from simulator import population_tables as tables
from simulator.churn.schema import COLUMNS, IDENTIFIER, NUMBERS, TARGET

Columns = dict[str, NDArray[Any]]

# Amounts of money and data, which the drift fault multiplies.
DRIFTING_AMOUNTS = ("MONTANT", "REVENUE", "ARPU_SEGMENT", "DATA_VOLUME")
# The region that the drift fault prefers: a small one, as when a campaign opens it up.
PREFERRED_REGION = "TAMBACOUNDA"
# Of the synthetic customers.
CHURN_SHARE = 0.192
# Columns that the missing-values fault empties, those that are always empty together as one.
EMPTIED_TOGETHER = (
    ("MONTANT", "FREQUENCE_RECH"),
    ("REVENUE", "ARPU_SEGMENT", "FREQUENCE"),
    ("DATA_VOLUME",),
    ("ON_NET",),
    ("ORANGE",),
)

_RECHARGES = ("MONTANT", "FREQUENCE_RECH")
_REVENUE = ("REVENUE", "FREQUENCE")
_STREAM_BATCH = 1000
_USER_ID_BYTES = 20


def synthetic_customers(rng: np.random.Generator, n: int) -> Columns:
    """Return n customers with all 19 columns of Train.csv.

    Parameters
    ----------
    rng : Generator
        Source of randomness; equal state, equal customers.
    n : int
        Customers.

    Returns
    -------
    dict of str to ndarray, shape (n,)
        In the order of `COLUMNS`: numbers float64 with NaN where unknown, categories object with
        None where unknown, CHURN int64.
    """
    names = tuple(tables.GROUPS)
    shares, *known = zip(*tables.GROUPS.values(), strict=True)
    group = rng.choice(len(names), n, p=shares)
    recharges, revenue, pack = (np.array(flags)[group] for flags in known)
    silent = group == names.index("silent")

    normal = rng.standard_normal((n, len(tables.CORRELATED))) @ _copula_factor().T
    ranks = ndtr(normal)
    columns: Columns = {
        "REGULARITY": _by_group(ranks[:, 0], group, list(tables.REGULARITY.values()))
    }
    for position, name in enumerate(tables.CORRELATED[1:], start=1):
        rank = ranks[:, position]
        if name in tables.ZONE_AMOUNTS:
            columns[name] = _quantile(rank, tables.ZONE_AMOUNTS[name])
            continue
        columns[name] = _quantile(rank, tables.PACK_AMOUNTS[name])
        if name in tables.QUIET_AMOUNTS:
            quiet = _quantile(rank, tables.QUIET_AMOUNTS[name])
            columns[name] = np.where(pack, columns[name], quiet)
    # Recharges are sold in steps of 50.
    columns["MONTANT"] = np.maximum(np.round(columns["MONTANT"] / 50.0), 1.0) * 50.0
    columns["ARPU_SEGMENT"] = np.round(columns["REVENUE"] / 3.0)
    for name in ("REGION", "TENURE", "MRG", "TOP_PACK"):
        columns[name] = _categories(rng, n, getattr(tables, name))

    unknown = _unknown(rng, normal[:, 0], pack, silent)
    for names_together, is_known in (
        (_RECHARGES, recharges),
        ((*_REVENUE, "ARPU_SEGMENT"), revenue),
        (("TOP_PACK", "FREQ_TOP_PACK"), pack),
    ):
        unknown.update(dict.fromkeys(names_together, ~is_known))
    for name, empty in unknown.items():
        columns[name][empty] = np.nan if name in NUMBERS else None

    odds = (
        tables.CHURN_INTERCEPT
        + tables.CHURN_PER_LOG_REGULARITY * np.log(columns["REGULARITY"])
        + tables.CHURN_REGION_UNKNOWN * unknown["REGION"]
        + np.array([tables.CHURN_GROUP.get(name, 0.0) for name in names])[group]
    )
    columns[TARGET] = (rng.random(n) < expit(odds)).astype(np.int64)
    columns[IDENTIFIER] = _identifiers(rng, n)
    return {name: columns[name] for name in COLUMNS}


def customer_stream(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield customers without end as the service takes them: JSON-ready, without CHURN."""
    return (customer for customer, _ in labelled_stream(rng))


def labelled_stream(rng: np.random.Generator) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield the customers of `customer_stream`, each with whether they will churn."""
    while True:
        columns = synthetic_customers(rng, _STREAM_BATCH)
        yield from zip(as_requests(columns), columns[TARGET].astype(bool).tolist(), strict=True)


def as_requests(columns: Columns) -> list[dict[str, Any]]:
    """Return columns as one JSON-ready mapping a customer, None where unknown, without CHURN."""
    names = [name for name in columns if name != TARGET]
    lists = [
        [None if value != value else value for value in columns[name].tolist()] for name in names
    ]
    return [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]


def feature_drift(
    rng: np.random.Generator, customer: dict[str, Any], size: float
) -> dict[str, Any]:
    """Return the customer under the feature-drift fault.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    customer : dict
        As from `customer_stream`; it is not changed.
    size : float
        Amounts are multiplied by 1 + size; a share size / (1 + size) of the known regions becomes
        `PREFERRED_REGION`.
    """
    changed = dict(customer)
    for name in DRIFTING_AMOUNTS:
        if changed[name] is not None:
            changed[name] *= 1.0 + size
    if changed["REGION"] is not None and rng.random() < size / (1.0 + size):
        changed["REGION"] = PREFERRED_REGION
    return changed


def missing_values(
    rng: np.random.Generator, customer: dict[str, Any], size: float
) -> dict[str, Any]:
    """Return the customer under the missing-values fault.

    Each group of `EMPTIED_TOGETHER` becomes None with probability `size`; the customer given is
    not changed.
    """
    chances = rng.random(len(EMPTIED_TOGETHER))
    emptied = [
        name
        for names, chance in zip(EMPTIED_TOGETHER, chances, strict=True)
        if chance < size
        for name in names
    ]
    return customer | dict.fromkeys(emptied)


def concept_drift(rng: np.random.Generator, churned: bool, size: float) -> bool:
    """Return what becomes of a customer under the concept-drift fault.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    churned : bool
        What would have become of them.
    size : float
        Share of the customers whose fate has nothing to do with their features any more. As many
        churn as before, so that only the joined labels show it.
    """
    if rng.random() < size:
        return bool(rng.random() < CHURN_SHARE)
    return churned


def _copula_factor() -> NDArray[np.float64]:
    """Return the triangular factor of the copula's correlation matrix."""
    size = len(tables.CORRELATED)
    correlation = np.zeros((size, size))
    correlation[np.tril_indices(size)] = [x for row in tables.CORRELATIONS for x in row]
    correlation += np.tril(correlation, -1).T
    # Two decimals leave the matrix short of positive definite by less than this.
    correlation = (correlation + 0.005 * np.eye(size)) / 1.005
    return np.asarray(np.linalg.cholesky(correlation), dtype=np.float64)


def _quantile(rank: NDArray[np.float64], table: tuple[float, ...]) -> NDArray[np.float64]:
    """Return whole numbers of a quantile table, interpolated as logarithms for the long tails."""
    logs = np.log1p(np.asarray(table, dtype=np.float64))
    return np.asarray(np.round(np.expm1(np.interp(rank, tables.PROBABILITIES, logs))))


def _by_group(
    rank: NDArray[np.float64], group: NDArray[np.int64], group_tables: list[tuple[float, ...]]
) -> NDArray[np.float64]:
    return np.select(
        [group == number for number in range(len(group_tables))],
        [_quantile(rank, table) for table in group_tables],
    )


def _categories(rng: np.random.Generator, n: int, shares: dict[str, float]) -> NDArray[np.object_]:
    # Rounded shares do not sum to one exactly.
    weights = np.array(list(shares.values()))
    return np.array(list(shares), dtype=object)[
        rng.choice(len(shares), n, p=weights / sum(weights))
    ]


def _unknown(
    rng: np.random.Generator,
    regularity: NDArray[np.float64],
    pack: NDArray[np.bool_],
    silent: NDArray[np.bool_],
) -> dict[str, NDArray[np.bool_]]:
    """Return which values are unknown one by one: a threshold on a normal variable.

    It is correlated with the normal score of REGULARITY, and with the other columns by one factor.
    """
    factor = rng.standard_normal(len(regularity))
    unknown = {}
    for name, by_group in tables.MISSING.items():
        parameters = np.array([by_group["pack"], by_group["between"], by_group["silent"]])
        share, slope = parameters[np.where(pack, 0, np.where(silent, 2, 1))].T
        loading = tables.MISSING_LOADINGS[name]
        rest = np.sqrt(1.0 - slope**2 - loading**2) * rng.standard_normal(len(regularity))
        unknown[name] = slope * regularity + loading * factor + rest > -ndtri(share)
    return unknown


def _identifiers(rng: np.random.Generator, n: int) -> NDArray[np.object_]:
    digits = rng.bytes(_USER_ID_BYTES * n).hex()
    width = 2 * _USER_ID_BYTES
    return np.array([digits[i * width : (i + 1) * width] for i in range(n)], dtype=object)
