"""Reports what became of predicted customers to the churn service, late and out of order."""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from dataclasses import dataclass

import httpx
import numpy as np
import orjson
from prometheus_client import CollectorRegistry, Counter

log = logging.getLogger("simulator.labels")

OUTCOMES = ("ok", "error", "dropped")
ACTUALS_PATH = "/v1/actuals"
# Of the labels' life: nearly all arrive within three times the median; of who churned it is known
# later, because an absence has to last; some are reported twice, some never.
_SIGMA, _CHURN_FACTOR = 0.3, 1.3
_TWICE_SHARE = 0.01
NEVER_SHARE = 0.04
# A report is sent this many times within the median delay.
_REPORTS = 10.0
_SHORTEST_GAP_SECONDS, _LONGEST_GAP_SECONDS = 0.5, 60.0
_BATCH_ROWS = 5000
_MOST_WAITING = 1_000_000
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, order=True)
class Label:
    """What becomes of a customer, known at `due` (unix seconds)."""

    due: float
    prediction_id: str
    churned: bool


class Labels:
    """Holds what will become of customers until it is known, and then reports it.

    Parameters
    ----------
    target : str
        URL of the churn service.
    median_seconds : float
        Median delay from a prediction to its label.
    registry : CollectorRegistry
        Gets `traffic_actuals_sent_total{outcome}`.
    rng : numpy.random.Generator
        Draws delays.
    """

    def __init__(
        self,
        target: str,
        median_seconds: float,
        registry: CollectorRegistry,
        rng: np.random.Generator,
    ):
        self._url = target.rstrip("/") + ACTUALS_PATH
        self._median = median_seconds
        self._rng = rng
        self._waiting: list[Label] = []
        sent = Counter(
            "traffic_actuals_sent_total",
            "Actuals sent to the churn service, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        self._sent = {outcome: sent.labels(outcome) for outcome in OUTCOMES}

    @property
    def waiting(self) -> int:
        """Labels that are not known yet or could not be sent."""
        return len(self._waiting)

    def predicted(self, answer: bytes, churned: bool) -> None:
        """Take note of the service's answer for one customer, and of what becomes of them."""
        try:
            identifier = orjson.loads(answer)["predictions"][0]["prediction_id"]
        except (ValueError, KeyError, IndexError, TypeError):
            # A service that keeps no predictions.
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._sent["dropped"].inc()
            return
        chance = self._rng.random()
        if chance < NEVER_SHARE:
            return
        for _ in range(2 if chance > 1.0 - _TWICE_SHARE else 1):
            due = time.time() + self._delay(churned)
            heapq.heappush(self._waiting, Label(due, str(identifier), churned))

    async def send_until(self, stop: asyncio.Event) -> None:
        """Report what has become known until `stop` is set; the rest is given up then."""
        gap = float(np.clip(self._median / _REPORTS, _SHORTEST_GAP_SECONDS, _LONGEST_GAP_SECONDS))
        timeout = httpx.Timeout(_TIMEOUT_SECONDS)
        async with httpx.AsyncClient(timeout=timeout, trust_env=False) as client:
            while not stop.is_set():
                try:
                    await asyncio.wait_for(stop.wait(), gap)
                except TimeoutError:
                    await self._report(client)

    async def _report(self, client: httpx.AsyncClient) -> None:
        known: list[Label] = []
        now = time.time()
        while self._waiting and self._waiting[0].due <= now and len(known) < _BATCH_ROWS:
            known.append(heapq.heappop(self._waiting))
        if not known:
            return
        rows = [
            {"prediction_id": one.prediction_id, "churned": one.churned, "observed_at": one.due}
            for one in known
        ]
        self._rng.shuffle(rows)
        body = orjson.dumps({"actuals": rows})
        try:
            answer = await client.post(
                self._url, content=body, headers={"Content-Type": "application/json"}
            )
            answer.raise_for_status()
        except httpx.HTTPError as error:
            # Sending again is safe; the labels only get later.
            log.warning("%d actuals were not taken: %s", len(known), error or type(error).__name__)
            self._sent["error"].inc(len(known))
            for label in known:
                heapq.heappush(self._waiting, label)
        else:
            self._sent["ok"].inc(len(known))

    def _delay(self, churned: bool) -> float:
        median = self._median * (_CHURN_FACTOR if churned else 1.0)
        return float(median * np.exp(_SIGMA * self._rng.standard_normal()))
