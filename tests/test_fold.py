"""The fold: what a step scores, when an episode begins and ends, and what is learnt from it."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from evaluations import COARSE, MINUTES, A, Line, glued, states
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from synthetic import DAY, MONDAY, grid, matrix, traffic

from detector import channels, levels, names, score
from detector.channels import (
    SMOOTHED_STEPS,
    SPREAD,
    SPREAD_STEPS,
    SUSTAINED,
    SUSTAINED_STEPS,
    TREND,
    State,
)
from detector.episodes import CAPPED, LEAVE
from detector.floors import TREND_LIMIT
from detector.kernels import NARROWEST, WIDEST
from detector.models import seasonal
from detector.models.baseline import level_blocks
from detector.names import Mask
from detector.policy import Policy
from detector.schedule import Schedule
from detector.series import Float, Scores, SeriesMatrix
from detector.tails import EVIDENCE_LIMIT

OK, ANOMALOUS = names.State.OK, names.State.ANOMALOUS
WEEKS = grid(17, 300)


def line(
    seed: int = 1, schedule: Schedule = COARSE, policy: Policy | None = None, x: Float | None = None
) -> Line:
    """Traffic up to a boundary, and some calm steps after it."""
    times = grid(17, schedule.step)
    made = Line(traffic(times, seed) if x is None else x, schedule, policy)
    made.calm(10)
    return made


@pytest.fixture(scope="module")
def ready() -> Line:
    return line()


# What is learnt.


def taught_fold(
    values: Float, missing: Float, untaught: Float, edge: float, step: int, profile: int
) -> tuple[Scores, State, dict[str, object]]:
    """Fold two days over a fit with a known table, in its own state."""
    past = matrix(
        np.arange(MONDAY - 7 * DAY, MONDAY, profile), {A: np.sin(np.arange(7 * DAY // profile))}
    )
    base = seasonal.fit(past)
    normal, state = score.prepare(base, past, past, past.times, Policy())
    normal = normal._replace(edge=np.array([edge]))
    times = np.arange(MONDAY, MONDAY + step * len(values), step)
    rows = np.where(missing, np.nan, values)[None, :]
    mask = np.where(untaught, int(Mask.UNTAUGHT), 0).astype(np.uint8)[None, :]
    window = SeriesMatrix((A,), times, rows, missing[None, :].copy(), step, mask)
    before = {name: getattr(state, name)[0].tolist() for name in ("blocks", "raw", "week")}
    said = score.advance(base, normal, state, window, times, MONDAY, Policy())
    on = times % profile == 0
    slots = base.table.shape[1]
    # A missing step is inside an episode when the one before it is, for an hour.
    inside = np.zeros(len(times) + 1, int)
    episodes = silent = 0
    for t, state_now in enumerate(said.state[0]):
        silent = silent + 1 if missing[t] else 0
        if state_now == ANOMALOUS or (0 < silent <= 3600 // step and inside[t - 1]):
            episodes += not inside[t - 1]
            inside[t] = episodes
    rest = {
        "samples": rows[0, on].tolist(),
        "seasons": base.table[0, times[on] // profile % slots].tolist(),
        "positions": ((times[on] - MONDAY) // profile).tolist(),
        "taught": (~untaught[on]).tolist(),
        "held": inside[:-1][on].tolist(),
        "size": level_blocks(DAY // profile)[1],
        **before,
    }
    return said, state, rest


@examples(40, many=500)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 700),
    holes=st.sampled_from([0.0, 0.3, 0.97, 1.0]),
    masked=st.sampled_from([0.0, 0.3]),
    shift=st.sampled_from([0.0, 30.0]),
    edge=st.sampled_from([2.0, 1e6]),
    grids=st.sampled_from([(300, 300), (150, 300), (300, 3600), (3600, 3600)]),
)
def test_levels_are_medians_of_hours(
    seed: int,
    count: int,
    holes: float,
    masked: float,
    shift: float,
    edge: float,
    grids: tuple[int, int],
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(count)
    values[count // 2 : count // 2 + 100] += shift
    missing = rng.random(count) < holes
    untaught = rng.random(count) < masked
    said, state, case = taught_fold(values, missing, untaught, edge, *grids)
    levels, blocks, raw, week = naive.learned(**case)
    np.testing.assert_allclose(state.blocks[0], blocks, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(state.raw[0], raw, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(state.level[0], levels, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(state.week[0], week, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(state.usual[0], naive.level_of(week), rtol=1e-9, atol=1e-12)


def test_what_is_not_taught_moves_no_level() -> None:
    rng = np.random.default_rng(2)
    values = 5 + rng.standard_normal(600)
    nothing = np.zeros(600, bool)
    _, learnt, _ = taught_fold(values, nothing, nothing, 1e6, 300, 300)
    said, kept, _ = taught_fold(values, nothing, ~nothing, 1e6, 300, 300)
    assert learnt.level[0, 0] > 4
    assert abs(kept.level[0, 0]) < 0.5
    assert np.isfinite(said.score).all()


def test_steps_between_the_profile_grid_are_not_learnt_from() -> None:
    values = np.where(np.arange(1200) % 2 == 0, 0.0, 1e3)
    nothing = np.zeros(1200, bool)
    _, state, _ = taught_fold(values, nothing, nothing, 1e6, 150, 300)
    assert abs(state.level[0, 0]) < 2
    assert abs(state.level[0, 1]) < 2


# What a step scores.


def test_between_the_slots_of_the_profile_the_expected_value_is_interpolated() -> None:
    made = Line(traffic(grid(17, 60), 2), MINUTES)
    expected = made.feed([np.nan] * 31).expected[0]
    slots = expected[::5]
    assert len(set(slots.tolist())) > 3
    whole = np.interp(np.arange(31), np.arange(0, 31, 5), slots)
    np.testing.assert_allclose(expected, whole, rtol=1e-9)


@examples(30, many=300)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 60), max_size=5))
def test_in_pieces_it_gives_identical_rows(ready: Line, seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    values = 15 + rng.choice([1.0, 30.0]) * rng.standard_normal(60)
    values[rng.random(60) < 0.1] = np.nan
    whole = ready.copy().feed(values)
    pieces = ready.copy()
    edges = [0, *sorted(cuts), 60]
    parts = [pieces.feed(values[a:b]) for a, b in zip(edges, edges[1:], strict=False) if a < b]
    for name in ("expected", "lower", "upper", "score", "evidence", "state"):
        np.testing.assert_array_equal(getattr(glued(parts), name), getattr(whole, name))


def test_a_larger_deviation_scores_higher(ready: Line) -> None:
    for side in (1, -1):
        found = [
            ready.copy().deviate([side * size] * 5).score[0].max()
            for size in (0.0, 0.5, 1.0, 1.5, 2.0, 4.0)
        ]
        assert found == sorted(found)
        assert found[0] < 0.5
        assert found[-1] > 1.3


def test_the_score_saturates(ready: Line) -> None:
    """How bad it is is said as observed against expected."""
    expected, _, upper = ready.ahead()
    far, further = (
        ready.copy().feed([expected + n * (upper - expected)] * 12).score[0].max()
        for n in (1e3, 1e250)
    )
    assert 1.5 < far <= further <= EVIDENCE_LIMIT / ready.normal.edge[0]


def test_sensitivity_moves_the_edge_only() -> None:
    found = []
    for sensitivity in (0.5, 1.0, 2.0):
        made = Line(traffic(WEEKS, 3), policy=Policy(sensitivity=sensitivity))
        found.append(made.feed([made.ahead()[0] * 1.2] * 5).score[0])
    np.testing.assert_allclose(found[0] * 2, found[1], rtol=1e-9)
    np.testing.assert_allclose(found[1] * 2, found[2], rtol=1e-9)


def test_evidence_is_given_in_an_episode_only_and_sums_to_one(ready: Line) -> None:
    made = ready.copy()
    said = glued([made.calm(3), made.deviate([3.0] * 10), made.calm(10)])
    on = said.state == ANOMALOUS
    assert 0 < on.sum() < on.size
    np.testing.assert_allclose(said.evidence[on].sum(axis=1), 1.0)
    assert (said.evidence[on] >= 0).all()
    assert np.isnan(said.evidence[~on]).all()
    # First one sample, then five.
    first, later = said.evidence[0, 3], said.evidence[0, 8]
    assert first[SUSTAINED] < later[SUSTAINED]
    assert first[TREND] == later[TREND] == 0.0


def test_a_line_that_goes_flat_is_an_episode_while_it_is_flat(ready: Line) -> None:
    """The value is as expected; that it does not move is not."""
    made = ready.copy()
    value = made.ahead()[0]
    flat = made.feed([value] * 40)
    assert states(flat)[:5] == [OK] * 5
    assert states(flat)[SPREAD_STEPS + 2 :] == [ANOMALOUS] * (38 - SPREAD_STEPS)
    assert flat.evidence[0, SPREAD_STEPS + 2].argmax() == SPREAD
    assert OK in states(made.calm(12))


def test_constants_stay_constant_without_alert() -> None:
    for value in (0.0, 7.0, -1e300):
        made = Line(np.full(len(WEEKS), value))
        said = made.feed([value] * 60)
        assert states(said) == [OK] * 60
        np.testing.assert_allclose(said.expected, value, rtol=1e-7)
        changed = made.feed([value + max(abs(value), 1.0)] * 3)
        assert states(changed) == [ANOMALOUS] * 3


@pytest.mark.parametrize(("direction", "side"), [("up", 1), ("down", -1)])
def test_only_the_direction_that_counts_alerts(direction: str, side: int) -> None:
    made = line(4, policy=Policy(direction=direction))
    _, lower, upper = made.ahead()
    assert np.isnan(lower) == (direction == "up")
    assert np.isnan(upper) == (direction == "down")
    hit = 1 + 0.8 * side
    assert ANOMALOUS in states(made.copy().calm(12, factor=hit))
    away = made.copy().calm(12, factor=1 - 0.8 * side)
    assert states(away) == [OK] * 12
    assert away.score[0].max() <= CAPPED


@pytest.mark.parametrize("length", [1, 2, 3, 5, 13, 60])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_the_end_of_what_does_not_count_is_no_episode(direction: str, length: int) -> None:
    made = line(4, policy=Policy(direction=direction))
    during = made.calm(length, factor=0.2 if direction == "up" else 2.0)
    assert states(during) == [OK] * length
    assert states(made.calm(60)) == [OK] * 60


@pytest.mark.parametrize("floors", [{"min_abs": 1e3}, {"min_rel": 3.0}])
def test_a_deviation_below_the_floor_never_alerts(floors: dict[str, float]) -> None:
    free, floored = line(5), line(5, policy=Policy(**floors))
    expected = free.ahead()[0]
    assert ANOMALOUS in states(free.feed([2 * expected] * 12))
    said = floored.feed([2 * expected] * 12)
    assert states(said) == [OK] * 12
    assert said.score[0].max() == CAPPED
    margin = max(floors.get("min_abs", 0.0), floors.get("min_rel", 0.0) * said.expected[0, 0])
    assert said.upper[0, 0] - said.expected[0, 0] == pytest.approx(margin)


def test_both_floors_must_be_passed() -> None:
    made = line(6, policy=Policy(min_abs=1e3, min_rel=0.1))
    assert states(made.feed([2 * made.ahead()[0]] * 12)) == [OK] * 12
    larger = line(6, policy=Policy(min_abs=30.0, min_rel=2.0))
    expected, lower, upper = larger.ahead()
    assert upper - expected == pytest.approx(max(30.0, 2.0 * expected))
    assert expected - lower == pytest.approx(max(30.0, 2.0 * expected))


def test_bounds_and_expected_value_respect_physical_limits() -> None:
    x = np.clip(0.02 + 0.02 * np.random.default_rng(6).standard_normal(len(WEEKS)), 0, 1)
    made = line(x=x, policy=Policy(lower=0.0, upper=0.03))
    said = made.feed(x[:200])
    for bound in (said.expected, said.lower, said.upper):
        assert bound.min() >= 0.0
        assert bound.max() <= 0.03


# Episodes.


def test_an_episode_is_entered_above_one_and_left_by_five_calm_steps(ready: Line) -> None:
    """Well inside the band, with a score that has not fallen far: memory does not hold it."""
    made = ready.copy()
    assert states(made.deviate([3.0] * 6)) == [ANOMALOUS] * 6
    said = made.deviate([0.95 * LEAVE] * 8)
    assert states(said) == [ANOMALOUS] * (SUSTAINED_STEPS - 1) + [OK] * (9 - SUSTAINED_STEPS)
    assert (said.score[0, SUSTAINED_STEPS - 1 :] <= CAPPED).all()
    assert (said.score[0, : SUSTAINED_STEPS - 1] > LEAVE).all()


def test_a_deviation_along_the_edge_of_the_band_goes_on(ready: Line) -> None:
    """Neither one that was larger before, nor one that is on both sides of the edge."""
    made = ready.copy()
    assert states(made.deviate([3.0] * 6 + [0.9] * 20)) == [ANOMALOUS] * 26
    assert states(made.deviate([1.05, 0.8, 0.9] * 40)) == [ANOMALOUS] * 120
    assert states(made.calm(6))[-1] == OK


@pytest.fixture(scope="module")
def noisy() -> Line:
    """White noise by the minute, around 100."""
    times = grid(17, 60)
    return Line(100 + 4 * np.random.default_rng(1).standard_normal(len(times)), MINUTES)


def test_a_shift_inside_the_band_goes_on_while_the_last_ones_lean(noisy: Line) -> None:
    """Well inside the band, where it would be over after five steps."""
    made = noisy.copy()
    size = 0.63
    assert size < LEAVE
    assert states(made.deviate([size] * 90))[-60:] == [ANOMALOUS] * 60
    assert states(made.copy().deviate([0.6 * size] * 12)) == [ANOMALOUS] * 12
    assert states(made.copy().deviate([0.3 * size] * 12))[SUSTAINED_STEPS:] == [OK] * 7
    assert states(made.copy().calm(6))[-1] == OK


def test_an_hour_that_is_over_leans_no_more(noisy: Line) -> None:
    for missing in (0, 2):
        made = noisy.copy()
        made.deviate([3.0] * 60)
        before = made.state.lean[0]
        made.feed([np.nan] * missing)
        assert made.state.lean[0] > 0.5 * before
        assert states(made.calm(8))[-1] == OK
        assert abs(made.state.lean[0]) < 0.1 * before
    made = noisy.copy()
    made.deviate([3.0] * 60)
    made.feed([100.0] * 3, Mask.MUTED)
    assert abs(made.state.lean[0]) < 0.1 * before


def test_a_lean_belongs_to_the_level_in_use(noisy: Line) -> None:
    made = noisy.copy()
    made.state.lean[0] = -3.0
    made.state.level[0, 0] -= 200.0
    made.feed([100.0])
    assert made.state.flags[0, 4] == 1
    assert abs(made.state.lean[0]) < 0.1


def test_an_episode_does_not_flap(ready: Line) -> None:
    """Scores around one are one episode: it goes on until they fall below `LEAVE`."""
    said = ready.copy().deviate([3.0] * 2 + [1.05, 0.3, 0.3, 0.3] * 4)
    assert (said.score[0] > LEAVE).all()
    assert (said.score[0] < 1).sum() >= 3
    assert states(said) == [ANOMALOUS] * 18


def test_scores_above_leave_do_not_begin_an_episode(ready: Line) -> None:
    said = ready.copy().deviate([0.93] * 5 + [0.0])
    assert LEAVE < said.score[0].max() < 1.0
    assert ANOMALOUS not in states(said)


@pytest.mark.parametrize("side", [3.0, -3.0])
@pytest.mark.parametrize("length", [1, 5, 60, 200])
def test_the_state_leaves_within_six_steps_of_recovery(
    ready: Line, length: int, side: float
) -> None:
    made = ready.copy()
    assert ANOMALOUS in states(made.deviate([side] * length))
    said = made.calm(40)
    assert states(said)[6:] == [OK] * 34
    # A score above 1 is an episode, and none is held by memory alone.
    assert (said.score[said.state == OK] <= 1.0).all()


@pytest.mark.parametrize("gap", [7, 20, 60])
@pytest.mark.parametrize("second", [3.0, -3.0])
def test_a_second_incident_is_a_new_episode(ready: Line, gap: int, second: float) -> None:
    """Nothing is suppressed, though novelty and shape still hold the first."""
    made = ready.copy()
    made.deviate([3.0] * 24)
    assert states(made.calm(gap))[-1] == OK
    assert ANOMALOUS in states(made.deviate([second] * 3))


def test_the_band_does_not_move_within_an_episode(ready: Line) -> None:
    """Only the season moves, and the width with it: the level is held."""
    made = ready.copy()
    base = made.evaluation.baseline
    times = made.evaluation.next_time + 300 * np.arange(130)
    season = base.table[0, times // 300 % base.table.shape[1]]
    said = made.feed(season * 0.3)
    assert states(said) == [ANOMALOUS] * 130
    np.testing.assert_allclose(np.ptp(said.expected[0] - season), 0.0, atol=1e-9)
    growth = made.normal.growth[0]
    wider = [naive_widening(e, growth) for e in said.expected[0]]
    width = (said.upper - said.expected)[0] / wider
    np.testing.assert_allclose(width, width[0])


def test_a_change_that_lasts_half_a_day_is_the_new_level(ready: Line) -> None:
    made = ready.copy()
    base = made.evaluation.baseline
    times = made.evaluation.next_time + 300 * np.arange(200)
    season = base.table[0, times // 300 % base.table.shape[1]]
    fallen = season - 0.6 * season.mean() + made.state.level[0, 0]
    said = made.feed(fallen)
    hour = 12
    assert states(said)[: 11 * hour] == [ANOMALOUS] * (11 * hour)
    assert states(said)[14 * hour :] == [OK] * (200 - 14 * hour)
    np.testing.assert_allclose(said.expected[0, 14 * hour :], fallen[14 * hour :], rtol=0.1)


@pytest.mark.parametrize("hours", [8, 16, 40])
def test_what_is_back_at_the_level_of_the_week_is_normal(ready: Line, hours: int) -> None:
    """Neither an episode when a long incident is over, nor an expected value that was learnt in it.

    Twelve hours make a level, but the week still knows the one before.
    """
    made = ready.copy()
    base = made.evaluation.baseline
    times = made.evaluation.next_time + 300 * np.arange((hours + 24) * 12)
    season = base.table[0, times // 300 % base.table.shape[1]] + made.state.level[0, 0]
    noise = made.normal.scale[0] * np.random.default_rng(5).standard_normal(len(times)) / 2
    incident = season + noise
    incident[: hours * 12] *= 3
    said = made.feed(incident)
    assert ANOMALOUS in states(said)[: hours * 12]
    back = slice(hours * 12 + 6, None)
    assert set(states(said)[back]) == {OK}
    np.testing.assert_allclose(said.expected[0, back], season[back], rtol=0.15)


def test_the_week_at_a_boundary_is_that_of_the_last_seven_days(ready: Line) -> None:
    """Its hours' medians against the table, those of the last day as the model has them."""
    base, state = ready.evaluation.baseline, ready.state
    np.testing.assert_allclose(state.week[0, -24:], base.blocks[0])
    assert np.isfinite(state.week[0]).all()
    assert state.usual[0] == pytest.approx(np.median(state.week[0]))


