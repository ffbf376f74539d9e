"""The labels the simulator reports: late, shuffled, some twice, none lost to an outage."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulator.labels import NEVER_SHARE, Labels
from simulator.population import CHURN_SHARE, concept_drift, labelled_stream
from simulator.serving import background_server

COUNT = 3000


class Receiver:
    """Keeps the actuals it was sent; `failing` requests are refused first."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []
        self.failing = 0

    async def actuals(self, request: Request) -> Response:
        rows = json.loads(await request.body())["actuals"]
        if self.failing:
            self.failing -= 1
            return JSONResponse({}, status_code=503)
        self.rows += rows
        return JSONResponse({})


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    own = Receiver()
    app = Starlette(routes=[Route("/v1/actuals", own.actuals, methods=["POST"])])
    with background_server(app, "127.0.0.1", 0) as port:
        yield own, f"http://127.0.0.1:{port}"


def test_labels_arrive_late_and_survive_an_outage(receiver: tuple[Receiver, str]) -> None:
    own, url = receiver
    own.failing = 2
    registry = CollectorRegistry()
    labels = Labels(url, 0.5, registry, np.random.default_rng(1))
    for i in range(COUNT):
        answer = {"predictions": [{"prediction_id": f"{i:032x}"}]}
        labels.predicted(json.dumps(answer).encode(), i % 5 == 0)
    labels.predicted(b"{}", True)

    async def drive() -> None:
        stop = asyncio.Event()
        sending = asyncio.create_task(labels.send_until(stop))
        for _ in range(200):
            await asyncio.sleep(0.1)
            if len(own.rows) > COUNT * (1 - NEVER_SHARE) and not labels.waiting:
                break
        stop.set()
        await sending

    asyncio.run(drive())
    seen = Counter(str(row["prediction_id"]) for row in own.rows)
    assert len(seen) / COUNT == pytest.approx(1 - NEVER_SHARE, abs=0.02)
    assert 0.002 < (seen.total() - len(seen)) / COUNT < 0.03
    for row in own.rows:
        assert row["churned"] == (int(str(row["prediction_id"]), 16) % 5 == 0)
    due = [float(str(row["observed_at"])) for row in own.rows]
    assert due != sorted(due)
    name = "traffic_actuals_sent_total"
    assert registry.get_sample_value(name, {"outcome": "ok"}) == len(own.rows)
    assert (registry.get_sample_value(name, {"outcome": "error"}) or 0.0) > 0.0


def test_concept_drift_keeps_the_share_and_ends_the_relation() -> None:
    rng = np.random.default_rng(4)
    stream = labelled_stream(rng)
    truth = np.array([next(stream)[1] for _ in range(20_000)])
    assert truth.mean() == pytest.approx(CHURN_SHARE, abs=0.01)
    for size in (1.0, 0.5):
        turned = np.array([concept_drift(rng, bool(one), size) for one in truth])
        assert turned.mean() == pytest.approx(CHURN_SHARE, abs=0.01)
        relation = np.corrcoef(truth, turned)[0, 1]
        assert relation == pytest.approx(1.0 - size, abs=0.03)
