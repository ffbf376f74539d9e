"""Predictions and actuals in a real SQLite and a real PostgreSQL: the same suite for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, func, inspect, select

from detector.errors import ConfigError
from simulator.churn.feedback import lease
from simulator.churn.feedback.cohorts import cohort_of, read_joined
from simulator.churn.feedback.database import migrate, open_database
from simulator.churn.feedback.loop import prediction_ids
from simulator.churn.feedback.records import (
    UNMATCHED_SECONDS,
    Actual,
    apply_actuals,
    erase_customer,
    forget_before,
    insert_predictions,
)
from simulator.churn.feedback.tables import (
    ACTUALS,
    ERASURES,
    METADATA,
    PREDICTIONS,
    PredictionRow,
)

NOW = 1_790_000_000.0
TABLES = set(METADATA.tables)


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    opened = open_database(database)
    migrate(opened)
    yield opened
    opened.dispose()


def rows(
    count: int, at: float = NOW, customer: Callable[[int], str] = "customer-{}".format
) -> list[PredictionRow]:
    scores = np.random.default_rng(1).random(count)
    return [
        PredictionRow(one, customer(i), at, float(scores[i]), bool(scores[i] >= 0.5), "v1", "{}")
        for i, one in enumerate(prediction_ids(at, count))
    ]


def count(engine: Engine, table: object = PREDICTIONS) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def churned(engine: Engine, prediction_id: str) -> bool | None:
    with engine.connect() as connection:
        return connection.execute(
            select(ACTUALS.c.churned).where(ACTUALS.c.prediction_id == prediction_id)
        ).scalar()


def test_migrations_go_up_and_down_and_make_what_the_code_expects(database: str) -> None:
    engine = open_database(database)
    migrate(engine)
    migrate(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    insert_predictions(engine, rows(3))
    migrate(engine, "base")
    assert TABLES & set(inspect(engine).get_table_names()) == set()
    migrate(engine, "0001")
    assert set(inspect(engine).get_table_names()) >= TABLES
    assert count(engine) == 0
    with pytest.raises(ConfigError, match="there is no revision 0815; choose of base, 0001"):
        migrate(engine, "0815")
    engine.dispose()


def test_a_database_of_a_later_version_is_left_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="9999, which this version does not know"):
        migrate(engine)
    assert set(inspect(engine).get_table_names()) >= TABLES


def test_replicas_that_start_together_migrate_once(database: str) -> None:
    engines = [open_database(database) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, engines))
    assert count(engines[0]) == 0
    for engine in engines:
        engine.dispose()


def test_connections_that_open_a_new_file_at_once_wait_for_each_other(tmp_path: Path) -> None:
    # Without a wait of ours SQLite refuses one in a dozen of these files.
    def connect(engine: Engine) -> None:
        together.wait()
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"

    for i in range(60):
        engines = [open_database(f"sqlite:///{tmp_path}/{i}.sqlite") for _ in range(4)]
        together = Barrier(4)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(connect, engines))
        for engine in engines:
            engine.dispose()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "is no URL"),
        ("mysql://x/y", "mysql are not supported"),
        ("sqlite://", "must be a file"),
        ("postgresql://me:secret@h/d", "holds a password"),
    ],
)
def test_a_wrong_url_is_one_line_without_the_secret(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        open_database(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_predictions_stored_twice_are_there_once(engine: Engine) -> None:
    made = rows(1200)
    insert_predictions(engine, made[:700])
    insert_predictions(engine, made[500:])
    assert count(engine) == 1200
    with engine.connect() as connection:
        found = connection.execute(select(PREDICTIONS).order_by(PREDICTIONS.c.id)).all()
    assert sorted(made) == [PredictionRow(*row) for row in found]


def test_actuals_are_idempotent_and_delays_counted_once(engine: Engine) -> None:
    made = rows(3)
    insert_predictions(engine, made)
    batch = [Actual(row.id, i == 0) for i, row in enumerate(made)]
    first = apply_actuals(engine, batch, NOW + 60)
    assert first.outcomes == {"accepted": 3}
    assert first.delays == pytest.approx([60.0] * 3)
    again = apply_actuals(engine, batch[::-1], NOW + 90)
    assert again.outcomes == {"duplicate": 3}
    assert again.delays == []
    assert [churned(engine, row.id) for row in made] == [True, False, False]


@pytest.mark.parametrize(
    ("first", "second", "outcome", "holds"),
    [
        # The later observation holds, whichever arrives first.
        (Actual("", True, 10.0), Actual("", False, 20.0), "corrected", False),
        (Actual("", False, 20.0), Actual("", True, 10.0), "contradicted", False),
        (Actual("", True, None), Actual("", False, 20.0), "corrected", False),
        (Actual("", False, 20.0), Actual("", True, None), "contradicted", False),
        # Nobody knows which is right: the first stays.
        (Actual("", True, 10.0), Actual("", False, 10.0), "contradicted", True),
        (Actual("", True, None), Actual("", False, None), "contradicted", True),
        (Actual("", True, 10.0), Actual("", True, 20.0), "duplicate", True),
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_contradictions(
    engine: Engine, first: Actual, second: Actual, outcome: str, holds: bool, together: bool
) -> None:
    (made,) = rows(1)
    insert_predictions(engine, [made])
    one, two = (Actual(made.id, a.churned, a.observed_at) for a in (first, second))
    batches = [[one, two]] if together else [[one], [two]]
    outcomes = [apply_actuals(engine, batch, NOW + 1).outcomes for batch in batches]
    total = sum(outcomes, start=type(outcomes[0])())
    assert total == {"accepted": 1, outcome: 1}
    assert churned(engine, made.id) is holds


def test_the_database_itself_keeps_the_later_of_two_replicas(engine: Engine) -> None:
    made = rows(40)
    insert_predictions(engine, made)

    def send(moment: float) -> None:
        apply_actuals(engine, [Actual(row.id, moment == 7.0, moment) for row in made], NOW)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, [3.0, 7.0, 5.0, 1.0]))
    assert all(churned(engine, row.id) for row in made)


def test_an_actual_waits_for_its_prediction_and_not_for_ever(engine: Engine) -> None:
    early, never = rows(2)
    applied = apply_actuals(engine, [Actual(early.id, True), Actual(never.id, False)], NOW)
    assert applied.outcomes == {"accepted": 2, "unknown": 2}
    assert applied.delays == []
    insert_predictions(engine, [early])
    joined = read_joined(engine, NOW - 1, NOW + 1)
    assert joined.churned.tolist() == [1.0]
    forget_before(engine, 0.0, NOW + UNMATCHED_SECONDS - 1)
    assert count(engine, ACTUALS) == 2
    forget_before(engine, 0.0, NOW + UNMATCHED_SECONDS + 1)
    assert churned(engine, never.id) is None
    assert churned(engine, early.id) is True


def test_a_hundred_thousand_actuals_at_once(engine: Engine) -> None:
    made = rows(1000)
    insert_predictions(engine, made)
    ids = [row.id for row in made] + prediction_ids(NOW, 99_000)
    applied = apply_actuals(engine, [Actual(one, False) for one in ids], NOW + 5)
    assert applied.outcomes == {"accepted": 100_000, "unknown": 99_000}
    assert count(engine, ACTUALS) == 100_000


def test_erasure_leaves_nothing_of_the_customer_and_all_of_the_others(engine: Engine) -> None:
    made = rows(9, customer=lambda i: f"customer-{i % 3}")
    insert_predictions(engine, made)
    apply_actuals(engine, [Actual(row.id, True) for row in made], NOW)
    assert erase_customer(engine, "customer-1", NOW + 1) == 3
    assert count(engine) == count(engine, ACTUALS) == 6
    assert erase_customer(engine, "customer-1", NOW + 2) == 0
    assert erase_customer(engine, "nobody'; DROP TABLE predictions; --", NOW) == 0
    # What a spool still held does not come back; a customer who returns is a customer again.
    insert_predictions(engine, made)
    assert count(engine) == 6
    insert_predictions(engine, rows(1, at=NOW + 3, customer=lambda _: "customer-1"))
    assert count(engine) == 7


def test_retention_deletes_what_is_old_with_its_actuals(engine: Engine) -> None:
    old, new = rows(6000, at=NOW - 1000), rows(3)
    for made in (old, new):
        insert_predictions(engine, made)
    apply_actuals(engine, [Actual(row.id, True) for row in [*old[:50], *new]], NOW)
    erase_customer(engine, "somebody", NOW - 1000)
    assert forget_before(engine, NOW - 500, NOW) == 6000
    assert count(engine) == count(engine, ACTUALS) == 3
    assert count(engine, ERASURES) == 0
    assert forget_before(engine, NOW - 500, NOW) == 0


def test_a_half_labelled_window_is_not_a_bad_model(engine: Engine) -> None:
    made = rows(400)
    insert_predictions(engine, made)
    # Stayers are known first: of the labelled half nobody churned.
    truth = np.random.default_rng(2).random(400) < [row.score for row in made]
    stayers = [Actual(row.id, False) for row, churns in zip(made, truth, strict=True) if not churns]
    apply_actuals(engine, stayers, NOW + 30)
    half = cohort_of(read_joined(engine, NOW, NOW + 1), True, 0.8)
    assert half.withheld == "coverage"
    assert half.measures["recall"] != half.measures["recall"]
    apply_actuals(
        engine,
        [Actual(row.id, True) for row, churns in zip(made, truth, strict=True) if churns],
        NOW + 60,
    )
    whole = cohort_of(read_joined(engine, NOW, NOW + 1), True, 0.8)
    assert whole.withheld is None
    assert whole.coverage == 1.0
    assert whole.measures["auc"] > 0.75
    assert 30.0 <= whole.delay_seconds["p50"] <= 60.0
    assert cohort_of(read_joined(engine, NOW, NOW + 1), False, 0.8).withheld == "immature"
    empty = cohort_of(read_joined(engine, NOW + 1, NOW + 2), True, 0.8)
    assert (empty.predictions, empty.withheld) == (0, "few_labels")


def test_one_replica_of_two_holds_the_lease_and_the_other_takes_over(engine: Engine) -> None:
    def acquire(holder: str, now: float) -> bool:
        return lease.acquire(engine, "performance", holder, now, 30.0)

    assert acquire("a", NOW)
    assert not acquire("b", NOW + 1)
    assert acquire("a", NOW + 20)
    assert not acquire("b", NOW + 40)
    assert acquire("b", NOW + 51)
    assert not acquire("a", NOW + 52)
    lease.release(engine, "performance", "b")
    assert acquire("a", NOW + 53)