def test_a_job_may_begin_and_end_a_slot_early_or_late() -> None:
    """The band reaches to the values of the slots around; what lies between is no deviation."""
    times = grid(17, 300)
    boundary = COARSE.boundary("line", int(times[-1]) + 300)
    runs = (times - boundary - 3600) % DAY < 1800
    noise = np.random.default_rng(6).normal(1, 0.02, len(times))
    made = Line(np.where(runs, 90.0, 5.0) * noise)
    assert made.evaluation.next_time == boundary

    def fed(before: int, running: int) -> Scores:
        values = np.array([5.0] * before + [90.0] * running + [5.0] * (24 - before - running))
        return made.copy().feed(values * noise[:24])

    said = fed(12, 6)
    edges = [11, 12, 17, 18]
    assert (said.upper[0, edges] > 90).all()
    assert (said.lower[0, edges] < 5).all()
    assert (said.upper[0, [9, 20]] < 50).all()
    assert (said.lower[0, [14, 15]] > 40).all()
    for one in (said, fed(13, 6), fed(11, 6)):
        assert states(one) == [OK] * 24
    assert ANOMALOUS in states(fed(24, 0))[13:18]


def naive_widening(expected: float, growth: Float) -> float:
    return naive.widening(expected, *growth, NARROWEST, WIDEST)


