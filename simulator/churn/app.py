"""The HTTP interface of the churn-prediction service."""

from __future__ import annotations

import time
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from simulator.churn.drift_routes import add_drift_routes
from simulator.churn.featurestore import FeatureStore, LookUpError
from simulator.churn.feedback.api import feedback_router
from simulator.churn.feedback.loop import Feedback
from simulator.churn.metrics import PREDICT_PATH, ChurnMetrics
from simulator.churn.model import CHURN, STAY, THRESHOLD, scores
from simulator.churn.schema import Customer, Customers, Predictions, customers_of
from simulator.churn.served import Served
from simulator.faults import FaultBoard

# Ten thousand customers with long names are about 6 MB.
_LARGEST_BODY_BYTES = 16 * 1024 * 1024
# Nobody reads this answer; as in nginx's log, it tells the metrics that it was not our fault.
_CLIENT_CLOSED_REQUEST = 499
# A wrong batch would otherwise be answered with thousands of errors.
_MOST_ERRORS = 20


def create_app(
    served: Served, store: FeatureStore, board: FaultBoard, feedback: Feedback
) -> FastAPI:
    """Return the service for the model in use.

    Parameters
    ----------
    served : Served
        Model, drift reference and windows.
    store : FeatureStore
        Asked once a request.
    board : FaultBoard
        Faults of this process, for the metrics.
    feedback : Feedback
        Gets every prediction, and what became true.
    """
    metrics = ChurnMetrics(served, board)
    app = FastAPI(title="Churn prediction", version=served.active.artefact.version)

    @app.post(
        PREDICT_PATH, response_model=None, responses=_RESPONSES, openapi_extra=_request_schema()
    )
    async def predict(request: Request) -> Response:
        """Score one customer, or many under `customers`."""
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=_CLIENT_CLOSED_REQUEST)
        if body is None:
            return _error(413, "the body is longer than 16 MiB; send fewer customers at once")
        try:
            customers = customers_of(from_json(body))
        except ValidationError as error:
            served.tally.refused()
            return _json({"detail": _described(error)}, 422)
        except ValueError as error:
            served.tally.refused()
            return _json({"detail": [{"loc": ["body"], "msg": f"not JSON: {error}"}]}, 422)
        started = time.perf_counter()
        try:
            await store.look_up()
        except LookUpError as error:
            metrics.looked_up(time.perf_counter() - started, ok=False)
            return _error(503, str(error))
        metrics.looked_up(time.perf_counter() - started, ok=True)
        return _json(_predict(customers), 200)

    def _predict(customers: list[Customer]) -> dict[str, Any]:
        active = served.active
        artefact = active.artefact
        rows = [vars(customer) for customer in customers]
        chances = scores(artefact.model, rows).tolist()
        churns = [chance >= THRESHOLD for chance in chances]
        metrics.predicted(chances, sum(churns), len(churns) - sum(churns))
        if active.monitor is not None:
            active.monitor.predicted(rows, chances)
        ids = feedback.record(rows, chances, churns, artefact.version)
        return {
            "predictions": [
                {
                    "prediction_id": identifier,
                    "user_id": row["user_id"],
                    "score": chance,
                    "class": CHURN if churn else STAY,
                    "model_version": artefact.version,
                }
                for identifier, row, chance, churn in zip(ids, rows, chances, churns, strict=True)
            ]
        }

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        """Say that a model is loaded, and which; without one nothing listens here."""
        return {"status": "ready", "model_version": served.active.artefact.version}

    add_drift_routes(app, served)

    @app.get("/metrics", response_class=Response)
    async def exposition() -> Response:
        """Return the metrics for Prometheus."""
        return Response(
            metrics.render() + feedback.metrics.render(), media_type=CONTENT_TYPE_LATEST
        )

    app.include_router(feedback_router(feedback))
    app.add_middleware(_GoldenSignals, metrics=metrics)
    return app


class _GoldenSignals:
    """Counts and times every POST to the predict handler, whatever its status."""

    def __init__(self, app: ASGIApp, metrics: ChurnMetrics):
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PREDICT_PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        with self._metrics.request() as timer:

            async def noting(message: Message) -> None:
                if message["type"] == "http.response.start":
                    timer.status = message["status"]
                await send(message)

            await self._app(scope, receive, noting)


def _request_schema() -> dict[str, Any]:
    """Return the OpenAPI schema of the request body: one customer, or many."""
    one, many = Customer.model_json_schema(), Customers.model_json_schema()
    # OpenAPI resolves references from its own root, where these definitions are not.
    del many["$defs"]
    many["properties"]["customers"]["items"] = one
    content = {"application/json": {"schema": {"anyOf": [one, many]}}}
    return {"requestBody": {"required": True, "content": content}}


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": Predictions, "description": "One prediction a customer, in the order sent."},
    413: {"description": "The body is too long."},
    422: {"description": "A field is wrong; `detail` names it."},
    503: {"description": "The feature store did not answer; try again."},
}


async def _body(request: Request) -> bytes | None:
    """Return the request's body, None when it is too long."""
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > _LARGEST_BODY_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def _described(error: ValidationError) -> list[dict[str, Any]]:
    """Return the errors as FastAPI does: where (`loc` ends with the field) and what."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        {"loc": ["body", *entry["loc"]], "msg": entry["msg"], "type": entry["type"]}
        for entry in found[:_MOST_ERRORS]
    ]


def _error(status: int, message: str) -> Response:
    return _json({"detail": message}, status)


def _json(content: Any, status: int) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
