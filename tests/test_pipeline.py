"""Live and replayed scoring are one path: the same rows wherever they start, and nothing else."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from synthetic import DAY, MONDAY, column, episodes, grid, joined, labels, matrix, traffic

from detector.errors import ConfigError
from detector.names import State
from detector.pipeline import Evaluation, Schedule, fill_zero, replay
from detector.score import GONE
from detector.series import Labels, Policy, Scores, SeriesMatrix, Signal
from detector.settings import KIND_POLICIES

A, B, C, D = (labels(job=job) for job in "abcd")
COARSE = Schedule(300, 300, 14 * DAY, DAY)
# A step so short that an hour is longer than the lead of the fold.
FINE = Schedule(20, 300, 3 * DAY, 6 * 3600)
TRAFFIC = Signal("rps", "traffic", (), KIND_POLICIES["traffic"])


def scored(
    samples: SeriesMatrix,
    start: int,
    signal: Signal = TRAFFIC,
    schedule: Schedule = COARSE,
    end: int | None = None,
) -> list[Scores]:
    last = int(samples.times[-1]) + schedule.step if end is None else end
    return list(replay(signal, schedule, samples, start, last))


def busy(days: float = 17, step: int = 300) -> SeriesMatrix:
    """Four series: one whole, one with an outage, one that vanishes and returns, one that comes."""
    times = grid(days, step)
    rows = {key: traffic(times, seed) for seed, key in enumerate((A, B, C, D))}
    end = times[-1]
    rows[B][(times > end - 30_000) & (times < end - 20_000)] = 0.0
    rows[C][(times > end - 60_000) & (times < end - 40_000)] = np.nan
    rows[C][(times > end - 10_000) & (times < end - 9_000)] = np.nan
    rows[D][times < end - 35_000] = np.nan
    return matrix(times, rows)


def same(a: dict, b: dict) -> None:
    """Compare joined rows exactly, NaN equal to NaN."""
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].keys() == b[key].keys()
        np.testing.assert_array_equal(
            np.array(list(a[key].values())), np.array([b[key][t] for t in a[key]])
        )


def only_written(rows: dict) -> dict:
    """Leave out what is not written: rows of series that are gone."""
    kept = {key: {t: r for t, r in found.items() if r[5] != GONE} for key, found in rows.items()}
    return {key: found for key, found in kept.items() if found}


@pytest.mark.parametrize("schedule", [COARSE, FINE], ids=["coarse", "fine"])
def test_replay_from_any_start_gives_the_same_rows(schedule: Schedule) -> None:
    samples = busy(17 if schedule is COARSE else 5, schedule.step)
    end = int(samples.times[-1]) + schedule.step
    first = end - 2 * DAY
    whole = joined(scored(samples, first, schedule=schedule))
    for start in (first + schedule.step, first + DAY // 2, end - 21_000, end - 9_500, end - 300):
        start = start // schedule.step * schedule.step
        part = joined(scored(samples, start, schedule=schedule))
        cut = {key: {t: r for t, r in rows.items() if t >= start} for key, rows in whole.items()}
        same(only_written(part), only_written(cut))


def live(
    samples: SeriesMatrix, schedule: Schedule, start: int, end: int, seed: int
) -> list[Scores]:
    """Score as the service does: what is new since the last look, at irregular moments."""
    rng = np.random.default_rng(seed)
    out = []
    evaluation = None
    until = start
    while until < end:
        if evaluation is None or until >= evaluation.due:
            boundary = schedule.boundary(TRAFFIC.name, until)
            history = samples.every(schedule.profile).between(boundary - schedule.history, boundary)
            evaluation = Evaluation(TRAFFIC, schedule, boundary, present(history))
        window = samples.between(evaluation.next_time, until + schedule.step)
        out.append(evaluation.advance(present(window)))
        longest = (evaluation.due - until) // schedule.step
        until += schedule.step * int(min(rng.integers(1, 40), max(longest, 1)))
    return out


def present(window: SeriesMatrix) -> SeriesMatrix:
    """Return only the series with samples, as a server answers."""
    return window.aligned(
        tuple(k for k, absent in zip(window.labels, window.absent, strict=True) if not absent.all())
    )


@pytest.mark.parametrize("schedule", [COARSE, FINE], ids=["coarse", "fine"])
@pytest.mark.parametrize("seed", [1, 2])
def test_live_rows_are_replayed_rows(schedule: Schedule, seed: int) -> None:
    samples = busy(17 if schedule is COARSE else 5, schedule.step)
    end = int(samples.times[-1]) + schedule.step
    start = end - 2 * DAY + 7 * schedule.step
    stored = only_written(joined(scored(samples, start, schedule=schedule)))
    running = only_written(joined(live(samples, schedule, start, end, seed)))
    running = {key: {t: r for t, r in rows.items() if t >= start} for key, rows in running.items()}
    for key, rows in stored.items():
        # A live run that wakes up after a boundary starts there.
        missing = rows.keys() - running[key].keys()
        assert len(missing) < 0.1 * len(rows)
        stored[key] = {t: row for t, row in rows.items() if t not in missing}
    same(running, stored)


def test_what_comes_later_changes_nothing() -> None:
    samples = busy()
    now = int(samples.times[-1]) - 10 * 3600
    before = joined(scored(samples, now - DAY, end=now))
    later = samples.times >= now
    values = np.where(later, 1e6, samples.values)
    changed = replace(samples, values=values, absent=samples.absent & ~later)
    same(before, joined(scored(changed, now - DAY, end=now)))
    cut = samples.between(0, now)
    same(before, joined(scored(cut, now - DAY, end=now)))


def test_order_and_company_of_series_change_nothing() -> None:
    samples = busy()
    start = int(samples.times[-1]) - DAY
    whole = joined(scored(samples, start))
    for chosen in ((D, B, C, A), (B,), (C, D)):
        same(
            {k: whole[k] for k in sorted(chosen)},
            dict(sorted(joined(scored(samples.aligned(chosen), start)).items())),
        )


@pytest.mark.parametrize(("factor", "shift"), [(1024.0, 0.0), (2.0**-20, 0.0), (1.0, 64.0)])
def test_unit_and_offset_leave_scores_unchanged(factor: float, shift: float) -> None:
    samples = busy()
    free = replace(TRAFFIC, policy=Policy())
    start = int(samples.times[-1]) - DAY
    moved = replace(samples, values=samples.values * factor + shift)
    for key in (A, B):
        _, score = column(scored(samples, start, free), "score", key)
        _, other = column(scored(moved, start, free), "score", key)
        np.testing.assert_allclose(other, score, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("side", ["upper", "lower"])
def test_a_deviation_held_at_the_edge_of_the_band_scores_one(side: str) -> None:
    times = grid(17, 300)
    rate = traffic(times, 3)
    parts = scored(matrix(times, {A: rate}), int(times[-1]) - DAY)
    at, edge = column(parts, side, A)
    _, expected = column(parts, "expected", A)
    held = slice(100, 105)
    changed = rate.copy()
    # Nothing unusual before it.
    changed[np.isin(times, at[94:100])] = expected[94:100]
    changed[np.isin(times, at[held])] = edge[held]
    _, score = column(scored(matrix(times, {A: changed}), int(at[0])), "score", A)
    assert score[104] == pytest.approx(1.0, rel=0.05)
    assert (score[95:104] < score[104]).all()


def test_the_band_does_not_move_within_an_episode() -> None:
    times = grid(17, 300)
    rate = traffic(times, 4)
    incident = (times > times[-1] - 30_000) & (times < times[-1] - 8_000)
    outage = np.where(incident, 0.3 * rate, rate)
    start = int(times[-1]) - DAY
    quiet, loud = (scored(matrix(times, {A: x}), start) for x in (rate, outage))
    ((began, ended),) = episodes(loud, A)
    at, _ = column(loud, "state", A)
    inside = (at >= began) & (at <= ended)
    assert inside.sum() > 60
    free = [column(parts, "expected", A)[1][inside] for parts in (quiet, loud)]
    upper = column(loud, "upper", A)[1][inside]
    # Only the season moves: the gap to the undisturbed run changes by that run's own level.
    assert np.ptp(free[1] - free[0]) < 0.02 * free[0].mean()
    assert np.ptp(upper - free[1]) < 1e-9 or np.allclose(upper / free[1], upper[0] / free[1][0])


def test_input_is_not_changed_and_results_repeat() -> None:
    samples = busy()
    values, absent = samples.values.copy(), samples.absent.copy()
    start = int(samples.times[-1]) - DAY
    same(joined(scored(samples, start)), joined(scored(samples, start)))
    np.testing.assert_array_equal(samples.values, values)
    np.testing.assert_array_equal(samples.absent, absent)


RAMP = np.linspace(-1, 1, 16 * 288)
ODD_INPUT = {
    "constant": np.full(16 * 288, 7.0),
    "zero": np.zeros(16 * 288),
    "huge": 1e300 * (1 + 0.1 * np.sin(RAMP * 50)),
    "both huge": 1e300 * RAMP,
    "tiny": 1e-300 * (2 + np.sin(RAMP * 50)),
    "negative": -1e6 + RAMP,
    "huge offset": 1e15 + np.sin(RAMP * 50),
    "one spike": np.where(np.arange(16 * 288) == 3000, 1e300, 1.0),
    "one sample": np.where(np.arange(16 * 288) == 3000, 1.0, np.nan),
    "nothing": np.full(16 * 288, np.nan),
    "two values": np.arange(16 * 288) % 2.0,
}


@pytest.mark.parametrize("name", ODD_INPUT)
@pytest.mark.parametrize("kind", ["other", "traffic"])
def test_odd_input_has_defined_results_and_no_warnings(name: str, kind: str) -> None:
    times = grid(16, 300)
    for present_nan in (False, True):
        samples = matrix(times, {A: ODD_INPUT[name]})
        if present_nan:
            samples = replace(samples, absent=np.zeros_like(samples.absent))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            policy = KIND_POLICIES[kind]
            parts = scored(samples, int(times[-1]) - 2 * DAY, replace(TRAFFIC, policy=policy))
        for part in parts:
            assert set(np.unique(part.state)) <= {-1, 0, 1, 2, 3}
            for array in (part.expected, part.lower, part.upper, part.score):
                assert not np.isinf(array).any()
            with_score = np.isfinite(part.score)
            assert (part.score[with_score] >= 0).all()
            assert np.isfinite(part.expected[with_score]).all()
            assert (with_score == np.isin(part.state, (0, 1))).all()
            no_centre = np.isnan(part.expected)
            assert np.isnan(part.lower[no_centre]).all()
            assert np.isnan(part.upper[no_centre]).all()
            if name not in ("one sample", "nothing"):
                assert with_score.any()


def test_a_constant_that_changes_is_found_whatever_its_size() -> None:
    times = grid(16, 300)
    for value in (0.0, 1e-300, 1e-6, 5.0, 1e300):
        x = np.full(len(times), value)
        x[-12:] = value * 2 + (1.0 if value < 1e-9 else 0.0)
        parts = scored(matrix(times, {A: x}), int(times[-1]) - DAY)
        assert episodes(parts, A) == [(int(times[-12]), int(times[-1]))], value


def test_no_samples_at_all() -> None:
    times = grid(3, 300)
    assert scored(matrix(times, {}), MONDAY)[0].labels == ()
    empty = SeriesMatrix((), np.empty(0, np.int64), np.empty((0, 0)), np.empty((0, 0), bool), 300)
    (part,) = replay(TRAFFIC, COARSE, empty, MONDAY, MONDAY + 300)
    assert part.score.shape == (0, 1)


def test_one_sample_warms_up_without_a_score() -> None:
    times = grid(3, 300)
    x = np.full(len(times), np.nan)
    x[-1] = 5.0
    rows = joined(scored(matrix(times, {A: x}), int(times[-1])))[A][int(times[-1])]
    assert rows[5] == State.WARMING_UP
    assert np.isnan(rows[1:5]).all()


def states(
    x: np.ndarray, times: np.ndarray, nan: np.ndarray | None = None, policy: Policy | None = None
) -> np.ndarray:
    samples = matrix(times, {A: x})
    if nan is not None:
        samples = replace(samples, absent=samples.absent & ~nan)
    signal = replace(TRAFFIC, policy=policy or TRAFFIC.policy)
    at, state = column(scored(samples, int(times[0]), signal), "state", A)
    assert (at == times).all()
    return state


def test_first_day_warms_up() -> None:
    times = grid(4, 300)
    state = states(traffic(times), times)
    first = int(np.flatnonzero(state == State.OK)[0])
    # Fitted at the first boundary that has a day before it.
    assert 280 <= first <= 2 * 288
    assert (state[:first] == State.WARMING_UP).all()
    assert (state[first:] == State.OK).all()


def test_absence_is_no_data_for_an_hour_and_then_gone() -> None:
    times = grid(4, 300)
    x = traffic(times)
    x[900:1000] = np.nan
    state = states(x, times)
    assert (state[900:912] == State.NO_DATA).all()
    assert (state[912:1000] == GONE).all()
    assert (state[1000:] == State.OK).all()


def test_a_nan_sample_is_no_information_and_stays() -> None:
    times = grid(4, 300)
    x = traffic(times)
    x[900:1000] = np.nan
    nan = np.zeros(len(times), bool)
    nan[900:1000] = True
    state = states(x, times, nan)
    assert (state[900:1000] == State.NO_DATA).all()
    assert (state[1000:] == State.OK).all()


def test_ignored_absence_is_gone_at_once() -> None:
    times = grid(4, 300)
    x = traffic(times)
    x[900:910] = np.nan
    state = states(x, times, policy=Policy(missing="ignore"))
    assert (state[900:910] == GONE).all()
    assert state[910] == State.OK


@pytest.mark.parametrize("gap", [0.6, 0.95, 1.05, 3.0])
def test_silence_is_counted_alike_across_a_boundary(gap: float) -> None:
    """A series is gone an hour after its last sample, whether or not a refit lies between."""
    times = grid(5, FINE.step)
    boundary = FINE.boundary(TRAFFIC.name, int(times[-1]) - DAY)
    last = boundary - round(gap * 3600)
    x = np.where((times > last) & (times < boundary + 2 * DAY), np.nan, traffic(times))
    parts = scored(matrix(times, {A: x}), boundary, schedule=FINE, end=boundary + 7200)
    at, state = column(parts, "state", A)
    silent = at - last
    assert (state[silent <= 3600] == State.NO_DATA).all()
    assert (state[silent > 3600 + FINE.profile] == GONE).all()


def test_history_ends_at_the_boundary_even_where_samples_end_before() -> None:
    """Leading and trailing absence is the same whether columns are there or not."""
    times = grid(17, 300)
    x = traffic(times)
    x[-500:] = np.nan
    x[:200] = np.nan
    whole = matrix(times, {A: x})
    cut = whole.between(int(times[200]), int(times[-500]))
    start, end = int(times[-1]) - 2 * DAY, int(times[-1]) + 300
    same(joined(scored(whole, start, end=end)), joined(scored(cut, start, end=end)))


def test_boundaries_are_absolute_and_staggered() -> None:
    schedule = Schedule(60, 300, 28 * DAY, DAY)
    found = {schedule.boundary(f"signal{i}", MONDAY) for i in range(200)}
    assert len(found) > 100
    for name in ("rps", "latency"):
        boundary = schedule.boundary(name, MONDAY)
        assert boundary <= MONDAY < boundary + DAY
        assert boundary % 300 == 0
        assert schedule.boundary(name, boundary) == boundary
        assert schedule.boundary(name, boundary - 1) == boundary - DAY
        assert schedule.boundary(name, boundary + DAY - 1) == boundary


@pytest.mark.parametrize(
    ("grids", "says"),
    [
        ((0, 300, DAY, DAY), "step"),
        ((60, 90, DAY, DAY), "multiple of step"),
        ((60, 420, DAY, DAY), "divide a day"),
        ((60, 300, 400, DAY), "history"),
        ((60, 300, DAY, 100), "refit"),
    ],
)
def test_grids_that_do_not_fit_are_refused(grids: tuple[int, int, int, int], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Schedule(*grids)


def test_a_window_out_of_turn_is_refused() -> None:
    samples = busy()
    boundary = COARSE.boundary(TRAFFIC.name, int(samples.times[-1]))
    evaluation = Evaluation(TRAFFIC, COARSE, boundary, samples)
    with pytest.raises(ValueError, match="expected"):
        evaluation.advance(samples.between(boundary, boundary + 600))


def up(job: str, where: np.ndarray) -> dict[Labels, np.ndarray]:
    return {(("instance", "i"), ("job", job)): where}


def test_absence_is_zero_where_the_job_or_a_sibling_is_there() -> None:
    times = grid(1, 300)[:4]
    nan = np.nan
    samples = matrix(times, {A: np.array([nan, 1.0, nan, nan]), B: np.array([nan, nan, nan, nan])})
    filled = fill_zero(samples, up("a", np.array([False, False, True, False])))
    np.testing.assert_array_equal(filled.values, [[nan, 1.0, 0.0, nan], [nan, 0.0, nan, nan]])
    np.testing.assert_array_equal(filled.absent, np.isnan(filled.values))
    assert np.isnan(samples.values[0, 2])


def test_a_nan_sample_is_never_zero() -> None:
    times = grid(1, 300)[:2]
    samples = matrix(times, {A: np.array([np.nan, np.nan])})
    samples = replace(samples, absent=np.array([[False, True]]))
    filled = fill_zero(samples, up("a", np.array([True, True])))
    np.testing.assert_array_equal(filled.values, [[np.nan, 0.0]])


def test_presence_of_another_job_says_nothing() -> None:
    times = grid(1, 300)[:1]
    samples = matrix(times, {A: np.array([np.nan]), (): np.array([np.nan])})
    filled = fill_zero(samples, up("b", np.array([True])))
    assert filled.absent.all()
