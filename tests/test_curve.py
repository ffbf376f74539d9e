"""The traffic curve: smooth, periodic, in its stated range, and shifted by `--at`."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from detector.errors import ConfigError
from simulator.curve import (
    DAY_SECONDS,
    WEEK_SECONDS,
    day_share,
    phase_for,
    requests_per_second,
    week_factor,
)

MONDAY = datetime(2026, 3, 2, tzinfo=UTC).timestamp()


def test_working_day_has_its_trough_at_four_and_its_peak_in_the_afternoon() -> None:
    minutes = np.arange(0, DAY_SECONDS, 60.0)
    rate = requests_per_second(MONDAY + DAY_SECONDS + minutes, peak=24.0)
    assert minutes[rate.argmin()] == 4 * 3600
    assert rate.min() == pytest.approx(0.42 * 24)
    assert rate.max() == pytest.approx(24.0)
    assert 15 * 3600 <= minutes[rate.argmax()] <= 20 * 3600
    between = (minutes >= 15 * 3600) & (minutes <= 20 * 3600)
    assert rate[between].min() > 0.95 * 24


def test_weekend_is_quieter_and_the_week_repeats() -> None:
    noon = MONDAY + np.arange(7) * DAY_SECONDS + 12 * 3600
    factors = week_factor(noon)
    np.testing.assert_allclose(factors, [1, 1, 1, 1, 1, 0.85, 0.75])
    np.testing.assert_allclose(
        requests_per_second(noon + WEEK_SECONDS), requests_per_second(noon), rtol=1e-12
    )


def test_the_curve_has_no_step_anywhere() -> None:
    seconds = MONDAY + np.arange(0, WEEK_SECONDS, 5.0)
    rate = requests_per_second(seconds, peak=24.0)
    slope = np.diff(rate)
    assert np.abs(slope).max() < 0.006
    assert np.abs(np.diff(slope)).max() < 1e-4


def test_scalar_and_array_agree() -> None:
    moments = MONDAY + np.array([0.0, 12345.6, 5.5 * DAY_SECONDS])
    one_by_one = [float(requests_per_second(t, 17.0, 10.0)) for t in moments]
    np.testing.assert_array_equal(requests_per_second(moments, 17.0, 10.0), one_by_one)
    assert day_share(MONDAY).shape == ()


@pytest.mark.parametrize("at", ["Sun 04:00", "sunday 04:00", " SUN  4:00 "])
def test_phase_makes_now_count_as_the_wanted_moment(at: str) -> None:
    now = MONDAY + 3.3 * DAY_SECONDS
    phase = phase_for(at, now)
    assert -WEEK_SECONDS / 2 <= phase < WEEK_SECONDS / 2
    assert datetime.fromtimestamp(now + phase, UTC).strftime("%a %H:%M:%S") == "Sun 04:00:00"
    assert requests_per_second(now, phase) == pytest.approx(0.42 * 0.75 * 24)


def test_no_wish_no_phase() -> None:
    assert phase_for(None, MONDAY) == 0.0


@pytest.mark.parametrize("at", ["", "Sun", "04:00", "Sun 24:00", "Sun 04:60", "Foo 04:00", "Sun 4"])
def test_an_unreadable_moment_is_refused(at: str) -> None:
    with pytest.raises(ConfigError, match="write for example"):
        phase_for(at, MONDAY)
