"""Hours that are noisier than others, and what comes a little early or late."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detector import kernels
from detector.clock import DAYS, WIDEST, around, fit_widths, unforeseen

DAY = 24
NAN = math.nan
CONSTANT = np.array([0.0, 1.0])
NUMBERS = st.floats(-1e6, 1e6)
SOME = st.one_of(st.just(NAN), NUMBERS)


def widths_of(
    x: np.ndarray, expected: np.ndarray, growth: np.ndarray = CONSTANT, first: int = 0
) -> np.ndarray:
    widths = np.full(7 * DAY, NAN, np.float32)
    fit_widths(x, expected, growth, 1.0, first, DAY, widths)
    return widths


@given(st.data(), st.integers(0, 700), st.integers(0, 1000), st.sampled_from([0.0, 0.5, 1.0]))
@examples(50)
def test_widths_are_those_of_the_naive_twin(
    data: st.DataObject, n: int, first: int, exponent: float
) -> None:
    x = data.draw(arrays(float, n, elements=SOME))
    expected = data.draw(arrays(float, n, elements=SOME))
    growth = np.array([exponent, 7.0])
    wider = [kernels.widening(value, growth) for value in expected]
    found = widths_of(x, expected, growth, first)
    # Deviations are float32.
    np.testing.assert_allclose(found, naive.widths(x, expected, wider, 1.0, first, DAY), rtol=1e-5)


def test_a_noisy_hour_is_wider_and_an_incident_is_not() -> None:
    x = np.zeros((20, DAY))
    x[::2, 8] = 50.0
    x[-DAYS : -DAYS + 3, 20] = 1000.0
    found = widths_of(x.ravel(), np.zeros(x.size), first=DAY + 5)
    for day in found.reshape(7, DAY):
        assert set(np.flatnonzero(day > 1.0)) == {11, 12, 13, 14, 15}
        np.testing.assert_allclose(day[11:16], 47.0)


def test_an_hour_that_is_noisy_each_week_is_wider_and_two_incidents_are_not() -> None:
    x = np.zeros((4, 7 * DAY))
    x[:3, 50] = 50.0, -40.0, 30.0
    x[1:3, 108] = 1000.0
    for weeks in (4, 3):
        found = widths_of(x[:weeks].ravel(), np.zeros(weeks * 7 * DAY), first=5)
        assert set(np.flatnonzero(found > 1.0)) == {53, 54, 55, 56, 57}
        np.testing.assert_allclose(found[53:58], 30.0 / 0.85)


@pytest.mark.parametrize("days", [0, 1, 3])
def test_a_few_days_widen_nothing(days: int) -> None:
    assert (widths_of(np.full(days * DAY, 1e9), np.zeros(days * DAY)) == 1.0).all()


def test_a_slot_without_samples_is_as_wide_as_any() -> None:
    x = np.full((10, DAY), 1e300)
    x[:, 5:15] = NAN
    found = widths_of(x.ravel(), np.zeros(x.size))
    for day in found.reshape(7, DAY):
        np.testing.assert_array_equal(day[7:13], 1.0)
        np.testing.assert_array_equal(day[:7], WIDEST)


@given(SOME, NUMBERS, SOME, st.floats(0, 1, exclude_max=True), st.floats(0, 1e6))
@examples(200)
def test_between_the_slots_around_everything_is_expected(
    before: float, now: float, after: float, part: float, slack: float
) -> None:
    value, up, down = around(before, now, after, part, slack)
    if part > 0.0 and math.isnan(after):
        assert math.isnan(value)
        return
    assert value == near(now + part * (after - now) if part > 0.0 else now)
    sides = [v for v in ([now, after] if part > 0.0 else [before, now, after]) if v == v]
    assert up == near(max(max(sides) - value - slack, 0.0))
    assert down == near(max(value - min(sides) - slack, 0.0))
    assert around(before, now, after, part, math.inf)[1:] == (0.0, 0.0)


def near(value: float) -> object:
    """Equal but for the rounding of numbers up to a million."""
    return pytest.approx(value, rel=1e-9, abs=1e-6)


def test_what_is_left_of_a_deviation() -> None:
    left = [unforeseen(r, 2.0, 5.0) for r in (-9.0, -5.0, -1.0, 0.0, 2.0, 3.5)]
    assert left == [-4.0, 0.0, 0.0, 0.0, 0.0, 1.5]
    assert math.isnan(unforeseen(NAN, 2.0, 5.0))
    assert math.isnan(unforeseen(1.0, *around(1.0, NAN, 2.0, 0.5, 0.0)[1:])) is False
