"""Live and replayed scoring are one path: the same rows wherever they start, and nothing else."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from synthetic import DAY, MONDAY, column, episodes, grid, joined, labels, matrix, traffic

from detector import schedule as schedules
from detector.backtest.files import read_csv
from detector.errors import ConfigError
from detector.localtime import utc_offsets
from detector.models import registry, seasonal
from detector.names import Mask, State
from detector.pipeline import Evaluation, replay
from detector.policy import Policy
from detector.schedule import Schedule
from detector.score import GONE
from detector.series import Labels, Scores, SeriesMatrix, Signal
from detector.settings import KIND_POLICIES

A, B, C, D = (labels(job=job) for job in "abcd")
HOUR = 3600
COARSE = Schedule(300, 300, 14 * DAY, DAY)
# A step so short that an hour is longer than the lead of the fold.
FINE = Schedule(20, 300, 3 * DAY, 6 * HOUR)
HOURS = Schedule(HOUR, HOUR, 14 * DAY, DAY)
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


def among(rows: dict, others: dict) -> None:
    """Every row of the first is in the second, exactly."""
    for key, found in rows.items():
        assert found.keys() <= others[key].keys()
    same(rows, {key: {t: others[key][t] for t in found} for key, found in rows.items()})


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


def present(window: SeriesMatrix, known: tuple[Labels, ...] = ()) -> SeriesMatrix:
    """Return only the series with samples, as a server answers, and those that are known."""
    there = {k for k, gone in zip(window.labels, window.absent, strict=True) if not gone.all()}
    return window.aligned(tuple(sorted(there | set(known))))


def live(
    samples: SeriesMatrix,
    schedule: Schedule,
    start: int,
    end: int,
    rng: np.random.Generator,
    restarts: float = 0.0,
    longest: int = 40,
    signal: Signal = TRAFFIC,
) -> list[Scores]:
    """Score as the service does: what is new since the last look, at irregular moments.

    At some of them the process is another one, which knows nothing.
    """
    out = []
    evaluation = None
    until = start
    while until < end:
        if evaluation is None or until >= evaluation.due or rng.random() < restarts:
            boundary = schedule.boundary(signal.name, until)
            history = samples.every(schedule.profile).between(boundary - schedule.history, boundary)
            evaluation = Evaluation(signal, schedule, boundary, present(history))
        window = samples.between(evaluation.next_time, until + schedule.step)
        out.append(evaluation.advance(present(window, evaluation.labels)))
        left = (evaluation.due - until) // schedule.step
        until += schedule.step * int(min(rng.integers(1, longest), max(left, 1)))
    return out


def troubled(rng: np.random.Generator, schedule: Schedule, days: float) -> SeriesMatrix:
    """Series with everything that happens: gaps, NaN samples, outages, masks, newcomers."""
    times = grid(days, schedule.step)
    count = len(times)
    rows = {}
    for s, key in enumerate((A, B, C, D)):
        x = traffic(times, int(rng.integers(1000))) * rng.choice([1.0, -1.0, 1e9])
        for _ in range(rng.integers(0, 6)):
            a = int(rng.integers(count))
            length = int(rng.choice([1, 3, 15, 60, 300]))
            x[a : a + length] = rng.choice([np.nan, 0.0, 2.0 * x[a], -x[a]])
        if rng.random() < 0.3:
            x[: int(rng.integers(count))] = np.nan
        if rng.random() < 0.2:
            x[int(rng.integers(count)) :] = np.nan
        if s == 3 and rng.random() < 0.5:
            x[: -int(rng.integers(1, DAY // schedule.step))] = np.nan
        rows[key] = x
    samples = matrix(times, rows)
    mask = np.zeros(samples.values.shape, np.uint8)
    for _ in range(rng.integers(0, 4)):
        s, a = int(rng.integers(4)), int(rng.integers(count))
        mask[s, a : a + int(rng.integers(1, 400))] |= rng.choice([1, 2, 3]).astype(np.uint8)
    # Some of what is missing is a sample that says nothing.
    absent = samples.absent & (rng.random(samples.values.shape) > rng.choice([0.0, 0.3]))
    return replace(samples, absent=absent, mask=mask if mask.any() else None)


GRIDS = {
    "coarse": (Schedule(300, 300, 3 * DAY, 6 * HOUR), 5.0),
    "minutes": (Schedule(60, 300, 2 * DAY, 12 * HOUR), 4.0),
    "hours": (Schedule(HOUR, HOUR, 10 * DAY, DAY), 14.0),
}


@examples(8, many=300)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(sorted(GRIDS)),
    zone=st.sampled_from(["", "", "Europe/Berlin", "Asia/Kolkata"]),
    model=st.sampled_from(["seasonal", "seasonal", "zscore"]),
    trend=st.booleans(),
)
def test_online_is_replay_is_restart(
    seed: int, name: str, zone: str, model: str, trend: bool
) -> None:
    """Whenever it looks, wherever it starts, however often it is started anew: one set of rows."""
    rng = np.random.default_rng(seed)
    schedule, days = GRIDS[name]
    samples = troubled(rng, schedule, days)
    signal = Signal("rps", "other", (), Policy(timezone=zone, trend=trend), model=model)
    end = int(samples.times[-1]) + schedule.step
    start = end - 2 * schedule.refit
    begins = schedule.boundary(signal.name, start)
    stored = only_written(joined(scored(samples, begins, signal, schedule)))

    later = int(rng.integers(start, end)) // schedule.step * schedule.step
    part = only_written(joined(scored(samples, later, signal, schedule)))
    whole = {key: {t: r for t, r in rows.items() if t >= later} for key, rows in stored.items()}
    same(part, {key: rows for key, rows in whole.items() if rows})

    longest = int(rng.choice([3, 40, 400]))
    for restarts in (0.0, 0.5):
        said = live(samples, schedule, start, end, rng, restarts, longest, signal)
        among(only_written(joined(said)), stored)


@pytest.mark.parametrize("schedule", [COARSE, FINE], ids=["coarse", "fine"])
def test_live_rows_are_replayed_rows(schedule: Schedule) -> None:
    samples = busy(17 if schedule is COARSE else 6, schedule.step)
    end = int(samples.times[-1]) + schedule.step
    start = end - 2 * DAY + 7 * schedule.step
    stored = only_written(joined(scored(samples, start, schedule=schedule)))
    running = joined(live(samples, schedule, start, end, np.random.default_rng(1)))
    running = only_written(
        {key: {t: r for t, r in rows.items() if t >= start} for key, rows in running.items()}
    )
    among(running, stored)
    for key, rows in stored.items():
        # A live run that wakes up after a boundary starts there.
        assert len(rows.keys() - running[key].keys()) < 0.15 * len(rows)


# Newcomers.


def admitted(
    samples: SeriesMatrix, schedule: Schedule, early: bool, past: bool
) -> tuple[Scores, Scores]:
    """Score the last day with all series known, and with B admitted later."""
    end = int(samples.times[-1]) + schedule.step
    boundary = schedule.boundary(TRAFFIC.name, end - 1)
    history = samples.every(schedule.profile)
    known = Evaluation(TRAFFIC, schedule, boundary, history)
    lead = samples.between(known.next_time, boundary)
    known.advance(lead)
    only = samples.aligned((A,))
    other = Evaluation(TRAFFIC, schedule, boundary, only.every(schedule.profile))
    if early:
        other.admit((B,), history if past else None)
        other.advance(lead if past else lead.aligned((A,)))
    else:
        other.advance(lead.aligned((A,)))
        other.admit((A, B), history if past else None)
    assert other.labels == known.labels == (A, B)
    rest = samples.between(boundary, end)
    return known.advance(rest), other.advance(rest)


@pytest.mark.parametrize("early", [True, False], ids=["before the first window", "after it"])
@pytest.mark.parametrize(
    "schedule", [Schedule(60, 300, 7 * DAY, DAY), COARSE], ids=["minutes", "coarse"]
)
def test_a_newcomer_with_a_past_is_scored_as_if_it_had_always_been_there(
    early: bool, schedule: Schedule
) -> None:
    """As of errors: a series comes into being with its first, and was zero before."""
    times = grid(17, schedule.step)
    x = np.where(times > times[-1] - 5 * HOUR, 1.0, 0.0)
    samples = matrix(times, {A: traffic(times, 1), B: x})
    known, other = admitted(samples, schedule, early, past=True)
    for name in ("expected", "lower", "upper", "score", "evidence", "state"):
        np.testing.assert_array_equal(getattr(known, name), getattr(other, name), name)
    assert np.isfinite(other.score[1]).all()


@pytest.mark.parametrize("early", [True, False], ids=["before the first window", "after it"])
def test_a_newcomer_without_a_past_warms_up_until_the_next_boundary(early: bool) -> None:
    times = grid(17, 300)
    samples = matrix(times, {A: traffic(times, 1), B: traffic(times, 2)})
    known, other = admitted(samples, COARSE, early, past=False)
    assert (other.state[1] == State.WARMING_UP).all()
    assert np.isnan(other.score[1]).all()
    np.testing.assert_array_equal(other.score[0], known.score[0])


def test_known_labels_are_not_admitted_again() -> None:
    samples = busy()
    boundary = COARSE.boundary(TRAFFIC.name, int(samples.times[-1]))
    evaluation = Evaluation(TRAFFIC, COARSE, boundary, samples.every(300))
    labels_before = evaluation.labels
    evaluation.admit(labels_before)
    assert evaluation.labels == labels_before


def test_the_first_window_must_reach_the_boundary() -> None:
    samples = busy()
    boundary = COARSE.boundary(TRAFFIC.name, int(samples.times[-1]))
    evaluation = Evaluation(TRAFFIC, COARSE, boundary, samples.every(300))
    with pytest.raises(ValueError, match=f"must reach {boundary}"):
        evaluation.advance(samples.between(evaluation.next_time, boundary - 300))
    said = evaluation.advance(samples.between(evaluation.next_time, boundary))
    assert said.score.shape[1] == 0
    assert evaluation.next_time == boundary


def test_how_many_are_living() -> None:
    times = grid(17, 300)
    x = traffic(times)
    gone = np.where(times < times[-1] - 3 * DAY, x, np.nan)
    samples = matrix(times, {A: x, B: gone})
    boundary = COARSE.boundary(TRAFFIC.name, int(times[-1]))
    evaluation = Evaluation(TRAFFIC, COARSE, boundary, samples.every(300))
    assert evaluation.labels == (A, B)
    assert evaluation.living == 1
    evaluation.advance(samples.between(evaluation.next_time, boundary))
    assert evaluation.living == 1


# Causality.


@examples(10, many=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(sorted(GRIDS)),
    now=st.floats(0, 1),
    later=st.sampled_from([np.nan, 1e6, -1e300, 0.0]),
)
def test_no_later_sample_changes_an_earlier_row(
    seed: int, name: str, now: float, later: float
) -> None:
    rng = np.random.default_rng(seed)
    schedule, days = GRIDS[name]
    samples = troubled(rng, schedule, days)
    end = int(samples.times[-1]) + schedule.step
    start = end - 2 * schedule.refit
    cut = start + round(now * (end - start)) // schedule.step * schedule.step
    after = samples.times >= cut
    changed = replace(
        samples,
        values=np.where(after, later, samples.values),
        absent=np.where(after, np.isnan(later), samples.absent),
        mask=rng.integers(0, 4, samples.values.shape).astype(np.uint8) * after
        + (0 if samples.mask is None else samples.mask * ~after),
    )

    def before(of: SeriesMatrix) -> dict:
        rows = joined(scored(of, start, schedule=schedule, end=end))
        return only_written(
            {key: {t: r for t, r in found.items() if t < cut} for key, found in rows.items()}
        )

    expected = before(samples)
    same(expected, before(changed))
    same(expected, before(samples.between(0, cut)))


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


@pytest.mark.parametrize("factor", [1024.0, 2.0**-20, 2.0**900])
def test_the_unit_leaves_scores_unchanged(factor: float) -> None:
    samples = busy()
    free = replace(TRAFFIC, policy=Policy())
    start = int(samples.times[-1]) - DAY
    moved = replace(samples, values=samples.values * factor)
    for key in (A, B, C):
        _, score = column(scored(samples, start, free), "score", key)
        _, other = column(scored(moved, start, free), "score", key)
        np.testing.assert_allclose(other, score, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shift", [-100.0, 4.0])
def test_an_offset_leaves_scores_unchanged(shift: float) -> None:
    """But for positive series, whose season and noise may grow with the level."""
    samples = busy()
    free = replace(TRAFFIC, policy=Policy())
    start = int(samples.times[-1]) - DAY
    lower = replace(samples, values=samples.values - 40.0)
    moved = replace(samples, values=lower.values + shift)
    _, score = column(scored(lower, start, free), "score", A)
    _, other = column(scored(moved, start, free), "score", A)
    # The fit is made in float32: its last digit is one of the values, not of their deviations.
    np.testing.assert_allclose(other, score, rtol=1e-4, atol=1e-5)


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
@pytest.mark.parametrize("kind", ["other", "traffic", "drift"])
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
        assert check_defined(parts) == (name not in ("one sample", "nothing"))


def check_defined(parts: list[Scores]) -> bool:
    """Check what holds for any input; return whether there was any score."""
    any_score = False
    for part in parts:
        assert set(np.unique(part.state)) <= {GONE, *State}
        for array in (part.expected, part.lower, part.upper, part.score):
            assert not np.isinf(array).any()
        with_score = np.isfinite(part.score)
        any_score |= bool(with_score.any())
        assert (part.score[with_score] >= 0).all()
        assert np.isfinite(part.expected[with_score]).all()
        assert (with_score == np.isin(part.state, (State.OK, State.ANOMALOUS))).all()
        assert (part.score[part.state == State.OK] <= 1.0).all()
        on = part.state == State.ANOMALOUS
        assert np.isnan(part.evidence[~on]).all()
        np.testing.assert_allclose(part.evidence[on].sum(axis=-1), 1.0)
        # Negated, since comparisons with NaN are false.
        assert not (part.lower > part.expected).any()
        assert not (part.upper < part.expected).any()
        no_centre = np.isnan(part.expected)
        assert np.isnan(part.lower[no_centre]).all()
        assert np.isnan(part.upper[no_centre]).all()
    return any_score


@examples(15, many=300)
@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(sorted(GRIDS)))
def test_what_holds_for_any_input(seed: int, name: str) -> None:
    schedule, days = GRIDS[name]
    samples = troubled(np.random.default_rng(seed), schedule, days)
    muted = samples.marked(Mask.MUTED)
    parts = scored(samples, int(samples.times[0]), schedule=schedule)
    check_defined(parts)
    for part in parts:
        at = np.searchsorted(samples.times, part.times)
        for s, key in enumerate(part.labels):
            row = samples.labels.index(key)
            seen = np.isfinite(samples.values[row, at])
            masked = muted[row, at]
            state = part.state[s]
            assert (state[masked & seen] == State.MASKED).all()
            assert np.isin(state[~seen & ~masked], (State.NO_DATA, GONE)).all()
            assert np.isin(
                state[seen & ~masked], (State.OK, State.ANOMALOUS, State.WARMING_UP)
            ).all()
            np.testing.assert_array_equal(part.observed[s], samples.values[row, at])


FILES = {
    "unsorted": [(i * 7919 % 5000, f"{10 + i % 7}") for i in range(5000)],
    "one sample": [(0, "5")],
    "all NaN": [(i, "NaN") for i in range(3000)],
    "constant": [(i, "7") for i in range(3000)],
    "huge": [(i, f"{1 + i % 3}e300") for i in range(3000)],
    "tiny": [(i, f"{1 + i % 3}e-300") for i in range(3000)],
    "huge and tiny": [(i, ("1e300", "-1e300", "1e-300", "", "0")[i % 5]) for i in range(3000)],
    "twice": [(i // 2, f"{i % 5}") for i in range(3000)],
    "sparse": [(i * 37, f"{i % 5}") for i in range(200)],
}


@pytest.mark.parametrize("step", [60, 300])
@pytest.mark.parametrize("name", FILES)
def test_any_file_has_defined_results_and_no_warnings(name: str, step: int, tmp_path: Path) -> None:
    path = tmp_path / "samples.csv"
    rows = [f"{MONDAY + i * step},{value}" for i, value in FILES[name]]
    path.write_text("\n".join(["timestamp,value", *rows, ""]), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        samples = read_csv(path, step).samples
        span = int(samples.times[0]), int(samples.times[-1]) + step
        parts = list(replay(TRAFFIC, Schedule(step, 300, 28 * DAY, DAY), samples, *span))
    check_defined(parts)
    assert sum(len(part.times) for part in parts) == len(samples.times)


# Local time.


def berlin(times: np.ndarray, seed: int, noise: float = 0.05) -> np.ndarray:
    """Return a load that follows the clocks of Berlin, with a steep morning and evening."""
    local = times + utc_offsets(times, "Europe/Berlin")
    clock = local % DAY / HOUR
    load = 10 + 20 * np.clip((clock - 7) / 2, 0, 1) * np.clip((21 - clock) / 2, 0, 1)
    return load * (1 + noise * np.random.default_rng(seed).standard_normal(len(times)))


CHANGES = {"to winter": 1_761_440_400, "to summer": 1_774_746_000}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "schedule",
    [Schedule(60, 300, 28 * DAY, DAY), COARSE, HOURS],
    ids=["minutes", "coarse", "hours"],
)
def test_a_change_of_the_clocks_is_no_news(change: str, schedule: Schedule) -> None:
    """Neither a burst of alerts nor an expected value an hour off, also between two refits."""
    moment = CHANGES[change]
    offsets = utc_offsets(np.array([moment - 1, moment]), "Europe/Berlin")
    assert abs(offsets[1] - offsets[0]) == HOUR
    times = np.arange(moment - 21 * DAY, moment + 3 * DAY, schedule.step)
    samples = matrix(times, {A: berlin(times, 1)})
    # Chance has no say: an hour off is much more than this edge.
    unzoned = replace(TRAFFIC, policy=replace(TRAFFIC.policy, sensitivity=0.7))
    signal = replace(unzoned, policy=replace(unzoned.policy, timezone="Europe/Berlin"))
    parts = scored(samples, moment - DAY, signal, schedule)
    assert episodes(parts, A) == []
    at, expected = column(parts, "expected", A)
    assert np.isfinite(expected).all()
    clock = (at + utc_offsets(at, "Europe/Berlin")) % DAY
    mornings = (at >= moment) & (clock >= 7 * HOUR) & (clock <= 9 * HOUR)
    clean = berlin(at, 1, noise=0.0)
    error = np.abs(expected - clean)[mornings]
    # By the clocks of UTC it is an hour off.
    naive = scored(samples, moment - DAY, unzoned, schedule)
    off = np.abs(column(naive, "expected", A)[1] - clean)[mornings]
    assert np.median(error) < 2.0 < 5.0 < np.median(off)
    assert episodes(naive, A) != []


@pytest.mark.parametrize(
    ("zone", "schedule"),
    [
        ("Asia/Tokyo", COARSE),
        ("Asia/Kolkata", COARSE),
        ("Asia/Kolkata", HOURS),
        ("Asia/Kathmandu", HOURS),
        ("Asia/Kolkata", Schedule(60, 3600, 14 * DAY, DAY)),
        ("America/Phoenix", Schedule(60, 300, 7 * DAY, DAY)),
    ],
)
def test_a_zone_whose_clocks_do_not_change_changes_nothing(zone: str, schedule: Schedule) -> None:
    """Half hours and quarters as well: seasons repeat, whatever their hours are called."""
    times = grid(17, schedule.step)
    samples = matrix(times, {A: traffic(times, 2)})
    start = int(times[-1]) - DAY
    assert ZoneInfo(zone)
    local = replace(TRAFFIC, policy=replace(TRAFFIC.policy, timezone=zone))
    same(
        joined(scored(samples, start, local, schedule)),
        joined(scored(samples, start, TRAFFIC, schedule)),
    )


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
        ((60, 0, 300, 300), "profile must be at least 1s"),
        ((60, -300, DAY, DAY), "profile must be at least 1s"),
        ((60, 300, 400, DAY), "history"),
        ((60, 300, DAY // 2, DAY), r"history \(43200s\) is too short .* at least 1d"),
        ((60, 300, DAY - 300, DAY), "at least 1d"),
        ((DAY // 2, DAY // 2, 9 * DAY, DAY), "at least 10d with a profile of 12h"),
        ((60, 300, DAY, 100), "refit"),
    ],
)
def test_grids_that_do_not_fit_are_refused(grids: tuple[int, int, int, int], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Schedule(*grids)


def test_the_shortest_history_is_that_of_the_models() -> None:
    assert all(model.least_seconds == DAY for model in registry.MODELS.values())
    assert schedules.LEAST_SAMPLES == seasonal.LEAST_SAMPLES
    assert Schedule(60, 300, DAY, DAY).history == DAY


def test_a_window_out_of_turn_is_refused() -> None:
    samples = busy()
    boundary = COARSE.boundary(TRAFFIC.name, int(samples.times[-1]))
    evaluation = Evaluation(TRAFFIC, COARSE, boundary, samples)
    with pytest.raises(ValueError, match="expected"):
        evaluation.advance(samples.between(boundary, boundary + 600))


def test_an_infinite_sample_is_one_that_says_nothing() -> None:
    samples = busy()
    values = samples.values.copy()
    values[:, 500::97] = np.inf
    values[:, 501::97] = -np.inf
    missing = np.where(np.isfinite(values), values, np.nan)
    first = int(samples.times[0])
    one, other = (scored(replace(samples, values=x), first) for x in (values, missing))
    for part, same in zip(one, other, strict=True):
        for name in ("score", "expected", "state"):
            np.testing.assert_array_equal(getattr(part, name), getattr(same, name))
    assert np.isfinite(one[-1].score).any()


def test_series_given_twice_are_refused() -> None:
    samples = busy()
    twice = replace(samples, labels=samples.labels[:1] * len(samples.labels))
    first = int(samples.times[0])
    with pytest.raises(ValueError, match="two rows have the same labels"):
        scored(twice, first)
    boundary = COARSE.boundary(TRAFFIC.name, int(samples.times[-1]))
    evaluation = Evaluation(TRAFFIC, COARSE, boundary, samples)
    with pytest.raises(ValueError, match="two rows have the same labels"):
        evaluation.advance(twice.between(evaluation.next_time, boundary + 300))
