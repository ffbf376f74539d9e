"""Writes predictions and actuals, and deletes them again."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Table, delete, exists, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from simulator.churn.feedback.tables import ACTUALS, ERASURES, PREDICTIONS, PredictionRow

# Below the variables SQLite takes in one statement, on any build.
_CHUNK = 500
# An actual may wait this long for its prediction, which a spool may still hold.
UNMATCHED_SECONDS = 86_400.0


@dataclass(frozen=True)
class Actual:
    """What became of a customer: of which prediction, when it was seen (unix seconds, or None)."""

    prediction_id: str
    churned: bool
    observed_at: float | None = None


@dataclass
class Applied:
    """What became of a batch of actuals.

    Parameters
    ----------
    outcomes : Counter
        ``accepted``, ``duplicate``, ``corrected``, ``contradicted`` add up to the batch;
        ``unknown`` are those of all whose prediction is not stored (yet).
    delays : list of float
        Seconds from prediction to arrival, of the accepted with a prediction.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    delays: list[float] = field(default_factory=list)


def insert_predictions(engine: Engine, rows: Sequence[PredictionRow]) -> None:
    """Store predictions; those stored already, and those of customers since erased, are not."""
    with engine.begin() as connection:
        statement = _insert(connection, PREDICTIONS).on_conflict_do_nothing()
        connection.execute(statement, [row._asdict() for row in rows])
        # After the insert, which an erasure under way holds up or waits for.
        hashes = {customer_hash(row.customer_id): row.customer_id for row in rows}
        for part in _chunks(sorted(hashes)):
            erased = select(ERASURES).where(ERASURES.c.customer_hash.in_(part))
            for found in connection.execute(erased).all():
                connection.execute(
                    delete(PREDICTIONS).where(
                        PREDICTIONS.c.customer_id == hashes[found.customer_hash],
                        PREDICTIONS.c.predicted_at <= found.erased_at,
                    )
                )


def apply_actuals(engine: Engine, actuals: Sequence[Actual], now: float) -> Applied:
    """Store what became true, once for each prediction.

    Of two that contradict each other the one with the later `observed_at` holds, and one without
    counts as earlier than any; at the same time, the one that came first. So a batch sent again
    changes nothing, and batches may come in any order.

    Parameters
    ----------
    engine : Engine
        The database.
    actuals : sequence of Actual
        The same id may come several times.
    now : float
        Time of arrival, unix seconds.
    """
    applied = Applied()
    merged = _merged(actuals, applied.outcomes)
    with engine.begin() as connection:
        for part in _chunks(sorted(merged)):
            known = {
                row.prediction_id: Actual(*row)
                for row in connection.execute(
                    select(ACTUALS.c.prediction_id, ACTUALS.c.churned, ACTUALS.c.observed_at).where(
                        ACTUALS.c.prediction_id.in_(part)
                    )
                )
            }
            predicted = {
                row.id: row.predicted_at
                for row in connection.execute(
                    select(PREDICTIONS.c.id, PREDICTIONS.c.predicted_at).where(
                        PREDICTIONS.c.id.in_(part)
                    )
                )
            }
            rows = []
            for identifier in part:
                actual = merged[identifier]
                outcome = _outcome(known.get(identifier), actual)
                applied.outcomes[outcome] += 1
                if identifier not in predicted:
                    applied.outcomes["unknown"] += 1
                elif outcome == "accepted":
                    applied.delays.append(max(now - predicted[identifier], 0.0))
                if outcome in ("accepted", "corrected"):
                    rows.append(vars(actual) | {"received_at": now})
            if rows:
                connection.execute(_upsert(connection), rows)
    return applied


def erase_customer(engine: Engine, customer_id: str, now: float) -> int:
    """Delete all that is stored of a customer, and remember not to take up what a spool holds.

    Returns
    -------
    int
        Predictions deleted.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            # Inserts under way finish first and are deleted below; later ones see the erasure.
            connection.exec_driver_sql("LOCK TABLE predictions IN SHARE ROW EXCLUSIVE MODE")
        statement = _insert(connection, ERASURES).values(
            customer_hash=customer_hash(customer_id), erased_at=now
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[ERASURES.c.customer_hash], set_={"erased_at": now}
            )
        )
        own = PREDICTIONS.c.customer_id == customer_id
        ids = select(PREDICTIONS.c.id).where(own)
        connection.execute(delete(ACTUALS).where(ACTUALS.c.prediction_id.in_(ids)))
        return connection.execute(delete(PREDICTIONS).where(own)).rowcount


def forget_before(engine: Engine, before: float, now: float) -> int:
    """Delete predictions older than `before`, and actuals whose prediction is gone or never came.

    Returns
    -------
    int
        Predictions deleted.
    """
    deleted = 0
    while True:
        # In parts, so that no writer waits long.
        with engine.begin() as connection:
            old = (
                connection.execute(
                    select(PREDICTIONS.c.id)
                    .where(PREDICTIONS.c.predicted_at < before)
                    .order_by(PREDICTIONS.c.predicted_at)
                    .limit(10 * _CHUNK)
                )
                .scalars()
                .all()
            )
            for part in _chunks(old):
                connection.execute(delete(ACTUALS).where(ACTUALS.c.prediction_id.in_(part)))
                connection.execute(delete(PREDICTIONS).where(PREDICTIONS.c.id.in_(part)))
        deleted += len(old)
        if len(old) < 10 * _CHUNK:
            break
    with engine.begin() as connection:
        alone = ~exists().where(PREDICTIONS.c.id == ACTUALS.c.prediction_id)
        late = ACTUALS.c.received_at < now - UNMATCHED_SECONDS
        connection.execute(delete(ACTUALS).where(late, alone))
        connection.execute(delete(ERASURES).where(ERASURES.c.erased_at < before))
    return deleted


def customer_hash(customer_id: str) -> str:
    """Return the SHA-256 under which an erased customer is remembered."""
    return hashlib.sha256(customer_id.encode()).hexdigest()


def _merged(actuals: Iterable[Actual], outcomes: Counter[str]) -> dict[str, Actual]:
    """Return one actual for each prediction of a batch, and count the others."""
    merged: dict[str, Actual] = {}
    for actual in actuals:
        outcome = _outcome(merged.get(actual.prediction_id), actual)
        if outcome in ("accepted", "corrected"):
            merged[actual.prediction_id] = actual
        if outcome != "accepted":
            outcomes[outcome] += 1
    return merged


def _outcome(known: Actual | None, new: Actual) -> str:
    if known is None:
        return "accepted"
    if known.churned == new.churned:
        return "duplicate"
    return "corrected" if _moment(new) > _moment(known) else "contradicted"


def _moment(actual: Actual) -> float:
    return float("-inf") if actual.observed_at is None else actual.observed_at


def _upsert(connection: Connection) -> Any:
    """Return the insert that follows `_outcome` even when another replica was faster."""
    statement = _insert(connection, ACTUALS)
    new = statement.excluded
    later = new.observed_at > func.coalesce(ACTUALS.c.observed_at, new.observed_at - 1.0)
    return statement.on_conflict_do_update(
        index_elements=[ACTUALS.c.prediction_id],
        set_={name: new[name] for name in ("churned", "observed_at", "received_at")},
        where=or_(new.churned & ~ACTUALS.c.churned, ~new.churned & ACTUALS.c.churned) & later,
    )


def _insert(connection: Connection, table: Table) -> Any:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


def _chunks(items: Sequence[str]) -> Iterator[Sequence[str]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
