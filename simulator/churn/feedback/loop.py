"""The feedback loop of one service process, put together."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Engine

from simulator.churn.feedback.actuals import read_actuals
from simulator.churn.feedback.cohorts import cohort_of, part, read_joined
from simulator.churn.feedback.database import open_database
from simulator.churn.feedback.metrics import FeedbackMetrics
from simulator.churn.feedback.records import apply_actuals, erase_customer
from simulator.churn.feedback.reporter import Reporter
from simulator.churn.feedback.settings import MINIMUM_COVERAGE, FeedbackSettings
from simulator.churn.feedback.spool import Spool
from simulator.churn.feedback.tables import PredictionRow
from simulator.churn.feedback.writer import Writer
from simulator.churn.schema import FEATURES, IDENTIFIER

COHORTS = 12
# A wrong batch would otherwise be answered with a hundred thousand errors.
_MOST_ERRORS = 20


class Feedback:
    """Keeps predictions, takes actuals and measures how good the predictions were.

    Parameters
    ----------
    settings : FeedbackSettings
        Database, directory and times.

    Raises
    ------
    ConfigError
        When the URL or the directory cannot be used; a database that is away is no error.
    """

    def __init__(self, settings: FeedbackSettings):
        self._settings = settings
        self._spool = Spool(settings.directory / "spool")
        self._engine: Engine = open_database(settings.database)
        self.writer = Writer(self._engine, self._spool)
        self.reporter = Reporter(self._engine, self.writer, settings)
        self.metrics = FeedbackMetrics(self.writer, self.reporter)

    def __enter__(self) -> Feedback:
        self.writer.start()
        self.reporter.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.reporter.stop()
        self.writer.stop()
        self._engine.dispose()

    def record(
        self,
        customers: Sequence[Mapping[str, Any]],
        scores: Sequence[float],
        churns: Sequence[bool],
        version: str,
    ) -> list[str]:
        """Hand predictions over to be stored and return their ids; takes microseconds."""
        now = time.time()
        ids = prediction_ids(now, len(scores))
        make = partial(_rows, ids, now, customers, scores, churns, version)
        self.writer.put(len(ids), make)
        return ids

    def take_actuals(self, body: bytes) -> dict[str, Any]:
        """Store a batch of actuals and return what became of its rows; it may wait for a database.

        Raises
        ------
        BodyError
            When the body is no batch.
        sqlalchemy.exc.SQLAlchemyError
            When the database fails; nothing or all may be stored, and sending again is safe.
        """
        now = time.time()
        good, bad = read_actuals(body, now)
        self.metrics.counted({"rejected": len(bad)})
        try:
            applied = apply_actuals(self._engine, good, now)
        except Exception:
            self.metrics.counted({"failed": len(good)})
            raise
        self.metrics.applied(applied)
        counts = {
            name: applied.outcomes[name]
            for name in ("accepted", "duplicate", "corrected", "contradicted", "unknown")
        }
        errors = [{"row": row, "msg": text} for row, text in list(bad.items())[:_MOST_ERRORS]]
        return {**counts, "rejected": len(bad), "errors": errors}

    def performance(self, now: float) -> list[dict[str, Any]]:
        """Return the newest cohorts by time of prediction and model, JSON-ready.

        Parameters
        ----------
        now : float
            Unix seconds.
        """
        width = self._settings.window_seconds
        last = now // width * width
        out = []
        for start in (last - width * i for i in range(COHORTS)):
            joined = read_joined(self._engine, start, start + width)
            mature = start + width <= now - self._settings.maturity_seconds
            for version in sorted(set(joined.versions)):
                own = cohort_of(part(joined, joined.versions == version), mature, MINIMUM_COVERAGE)
                out.append(
                    {
                        "start": start,
                        "end": start + width,
                        "model_version": version,
                        "predictions": own.predictions,
                        "labelled": own.labelled,
                        "coverage": own.coverage,
                        "label_delay_seconds": own.delay_seconds,
                        "withheld": own.withheld,
                        "measures": own.measures,
                    }
                )
        return out

    def erase(self, customer_id: str) -> int:
        """Delete what is stored of a customer and return how many predictions that were."""
        return erase_customer(self._engine, customer_id, time.time())


def prediction_ids(now: float, count: int) -> list[str]:
    """Return ids that sort by time to the millisecond and are otherwise random: 32 hex digits."""
    start = f"{int(now * 1000):012x}"
    digits = os.urandom(10 * count).hex()
    return [start + digits[i : i + 20] for i in range(0, 20 * count, 20)]


def _rows(
    ids: Sequence[str],
    now: float,
    customers: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
    churns: Sequence[bool],
    version: str,
) -> list[PredictionRow]:
    return [
        PredictionRow(
            identifier,
            customer[IDENTIFIER],
            now,
            score,
            churn,
            version,
            orjson.dumps({name: customer[name] for name in FEATURES}).decode(),
        )
        for identifier, customer, score, churn in zip(ids, customers, scores, churns, strict=True)
    ]