def test_an_incident_of_hours_hardly_moves_the_level_afterwards(ready: Line) -> None:
    hit, quiet = ready.copy(), ready.copy()
    season = quiet.calm(72)
    hit.feed(season.observed[0] * 0.3)
    hit.calm(12)
    quiet.calm(12)
    moved = abs(hit.ahead()[0] / quiet.ahead()[0] - 1)
    assert moved < 0.06


def test_missing_steps_are_neither_alert_nor_calm(ready: Line) -> None:
    made = ready.copy()
    made.deviate([3.0] * 5)
    away = made.feed([np.nan] * 12)
    assert states(away) == [names.State.NO_DATA] * 12
    assert np.isnan(away.score).all()
    assert np.isnan(away.evidence).all()
    assert np.isfinite(away.expected).all()
    assert states(made.deviate([2.0])) == [ANOMALOUS]


# Masks.


def test_muted_steps_have_no_score_and_state_masked(ready: Line) -> None:
    muted, plain = ready.copy(), ready.copy()
    values = [ready.ahead()[0] * 2] * 6
    said, free = muted.feed(values, Mask.MUTED), plain.feed(values)
    assert states(said) == [names.State.MASKED] * 6
    assert np.isnan(said.score).all()
    assert np.isnan(said.evidence).all()
    assert states(free)[-1] == ANOMALOUS
    # What goes on afterwards is told.
    assert ANOMALOUS in states(muted.feed(values))


