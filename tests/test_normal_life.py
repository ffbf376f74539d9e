"""What goes on for good is told once or not at all, and what is over is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scenarios import (
    DAY,
    HOUR,
    MINUTE,
    SCHEDULE,
    WEEK,
    episodes,
    replayed,
    signal,
    stacked,
    traffic,
    usual_traffic,
)

HISTORY = 28 * DAY


def noise(times: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng([5, seed]).standard_normal(len(times))


def days(times: np.ndarray) -> np.ndarray:
    return (times - (WEEK - HISTORY)) / DAY


GROWTH: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "disk": lambda t: 0.4 + 0.005 * days(t) + 0.0002 * noise(t, 1),
    "free space": lambda t: 50 - days(t) + 0.01 * noise(t, 2),
    "uptime": lambda t: t - t[0] + 0.0,
    "customers": lambda t: np.floor(1e6 + 1000 * days(t) + 30 * noise(t, 3)),
    "compound interest": lambda t: 100 * 1.03 ** days(t) * (1 + 0.01 * noise(t, 4)),
    "traffic": lambda t: usual_traffic(t) * (1 + 0.02 * days(t)) * (1 + 0.02 * noise(t, 5)),
}


@pytest.mark.parametrize("kind", ["other", "traffic", "saturation"])
def test_what_grows_steadily_does_not_alert(kind: str) -> None:
    """A day's growth is many times the noise, and the refit is once a day."""
    times = np.arange(WEEK - HISTORY, WEEK + 7 * DAY, MINUTE)
    rows = np.array([made(times) for made in GROWTH.values()])
    said = replayed(stacked(times, rows), kind, WEEK, WEEK + 7 * DAY)
    found = {name: len(episodes(on)) for name, on in zip(GROWTH, said.on, strict=True)}
    assert sum(found.values()) <= 1, found


@pytest.mark.parametrize("weekend", [0.0, 0.3, 0.6])
def test_what_grows_less_at_weekends_does_not_alert(weekend: float) -> None:
    """A median of weeks changes where the weeks that it is taken of do; growth is no job there."""
    times = np.arange(WEEK - HISTORY, WEEK + 7 * DAY, MINUTE)
    pace = np.where((times - WEEK) // DAY % 7 >= 5, weekend, 1.0) * (
        1 + 0.5 * np.sin(2 * np.pi * days(times))
    )
    rng = np.random.default_rng(12)
    rows = np.array([np.cumsum(rng.poisson(50 * pace)) for _ in range(4)], float)
    said = replayed(stacked(times, rows), "other", WEEK, WEEK + 7 * DAY)
    assert sum(len(episodes(on)) for on in said.on) <= (1 if weekend else 4)


def test_a_staircase_is_no_slope() -> None:
    """A release a week that moves the level up or down says nothing of the next day."""
    times = np.arange(WEEK - HISTORY, WEEK + 7 * DAY, MINUTE)
    weeks = (times - WEEK) // (7 * DAY)
    rows = np.array(
        [100 * 1.1**weeks * (1 + 0.03 * noise(times, seed)) for seed in range(4)]
        + [100 * 0.9**weeks * (1 + 0.03 * noise(times, seed)) for seed in range(4)]
    )
    said = replayed(stacked(times, rows), "other", WEEK, WEEK + 7 * DAY)
    # The step itself is an hour's anomaly at most; the days after it are as expected.
    assert not said.on[:, said.times >= WEEK + 2 * DAY].any()


@pytest.mark.parametrize("factor", [1.6, 2.0, 3.0])
def test_a_lasting_rise_is_told_on_the_day_it_comes(factor: float) -> None:
    """With its noise, which was never seen as large before."""
    change, end = WEEK + 2 * DAY + 10 * HOUR, WEEK + 6 * DAY
    times = np.arange(WEEK - HISTORY, end, MINUTE)
    rows = np.array([0.2 * np.exp(0.08 * noise(times, seed)) for seed in range(6)])
    rows[:, times >= change] *= factor
    said = replayed(stacked(times, rows), "latency", WEEK, end)
    assert said.on[:, (said.times >= change) & (said.times < change + HOUR)].any(axis=1).all()
    # A sample of its larger noise is the rare exception, and over at once.
    later = said.on[:, said.times >= change + DAY]
    assert sum(len(episodes(on)) for on in later) <= 4
    assert later.mean() < 0.001


