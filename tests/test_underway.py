"""Incidents that go on when a signal is fitted anew: found as a plain loop does, and told on."""

from __future__ import annotations

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from synthetic import DAY, MONDAY, grid, labels, matrix, traffic

from detector.models import seasonal
from detector.names import State
from detector.pipeline import replay
from detector.schedule import Schedule
from detector.series import Signal
from detector.settings import KIND_POLICIES
from detector.underway import FAR, LEAST_SAMPLES, LONGEST, SHARE, under_way

SCHEDULE = Schedule(60, 300, 28 * DAY, DAY)
SIGNAL = Signal("rps", "traffic", (), KIND_POLICIES["traffic"])


def naive_run(z: list[float]) -> int:
    """Return how long the run of the last deviations is, most of them far to one side."""
    longest = 0
    for sign in (1, -1):
        for n in range(LEAST_SAMPLES, min(len(z), LONGEST // 300) + 1):
            run = [sign * v for v in z[-n:]]
            known = [v for v in run if v == v]
            far = [v for v in known if v > FAR]
            if run[0] > FAR and len(far) >= SHARE * len(known):
                longest = max(longest, n)
    return longest


@examples(60)
@given(
    st.lists(st.sampled_from([0.0, 6.0, 6.0, 6.0, -6.0, np.nan]), min_size=1, max_size=90),
    st.integers(0, 40),
)
def test_the_run_is_that_of_a_plain_loop(tail: list[float], more: int) -> None:
    times = grid(15, 300)
    base = seasonal.fit(matrix(times, {labels(job="a"): traffic(times)}))
    z = np.zeros(len(times))
    z[-len(tail) - more :] = [*tail, *[6.0] * more]
    scale, pivot = base.scale[0], base.growth[0]
    wide = np.clip(base.expected / pivot[1], 0.05, 20.0) ** pivot[0]
    history = matrix(times, {labels(job="a"): (base.expected + z * scale * wide)[0]})
    assert under_way(history, base).tolist() == [naive_run(z.tolist())]


@pytest.mark.parametrize("factor", [0.0, 0.4, 0.6, 2.0])
@pytest.mark.parametrize("hours", [1, 2, 4])
def test_a_new_fit_does_not_end_an_incident(factor: float, hours: int) -> None:
    """Fitted anew after some hours of it, an incident is told of for as long as it goes on."""
    due = SCHEDULE.boundary("rps", MONDAY + 30 * DAY)
    since, end = due - hours * 3600, due + 4 * 3600
    times = np.arange(MONDAY, end + 7200, 60)
    rows = {
        labels(job=str(i)): traffic(times, i)
        * np.where((times >= since) & (times < end), factor, 1.0)
        for i in range(4)
    }
    parts = list(replay(SIGNAL, SCHEDULE, matrix(times, rows), since - 3600, end + 7200))
    at = np.concatenate([part.times for part in parts])
    on = np.concatenate([part.state for part in parts], axis=1) == State.ANOMALOUS
    assert on[:, (at >= since + 600) & (at < end)].mean() > 0.99
    # Over as soon as any.
    assert not on[:, (at >= end + 600) & (at < end + 3600)].any()


def test_with_a_week_of_history_a_monday_is_no_incident() -> None:
    times = grid(8, 300)
    rows = {labels(job="a"): traffic(times) * np.where(times >= times[-1] - 7200, 3.0, 1.0)}
    history = matrix(times, rows)
    assert under_way(history, seasonal.fit(history)).tolist() == [0]


def test_a_daily_job_that_runs_at_the_boundary_is_no_incident() -> None:
    times = grid(21, 300)
    due = SCHEDULE.boundary("rps", MONDAY + 21 * DAY)
    phase = (times - due) % DAY
    values = traffic(times) * np.where(phase >= DAY - 2 * 3600, 3.0, 1.0)
    history = matrix(times, {labels(job="a"): values}).between(0, due)
    assert under_way(history, seasonal.fit(history)).tolist() == [0]
