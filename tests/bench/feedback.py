"""What keeping predictions costs: microseconds a prediction, rows a second of the join.

    python tests/bench/feedback.py [--rows 100000] [--database postgresql://user@host/name]

Without a database both are tried: a new SQLite file and a PostgreSQL started for this.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from postgres import running_postgres

from simulator.churn.feedback.cohorts import cohort_of, read_joined
from simulator.churn.feedback.loop import Feedback, prediction_ids
from simulator.churn.feedback.records import Actual, apply_actuals
from simulator.churn.feedback.settings import FeedbackSettings, default_database
from simulator.population import customer_stream

_ROUNDS = 5
_BATCH = 1000


def main() -> None:
    """Measure one database, or both kinds, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--database")
    wanted = parser.parse_args()
    print(f"{'database':<12}{'us a prediction: request':>26}{'process CPU':>13}", end="")
    print(f"{'stored/s':>10}{'actuals/s':>11}{'joined rows/s':>15}{'measures ms':>13}")
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if wanted.database:
            found = {"given": wanted.database}
        else:
            server = stack.enter_context(running_postgres())
            found = {
                "sqlite": default_database(directory),
                "postgresql": server.new_database(),
            }
        for name, url in found.items():
            print(f"{name:<12}{_measured(url, directory / name, wanted.rows)}", flush=True)


def _measured(url: str, directory: Path, rows: int) -> str:
    customers = list(itertools.islice(customer_stream(np.random.default_rng(1)), _BATCH))
    scores = np.random.default_rng(2).random(_BATCH).tolist()
    churns = [score >= 0.5 for score in scores]
    with Feedback(FeedbackSettings(directory, url)) as loop:
        while not loop.writer.up:
            time.sleep(0.05)
        # One prediction a request, as the traffic sends them; the best of some rounds, because
        # the machine does other things too.
        request = min(_one_by_one(loop, customers, scores, churns) for _ in range(_ROUNDS))
        _drain(loop)
        before, began = time.process_time(), time.perf_counter()
        start = time.time()
        for _ in range(rows // _BATCH):
            loop.record(customers, scores, churns, "v1")
            while loop.writer.waiting > 5 * _BATCH:
                time.sleep(0.001)
        _drain(loop)
        cpu, stored = time.process_time() - before, rows / (time.perf_counter() - began)
        end = time.time()
        engine = loop._engine
        ids = _stored_ids(engine, start, end)
        began = time.perf_counter()
        applied = apply_actuals(engine, [Actual(one, i % 5 == 0) for i, one in enumerate(ids)], end)
        actuals = len(ids) / (time.perf_counter() - began)
        assert applied.outcomes["accepted"] == rows
        best, measuring = 0.0, 0.0
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            joined = read_joined(engine, start, end)
            read = time.perf_counter()
            cohort = cohort_of(joined, True, 0.8)
            if rows / (read - began) > best:
                best, measuring = rows / (read - began), time.perf_counter() - read
        assert cohort.labelled == rows
        assert not loop.writer.lost
    return (
        f"{1e6 * request:>26.1f}{1e6 * cpu / rows:>13.1f}{stored:>10,.0f}{actuals:>11,.0f}"
        f"{best:>15,.0f}{1e3 * measuring:>13.1f}"
    )


def _one_by_one(
    loop: Feedback, customers: list[dict[str, object]], scores: list[float], churns: list[bool]
) -> float:
    """Return the seconds that one call of `record` takes the request."""
    began = time.perf_counter()
    for i in range(_BATCH):
        loop.record(customers[i : i + 1], scores[i : i + 1], churns[i : i + 1], "v1")
    seconds = time.perf_counter() - began
    _drain(loop)
    return seconds / _BATCH


def _drain(loop: Feedback) -> None:
    while loop.writer.waiting:
        time.sleep(0.01)


def _stored_ids(engine: object, start: float, end: float) -> list[str]:
    from sqlalchemy import select

    from simulator.churn.feedback.tables import PREDICTIONS

    low, high = (prediction_ids(moment, 1)[0][:12] for moment in (start, end + 0.001))
    made = PREDICTIONS.c.id
    with engine.connect() as connection:  # type: ignore[attr-defined]
        found = connection.execute(select(made).where(made >= low, made < high)).scalars()
        return list(found)


if __name__ == "__main__":
    main()