@pytest.mark.parametrize("factor", [3.0, 5.0])
def test_the_alert_of_a_trend_ends_within_two_hours_of_recovery(factor: float) -> None:
    begin = WEEK + 2 * DAY + 10 * HOUR
    end = begin + 14 * HOUR
    times = np.arange(WEEK - HISTORY, end + DAY, MINUTE)
    rows = np.array([0.05 * (1 + 0.12 * noise(times, seed)) for seed in range(6)])
    rows[:, (times >= begin) & (times < end)] *= factor
    said = replayed(stacked(times, rows), "drift", WEEK, end + DAY)
    assert said.on[:, (said.times >= end - HOUR) & (said.times < end)].all()
    assert not said.on[:, said.times >= end + 2 * HOUR].any()


@pytest.mark.parametrize("factor", [0.5, 1.5])
@pytest.mark.parametrize("before", [0.25, 1.5, 3.0])
def test_an_incident_goes_on_across_a_refit(before: float, factor: float) -> None:
    """Its begin may be out of sight of the new fit, which knows its first hours as well."""
    boundary = SCHEDULE.boundary(signal("traffic").name, WEEK + 3 * DAY)
    begin = boundary - round(before * HOUR)
    end = begin + 4 * HOUR
    times = np.arange(WEEK - HISTORY, end + DAY, MINUTE)
    rows = np.array([traffic(times, seed) for seed in range(10)])
    rows[:, (times >= begin) & (times < end)] *= factor
    said = replayed(stacked(times, rows), "traffic", begin - HOUR, end + HOUR)
    around = (said.times >= boundary - 5 * MINUTE) & (said.times < boundary + 5 * MINUTE)
    assert said.on[:, around].all(axis=1).sum() >= 8
    assert sum(len(episodes(on)) for on in said.on) <= 14


def wandering(times: np.ndarray, hours: float, seed: int) -> np.ndarray:
    """A line that wanders, and forgets where it was after so many hours."""
    rng = np.random.default_rng([7, seed])
    keeps = np.exp(-MINUTE / (hours * HOUR))
    moves = rng.standard_normal(len(times)) * np.sqrt(1 - keeps**2)
    line = np.empty(len(times))
    now = 0.0
    for t in range(len(times)):
        now = keeps * now + moves[t]
        line[t] = now
    return 100 + 10 * line + 0.5 * rng.standard_normal(len(times))


def test_a_line_that_wanders_is_held_to_one_level_at_a_time() -> None:
    """Between the level of the day and that of the week the expected value must not flip."""
    times = np.arange(WEEK - HISTORY, WEEK + 7 * DAY, MINUTE)
    rows = np.array([wandering(times, hours, s) for s, hours in enumerate((12, 24, 48, 96) * 2)])
    said = replayed(stacked(times, rows), "other", WEEK, WEEK + 7 * DAY)
    assert sum(len(episodes(on)) for on in said.on) <= 2
    flips = np.abs(np.diff(said.expected, axis=1)) > (said.upper - said.lower)[:, 1:] / 2
    # The same lines had 100 a week each while each sample was held to the nearer level.
    assert flips.sum(axis=1).mean() < 10


