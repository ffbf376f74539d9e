"""The tables of the feedback database."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Boolean, Column, Double, Index, MetaData, String, Table, Text

METADATA = MetaData()

# Times are unix seconds. There is no foreign key: an actual may arrive before its prediction, which
# is written later than it is answered, and waits for it.
PREDICTIONS = Table(
    "predictions",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("customer_id", String(128), nullable=False),
    Column("predicted_at", Double, nullable=False),
    Column("score", Double, nullable=False),
    Column("churn", Boolean, nullable=False),
    Column("model_version", String(64), nullable=False),
    Column("features", Text, nullable=False),
    Index("predictions_predicted_at", "predicted_at"),
    Index("predictions_customer_id", "customer_id"),
)
ACTUALS = Table(
    "actuals",
    METADATA,
    Column("prediction_id", String(32), primary_key=True),
    Column("churned", Boolean, nullable=False),
    Column("observed_at", Double),
    Column("received_at", Double, nullable=False),
    Index("actuals_received_at", "received_at"),
)
# Who was erased and when, as a hash: what a spool still holds of them must not come back.
ERASURES = Table(
    "erasures",
    METADATA,
    Column("customer_hash", String(64), primary_key=True),
    Column("erased_at", Double, nullable=False),
)
# Which replica exports what all of them could compute.
LEASES = Table(
    "leases",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("expires_at", Double, nullable=False),
)


class PredictionRow(NamedTuple):
    """One prediction, in the order of its columns; `features` is JSON text."""

    id: str
    customer_id: str
    predicted_at: float
    score: float
    churn: bool
    model_version: str
    features: str
