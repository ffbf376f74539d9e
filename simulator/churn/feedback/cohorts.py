"""Joins predictions with their actuals by the time they were made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, select

from simulator.churn.feedback.performance import measures, tally
from simulator.churn.feedback.tables import ACTUALS, PREDICTIONS

# Fewer labels measure chance.
SMALLEST_LABELLED = 30


@dataclass(frozen=True)
class Joined:
    """Predictions of a stretch of time, in no order.

    Parameters
    ----------
    scores : ndarray of float64, shape (N,)
    churned : ndarray of float64, shape (N,)
        1 or 0; NaN where no actual has arrived.
    delays : ndarray of float64, shape (N,)
        Seconds from prediction to the arrival of its actual; NaN likewise.
    versions : ndarray of str, shape (N,)
        The model that predicted.
    """

    scores: NDArray[np.float64]
    churned: NDArray[np.float64]
    delays: NDArray[np.float64]
    versions: NDArray[np.object_]


@dataclass(frozen=True)
class Cohort:
    """How a group of predictions turned out.

    Parameters
    ----------
    predictions, labelled : int
    delay_seconds : dict of str to float
        Median and ninth decile of the label delay.
    measures : dict of str to float
        Of those labelled, NaN where undefined.
    withheld : str or None
        Why the measures say nothing yet: ``immature``, ``coverage`` or ``few_labels``.
    """

    predictions: int
    labelled: int
    delay_seconds: dict[str, float]
    measures: dict[str, float]
    withheld: str | None

    @property
    def coverage(self) -> float:
        """Share of the predictions whose outcome is known, NaN without predictions."""
        return self.labelled / self.predictions if self.predictions else float("nan")


def read_joined(engine: Engine, start: float, end: float) -> Joined:
    """Return the predictions made in [start, end), unix seconds, with what became of them."""
    made = PREDICTIONS.c
    statement = (
        select(
            made.score,
            ACTUALS.c.churned,
            ACTUALS.c.received_at - made.predicted_at,
            made.model_version,
        )
        .select_from(PREDICTIONS.outerjoin(ACTUALS, ACTUALS.c.prediction_id == made.id))
        .where(made.predicted_at >= start, made.predicted_at < end)
    )
    with engine.connect() as connection:
        rows = connection.execute(statement).all()
    scores, churned, delays, versions = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Joined(
        np.array(scores, np.float64),
        np.array(churned, np.float64),
        np.array(delays, np.float64),
        np.array(versions, object),
    )


def cohort_of(joined: Joined, mature: bool, minimum_coverage: float) -> Cohort:
    """Return how the predictions turned out, and whether that can be believed.

    Who churned is known at another time than who stayed, so a window of which only a part is
    labelled shows a bad model where there is none.

    Parameters
    ----------
    joined : Joined
        The predictions.
    mature : bool
        Labels had the time they usually need.
    minimum_coverage : float
        Least share of the predictions that must be labelled.
    """
    known = ~np.isnan(joined.churned)
    total, labelled = len(known), int(known.sum())
    withheld = None
    if labelled < SMALLEST_LABELLED:
        withheld = "few_labels"
    elif labelled < minimum_coverage * total:
        withheld = "coverage"
    if not mature:
        withheld = "immature"
    found = measures(*tally(joined.scores[known], joined.churned[known] == 1.0))
    delays = np.quantile(joined.delays[known], [0.5, 0.9]) if labelled else [np.nan, np.nan]
    return Cohort(
        total,
        labelled,
        {"p50": float(delays[0]), "p90": float(delays[1])},
        {name: float(value) for name, value in found.items()},
        withheld,
    )


def part(joined: Joined, members: NDArray[np.bool_]) -> Joined:
    """Return some of the predictions."""
    return Joined(
        joined.scores[members],
        joined.churned[members],
        joined.delays[members],
        joined.versions[members],
    )