@pytest.mark.parametrize(("minutes", "told"), [(30, 0.15), (120, 0.05), (150, 0.05)])
def test_a_job_that_comes_each_week_is_expected(minutes: int, told: float) -> None:
    """An hour of the week has no say in what all slots are blended by."""
    times = np.arange(WEEK - HISTORY, WEEK + 7 * DAY, MINUTE)
    begin = 2 * DAY + 6 * HOUR
    job = (times - WEEK) % (7 * DAY)
    inside = (job >= begin) & (job < begin + minutes * MINUTE)
    rows = np.array([10 + noise(times, s) + 40 * inside for s in range(4)])
    said = replayed(stacked(times, rows), "other", WEEK, WEEK + 7 * DAY)
    now = inside[times >= WEEK]
    middle = now & ((times[times >= WEEK] - WEEK) == begin + minutes // 2 * MINUTE)
    np.testing.assert_allclose(said.expected[:, middle], 50, atol=4)
    # Its edges may be told; half of it was before.
    assert said.on[:, now].mean() <= told


@pytest.mark.parametrize("minutes", [60, 180])
def test_a_job_that_does_more_one_week_than_another_is_not_told_of(minutes: int) -> None:
    """Its noise is ten of the usual deviations of the rest of the week."""
    times = np.arange(WEEK - HISTORY, WEEK + 14 * DAY, MINUTE)
    begin = 2 * DAY + 6 * HOUR
    job = (times - WEEK) % (7 * DAY)
    inside = (job >= begin) & (job < begin + minutes * MINUTE)
    more = [np.random.default_rng([6, seed]).standard_normal(len(times)) for seed in range(6)]
    rows = np.array([10 + noise(times, s) + (40 + 10 * more[s]) * inside for s in range(6)])
    said = replayed(stacked(times, rows), "other", WEEK, WEEK + 14 * DAY)
    # Of twelve jobs; with the scale of quiet hours there were two to four alerts in each.
    assert sum(len(episodes(on)) for on in said.on) <= 6


def test_a_gap_over_a_weekend_is_no_news_on_monday() -> None:
    """The level before it is that of a Friday, to which no ratio of a Monday was learnt."""
    end = WEEK + 7 * DAY + 8 * HOUR
    times = np.arange(WEEK - 21 * DAY, end + DAY, MINUTE)
    rows = np.array([traffic(times, seed) for seed in range(6)])
    rows[:, (times >= end - 62 * HOUR) & (times < end)] = np.nan
    said = replayed(stacked(times, rows), "traffic", end - HOUR, end + DAY)
    assert not said.on.any()


def test_what_was_away_for_longer_than_it_was_there_comes_back_as_it_was() -> None:
    """The days that a profile remembers are those that had samples."""
    back = WEEK + DAY
    times = np.arange(WEEK - 21 * DAY, back + DAY, MINUTE)
    rows = np.array([traffic(times, seed) for seed in range(6)])
    rows[:, times < back - 14 * DAY] = np.nan
    rows[:, (times >= back - 11 * DAY) & (times < back)] = np.nan
    said = replayed(stacked(times, rows), "traffic", back, back + DAY)
    # Each was in alert for most of the day.
    assert said.on.mean() < 0.02


@pytest.mark.parametrize("absent", [True, False])
def test_an_episode_is_over_after_an_hour_without_samples(absent: bool) -> None:
    """Whether there are none, or each is NaN; what comes after is held to no step from before."""
    begin = WEEK + 2 * DAY + 14 * HOUR
    back = begin + HOUR // 2 + 3 * HOUR
    times = np.arange(WEEK - HISTORY, back + HOUR, 5 * MINUTE)
    rows = np.array([traffic(times, seed) for seed in range(6)])
    rows[:, (times >= begin) & (times < begin + HOUR // 2)] *= 0.1
    gap = (times >= begin + HOUR // 2) & (times < back)
    rows[:, gap] = np.nan
    samples = stacked(times, rows, 5 * MINUTE)
    if not absent:
        samples = replace(samples, absent=np.zeros(rows.shape, bool))
    said = replayed(samples, "traffic", begin, back + HOUR)
    assert said.on[:, (said.times >= begin) & (said.times < begin + HOUR // 2)].all()
    assert not said.on[:, said.times >= back].any()


@pytest.mark.parametrize("step", [1.0, -1.0])
def test_whole_numbers_that_move_once_a_day_are_no_news(step: float) -> None:
    times = np.arange(WEEK - HISTORY, WEEK + 7 * DAY, MINUTE)
    rows = np.array([200 + step * ((times + offset) // DAY) for offset in (0, 5 * HOUR)])
    said = replayed(stacked(times, rows - rows[:, :1] + 100), "other", WEEK, WEEK + 7 * DAY)
    assert not said.on.any()


def test_an_incident_along_a_floor_is_one_message() -> None:
    """A tenth is the floor of traffic; samples on both sides of it are one incident."""
    begin = WEEK + 2 * DAY + 10 * HOUR
    end = begin + 6 * HOUR
    times = np.arange(WEEK - HISTORY, end + HOUR, MINUTE)
    rows = np.array([usual_traffic(times) * (1 + 0.02 * noise(times, s)) for s in range(6)])
    rows[:, (times >= begin) & (times < end)] *= 0.9
    said = replayed(stacked(times, rows), "traffic", WEEK + 2 * DAY, end + HOUR)
    # While an episode ended at the floor itself these were some eight each.
    assert sum(len(episodes(on)) for on in said.on) <= 8
    assert said.on[:, (said.times >= begin + HOUR) & (said.times < end)].mean() > 0.9