@pytest.mark.parametrize("mask", [Mask.MUTED, Mask.MUTED | Mask.UNTAUGHT])
@pytest.mark.parametrize("back", [0, 3])
@pytest.mark.parametrize("size", [-6.0, 6.0])
def test_what_lay_in_muted_time_is_not_told_when_it_ends(
    ready: Line, mask: Mask, back: int, size: float
) -> None:
    made = ready.copy()
    for _ in range(24):
        expected, _, upper = made.ahead()
        made.feed([max(expected + size * (upper - expected), 0.0)], mask)
    for _ in range(back):
        made.feed([made.ahead()[0]], mask)
    assert states(made.calm(40)) == [OK] * 40


def test_an_episode_ends_where_muted_time_begins(ready: Line) -> None:
    made = ready.copy()
    assert states(made.deviate([3.0] * 4)) == [ANOMALOUS] * 4
    made.feed([made.ahead()[0]] * 2, Mask.MUTED)
    assert states(made.calm(12)) == [OK] * 12


def test_one_bad_sample_is_over_at_the_second_good_one(ready: Line) -> None:
    made = ready.copy()
    assert states(made.deviate([5.0])) == [ANOMALOUS]
    assert states(made.calm(30)) == [ANOMALOUS] + [OK] * 29


def test_untaught_steps_alert_but_are_not_learnt() -> None:
    steps = 36
    said = {}
    for mask in (None, Mask.UNTAUGHT):
        made = Line(traffic(WEEKS, 7))
        made.normal.edge[:] = 1e6
        made.normal.patience[:] = np.inf
        values = [made.ahead()[0] * 1.5] * steps
        said[mask] = made.feed(values, mask)
        moved = made.state.level[0, 0]
        said[mask, "level"] = moved
    np.testing.assert_array_equal(said[None].score[0, :5], said[Mask.UNTAUGHT].score[0, :5])
    assert said[None, "level"] > said[Mask.UNTAUGHT, "level"]
    assert ANOMALOUS in states(line(7).feed([60.0] * 3, Mask.UNTAUGHT))


