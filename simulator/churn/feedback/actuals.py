"""Reads the body of a batch of actuals: good rows, and what is wrong with the others."""

from __future__ import annotations

import math
import re
from typing import Any

import orjson

from simulator.churn.feedback.records import Actual

LARGEST_BATCH = 100_000
# A hundred thousand rows with times are about 11 MB.
LARGEST_BODY_BYTES = 16 * 1024 * 1024
# Clocks differ; further in the future nothing can have been observed.
_MOST_AHEAD_SECONDS = 300.0
_EXAMPLE = '{"actuals": [{"prediction_id": "...", "churned": true, "observed_at": 1767225600}]}'
_IDENTIFIER = re.compile(r"[0-9a-f]{32}")
_KEYS = {"prediction_id", "churned", "observed_at"}


class BodyError(ValueError):
    """The body as a whole is not a batch; the text says what to send."""


def read_actuals(body: bytes, now: float) -> tuple[list[Actual], dict[int, str]]:
    """Return the actuals of a batch.

    Parameters
    ----------
    body : bytes
        JSON.
    now : float
        Unix seconds.

    Returns
    -------
    list of Actual
        The good rows, in order.
    dict of int to str
        Number of each bad row, from 0, and what is wrong with it.

    Raises
    ------
    BodyError
        When there are no rows to look at, or too many.
    """
    try:
        content = orjson.loads(body)
    except ValueError as error:
        raise BodyError(f"not JSON: {error}") from error
    rows = content.get("actuals") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows or len(content) > 1:
        raise BodyError(f"send JSON such as {_EXAMPLE}")
    if len(rows) > LARGEST_BATCH:
        raise BodyError(f"{len(rows)} actuals are more than {LARGEST_BATCH}; send fewer at once")
    good: list[Actual] = []
    bad: dict[int, str] = {}
    for number, row in enumerate(rows):
        found = _actual(row, now)
        if isinstance(found, str):
            bad[number] = found
        else:
            good.append(found)
    return good, bad


def _actual(row: Any, now: float) -> Actual | str:
    if not isinstance(row, dict):
        return "an actual is an object"
    if unknown := row.keys() - _KEYS:
        return f"unknown field {min(unknown)[:40]}"
    identifier, churned = row.get("prediction_id"), row.get("churned")
    if not isinstance(identifier, str) or not _IDENTIFIER.fullmatch(identifier):
        return "prediction_id must be the 32 hexadecimal digits of the prediction"
    if not isinstance(churned, bool):
        return "churned must be true or false"
    observed = row.get("observed_at")
    if observed is None:
        return Actual(identifier, churned)
    if isinstance(observed, bool) or not isinstance(observed, (int, float)):
        return "observed_at must be unix seconds"
    if not (math.isfinite(observed) and 0.0 <= observed <= now + _MOST_AHEAD_SECONDS):
        return "observed_at must be unix seconds, not in the future"
    return Actual(identifier, churned, float(observed))
