"""Durations in Prometheus' notation, both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.durations import format_duration, parse_duration
from detector.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("28d", 2419200), ("2w", 1209600), ("250ms", 0.25)],
)
def test_parse(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(("number", "seconds"), [(60, 60.0), (0.5, 0.5), ("60", 60.0)])
def test_a_bare_number_is_seconds(number: str | float, seconds: float) -> None:
    assert parse_duration(number) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "m", "5 m", "1x", "-5m", "5m!", "0s", 0, -1, float("nan"), float("inf"), True, None],
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ConfigError):
        parse_duration(text)  # type: ignore[arg-type]


@given(st.integers(1, 10**9))
def test_round_trip(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(
        milliseconds / 1000
    )


def test_nothing_is_zero_seconds() -> None:
    assert format_duration(0) == "0s"