# Trend.


def ramp(policy: Policy, slope: float, seed: int = 8) -> list[int]:
    """State after each day of a slow ramp, `slope` usual deviations a day."""
    x = 10 + np.random.default_rng(seed).standard_normal(len(WEEKS))
    made = Line(x, policy=policy)
    rng = np.random.default_rng(seed + 1)
    level = made.evaluation.baseline.reference[0, 0]
    unit = max(made.evaluation.baseline.reference[0, 1], made.normal.scale[0])
    out = []
    for day in range(8):
        rise = slope * unit * (day + np.arange(288) / 288)
        said = made.feed(level + rise + rng.standard_normal(288))
        out.append(int(said.state[0, -1]))
        if out[-1] == ANOMALOUS and policy.trend:
            assert said.evidence[0, -1, TREND] > 0.0
    return out


def test_a_slow_drift_is_an_episode_where_the_policy_watches_trends() -> None:
    assert ramp(Policy(trend=True), 1.5)[-1] == ANOMALOUS
    assert ramp(Policy(trend=True), 0.0) == [OK] * 8
    assert ramp(Policy(trend=True, direction="down"), 1.5)[-1] == OK
    assert ramp(Policy(trend=True, direction="down"), -1.5)[-1] == ANOMALOUS


def test_trend_says_nothing_where_the_policy_does_not_watch_it() -> None:
    made = line(9)
    made.state.level[0, 1] = 1e6
    said = made.feed([made.ahead()[0] * 3] * 3)
    assert (said.evidence[0, :, TREND] == 0.0).all()
    watched = line(9, policy=Policy(trend=True))
    watched.state.level[0, 1] = 1e6
    watched.state.raw[0] = 1e6
    assert states(watched.calm(3)) == [ANOMALOUS] * 3


