"""What the model learns from a history: profiles, their blend, level, scale, readiness."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import DAY, MONDAY, grid, labels, matrix, traffic

from detector.models import seasonal

A, B = labels(job="a"), labels(job="b")


def fitted(x: np.ndarray, step: int = 300, start: int = MONDAY) -> tuple[seasonal.Baseline, float]:
    times = np.arange(len(x)) * step + start
    base, z = seasonal.fit(matrix(times, {A: x}))
    return base, z[0]


def test_profiles_levels_and_scale_of_a_known_series() -> None:
    times = grid(28, 300)
    rate = traffic(times, 1)
    base, z = fitted(rate)
    clean = traffic(times, noise=0.0)
    week = base.week[0] + base.level[0, 2]
    # Slots of the week are counted from the epoch, a Thursday; the history began on a Monday.
    at = times[-2016:] // 300 % 2016
    error = np.abs(week[at] / clean[-2016:] - 1)
    assert np.median(error) < 0.02
    # Pooling blurs the steps at the weekend's midnights a little.
    assert np.quantile(error, 0.98) < 0.05
    assert base.scale[0] == pytest.approx(0.05 * np.sqrt(np.mean(clean**2)), rel=0.25)
    assert np.nanstd(z) == pytest.approx(1.0, abs=0.1)
    assert base.ready[0]
    assert base.samples[0] == len(times)
    assert base.seconds[0] == times[-1] - times[0]


def test_the_blend_follows_what_predicts_best() -> None:
    times = grid(28, 300)
    noise = np.random.default_rng(2).standard_normal(len(times))
    flat = fitted(100 + noise)[0].weight[0]
    daily = fitted(100 + 30 * np.sin(times / DAY * 2 * np.pi) + noise)[0].weight[0]
    weekly = fitted(traffic(times, 2, noise=0.01))[0].weight[0]
    for weight in (flat, daily, weekly):
        assert weight.sum() == pytest.approx(1.0)
    assert flat[0] > 0.2
    assert daily[0] < 0.01 < daily[1]
    assert weekly[2] > 0.9


def test_with_less_than_two_weeks_the_week_has_no_say() -> None:
    base, _ = fitted(traffic(grid(6, 300)))
    assert base.weight[0, 2] == 0
    assert np.isnan(base.week[0]).all()
    assert base.ready[0]


def test_one_incident_in_the_history_shapes_neither_profile_nor_scale() -> None:
    times = grid(28, 300)
    rate = traffic(times, 3)
    dirty = rate.copy()
    dirty[4000:4012] *= 20
    clean_base, _ = fitted(rate)
    base, z = fitted(dirty)
    np.testing.assert_allclose(base.day[0], clean_base.day[0], rtol=0.05)
    np.testing.assert_allclose(base.week[0], clean_base.week[0], rtol=0.25)
    assert base.scale[0] < 1.2 * clean_base.scale[0]
    assert z[4000:4012].min() > 30


def test_too_little_is_not_ready() -> None:
    day = traffic(grid(1, 300))
    assert fitted(day)[0].ready[0]
    assert not fitted(day[:-1])[0].ready[0]
    sparse = np.full(288 * 3, np.nan)
    sparse[::50] = 1.0
    assert not fitted(sparse)[0].ready[0]
    sparse[::40] = 1.0
    assert fitted(sparse)[0].ready[0]
    nothing = fitted(np.full(500, np.nan))
    assert not nothing[0].ready[0]
    assert np.isnan(nothing[1]).all()


def test_residuals_are_those_of_unseen_data() -> None:
    """The own day and week are left out: two weeks of pure noise are not explained away."""
    noise = np.random.default_rng(4).standard_normal(14 * 288)
    base, z = fitted(noise)
    assert np.nanstd(z * base.scale[0]) > 0.98 * noise.std()


def test_rows_do_not_influence_each_other() -> None:
    times = grid(10, 300)
    rows = {A: traffic(times, 5), B: 1e9 * traffic(times, 6)}
    both, z = seasonal.fit(matrix(times, rows))
    alone, z_alone = seasonal.fit(matrix(times, {B: rows[B]}))
    np.testing.assert_array_equal(both.day[1], alone.day[0])
    np.testing.assert_array_equal(both.ring[1], alone.ring[0])
    np.testing.assert_array_equal(z[1], z_alone[0])


@pytest.mark.parametrize("profile", [60, 3600, 43_200, DAY])
def test_other_profile_grids(profile: int) -> None:
    times = grid(20, profile)
    base, _ = seasonal.fit(matrix(times, {A: traffic(times)}))
    assert base.day.shape == (1, DAY // profile)
    assert base.week.shape == (1, 7 * DAY // profile)
    assert base.ready[0]
