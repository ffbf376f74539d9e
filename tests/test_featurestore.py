"""The simulated feature store: its distribution, its faults, and many look-ups at once."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from simulator.churn import featurestore
from simulator.churn.featurestore import FeatureStore, LookUpError


def test_look_ups_that_wait_for_one_another_all_get_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(featurestore, "MEDIAN_SECONDS", 0.002)
    store = FeatureStore(np.random.default_rng(1), lambda fault: 0.0)

    async def all_at_once() -> list[BaseException | None]:
        # More than two refills of the draws, while the first ones still wait.
        return await asyncio.gather(*(store.look_up() for _ in range(3000)), return_exceptions=True)

    results = asyncio.run(all_at_once())
    failed = [r for r in results if r is not None]
    assert {type(r) for r in failed} <= {LookUpError}
    assert 1 <= len(failed) <= 30  # 0.4 % of 3000 is 12


def test_the_median_and_the_tail_are_as_stated() -> None:
    seconds = featurestore.draw_seconds(np.random.default_rng(2), 100_000, added_seconds=0.1)
    assert np.median(seconds) == pytest.approx(0.160, abs=0.001)
    assert np.quantile(seconds, 0.99) == pytest.approx(0.271, abs=0.005)


def test_the_errors_fault_adds_failures() -> None:
    assert featurestore.error_probability(0.06) == pytest.approx(0.064)
    assert featurestore.error_probability(5.0) == 1.0