def test_the_episode_of_a_trend_holds_while_the_level_is_off() -> None:
    made = line(10, policy=Policy(trend=True))
    made.state.level[0, 1] = 1e6
    made.state.raw[0] = 1e6
    said = made.calm(40)
    assert states(said) == [ANOMALOUS] * 40
    assert said.evidence[0, -1].argmax() == TREND
    # What the trend adds to the square of the score.
    share = said.evidence[0, :, TREND] * said.score[0] ** 2
    np.testing.assert_allclose(share[SMOOTHED_STEPS:], TREND_LIMIT**2, rtol=0.05)


def test_shape_remembers_hours_and_does_not_begin_at_the_boundary(ready: Line) -> None:
    """The fold starts with the course of the past, which is usual: nothing is novel in it."""
    usual = ready.copy()
    assert usual.calm(30).score.max() < 1.0
    unusual = ready.copy()
    unusual.state.course[0] = 1e3
    unusual.calm(1)
    assert unusual.state.shape[0] > usual.state.shape[0]


@pytest.mark.parametrize(
    ("jump", "foreign", "left"),
    [(5, 0, 5), (5, np.nan, 5), (5, -1, 5), (5, 2, 3), (-5, 2, -3), (5, 9, 0), (-5, np.inf, 0)],
)
def test_a_jump_is_left_what_is_the_series_own(jump: float, foreign: float, left: float) -> None:
    assert channels.own(float(jump), float(foreign)) == left


def test_a_level_stays_in_use_until_the_other_is_nearer_by_as_much_as_they_are_apart() -> None:
    flags = np.zeros(6, np.int64)
    said = [levels.level_of(r, 0.0, 10.0, 4.0, flags) for r in (0.0, 6.9, 7.1, 4.0, 3.1, 2.9, 5.0)]
    assert said == [0.0, 0.0, 10.0, 10.0, 10.0, 0.0, 0.0]
    flags[4] = 1
    assert levels.level_of(10.0, 0.0, 3.0, 4.0, flags) == 0.0
    assert levels.level_of(10.0, 0.0, np.nan, 4.0, flags) == 0.0
    assert levels.level_of(np.nan, 0.0, 10.0, 4.0, flags) == 0.0
