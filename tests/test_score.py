"""From a baseline to scores: what they mean on traffic as it is met, and their states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic import DAY, MONDAY, column, episodes, grid, labels, matrix, traffic

from detector import score
from detector.absence import fill_zero
from detector.channels import SPIKE, SUSTAINED
from detector.episodes import CAPPED
from detector.models import seasonal
from detector.names import Mask, State
from detector.pipeline import Evaluation, replay
from detector.policy import Policy
from detector.schedule import Schedule
from detector.series import Scores, Signal
from detector.settings import KIND_POLICIES

A = labels(job="a")
MINUTES = Schedule(60, 300, 28 * DAY, DAY)
STEPS = Schedule(300, 300, 28 * DAY, DAY)
MONTH = grid(29.5, 60)


def replayed(
    times: np.ndarray,
    x: np.ndarray,
    kind: str = "traffic",
    policy: Policy | None = None,
    days: float = 1.5,
) -> list[Scores]:
    signal = Signal("s", kind, (), policy or KIND_POLICIES[kind])
    schedule = MINUTES if times[1] - times[0] == 60 else STEPS
    end = int(times[-1]) + schedule.step
    return list(replay(signal, schedule, matrix(times, {A: x}), end - round(days * DAY), end))


def during(found: list[tuple[int, int]], first: int, last: int) -> list[tuple[int, int]]:
    """Return the episodes that touch a span of time."""
    return [(began, ended) for began, ended in found if ended >= first and began <= last]


# A policy and the first state.


def test_limits_of_a_policy() -> None:
    given = Policy("up", 2.0, 0.1, lower=0.0, upper=1.0, trend=True)
    limits = score.limits_of(given)
    assert limits.signs.tolist() == [1, 0]
    assert limits.floors.tolist() == [2.0, 0.1]
    assert limits.limits.tolist() == [0.0, 1.0]
    assert limits.trend
    assert score.limits_of(Policy("down")).signs.tolist() == [0, 1]
    both = score.limits_of(Policy())
    assert both.signs.tolist() == [1, 1]
    assert both.limits.tolist() == [-np.inf, np.inf]
    assert not both.trend


@pytest.mark.parametrize("step", [20, 60, 300, 3600])
def test_patience_is_an_hour(step: int) -> None:
    assert score.patience(Policy(), step) * step == 3600
    assert score.patience(Policy(missing="zero"), step) * step == 3600
    assert score.patience(Policy(missing="ignore"), step) == 0


def test_the_fold_starts_with_the_level_of_the_last_day() -> None:
    times = grid(9, 300)
    x = 10.0 + np.random.default_rng(1).standard_normal(len(times))
    x[-288:] += 5.0
    past = matrix(times, {A: x})
    base = seasonal.fit(past)
    state = score.start(base, past)
    slots = times[-288:] // 300 % base.table.shape[1]
    assert np.median(base.table[0, slots]) + state.level[0, 0] == pytest.approx(15.0, abs=1.0)
    hours = np.median(x[-288:].reshape(24, 12), axis=1)
    np.testing.assert_allclose(state.raw[0], hours)
    assert state.level[0, 1] == pytest.approx(np.median(hours))
    assert not np.shares_memory(state.blocks, base.blocks)


def test_without_a_known_hour_of_the_last_day_the_last_level_stays() -> None:
    times = grid(9, 300)
    x = np.full(len(times), 10.0)
    x[-288:] = np.nan
    past = matrix(times, {A: x})
    base = seasonal.fit(past)
    state = score.start(base, past)
    assert base.table[0] + state.level[0, 0] == pytest.approx(10.0)


@pytest.mark.parametrize("length", [20, 30, 72])
def test_a_series_that_returns_after_a_gap_is_scored_at_once(length: int) -> None:
    """Hours of it, over a boundary: the level it had is the level it is expected to have."""
    times = grid(29, 300)
    boundary = STEPS.boundary("s", int(times[-1]))
    x = traffic(times, 2)
    back = boundary + 1800
    x[(times > back - length * 3600) & (times < back)] = np.nan
    parts = replayed(times, x, days=1.1)
    at, state = column(parts, "state", A)
    _, expected = column(parts, "expected", A)
    after = at >= back
    assert np.isin(state[after], (State.OK, State.ANOMALOUS)).all()
    clean = traffic(at, noise=0.0)
    # With a day gone, the level is that of two days ago, which was a Sunday.
    assert np.median(np.abs(expected[after] / clean[after] - 1)) < 0.2


def test_states_of_a_window() -> None:
    """Absent for longer than an hour is gone; a muted step is masked though it is seen."""
    times = grid(8, 300)
    past = matrix(times, {A: traffic(times)})
    base = seasonal.fit(past)
    normal, state = score.prepare(base, past, past, past.times, Policy())
    begin = int(times[-1]) + 300
    coming = begin + 300 * np.arange(20)
    x = traffic(coming, noise=0.0)
    x[2:16] = np.nan
    mask = np.zeros((1, 20), np.uint8)
    mask[0, 18] = Mask.MUTED
    mask[0, 19] = Mask.UNTAUGHT
    window = replace(matrix(coming, {A: x}), mask=mask)
    said = score.advance(base, normal, state, window, coming, begin, Policy())
    ok, none, gone = int(State.OK), int(State.NO_DATA), score.GONE
    assert said.state[0].tolist() == (
        [ok] * 2 + [none] * 12 + [gone] * 2 + [ok] * 2 + [int(State.MASKED), ok]
    )
    assert np.isnan(said.score[0, 2:16]).all()
    assert np.isnan(said.score[0, 18])
    assert state.silent.tolist() == [0]


def test_too_little_history_is_no_score_and_no_band() -> None:
    times = grid(0.9, 300)
    past = matrix(times, {A: traffic(times)})
    base = seasonal.fit(past)
    normal, state = score.prepare(base, past, past, past.times, Policy())
    coming = int(times[-1]) + 300 + 300 * np.arange(5)
    said = score.advance(
        base, normal, state, matrix(coming, {A: traffic(coming)}), coming, int(coming[0]), Policy()
    )
    assert (said.state == State.WARMING_UP).all()
    for array in (said.score, said.expected, said.lower, said.upper, said.evidence):
        assert np.isnan(array).all()
    np.testing.assert_array_equal(said.observed, [traffic(coming)])


# What it means on traffic as it is met.


@pytest.mark.parametrize(
    ("factor", "within_minutes"), [(0.0, 3), (0.5, 6), (2.0, 3)], ids=["to zero", "half", "double"]
)
@pytest.mark.parametrize(("day", "hour"), [(2, 4), (2, 12), (5, 12)], ids=["night", "noon", "Sat"])
def test_an_hour_of_change_is_found_and_ends(
    factor: float, within_minutes: int, day: int, hour: int
) -> None:
    """On a Wednesday night, a Wednesday noon and a Saturday noon."""
    times = grid(28 + day + hour / 24 + 0.25, 60)
    first = len(times) - 6 * 60
    x = traffic(times, 10 * day + hour)
    x[first : first + 60] *= factor
    found = episodes(replayed(times, x, days=0.3), A)
    ((began, ended),) = during(found, int(times[first]), int(times[first + 70]))
    assert 0 <= began - times[first] < within_minutes * 60
    assert -300 <= ended - times[first + 60] <= 600


def test_clean_weeks_have_hardly_an_episode() -> None:
    times = grid(42, 300)
    found = [episodes(replayed(times, traffic(times, 100 + s), days=14), A) for s in range(4)]
    assert sum(len(one) for one in found) <= 2


def test_a_surge_and_an_outage_three_hours_later_are_two_episodes() -> None:
    x = traffic(MONTH, 20)
    first = len(MONTH) - 1000
    x[first : first + 60] *= 2
    x[first + 240 : first + 300] = 0
    found = episodes(replayed(MONTH, x), A)
    surge, outage = during(found, int(MONTH[first]), int(MONTH[first + 310]))
    assert MONTH[first] <= surge[0] < surge[1] < MONTH[first + 90]
    assert MONTH[first + 240] <= outage[0] < outage[1] < MONTH[first + 330]


@pytest.mark.parametrize(("direction", "sign"), [("up", -1), ("down", 1)])
def test_the_other_direction_never_alerts(direction: str, sign: int) -> None:
    x = traffic(MONTH, 21)
    first = len(MONTH) - 600
    x[first : first + 60] *= 1 + 0.8 * sign
    policy = Policy(direction=direction)
    parts = replayed(MONTH, x, policy=policy)
    assert during(episodes(parts, A), int(MONTH[first]), int(MONTH[first + 120])) == []
    _, value = column(parts, "score", A)
    assert value[-600:-540].max() <= CAPPED
    _, free = column(parts, "lower" if direction == "up" else "upper", A)
    assert np.isnan(free).all()


@pytest.mark.parametrize("floors", [{"min_abs": 50.0}, {"min_rel": 1.5}])
def test_a_deviation_below_the_floor_never_alerts(floors: dict[str, float]) -> None:
    x = traffic(MONTH, 22)
    first = len(MONTH) - 600
    x[first : first + 60] *= 2
    assert episodes(replayed(MONTH, x, policy=Policy()), A) != []
    parts = replayed(MONTH, x, policy=Policy(**floors))
    assert episodes(parts, A) == []
    assert column(parts, "score", A)[1][-600:-540].max() == pytest.approx(CAPPED)


def test_bounds_respect_physical_limits() -> None:
    share = np.clip(0.02 + 0.02 * np.random.default_rng(6).standard_normal(len(MONTH)), 0, 1)
    parts = replayed(MONTH, share, policy=Policy(lower=0.0, upper=0.05))
    for name in ("lower", "upper", "expected"):
        _, bound = column(parts, name, A)
        assert bound.min() >= 0.0
        assert bound.max() <= 0.05


def test_evidence_says_what_it_was() -> None:
    """First one sample, then five."""
    x = traffic(MONTH, 23)
    x[-600:-540] = 0
    parts = replayed(MONTH, x)
    at, state = column(parts, "state", A)
    _, evidence = column(parts, "evidence", A)
    on = (state == State.ANOMALOUS) & (at >= MONTH[-600])
    np.testing.assert_allclose(evidence[on].sum(axis=1), 1.0)
    ratio = evidence[on, SPIKE] / evidence[on, SUSTAINED]
    assert ratio[0] > ratio[10]


@pytest.mark.parametrize("seed", [24, 25])
def test_a_lasting_change_becomes_the_new_normal_within_two_days(seed: int) -> None:
    times = grid(35, 300)
    x = traffic(times, seed)
    change = times[-1] - 4 * DAY
    x[times >= change] *= 1.6
    found = episodes(replayed(times, x, days=5), A)
    assert during(found, change, change + DAY) != []
    assert during(found, change + 2 * DAY, int(times[-1])) == []


def test_an_incident_of_some_hours_hardly_moves_the_level() -> None:
    x = traffic(MONTH, 25)
    hit = x.copy()
    hit[-900:-660] = 0
    (_, quiet), (_, after) = (column(replayed(MONTH, v), "expected", A) for v in (x, hit))
    np.testing.assert_allclose(after[-600:], quiet[-600:], rtol=0.1)


def test_the_first_errors_ever_are_scored_against_zeros() -> None:
    """No error series exists for 28 days, then one appears; the job was up all the time."""
    times = MONTH
    ratio = np.full(len(times), np.nan)
    ratio[-300:-240] = 0.06
    there = {(("instance", "i"), ("job", "a")): np.ones(len(times), np.int8)}
    filled = fill_zero(matrix(times, {A: ratio}), there)
    signal = Signal("e", "errors", (), KIND_POLICIES["errors"])
    end = int(times[-1]) + 60
    parts = list(replay(signal, MINUTES, filled, end - DAY, end))
    ((began, ended),) = episodes(parts, A)
    assert began == times[-300]
    assert ended <= times[-240] + 300
    # And live: the series is admitted when its first sample comes, with zeros as its past.
    boundary = MINUTES.boundary("e", int(times[-300]))
    nobody = matrix(times, {})
    live = Evaluation(signal, MINUTES, boundary, nobody.every(300))
    live.advance(nobody.between(live.next_time, boundary))
    live.admit((A,), filled.every(300))
    now = live.advance(filled.between(live.next_time, int(times[-300]) + 60))
    assert now.state[0, -1] == State.ANOMALOUS
    at, value = column(parts, "score", A)
    assert now.score[0, -1] == value[at == times[-300]][0]


def test_without_presence_the_first_errors_only_warm_up() -> None:
    ratio = np.full(len(MONTH), np.nan)
    ratio[-300:-240] = 0.06
    state = column(replayed(MONTH, ratio, kind="errors"), "state", A)[1]
    assert set(state) == {State.WARMING_UP, State.NO_DATA, score.GONE}


def test_a_missing_sample_is_neither_alert_nor_calm() -> None:
    x = traffic(MONTH, 26)
    x[-600:-540] = 0
    x[-570:-568] = np.nan
    _, state = column(replayed(MONTH, x), "state", A)
    assert (state[-570:-568] == State.NO_DATA).all()
    assert state[-571] == state[-567] == State.ANOMALOUS


def test_an_episode_goes_on_over_a_refit() -> None:
    boundary = MINUTES.boundary("s", int(MONTH[-1]))
    x = traffic(MONTH, 28)
    # Weak enough to be found only after some steps.
    x[np.abs(MONTH - boundary + 30) < 3600] *= 0.6
    found = episodes(replayed(MONTH, x, days=2), A)
    ((began, ended),) = during(found, boundary - 3600, boundary + 3600)
    assert began < boundary - 2400
    assert ended >= boundary + 3300


def test_what_is_over_does_not_come_back_with_a_refit() -> None:
    """The refit that follows an incident knows it as well, and that it has ended."""
    times = grid(29.5, 300)
    boundary = STEPS.boundary("s", int(times[-1]))
    x = traffic(times, 29)
    hit = (times >= boundary - 4 * 3600) & (times < boundary - 2 * 3600)
    x[hit] *= 2.5
    found = episodes(replayed(times, x, days=2), A)
    assert len(during(found, boundary - 4 * 3600, boundary + 4 * 3600)) == 1


@pytest.mark.parametrize("days", [1.0, 2.0, 4.0])
def test_a_young_series_is_scored_with_care(days: float) -> None:
    """A day is enough to begin; an outage is found, noise is not."""
    boundary = STEPS.boundary("s", MONDAY + round(days * DAY) + DAY)
    times = np.arange(boundary - round(days * DAY), boundary + DAY, 300)
    x = traffic(times, 30)
    signal = Signal("s", "traffic", (), KIND_POLICIES["traffic"])
    end = boundary + DAY

    def run(values: np.ndarray) -> list[tuple[int, int]]:
        parts = list(replay(signal, STEPS, matrix(times, {A: values}), boundary, end))
        assert np.isfinite(column(parts, "score", A)[1]).all()
        return episodes(parts, A)

    outage = x.copy()
    middle = len(times) - 100
    outage[middle : middle + 24] = 0.0
    # Of one day nobody knows what repeats.
    found_within = 24 if days < 2 else 3
    assert during(run(outage), int(times[middle]), int(times[middle + found_within])) != []
    weekend = np.array([(t // DAY - MONDAY // DAY) % 7 >= 5 for t in times[-288:]])
    if not weekend.any():
        assert len(run(x)) <= 1
