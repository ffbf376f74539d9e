"""The customers the service takes: the columns of the Expresso churn challenge."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

IDENTIFIER = "user_id"
TARGET = "CHURN"
CATEGORIES = ("REGION", "TENURE", "MRG", "TOP_PACK")
# Order of the columns in the challenge's Train.csv.
COLUMNS = (
    IDENTIFIER,
    "REGION",
    "TENURE",
    "MONTANT",
    "FREQUENCE_RECH",
    "REVENUE",
    "ARPU_SEGMENT",
    "FREQUENCE",
    "DATA_VOLUME",
    "ON_NET",
    "ORANGE",
    "TIGO",
    "ZONE1",
    "ZONE2",
    "MRG",
    "REGULARITY",
    "TOP_PACK",
    "FREQ_TOP_PACK",
    TARGET,
)
FEATURES = COLUMNS[1:-1]
NUMBERS = tuple(name for name in FEATURES if name not in CATEGORIES)

LARGEST_BATCH = 10_000
LARGEST_TEXT = 128
# Amounts are far below; it keeps sums and squares finite.
LARGEST_NUMBER = 1e15

Text = Annotated[str, Field(min_length=1, max_length=LARGEST_TEXT)]
Amount = Annotated[float, Field(ge=0.0, le=LARGEST_NUMBER, allow_inf_nan=False)]


class Customer(BaseModel):
    """One customer: every column but CHURN; null where the challenge's data has empty cells.

    MONTANT, REVENUE and ARPU_SEGMENT are amounts of money, FREQUENCE_RECH, FREQUENCE and
    FREQ_TOP_PACK how often; DATA_VOLUME to ZONE2 are volumes of use, REGULARITY days active in 90.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    user_id: Text
    REGION: Text | None
    TENURE: Text
    MONTANT: Amount | None
    FREQUENCE_RECH: Amount | None
    REVENUE: Amount | None
    ARPU_SEGMENT: Amount | None
    FREQUENCE: Amount | None
    DATA_VOLUME: Amount | None
    ON_NET: Amount | None
    ORANGE: Amount | None
    TIGO: Amount | None
    ZONE1: Amount | None
    ZONE2: Amount | None
    MRG: Text
    REGULARITY: Amount
    TOP_PACK: Text | None
    FREQ_TOP_PACK: Amount | None


class Customers(BaseModel):
    """Many customers in one request."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    customers: Annotated[list[Customer], Field(min_length=1, max_length=LARGEST_BATCH)]


class Prediction(BaseModel):
    """The answer for one customer: probability of churn, class and the model that said so.

    `prediction_id` is what the actual is reported with.
    """

    prediction_id: str
    user_id: str
    score: float
    churn_class: Annotated[str, Field(serialization_alias="class")]
    model_version: str


class Predictions(BaseModel):
    """The answer for many customers, in the order of the request."""

    predictions: list[Prediction]


def customers_of(body: Any) -> list[Customer]:
    """Return the customers of a request body: one object, or many under ``customers``.

    Raises
    ------
    pydantic.ValidationError
        Its errors name the field.
    """
    if isinstance(body, dict) and "customers" in body:
        return Customers.model_validate(body).customers
    return [Customer.model_validate(body)]
