"""The HTTP interface of the feedback loop: actuals in, performance out, customers erased."""

from __future__ import annotations

import logging
import time
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from simulator.churn.feedback.actuals import LARGEST_BODY_BYTES, BodyError
from simulator.churn.feedback.loop import Feedback
from simulator.churn.feedback.writer import first_line
from simulator.control import ControlRoute

log = logging.getLogger("simulator.feedback")

ACTUALS_PATH = "/v1/actuals"
_RETRY_AFTER_SECONDS = "5"


def feedback_router(feedback: Feedback) -> APIRouter:
    """Return the public routes: POST /v1/actuals and GET /v1/performance."""
    router = APIRouter()

    @router.post(
        ACTUALS_PATH, response_model=None, responses=_RESPONSES, openapi_extra=_request_schema()
    )
    async def actuals(request: Request) -> Response:
        """Take what became true of predictions: many rows, in any order, again if unsure."""
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=499)
        if body is None:
            return _error(413, "the body is longer than 16 MiB; send fewer actuals at once")
        try:
            # A thread: predictions do not wait for a large batch.
            return _json(await run_in_threadpool(feedback.take_actuals, body), 200)
        except BodyError as error:
            return _error(422, str(error))
        except SQLAlchemyError as error:
            return _database_error("actuals were not stored", error)

    @router.get("/v1/performance", response_model=None)
    async def performance() -> Response:
        """Say how good the predictions of the last windows were, by model version."""
        try:
            return _json(
                {"cohorts": await run_in_threadpool(feedback.performance, time.time())}, 200
            )
        except SQLAlchemyError as error:
            return _database_error("performance cannot be computed", error)

    return router


def erasure_route(feedback: Feedback) -> ControlRoute:
    """Return the route of the control port that erases a customer."""

    async def erase(request: Request) -> Response:
        customer = request.path_params["customer"]
        try:
            erased = await run_in_threadpool(feedback.erase, customer)
        except SQLAlchemyError as error:
            log.warning("a customer was not erased: %s", first_line(error))
            text = "nothing was erased: the feedback database does not answer; try again"
            return JSONResponse({"error": text}, status_code=503)
        return JSONResponse({"customer": customer, "predictions_erased": erased})

    return ControlRoute("/customers/{customer:path}", "DELETE", erase)


async def _body(request: Request) -> bytes | None:
    """Return the request's body, None when it is too long."""
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > LARGEST_BODY_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def _request_schema() -> dict[str, Any]:
    """Return the OpenAPI schema of a batch."""
    row = {
        "type": "object",
        "required": ["prediction_id", "churned"],
        "additionalProperties": False,
        "properties": {
            "prediction_id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            "churned": {"type": "boolean"},
            "observed_at": {"type": ["number", "null"], "description": "Unix seconds."},
        },
    }
    batch = {
        "type": "object",
        "required": ["actuals"],
        "properties": {"actuals": {"type": "array", "minItems": 1, "items": row}},
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": batch}}}}


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "How many rows were accepted, and what is wrong with the others."},
    413: {"description": "The body is too long."},
    422: {"description": "The body is no batch of actuals."},
    503: {"description": "The database does not answer; send the same batch again later."},
}


def _database_error(what: str, error: SQLAlchemyError) -> Response:
    log.warning("%s: %s", what, first_line(error))
    response = _error(503, f"{what}: the feedback database does not answer; send it again")
    response.headers["Retry-After"] = _RETRY_AFTER_SECONDS
    return response


def _error(status: int, message: str) -> Response:
    return _json({"detail": message}, status)


def _json(content: Any, status: int) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
