"""The windows of the churn service: what stays in them, how replicas add up, data quality."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.errors import ConfigError
from simulator.churn import artefact, quality
from simulator.churn.binning import make_reference
from simulator.churn.monitor import Monitor, assess_state
from simulator.churn.quality import DUPLICATE, RANGE, SCHEMA, UNSEEN, Tally
from simulator.churn.reference import Reference
from simulator.churn.served import Served
from simulator.churn.train import train
from simulator.churn.window import (
    BUCKET_SECONDS,
    WINDOW_SECONDS,
    WINDOW_SIZE,
    Window,
    WindowState,
    merge,
)
from simulator.population import customer_stream, synthetic_customers

START = 1_790_000_000.0
STREAM = list(itertools.islice(customer_stream(np.random.default_rng(3)), 4000))
SCORES = np.random.default_rng(4).random(len(STREAM)).tolist()


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def reference() -> Reference:
    columns = synthetic_customers(np.random.default_rng(1), 3000)
    return make_reference(columns, np.random.default_rng(2).random(3000))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _same(one: WindowState, other: WindowState) -> None:
    np.testing.assert_array_equal(one.times, other.times)
    np.testing.assert_array_equal(one.slots, other.slots)
    np.testing.assert_array_equal(one.digests, other.digests)
    assert one.buckets.keys() == other.buckets.keys()
    for minute, counts in one.buckets.items():
        np.testing.assert_array_equal(counts, other.buckets[minute])


def test_three_replicas_together_are_one_process(reference: Reference, clock: Clock) -> None:
    whole, *parts = (Monitor(reference, Tally(), clock) for _ in range(4))
    rng = np.random.default_rng(5)
    for customer, score in zip(STREAM, SCORES, strict=True):
        clock.now += rng.exponential(0.7)
        whole.predicted([customer], [score])
        parts[rng.integers(3)].predicted([customer], [score])
    states = [part.state() for part in parts]
    sent = [WindowState.from_json(json.loads(json.dumps(state.to_json()))) for state in states]
    together = merge(sent)
    # Each replica drops minutes by its own newest prediction; the window by time ignores them.
    _same(_recent(together, clock.now), _recent(whole.state(), clock.now))
    assert len(together.times) == WINDOW_SIZE
    one, many = (
        assess_state(reference, whole.floors, state, clock.now)
        for state in (whole.state(), together)
    )
    for window in ("count", "time"):
        assert one[window].predictions == many[window].predictions
        assert [f.values for f in one[window].features] == [f.values for f in many[window].features]
    # In any order, and one after the other.
    a, b, c = states
    _same(merge([c, a, b]), merge([merge([a, b]), c]))


def _recent(state: WindowState, now: float) -> WindowState:
    first = int(now // BUCKET_SECONDS) - WINDOW_SECONDS // BUCKET_SECONDS + 1
    buckets = {minute: counts for minute, counts in state.buckets.items() if minute >= first}
    return WindowState(
        state.reference, state.width, state.times, state.slots, state.digests, buckets
    )


def test_replicas_of_different_models_do_not_add_up(reference: Reference) -> None:
    other = make_reference(synthetic_customers(np.random.default_rng(9), 3000))
    states = [Monitor(one, Tally()).state() for one in (reference, other)]
    with pytest.raises(ConfigError, match="wait until all serve the same model"):
        merge(states)


@pytest.mark.parametrize(
    "change",
    [
        {"times": [1.0, 2.0]},
        {"slots": [[99_999]]},
        {"width": "many"},
        {"buckets": {"1": [1, 2]}},
        {"digests": [-1]},
        {"buckets": None},
    ],
)
def test_what_is_no_window_is_refused(reference: Reference, change: dict[str, object]) -> None:
    monitor = Monitor(reference, Tally())
    monitor.predicted(STREAM[:1], SCORES[:1])
    stored = monitor.state().to_json() | change
    with pytest.raises(ConfigError, match="no window of the churn service"):
        WindowState.from_json(stored)
    with pytest.raises(ConfigError, match="no window"):
        WindowState.from_json([])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 2000)), min_size=1, max_size=8),
    st.integers(0, 1000),
)
def test_windows_equal_plain_lists(parts: list[tuple[int, int]], seed: int) -> None:
    """Batches of any length with pauses of any length: counts, minutes and repetitions."""
    rng = np.random.default_rng(seed)
    window = Window("r", width=5, columns=1)
    now, times, slots, digests = START, [], [], []
    for length, pause in parts:
        now += pause
        added = rng.integers(0, 5, (length, 1))
        names = rng.integers(0, 2000, length).astype(np.uint64)
        repeated = window.add(np.full(length, now), added, names)
        for name, said in zip(names.tolist(), repeated.tolist(), strict=True):
            assert said == (name in digests[-WINDOW_SIZE:])
            digests.append(name)
        times += [now] * length
        slots += added[:, 0].tolist()
    rows, counts = window.state().last()
    assert rows == min(len(slots), WINDOW_SIZE)
    assert counts.tolist() == np.bincount(slots[-WINDOW_SIZE:] or [0], minlength=5).tolist() or (
        not slots
    )
    first = (now // 60 - 59) * 60
    recent = [slot for slot, moment in zip(slots, times, strict=True) if moment >= first]
    rows, counts = window.state().recent(now)
    assert rows == len(recent)
    assert counts.tolist() == [recent.count(slot) for slot in range(5)]


def test_counting_late_changes_nothing(reference: Reference, clock: Clock) -> None:
    late, soon = (Monitor(reference, Tally(), clock) for _ in range(2))
    for customer, score in zip(STREAM[:700], SCORES, strict=False):
        clock.now += 1.0
        late.predicted([customer], [score])
        soon.predicted([customer], [score])
        soon.state()
    _same(late.state(), soon.state())
    assert late._tally == soon._tally


def test_what_is_kept_does_not_grow(reference: Reference, clock: Clock) -> None:
    """Four hours at constant rate, then a batch of ten thousand: the same few arrays."""
    monitor = Monitor(reference, Tally(), clock)
    for i in range(0, 8 * len(STREAM), 10):
        clock.now += 4.5
        at = i % len(STREAM)
        monitor.predicted(STREAM[at : at + 10], SCORES[at : at + 10])
        assert monitor._waiting_rows < 256
    monitor.predicted((STREAM * 3)[:10_000], (SCORES * 3)[:10_000])
    state = monitor.state()
    assert len(state.times) == len(state.slots) == len(state.digests) == WINDOW_SIZE
    assert len(state.buckets) == WINDOW_SECONDS // BUCKET_SECONDS
    assert monitor._tally.checked == 8 * len(STREAM) + 10_000


def test_the_window_by_time_empties(reference: Reference, clock: Clock) -> None:
    monitor = Monitor(reference, Tally(), clock)
    monitor.predicted(STREAM[:600], SCORES[:600])
    assert monitor.drift()["time"].predictions == 600
    clock.now += WINDOW_SECONDS - 2 * BUCKET_SECONDS
    assert monitor.drift()["time"].predictions == 600
    clock.now += 2 * BUCKET_SECONDS
    drift = monitor.drift()
    assert drift["time"].predictions == 0
    assert drift["time"].features == ()
    assert drift["count"].predictions == 600


def test_quality_is_counted_by_customer_and_check(reference: Reference) -> None:
    tally = Tally()
    monitor = Monitor(reference, tally)
    good = STREAM[0] | {"REGION": None, "TOP_PACK": None}
    odd = good | {"REGION": "MARS", "TENURE": "Z never"}
    huge = good | {"MONTANT": 1e14, "REVENUE": 1e14, "REGULARITY": 9e9}
    for batch in ([good], [odd, huge], [huge | {"REGION": "MARS"}, good]):
        monitor.predicted(batch, [0.5] * len(batch))
    tally.refused()
    monitor.state()
    assert tally.checked == 6
    # Both halves of a customer that is odd and huge; the good one came twice.
    assert tally.violations == {UNSEEN: 2, RANGE: 2, SCHEMA: 1, DUPLICATE: 1}
    assert monitor.state().duplicates() == 1


def test_digests_do_not_depend_on_the_process() -> None:
    assert quality.digests([{"user_id": "a", "MONTANT": 1.0, "REGION": None}]).tolist() == [
        7939879505327239998
    ]


def test_a_new_model_begins_with_its_own_reference_and_empty_windows(tmp_path: Path) -> None:
    train(out=tmp_path, data=None, rows=1000, seed=1, pushgateway=None)
    served = Served(lambda: artefact.load(tmp_path))
    before = served.active
    assert before.monitor is not None
    before.monitor.predicted(STREAM[:600], SCORES[:600])
    train(out=tmp_path, data=None, rows=1000, seed=2, pushgateway=None)
    line = asyncio.run(served.reload())
    assert "answers from now on" in line
    assert served.active.artefact.version != before.artefact.version
    assert served.active.monitor is not None
    assert served.active.monitor.drift()["count"].predictions == 0
    # What waited to be counted is in the totals.
    assert served.tally.checked == 600
    assert (served.references, served.loads) == (2, {"ok": 2, "refused": 0})
    (tmp_path / artefact.MODEL_FILE).write_bytes(b"damaged")
    now = served.active
    line = asyncio.run(served.reload())
    assert "goes on" in line
    assert "SHA-256 differs" in line
    assert "\n" not in line
    assert served.active is now
    assert not served.last_load_good
    assert (served.references, served.loads) == (2, {"ok": 2, "refused": 1})
    with pytest.raises(ConfigError):
        Served(lambda: artefact.load(tmp_path))
