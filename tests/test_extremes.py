"""What lies far beyond all of the past."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from evaluations import Line, states
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from synthetic import grid, traffic

from detector import channels, extremes
from detector.channels import ORDER, SPIKE, SPREAD, SPREAD_STEPS
from detector.names import State
from detector.policy import Policy
from detector.score import limits_of


def reach_of(x: np.ndarray, sensitivity: float = 1.0, day: int = 4) -> np.ndarray:
    reach = np.empty((2, 2))
    extremes.fit_reach(x, day, sensitivity, reach)
    return reach


def edges_of(
    reach: np.ndarray, centre: float, step: float = 0.0, policy: Policy | None = None
) -> np.ndarray:
    edge = np.empty((2, 2))
    extremes.edges(centre, step, reach, limits_of(policy or Policy()), edge)
    return edge


def test_one_day_in_twenty_does_not_set_the_mark() -> None:
    calm = np.tile([40.0, 60.0, 100.0, 80.0], 20)
    hurt = calm.copy()
    hurt[22], hurt[41] = 900.0, 0.0
    np.testing.assert_allclose(reach_of(hurt), [[100.0, 30.0], [40.0, 0.5]])
    np.testing.assert_array_equal(reach_of(hurt), reach_of(calm))


@pytest.mark.parametrize(
    ("x", "step", "known"),
    [
        (np.full(8, np.nan), 0.0, (False, False)),
        (np.empty(0), 0.0, (False, False)),
        (np.array([7.0]), 0.0, (False, True)),
        (np.array([0.0, 5.0, 9.0, 5.0] * 4), 0.0, (True, False)),
        (np.array([-3.0, 5.0, 9.0, 5.0] * 4), 0.0, (True, False)),
        (np.array([4.0, 5.0, 9.0, 5.0] * 4), 2.2, (True, False)),
        (np.array([4.0, 5.0, 9.0, 5.0] * 4), 2.6, (False, False)),
    ],
    ids=["nothing", "empty", "constant", "from zero", "negative", "noisy below", "noisy"],
)
def test_nothing_is_far_where_it_has_been_or_steps_lead(
    x: np.ndarray, step: float, known: tuple[bool, bool]
) -> None:
    edge = edges_of(reach_of(x), 6.0, step)
    assert tuple(np.isfinite(edge[:, 0])) == known
    if not any(known):
        assert extremes.beyond(0.0, edge) == extremes.beyond(1e9, edge) == 0.0


@examples(40)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 40),
    holes=st.sampled_from([0.0, 0.5, 1.0]),
    size=st.sampled_from([1e-300, 1.0, 1e300]),
)
def test_marks_are_quantiles_of_daily_extremes(
    seed: int, count: int, holes: float, size: float
) -> None:
    rng = np.random.default_rng(seed)
    x = size * rng.exponential(1, count)
    x[rng.random(count) < holes] = np.nan
    days = [x[max(len(x) - 4 * (d + 1), 0) : len(x) - 4 * d] for d in range(-(-len(x) // 4))]
    known = [day[np.isfinite(day)] for day in days if np.isfinite(day).any()]
    expected = np.full((2, 2), np.nan)
    if known:
        high = np.quantile([day.max() for day in known], 0.9)
        low = np.quantile([day.min() for day in known], 1 - 0.9)
        expected = np.array([[high, 0.5 * (high - low)], [low, 0.5]])
    np.testing.assert_allclose(reach_of(x), expected, rtol=1e-9)


def test_beyond_is_one_where_the_distance_is_used_up() -> None:
    reach = np.array([[100.0, 30.0], [40.0, 0.5]])
    edge = edges_of(reach, 70.0)
    said = [extremes.beyond(x, edge) for x in (70, 40, 30, 20, 10, -90, 100, 130, 1e9)]
    assert said == [0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 0.0, 1.0, 2.0]


def test_where_more_or_less_is_expected_counting_begins_there() -> None:
    reach = np.array([[100.0, 30.0], [40.0, 0.5]])
    low, high = edges_of(reach, 10.0), edges_of(reach, 150.0)
    assert [extremes.beyond(x, low) for x in (10, 5, 0)] == [0.0, 1.0, 2.0]
    # Twice as far again as the expected value is beyond the mark: its noise is not known there.
    assert [extremes.beyond(x, high) for x in (150, 215, 280)] == [0.0, 0.5, 1.0]


def test_only_the_direction_that_counts() -> None:
    reach = np.array([[100.0, 30.0], [40.0, 0.5]])
    up, down = (edges_of(reach, 70.0, 0.0, Policy(direction=way)) for way in ("up", "down"))
    assert extremes.beyond(0.0, up) == extremes.beyond(1e9, down) == 0.0
    assert extremes.beyond(130.0, up) == extremes.beyond(20.0, down) == 1.0


@pytest.mark.parametrize("sensitivity", [0.25, 0.5, 2.0])
def test_sensitivity_moves_what_is_far(sensitivity: float) -> None:
    x = np.tile([40.0, 60.0, 100.0, 80.0], 20)
    edge = edges_of(reach_of(x, sensitivity), 70.0)
    assert edge[:, 0].tolist() == [100.0 + 30.0 / sensitivity, 40.0 - 20.0 / sensitivity]


@pytest.mark.parametrize(
    ("x", "patience", "run"),
    [
        ([], np.inf, 0),
        ([np.nan] * 9, np.inf, 0),
        ([1.0, 2.0, 3.0, 4.0], 7.0, 1),
        ([1.0, np.nan, 1.0, 1.0], 7.0, 3),
        ([5.0] * 40, 80.0, 40),
        (([1.0] * 6 + [2.0] * 4) * 20, 12.0, 4),
    ],
    ids=["empty", "nothing", "moving", "a gap", "constant", "held"],
)
def test_patience_is_twice_the_usual_longest_run(x: list[float], patience: float, run: int) -> None:
    found = extremes.fit_patience(np.array(x, float), 40, 1.0)
    assert found == (pytest.approx(patience), run)
    assert extremes.fit_patience(np.array(x, float), 40, 0.5)[0] == 2 * found[0]


def test_one_day_in_twenty_that_stood_still_does_not_count() -> None:
    x = np.arange(800.0)
    x[100:140] = 7.0
    assert extremes.fit_patience(x, 40, 1.0) == (7.0, 1)


def test_a_line_that_stands_still_is_an_anomaly_until_it_moves() -> None:
    """Without any deviation: it stands where it is expected, on a series that never did."""
    made = Line(traffic(grid(17, 300), 7))
    value = made.ahead()[0]
    scores = made.feed([value] * 12)
    said = states(scores)
    assert scores.evidence[0, -1].argmax() == SPREAD
    assert said[:6] == [State.OK] * 6
    assert said[8:] == [State.ANOMALOUS] * 4
    assert states(made.calm(7))[-1] == State.OK
    upwards = Line(traffic(grid(17, 300), 7), policy=Policy(direction="up"))
    assert states(upwards.feed([upwards.ahead()[0]] * 12)) == [State.OK] * 12


def test_a_series_that_holds_its_values_may() -> None:
    x = np.round(np.repeat(50 + np.random.default_rng(8).standard_normal(17 * 24), 12), 6)
    made = Line(x)
    assert made.normal.patience[0] == 24.0
    assert states(made.feed([50.0] * 20)) == [State.OK] * 20


@pytest.mark.parametrize("days", [1.5, 3, 17])
@pytest.mark.parametrize("factor", [0.0, 2.5])
def test_what_was_never_near_is_an_anomaly_at_once(days: float, factor: float) -> None:
    """However wide the band of a young series is; and the band says so."""
    made = Line(traffic(grid(days, 300), 3), days=days)
    expected, lower, upper = made.ahead()
    down, up = edges_of(made.normal.reach[0], expected)[::-1, 0]
    assert down <= lower < expected < upper <= up
    said = made.feed([down * 0.3 if factor == 0.0 else up * 1.3] * 3)
    assert State.ANOMALOUS in states(said)[:2]
    assert said.evidence[0, 1, SPIKE] > 0.1
    assert said.score[0, -1] > 1.0


def test_an_episode_beyond_the_past_lasts_until_it_is_back() -> None:
    made = Line(traffic(grid(2, 300), 4), days=2)
    assert states(made.feed([0.0] * 20))[1:] == [State.ANOMALOUS] * 19
    back = states(made.calm(8))
    assert back[-1] == State.OK


def crowd_of(
    x: Sequence[float], expected: float = 0.0, day: int = 288, sensitivity: float = 1.0
) -> list[float]:
    crowd = np.full(2, np.nan)
    row = np.array(x, float)
    extremes.fit_crowd(row, np.full(row.shape, expected), day, sensitivity, crowd)
    return crowd.tolist()


def rare(every: int, size: float = 1.0, days: int = 20) -> np.ndarray:
    """Zeros, and every so many samples an event of this size."""
    x = np.zeros(288 * days)
    x[every // 2 :: every] = size
    return x


def test_sizes_that_differ_are_told_by_the_larger_ones() -> None:
    x = rare(100)
    x[x > 0] = 1.0 + np.arange(np.sum(x > 0)) % 10
    assert crowd_of(x)[0] == pytest.approx(10.0 + 2 * 9.1, rel=0.05)


def test_two_events_more_than_nine_of_ten_days_have_are_too_many() -> None:
    # Never two within ten steps; the mark is one event.
    assert crowd_of(rare(100, 3.0)) == [9.0, 2.0]
    # Two within ten steps, always; half of the sensitivity doubles it.
    assert crowd_of(rare(8, 3.0)) == [12.0, 2.0]
    assert crowd_of(rare(8, 3.0), sensitivity=0.5) == [24.0, 2.0]
    # One day in twenty does not set the mark.
    hurt = rare(100, 3.0)
    hurt[1000:1004] = 50.0
    assert crowd_of(hurt) == [9.0, 2.0]
    gaps = rare(100, 3.0)
    gaps[20:40] = np.nan
    assert crowd_of(gaps) == [9.0, 2.0]


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ([], 0.0),
        ([np.nan] * 9, 0.0),
        ([0.0] * 600, 0.0),
        ([-1.0, *rare(100)], 0.0),
        (rare(4), 0.0),
        (rare(100), 0.6),
        (np.repeat(rare(100), 3), 0.0),
    ],
    ids=["empty", "nothing", "zeros", "negative", "dense", "foreseen", "lasting"],
)
def test_only_what_comes_now_and_then_for_a_moment_is_an_event(
    x: Sequence[float], expected: float
) -> None:
    assert crowd_of(x, expected)[0] == 0.0


def test_an_event_is_alone_until_there_are_many_or_it_does_not_end() -> None:
    crowd = np.array([3.0, 2.0])

    def after(*samples: float) -> bool:
        steps, recent = np.zeros(SPREAD_STEPS), np.zeros(ORDER)
        last = 0.0
        for x in samples:
            channels.push(steps, abs(x - last))
            channels.push(recent, x)
            last = x
        return extremes.alone(last, recent, steps, crowd)

    assert after(1)
    assert after(1, 0, 1)
    assert not after(1, 0, 1, 0, 1)
    assert not after(3)
    assert after(1, 1)
    assert not after(1, 1, 1)
    assert after(1, 1, 0)


def test_the_band_of_rare_events_reaches_to_what_is_too_many() -> None:
    made = Line(rare(100, days=17))
    expected, lower, upper = made.ahead()
    assert (expected, lower <= 0.0, upper) == (0.0, True, 3.0)
    quiet = made.feed([1, 0, 0, 1, 0, 0])
    assert states(quiet) == [State.OK] * 6
    assert (quiet.score < 1).all()
    assert State.ANOMALOUS in states(made.feed([0] * 12 + [4, 4]))[-2:]


@pytest.mark.parametrize(
    ("limit", "first"),
    [(np.inf, 130.0), (140.0, 120.0), (120.0, 115.0), (100.0, 115.0)],
    ids=["none", "half-way", "no small part", "at the mark"],
)
def test_what_is_far_can_be_reached_before_a_limit(limit: float, first: float) -> None:
    """Up to half of what is far elsewhere; where the past comes near the limit nothing is far."""
    reach = np.array([[100.0, 30.0], [40.0, 0.5]])
    policy = Policy(upper=limit)
    assert edges_of(reach, 80.0, policy=policy)[0, 0] == first


@pytest.mark.parametrize(
    ("x", "grain"),
    [
        (np.repeat(np.arange(10.0), 20), 1.0),
        (np.repeat(-0.5 * np.arange(10.0), 20), 0.5),
        (np.repeat([5.0, 4.0, 3.0, 4.0, 5.0, 4.0], 20), 0.0),
        (np.repeat([0.0, 1.0], 20), 0.0),
        (np.arange(100.0), 0.0),
        (np.repeat([1.0, 2.0, 4.0, 8.0, 16.0], 20), 0.0),
        (np.full(9, 3.0), 0.0),
        (np.full(9, np.nan), 0.0),
        (np.empty(0), 0.0),
    ],
    ids=["stair", "halves", "few", "switch", "each step", "sizes", "constant", "NaN", "empty"],
)
def test_the_grain_is_the_step_of_a_stair(x: np.ndarray, grain: float) -> None:
    assert extremes.fit_grain(x) == grain
    holes = x.copy()
    holes[1::3] = np.nan
    assert extremes.fit_grain(holes) == grain
