"""What the default model learns from a history: seasons, their blend, level, scale, readiness."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from synthetic import DAY, MONDAY, grid, labels, matrix, traffic

from detector.kernels import widening
from detector.levels import middle
from detector.models import experts, seasonal
from detector.models.baseline import WEEK, Baseline, level_blocks
from detector.series import Float

A, B = labels(job="a"), labels(job="b")
STEP = 300
PER_DAY = DAY // STEP
MONTH = grid(28, STEP)


def fitted(x: Float, step: int = STEP, start: int = MONDAY) -> Baseline:
    times = np.arange(len(x)) * step + start
    return seasonal.fit(matrix(times, {A: x}))


def forecast(base: Baseline, times: Float, s: int = 0) -> Float:
    """Return what is expected at times on the profile grid after the history."""
    slots = WEEK // base.profile
    found: Float = base.table[s, times // base.profile % slots] + middle(base.blocks[s])
    return found


def ahead(days: float, start: float, step: int = STEP) -> Float:
    return grid(days, step, round(MONDAY + start * DAY))


def waves(times: Float, amplitude: float = 10.0, level: float = 50.0) -> Float:
    return level + amplitude * np.sin(times / DAY * 2 * np.pi)


def noise(count: int, seed: int, size: float = 1.0) -> Float:
    return size * np.random.default_rng(seed).standard_normal(count)


# What is expected.


def test_a_day_and_a_week_are_known_after_four_weeks() -> None:
    base = fitted(traffic(MONTH, 1))
    coming = ahead(7, 28)
    clean = traffic(coming, noise=0.0)
    error = np.abs(forecast(base, coming) / clean - 1)
    assert np.median(error) < 0.02
    # Neighbouring slots are pooled, which blurs the steps at the weekend's midnights.
    assert np.quantile(error, 0.98) < 0.05
    assert base.ready[0]
    assert base.samples[0] == len(MONTH)
    assert base.seconds[0] == MONTH[-1] - MONTH[0]


@pytest.mark.parametrize("days", [15, 16, 18, 20, 21, 28])
def test_weekends_are_known_from_fifteen_days_on(days: int) -> None:
    """Prometheus keeps fifteen days by default; whichever weekday the history begins on."""
    for begin in range(7):
        times = grid(days, STEP, MONDAY + begin * DAY)
        base = fitted(traffic(times, begin), start=int(times[0]))
        coming = grid(7, STEP, int(times[-1]) + STEP)
        clean = traffic(coming, noise=0.0)
        error = np.abs(forecast(base, coming) / clean - 1)
        weekend = (coming // DAY - MONDAY // DAY) % 7 >= 5
        for part in (weekend, ~weekend):
            assert np.median(error[part]) < 0.06, begin
            assert np.quantile(error[part], 0.95) < 0.15, begin


def test_weekdays_are_known_within_the_first_week() -> None:
    base = fitted(traffic(grid(4, STEP), 2))
    coming = ahead(1, 4)
    assert np.median(np.abs(forecast(base, coming) / traffic(coming, noise=0.0) - 1)) < 0.03


def test_a_series_without_season_is_its_level() -> None:
    base = fitted(100 + noise(len(MONTH), 3))
    error = forecast(base, ahead(7, 28)) - 100
    assert np.abs(error).max() < 1.5
    assert np.sqrt(np.mean(error**2)) < 0.5
    assert base.scale[0] == pytest.approx(1.0, rel=0.1)


def test_a_season_that_grows_with_the_level_keeps_its_proportion() -> None:
    """Traffic that doubles in four weeks has twice the amplitude."""
    growth = 1 + (MONTH - MONTH[0]) / (28 * DAY)
    base = fitted(traffic(MONTH, 4) * growth)
    coming = ahead(1, 28)
    clean = 2 * traffic(coming, noise=0.0)
    assert np.median(np.abs(forecast(base, coming) / clean - 1)) < 0.06


def test_an_amplitude_that_has_changed_is_followed_within_days() -> None:
    calm = waves(MONTH, amplitude=5.0)
    wild = waves(MONTH, amplitude=20.0)
    x = np.where(MONTH < MONDAY + 20 * DAY, calm, wild) + noise(len(MONTH), 5)
    coming = ahead(1, 28)
    error = forecast(fitted(x), coming) - waves(coming, amplitude=20.0)
    assert np.abs(error).mean() < 2.0


def test_what_erred_lately_has_less_say() -> None:
    """A season that began a week ago counts, though three weeks had none."""
    x = 50 + noise(len(MONTH), 23)
    x[-7 * PER_DAY :] += waves(MONTH[-7 * PER_DAY :], level=0.0)
    coming = ahead(1, 28)
    error = forecast(fitted(x), coming) - waves(coming)
    assert np.abs(error).mean() < 2.0


@pytest.mark.parametrize("since", [1, 2, 5])
def test_a_level_that_has_shifted_is_followed_within_a_day(since: int) -> None:
    x = waves(MONTH) + noise(len(MONTH), 6)
    x[-since * PER_DAY :] += 40.0
    coming = ahead(1, 28)
    error = forecast(fitted(x), coming) - waves(coming) - 40.0
    assert np.abs(error).mean() < 4.0


def test_no_expert_that_errs_has_a_say() -> None:
    """Of noise the daily profile is noise: the error is no larger than that of the best."""
    errors = {}
    for name, x in {
        "flat": 100 + noise(len(MONTH), 7),
        "daily": waves(MONTH) + noise(len(MONTH), 7),
        "walk": 100 + 0.3 * np.cumsum(noise(len(MONTH), 7)),
    }.items():
        base = fitted(x)
        off = np.abs(x - base.expected[0])
        errors[name] = np.nanmean(off[-14 * PER_DAY :])
    ideal = np.sqrt(2 / np.pi)
    assert errors["flat"] < 1.06 * ideal
    assert errors["daily"] < 1.12 * ideal


# Left-out honesty.


@examples(15, many=200)
@given(
    at=st.integers(0, 28 * PER_DAY - 1),
    size=st.sampled_from([30.0, -30.0, 1e6]),
    seed=st.integers(0, 9),
)
def test_a_sample_does_not_shape_its_own_expectation(at: int, size: float, seed: int) -> None:
    """What the calibration sees as a deviation of the past is one, not what was learnt from it."""
    x = 100 + noise(len(MONTH), seed)
    changed = x.copy()
    changed[at] += size
    one, other = fitted(x), fitted(changed)
    moved = abs(one.expected[0, at] - other.expected[0, at])
    # Only the weights of the experts, of all four weeks, may follow.
    assert moved < 0.5 or np.isnan(one.expected[0, at])


def test_noise_is_not_explained_away() -> None:
    """Two weeks of noise: residuals are as large as those of a forecast."""
    for seed in range(4):
        x = noise(15 * PER_DAY, seed)
        base = fitted(x[: 14 * PER_DAY])
        off = x[: 14 * PER_DAY] - base.expected[0]
        assert np.nanstd(off) > 0.98 * x.std()
        coming = ahead(1, 14)
        future = x[14 * PER_DAY :] - forecast(base, coming)
        assert np.nanstd(off) == pytest.approx(np.std(future), rel=0.1)


def test_nothing_after_the_history_is_needed_and_nothing_of_it_is_changed() -> None:
    x = traffic(MONTH, 8)
    kept = x.copy()
    one, again = fitted(x), fitted(x)
    np.testing.assert_array_equal(x, kept)
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, vars(again)[name], name)


def test_one_incident_shapes_neither_season_nor_scale() -> None:
    x = traffic(MONTH, 9)
    dirty = x.copy()
    dirty[4000:4012] *= 20
    clean_base, base = fitted(x), fitted(dirty)
    coming = ahead(7, 28)
    off = np.abs(forecast(base, coming) / forecast(clean_base, coming) - 1)
    assert np.median(off) < 0.02
    assert off.max() < 0.3
    assert base.scale[0] < 1.3 * clean_base.scale[0]
    assert np.nanmin((dirty - base.expected[0])[4000:4012]) > 30 * base.scale[0]


def test_the_scale_is_the_deviation_of_what_was_not_expected() -> None:
    x = waves(MONTH) + noise(len(MONTH), 10, 2.0)
    base = fitted(x)
    assert base.scale[0] == pytest.approx(2.0, rel=0.12)


def test_the_scale_follows_the_expected_value_where_the_noise_does() -> None:
    """A busy hour may vary more than the night."""
    x = waves(MONTH, 180.0, 200.0) * (1 + noise(len(MONTH), 11, 0.1))
    base = fitted(x)
    assert widening(380.0, base.growth[0]) > 2 * widening(20.0, base.growth[0])
    # The scale is the deviation where it is not widened.
    pivot = base.growth[0, 1]
    near = np.abs(base.expected[0] / pivot - 1) < 0.2
    assert np.nanstd((x - base.expected[0])[near]) == pytest.approx(base.scale[0], rel=0.3)
    steady = fitted(waves(MONTH, 180.0, 200.0) + noise(len(MONTH), 11, 5.0))
    assert widening(20.0, steady.growth[0]) == widening(380.0, steady.growth[0]) == 1.0


def test_the_scale_has_a_floor_worth_a_humans_time() -> None:
    still = fitted(np.full(len(MONTH), 500.0))
    assert still.scale[0] >= seasonal.MAGNITUDE_FLOOR * 500.0
    exact = fitted(waves(MONTH))
    assert exact.scale[0] >= seasonal.RANGE_FLOOR * 18.0


# The reference of slow trends.


def test_the_reference_is_the_median_day() -> None:
    x = 10 + noise(len(MONTH), 12)
    x[5 * PER_DAY : 6 * PER_DAY] += 100
    base = fitted(x)
    assert base.reference[0, 0] == pytest.approx(10.0, abs=0.2)
    assert base.reference[0, 1] < 1.0


# Readiness.


def test_a_day_is_enough_and_less_is_not() -> None:
    day = traffic(grid(1, STEP))
    assert fitted(day).ready[0]
    assert not fitted(day[:-1]).ready[0]


def test_too_few_samples_are_not_enough() -> None:
    sparse = np.full(PER_DAY * 3, np.nan)
    count = seasonal.LEAST_SAMPLES
    sparse[:: len(sparse) // (count - 2)] = 1.0
    assert np.isfinite(sparse).sum() < count
    assert not fitted(sparse).ready[0]
    assert not fitted(np.full(500, np.nan)).ready[0]
    assert not fitted(np.empty(0)).ready[0]


def test_ready_is_ready() -> None:
    """A series that is scored has a scale and an expected value at every slot."""
    for share in (0.02, 0.1, 0.5):
        rng = np.random.default_rng(13)
        for days in (1, 2, 9, 28):
            x = traffic(grid(days, STEP), 13)
            x[rng.random(len(x)) > share] = np.nan
            base = fitted(x)
            if base.ready[0]:
                assert base.scale[0] > 0
                assert np.isfinite(base.table[0]).all()


# Real life.

SHAPES: dict[str, Callable[[int], Float]] = {
    "constant": lambda n: np.full(n, 7.0),
    "zeros": lambda n: np.zeros(n),
    "small counts": lambda n: np.random.default_rng(14).poisson(0.05, n).astype(float),
    "huge": lambda n: 1e300 * waves(np.arange(n) * STEP, 0.1, 1.0),
    "tiny": lambda n: 1e-300 * waves(np.arange(n) * STEP),
    "both huge": lambda n: 1e300 * np.linspace(-1, 1, n),
    "negative": lambda n: -1e6 + waves(np.arange(n) * STEP) + noise(n, 15),
    "huge offset": lambda n: 1e15 + waves(np.arange(n) * STEP),
    "one spike": lambda n: np.where(np.arange(n) == n // 2, 1e300, 1.0),
    "one sample": lambda n: np.where(np.arange(n) == n // 2, 1.0, np.nan),
    "nothing": lambda n: np.full(n, np.nan),
    "two values": lambda n: np.arange(n) % 2.0,
    "sawtooth": lambda n: np.arange(n) % 500.0,
}


@pytest.mark.parametrize("days", [0.01, 0.5, 1, 2.3, 8, 15, 28])
@pytest.mark.parametrize("name", SHAPES)
def test_any_series_has_a_defined_fit(name: str, days: float) -> None:
    x = SHAPES[name](round(days * PER_DAY))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        base = fitted(x)
    for value in vars(base).values():
        if isinstance(value, np.ndarray):
            assert not np.isinf(value).any()
    assert base.expected.shape == (1, len(x))
    assert base.table.shape == (1, 7 * PER_DAY)
    if days >= 1 and name not in ("one sample", "nothing"):
        assert base.ready[0]
        assert base.scale[0] > 0
        assert np.isfinite(base.table[0]).all()


@pytest.mark.parametrize("value", [0.0, 7.0, -3.0, 0.1, 1e9 + 1, 1e300, -1e300, 1e-300])
def test_a_constant_is_expected_as_it_is(value: float) -> None:
    base = fitted(np.full(len(MONTH), value))
    # But for the last digit of a float32, and what is too small for one.
    np.testing.assert_allclose(forecast(base, ahead(7, 28)), value, rtol=1e-7, atol=1e-40)
    assert abs(forecast(base, ahead(7, 28)) - value).max() <= 1e-4 * base.scale[0]


def test_one_absurd_sample_sets_no_unit() -> None:
    """The fit is made in a smaller range than samples have."""
    usual = traffic(MONTH)
    base, absurd = (fitted(np.where(np.arange(len(MONTH)) == at, 1e300, usual)) for at in (-1, 99))
    coming = ahead(7, 28)
    np.testing.assert_allclose(forecast(absurd, coming), forecast(base, coming), rtol=0.01)
    assert absurd.scale[0] == pytest.approx(base.scale[0], rel=0.1)
    huge = fitted(1e306 * usual)
    np.testing.assert_allclose(forecast(huge, coming) / 1e306, forecast(base, coming), rtol=1e-3)
    assert huge.scale[0] / 1e306 == pytest.approx(base.scale[0], rel=1e-3)


def test_zeros_with_rare_counts_are_expected_to_be_zero() -> None:
    base = fitted(SHAPES["small counts"](len(MONTH)))
    assert np.abs(forecast(base, ahead(7, 28))).max() < 0.3
    assert 0.05 < base.scale[0] < 0.5


@pytest.mark.parametrize("factor", [2.0**-20, 4.0, 2.0**900, -1.0, -8.0])
def test_unit_and_sign_change_nothing(factor: float) -> None:
    """A series that is half negative: seasons in proportion are for positive ones."""
    x = waves(MONTH, 10.0, 0.0) + noise(len(MONTH), 16)
    one, other = fitted(x), fitted(x * factor)
    for name in ("table", "blocks", "expected"):
        np.testing.assert_allclose(
            getattr(other, name), getattr(one, name) * factor, rtol=1e-9, atol=1e-9 * abs(factor)
        )
    np.testing.assert_allclose(other.scale, one.scale * abs(factor), rtol=1e-9)
    np.testing.assert_allclose(
        other.reference, one.reference * [factor, abs(factor)], rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("factor", [2.0**-30, 64.0, 2.0**900])
def test_the_unit_of_a_positive_series_changes_nothing(factor: float) -> None:
    x = traffic(MONTH, 17)
    one, other = fitted(x), fitted(x * factor)
    np.testing.assert_allclose(other.table, one.table * factor, rtol=1e-9)
    np.testing.assert_allclose(other.scale, one.scale * factor, rtol=1e-9)


@pytest.mark.parametrize("shift", [-64.0, 4.0])
def test_an_offset_changes_nothing_but_the_level(shift: float) -> None:
    """As long as it is no positive series before or after, and the floors of the scale are low."""
    x = waves(MONTH, 10.0, -16.0) + noise(len(MONTH), 18)
    one, other = fitted(x), fitted(x + shift)
    np.testing.assert_allclose(other.expected, one.expected + shift, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(other.table, one.table + shift, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(other.scale, one.scale, rtol=1e-6)


def test_rows_do_not_influence_each_other() -> None:
    times = grid(10, STEP)
    rows = {A: traffic(times, 19), B: 1e9 * traffic(times, 20)}
    both = seasonal.fit(matrix(times, rows))
    alone = seasonal.fit(matrix(times, {B: rows[B]}))
    for name in ("table", "blocks", "expected", "scale", "growth", "reference", "seconds"):
        np.testing.assert_array_equal(getattr(both, name)[1], getattr(alone, name)[0], name)


@pytest.mark.parametrize("every", [2, 3, 7])
def test_irregular_scrapes_are_enough(every: int) -> None:
    x = traffic(MONTH, 21)
    sparse = np.full(len(x), np.nan)
    sparse[::every] = x[::every]
    base = fitted(sparse)
    coming = ahead(7, 28)
    clean = traffic(coming, noise=0.0)
    assert np.median(np.abs(forecast(base, coming) / clean - 1)) < 0.04


@pytest.mark.parametrize("hours", [1, 12, 24, 72, 200])
@pytest.mark.parametrize("where", ["middle", "end"])
def test_a_gap_is_no_information(hours: int, where: str) -> None:
    x = traffic(MONTH, 22)
    end = len(x) if where == "end" else len(x) // 2
    x[end - hours * 12 : end] = np.nan
    base = fitted(x)
    coming = ahead(7, 28)
    clean = traffic(coming, noise=0.0)
    level = middle(base.blocks[0])
    expected = base.table[0, coming // STEP % (7 * PER_DAY)] + (0.0 if np.isnan(level) else level)
    assert base.ready[0]
    assert np.median(np.abs(expected / clean - 1)) < 0.04
    seen = np.isfinite(x)
    assert np.isfinite(base.expected[0, seen][2 * PER_DAY :]).all()


@examples(40)
@given(
    days=st.floats(0, 9),
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    values=st.sampled_from([0.0, 1.0, 1e300, 1e-300]),
    offset=st.integers(0, 2015),
    step=st.sampled_from([300, 3600]),
)
def test_arbitrary_holes_and_begins(
    days: float, seed: int, share: float, values: float, offset: int, step: int
) -> None:
    rng = np.random.default_rng(seed)
    x = values * rng.standard_normal(round(days * DAY / step))
    x[rng.random(len(x)) < share] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        base = fitted(x, step=step, start=MONDAY + offset * step)
    if base.ready[0]:
        assert base.scale[0] > 0
        assert np.isfinite(base.table[0]).all()
        assert np.isfinite(base.growth).all()
    assert base.blocks.shape == (1, level_blocks(DAY // base.profile)[0])


@pytest.mark.parametrize("profile", [60, 900, 3600, 43_200, DAY])
def test_other_profile_grids(profile: int) -> None:
    times = grid(28, profile)
    base = seasonal.fit(matrix(times, {A: traffic(times)}))
    assert base.table.shape == (1, WEEK // profile)
    assert base.ready[0]
    coming = ahead(7, 28, profile)
    clean = traffic(coming, noise=0.0)
    assert np.median(np.abs(forecast(base, coming) / clean - 1)) < 0.1


def test_an_error_that_each_week_has_is_no_incident() -> None:
    """What comes back counts in full, what one week has does not."""
    day, week = 24, 7 * 24
    errors = np.full(4 * week, 0.5, np.float32)
    errors[::5] = np.nan
    assert experts._every_week(errors, week) == 0.5
    errors[2 * week + 3] = 500.0
    assert experts._every_week(errors, week) == 0.5
    errors[2 * week + 3] = 0.5
    errors[6::week] = [50.0, 70.0, 40.0, 60.0]
    assert experts._every_week(errors, week) == 40.0
    errors[:week] = np.nan
    assert experts._every_week(errors, week) == 40.0
    assert experts._every_week(errors[-week:], week) == 0.0
    assert experts._every_week(errors[:day], week) == 0.0


def test_the_expert_that_knows_a_nightly_job_rules() -> None:
    """Half an hour of a day is two per cent: below the median error nothing is seen of it."""
    times = grid(28, 300)
    job = np.where((times % DAY >= 7200) & (times % DAY < 9000), 90.0, 5.0)
    base = fitted(job * np.random.default_rng(2).normal(1, 0.1, len(times)))
    running = (grid(7, 300) % DAY >= 7200) & (grid(7, 300) % DAY < 9000)
    slots = grid(7, 300) // 300 % base.table.shape[1]
    forecast = base.table[0, slots] + np.nanmedian(base.blocks[0])
    assert (forecast[running] > 60).all()
    assert (forecast[~running] < 30).all()


# Slopes.


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("weekly", [False, True])
def test_a_slope_is_what_a_week_moves(sign: float, weekly: bool) -> None:
    days = (MONTH - MONTH[0]) / DAY
    season = traffic if weekly else lambda t, s=0, noise=0.05: traffic(t % DAY + MONDAY, s, noise)
    base = fitted(100 + sign * 2.0 * days + season(MONTH, 41))
    assert base.slope[0] == pytest.approx(sign * 14.0, rel=0.1)
    # The day to come is as far on as the day before it was: 2 further, which weekends blur.
    coming = ahead(1, 28)
    expected = 100 + sign * 2.0 * (coming - MONTH[0]) / DAY + season(coming, noise=0.0)
    blur = 1.8 if weekly else 0.5
    assert np.median(forecast(base, coming) - expected) == pytest.approx(0.0, abs=blur)


@pytest.mark.parametrize(
    "moves",
    [
        lambda days: 0.0 * days,
        lambda days: 14.0 * (days // 7),
        lambda days: np.where(days < 20, 0.0, 40.0),
        lambda days: 5.0 * np.sin(days),
        lambda days: np.where(days < 14, 2.0 * days, 28.0),
    ],
    ids=["nothing", "staircase", "step", "waves", "slope that ended"],
)
def test_what_is_no_slope(moves: Callable[[Float], Float]) -> None:
    days = (MONTH - MONTH[0]) / DAY
    assert fitted(100 + moves(days) + traffic(MONTH, 42)).slope[0] == 0.0


# Jobs.


@pytest.mark.parametrize("cut", [0, 2, 5])
def test_a_weekly_job_of_half_an_hour_is_known_whenever_the_fit_is_made(cut: int) -> None:
    """Half hours are those of the clock, and what is expected is the usual week, not the least."""
    times = MONTH + cut * STEP
    job = times % WEEK // STEP
    job = (job >= 600) & (job < 606)
    base = fitted(20 + noise(len(times), 51) + 6.0 * job, start=MONDAY + cut * STEP)
    slots = np.flatnonzero(job)[-6:]
    expected = forecast(base, times[slots] + WEEK)
    assert expected.mean() == pytest.approx(26, abs=0.8)


def test_the_scale_of_counts_follows_their_level() -> None:
    """Their noise is the root of what is expected, nights and days alike."""
    rate = waves(MONTH, 200, 300)
    rng = np.random.default_rng(52)
    counts = [fitted(rng.poisson(rate).astype(float)).growth[0, 0] for _ in range(6)]
    added = [fitted(rate + 8 * rng.standard_normal(len(MONTH))).growth[0, 0] for _ in range(6)]
    assert sum(counts) >= 5 * 0.5
    assert not any(added)
