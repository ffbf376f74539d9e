"""What is promised of the default detector on seasonal traffic and on slow drifts.

The whole table, beside two peers, is printed by tests/bench/behaviour.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scenarios import (
    DAY,
    DAYS,
    HOUR,
    MINUTE,
    WEEK,
    Case,
    Incident,
    at,
    drift,
    episodes,
    judge,
    memory,
    replayed,
    stacked,
    traffic_matrix,
    usual_traffic,
)

HISTORIES = [15, 28]


def _missed(
    day: str, history: int, factor: float, hours: range, minutes: int = 60, seed: int = 0
) -> list[int]:
    """Return the hours of a day at which an incident raises no alert."""
    cases = [
        Case(at(day, h) - history * DAY, (Incident(at(day, h), minutes * 60, factor),), seed + h)
        for h in hours
    ]
    samples = traffic_matrix(cases, at(day, 24) + HOUR)
    said = replayed(samples, "traffic", at(day, 0), at(day, 24) + HOUR)
    return [
        hour
        for hour, on, case in zip(hours, said.on, cases, strict=True)
        if judge(said.times, on, case.incidents[0]).delay is None
    ]


@pytest.mark.parametrize("factor", [0.5, 1.5])
@pytest.mark.parametrize("day", ["Wed", "Sat", "Sun"])
@pytest.mark.parametrize("history", HISTORIES)
def test_half_as_much_more_or_less_for_an_hour_alerts(
    history: int, day: str, factor: float
) -> None:
    assert _missed(day, history, factor, range(0, 24, 2)) == []


@pytest.mark.parametrize("day", ["Wed", "Sun"])
@pytest.mark.parametrize("history", [8, *HISTORIES])
def test_an_outage_alerts_at_every_hour(history: int, day: str) -> None:
    assert _missed(day, history, 0.0, range(24), minutes=15) == []


@pytest.mark.parametrize("seed", [0, 100])
@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize("history", [2, 3, 5])
def test_an_outage_alerts_at_every_hour_of_the_first_week(
    history: int, day: str, seed: int
) -> None:
    """The band of a young series is wide, but zero is far from all it has ever been."""
    assert _missed(day, history, 0.0, range(24), minutes=15, seed=seed) == []


@pytest.mark.parametrize("day", ["Wed", "Sun"])
@pytest.mark.parametrize("history", HISTORIES)
def test_a_surge_and_an_outage_three_hours_later_are_two_episodes(history: int, day: str) -> None:
    cases = []
    for hour in range(0, 19, 3):
        surge = Incident(at(day, hour), HOUR, 3.0)
        outage = Incident(surge.end + 3 * HOUR, HOUR, 0.0)
        cases.append(Case(surge.begin - history * DAY, (surge, outage), seed=100 + hour))
    end = at(day, 24) + HOUR
    said = replayed(traffic_matrix(cases, end), "traffic", at(day, 0), end)
    for on, case in zip(said.on, cases, strict=True):
        surge, outage = case.incidents
        first = np.searchsorted(said.times, surge.begin)
        found = episodes(on[first:])
        assert len(found) == 2
        begins = [int(said.times[first + a]) for a, _ in found]
        assert surge.begin <= begins[0] < surge.end
        assert outage.begin <= begins[1] < outage.end


@pytest.mark.parametrize("factor", [0.0, 0.3, 2.0, 6.0])
@pytest.mark.parametrize("day", ["Wed", "Sun"])
@pytest.mark.parametrize("history", HISTORIES)
def test_the_state_leaves_within_six_steps_of_recovery(
    history: int, day: str, factor: float
) -> None:
    cases = [
        Case(at(day, hour) - history * DAY, (Incident(at(day, hour), 60 * minutes, factor),), hour)
        for minutes in (5, 15, 60, 240)
        for hour in (4, 9, 15)
    ]
    end = at(day, 22)
    said = replayed(traffic_matrix(cases, end), "traffic", at(day, 3), end)
    left = [
        judge(said.times, on, case.incidents[0]).left
        for on, case in zip(said.on, cases, strict=True)
    ]
    assert max(left) <= 6, left


@pytest.mark.parametrize("history", HISTORIES)
def test_a_drift_over_six_days_is_open_from_day_four_to_the_end(history: int) -> None:
    end = WEEK + 6 * DAY
    times = np.arange(WEEK - history * DAY, end, MINUTE)
    rows = np.array([drift(times, seed, (WEEK, 6 * DAY)) for seed in range(4)])
    said = replayed(stacked(times, rows), "drift", WEEK, end)
    fourth = np.searchsorted(said.times, WEEK + 4 * DAY)
    for on in said.on:
        # One episode from then on; noise may have told of it before.
        assert on[fourth:].all()
        assert len(episodes(on)) <= 3


@pytest.mark.parametrize("history", HISTORIES)
def test_a_leak_over_five_days_is_open_from_half_way_to_the_end(history: int) -> None:
    end = WEEK + 5 * DAY
    times = np.arange(WEEK - history * DAY, end, MINUTE)
    rows = np.array([memory(times, seed, (WEEK, 5 * DAY)) for seed in range(4)])
    said = replayed(stacked(times, rows), "saturation", WEEK, end)
    half = np.searchsorted(said.times, WEEK + 5 * DAY // 2)
    for on in said.on:
        assert on[half]
        assert on[-1]


@pytest.mark.parametrize(("kind", "made"), [("drift", drift), ("saturation", memory)])
def test_quiet_series_alert_at_most_once_in_ten_weeks(
    kind: str, made: Callable[..., np.ndarray]
) -> None:
    series, weeks = 10, 2
    end = WEEK + weeks * 7 * DAY
    times = np.arange(WEEK - 15 * DAY, end, MINUTE)
    rows = np.array([made(times, 1000 + seed) for seed in range(series)])
    said = replayed(stacked(times, rows), kind, WEEK, end)
    assert sum(len(episodes(on)) for on in said.on) <= 0.1 * series * weeks


def events(times: np.ndarray, per_day: float, seed: int) -> np.ndarray:
    """Counts of what comes by chance, more by day than by night."""
    season = 1 + 0.6 * np.sin(2 * np.pi * times / DAY)
    rng = np.random.default_rng(seed)
    return rng.poisson(per_day * MINUTE / DAY * season).astype(float)


@pytest.mark.parametrize("per_day", [1, 4, 15, 40, 150, 400, 1500])
def test_rare_events_alert_at_most_once_in_ten_weeks(per_day: float) -> None:
    """An error now and then is no news, however rare each is."""
    series, weeks = 10, 1
    end = WEEK + weeks * 7 * DAY
    times = np.arange(WEEK - 15 * DAY, end, MINUTE)
    rows = np.array([events(times, per_day, seed) for seed in range(series)])
    said = replayed(stacked(times, rows), "errors", WEEK, end)
    assert sum(len(episodes(on)) for on in said.on) <= 0.1 * series * weeks


@pytest.mark.parametrize("per_day", [1, 4, 15])
@pytest.mark.parametrize("incident", ["one of seven", "a third of the minutes", "each minute"])
def test_more_events_than_usual_alert(incident: str, per_day: float) -> None:
    series, begin, minutes = 10, WEEK + 12 * HOUR, 30
    times = np.arange(WEEK - 15 * DAY, begin + 2 * HOUR, MINUTE)
    first = int(np.searchsorted(times, begin))
    rows = np.array([events(times, per_day, seed) for seed in range(series)])
    if incident == "one of seven":
        rows[:, first] += 7
    else:
        every = 3 if incident == "a third of the minutes" else 1
        rows[:, first : first + minutes : every] += every
    said = replayed(stacked(times, rows), "errors", WEEK, begin + 2 * HOUR)
    delays = [judge(said.times, on, Incident(begin, minutes * 60, 1)).delay for on in said.on]
    # Of one event a minute, for no longer than half an hour, one in ten may be missed.
    late = [delay for delay in delays if delay is None or delay > 20]
    assert len(late) <= (1 if incident == "each minute" else 0)


def test_a_setting_that_changes_is_told_once() -> None:
    """Nor does it alert later, where the profile still holds what was before."""
    change, end = WEEK + 3 * DAY, WEEK + 12 * DAY
    times = np.arange(WEEK - 15 * DAY, end, MINUTE)
    said = replayed(stacked(times, np.where(times < change, 5.0, 6.0)[None, :]), "other", WEEK, end)
    ((first, last),) = episodes(said.on[0])
    assert said.times[first] == change
    assert said.times[last] < change + DAY


@pytest.mark.parametrize("late", [0, 2])
@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_a_nightly_job_that_does_not_start_is_told_of(late: int, noise: float) -> None:
    """Half an hour each night, to the minute or two early or late, which is no news itself."""
    series, missed, end = 10, WEEK + 3 * DAY, WEEK + 7 * DAY
    times = np.arange(WEEK - 28 * DAY, end, MINUTE)
    rows = np.array([nightly(times, late, noise, seed) for seed in range(series)])
    without = np.array([nightly(times, late, noise, seed, missed) for seed in range(series)])
    said = replayed(stacked(times, np.vstack([rows, without])), "other", WEEK, end)
    assert sum(len(episodes(on)) for on in said.on[:series]) <= 0.5 * series
    of_job = (said.times >= missed + 2 * 3600) & (said.times < missed + 2 * 3600 + 20 * MINUTE)
    assert said.on[series:, of_job].any(axis=1).all()


def nightly(
    times: np.ndarray, late: int, noise: float, seed: int, missed: int | None = None
) -> np.ndarray:
    """Usage of a job that runs from two to half past two, for so many minutes more or less."""
    rng = np.random.default_rng(seed)
    x = np.full(len(times), 5.0)
    for midnight in np.unique(times // DAY) * DAY:
        begin = midnight + 2 * 3600 + MINUTE * rng.integers(-late, late + 1)
        runs = (times >= begin) & (times < begin + MINUTE * (30 + rng.integers(-late, late + 1)))
        x[runs] = 5.0 if midnight == missed else 90.0
    return x * (1 + noise * rng.standard_normal(len(times)))


@pytest.mark.parametrize("kind", ["traffic", "latency"])
def test_a_climb_over_a_day_is_told_once(kind: str) -> None:
    """By half, a tenth of a usual deviation more each quarter of an hour."""
    begin, end = at("Wed", 0), at("Wed", 0) + 3 * DAY
    times = np.arange(WEEK - 28 * DAY, end, MINUTE)
    noise = [np.random.default_rng([17, seed]).standard_normal(len(times)) for seed in range(12)]
    climb = 1.0 + 0.5 * np.clip((times - begin) / DAY, 0.0, 1.0)
    rows = np.array([usual_traffic(times) * climb * (1.0 + 0.05 * line) for line in noise])
    said = replayed(stacked(times, rows), kind, begin, end)
    assert all(on.any() for on in said.on)
    assert sum(len(episodes(on)) for on in said.on) <= len(rows) + 4


@pytest.mark.parametrize("usual_deviations", [2.5, -2.5])
def test_a_shift_inside_the_noise_is_told_within_hours(usual_deviations: float) -> None:
    """No sample of it is rare, but hours of them are; it is told once, and over when they are."""
    times = np.arange(at("Wed", 0) - 15 * DAY, at("Wed", 24), MINUTE)
    shift = Incident(at("Wed", 9), 6 * HOUR, 1.0)
    inside = (times >= shift.begin) & (times < shift.end)
    noise = [np.random.default_rng([13, seed]).standard_normal(len(times)) for seed in range(8)]
    season = 100 + 40 * np.sin(2 * np.pi * times / DAY)
    rows = np.array([season + 4 * (line + usual_deviations * inside) for line in noise])
    said = replayed(stacked(times, rows), "other", at("Wed", 0), at("Wed", 24))
    verdicts = [judge(said.times, on, shift) for on in said.on]
    delays = [v.delay for v in verdicts if v.delay is not None]
    assert len(delays) == len(rows)
    assert np.median(delays) <= 90
    # What follows a shift inside the noise may look like it for a minute or two.
    assert np.median([v.left for v in verdicts]) <= 5
    assert max(v.left for v in verdicts) <= 8
    assert sum(len(episodes(on)) for on in said.on) <= len(rows) + 1
    assert not said.on[:, said.times < shift.begin].any()
