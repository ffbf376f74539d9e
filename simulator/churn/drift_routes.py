"""What the service says of its windows on demand, and hands out so that replicas add up."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from fastapi import FastAPI, Response

from simulator.churn.drift import describe
from simulator.churn.monitor import Monitor
from simulator.churn.served import Served

DRIFT_PATH = "/v1/drift"
STATE_PATH = "/v1/drift/state"


def add_drift_routes(app: FastAPI, served: Served) -> None:
    """Add GET `DRIFT_PATH` and `STATE_PATH`; 404 while nothing is watched."""

    @app.get(DRIFT_PATH, response_class=Response)
    async def drift() -> Response:
        """Compare both windows with the training data, with p-values."""
        monitor = served.active.monitor
        if monitor is None:
            return _not_watched()
        windows = {
            name: {
                "predictions": one.predictions,
                "data_drift_value": one.summary()[0] if one.features else None,
                "drifted_columns_count": one.drifted,
                "missing_value_count": one.missing,
                "columns": describe(one),
            }
            for name, one in monitor.drift().items()
        }
        return _answer(served, monitor, {"windows": windows})

    @app.get(STATE_PATH, response_class=Response)
    async def state() -> Response:
        """Return reference and counts, from which `simulator drift` makes one of many."""
        monitor = served.active.monitor
        if monitor is None:
            return _not_watched()
        content = {"state": monitor.state().to_json(), "columns": monitor.reference.to_json()}
        return _answer(served, monitor, content)


def _answer(served: Served, monitor: Monitor, content: Mapping[str, object]) -> Response:
    model = {
        "model_version": served.active.artefact.version,
        "reference": monitor.reference.id,
    }
    return Response(orjson.dumps({**model, **content}), media_type="application/json")


def _not_watched() -> Response:
    detail = orjson.dumps({"detail": "drift is not watched; serve without --no-monitoring"})
    return Response(detail, 404, media_type="application/json")
