"""Which samples conditions set apart: labels, ranges of time, days of the week."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import DAY, MONDAY, grid, labels, matrix

from detector.localtime import utc_offsets
from detector.masks import agreeing, masked
from detector.names import Mask
from detector.series import Condition, Labels, SeriesMatrix, Span, Weekly

TIMES = np.arange(MONDAY, MONDAY + 240, 60)
BOTH = Mask.UNTAUGHT | Mask.MUTED
EVERY_DAY = frozenset(range(7))


def yes(*where: int) -> np.ndarray:
    return np.isin(np.arange(4), where)


def samples(*keys: Labels) -> SeriesMatrix:
    return matrix(TIMES, {key: np.ones(4) for key in keys})


def bits(
    condition: Condition, of: SeriesMatrix, answer: Mapping[Labels, np.ndarray] | None = None
) -> list[list[int]]:
    mask = masked(of, (condition,), lambda asked, on: answer or {}).mask
    assert mask is not None
    return mask.tolist()


def query(bits: Mask = Mask.MUTED, **given: object) -> Condition:
    return Condition("masks.mute.0", bits, "x > 1", **given)


A, B, A1 = labels(job="a"), labels(job="b"), labels(job="a", instance="1")


def test_a_result_speaks_for_the_series_it_agrees_with() -> None:
    of = samples(A, B, A1)
    assert of.labels == (A1, A, B)
    by_job = {A: yes(1)}
    assert bits(query(), of, by_job) == [[0, 2, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]]
    for_all = {(): yes(0, 3)}
    assert bits(query(), of, for_all) == [[2, 0, 0, 2]] * 3
    # A series without the label is concerned by each of its values.
    by_instance = {labels(instance="1"): yes(0), labels(instance="2"): yes(3)}
    assert bits(query(), of, by_instance) == [[2, 0, 0, 0], [2, 0, 0, 2], [2, 0, 0, 2]]
    assert bits(query(), of, {labels(job="c"): yes(0, 1, 2, 3)}) == [[0] * 4] * 3


def test_a_gate_is_closed_where_nothing_opens_it() -> None:
    gate = query(BOTH, gate=True)
    assert bits(gate, samples(A, B), {A: yes(1, 2)}) == [[3, 0, 0, 3], [3, 3, 3, 3]]
    assert bits(gate, samples(A, B), {(): yes(0)}) == [[0, 3, 3, 3]] * 2
    assert bits(gate, samples(A), {}) == [[3] * 4]


def test_only_series_with_the_labels_of_match() -> None:
    of = samples(A, B, ())
    condition = query(match=labels(job="a"))
    assert bits(condition, of, {(): yes(0)}) == [[0] * 4, [2, 0, 0, 0], [0] * 4]
    span = Condition("masks.train.0", Mask.UNTAUGHT, Span(0, 2**40), match=labels(job="b"))
    assert bits(span, of) == [[0] * 4, [0] * 4, [1] * 4]


def test_conditions_add_up_and_leave_the_samples_alone() -> None:
    of = samples(A)
    train = Condition("masks.train.0", Mask.UNTAUGHT, Span(MONDAY, MONDAY + 120))
    mute = Condition("masks.mute.0", Mask.MUTED, Span(MONDAY + 60, MONDAY + 180))
    found = masked(of, (train, mute), lambda asked, on: {})
    assert found.mask is not None
    assert found.mask.tolist() == [[1, 3, 2, 0]]
    assert found.marked(Mask.MUTED).tolist() == [[False, True, True, False]]
    again = masked(found, (mute,), lambda asked, on: {})
    assert again.mask is not None
    assert again.mask.tolist() == [[1, 3, 2, 0]]
    assert of.mask is None
    assert masked(of, (), lambda asked, on: {}) is of
    nothing = samples()
    assert masked(nothing, (train,), lambda asked, on: {}) is nothing


NAMES = st.sampled_from(["job", "instance", "zone"])
LABELS = st.dictionaries(NAMES, st.sampled_from(["x", "y"])).map(lambda d: labels(**d))
ANSWERS = st.dictionaries(LABELS, st.lists(st.booleans(), min_size=3, max_size=3).map(np.array))


@given(st.lists(LABELS, unique=True), ANSWERS)
def test_looking_up_is_comparing_each_with_each(
    keys: list[Labels], answer: dict[Labels, np.ndarray]
) -> None:
    expected = np.zeros((len(keys), 3), bool)
    for s, key in enumerate(keys):
        own = dict(key)
        for result, where in answer.items():
            if all(own.get(name, value) == value for name, value in result):
                expected[s] |= where
    np.testing.assert_array_equal(agreeing(keys, answer, 3), expected)


def during(test: Span | Weekly, times: np.ndarray) -> np.ndarray:
    of = matrix(times, {A: np.ones(len(times))})
    found = masked(of, (Condition("masks.mute.0", BOTH, test),), lambda asked, on: {})
    assert found.mask is not None
    return found.mask[0] > 0


@pytest.mark.parametrize("zone", ["", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"])
@pytest.mark.parametrize(("start", "end"), [(0, DAY), (8 * 3600, 17 * 3600), (79200, 21600)])
@pytest.mark.parametrize("days", [EVERY_DAY, frozenset({5, 6}), frozenset({4})])
def test_days_and_hours_are_those_of_the_local_clock(
    zone: str, start: int, end: int, days: frozenset[int]
) -> None:
    # Over both changes of the clock in 2025.
    for change in (1743206400, 1761436800):
        times = np.arange(change - 2 * DAY, change + 2 * DAY, 1800)
        expected = []
        for time in times.tolist():
            local = datetime.fromtimestamp(time, ZoneInfo(zone) if zone else UTC)
            second = local.hour * 3600 + local.minute * 60
            if start < end:
                expected.append(local.weekday() in days and start <= second < end)
            else:
                before = (local.date() - timedelta(days=1)).weekday()
                late = local.weekday() in days and second >= start
                expected.append(late or (before in days and second < end))
        assert during(Weekly(days, start, end, zone), times).tolist() == expected


def test_a_span_ends_before_its_end() -> None:
    assert during(Span(MONDAY + 60, MONDAY + 180), TIMES).tolist() == [False, True, True, False]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"])
def test_offsets_are_those_of_the_library(zone: str) -> None:
    times = np.concatenate([grid(400, 6 * 3600), np.arange(1743296400 - 7200, 1743296400, 60)])
    expected = [
        datetime.fromtimestamp(t, ZoneInfo(zone)).utcoffset().total_seconds() for t in times
    ]
    assert utc_offsets(times, zone).tolist() == expected
    assert utc_offsets(times[:0], zone).tolist() == []
    assert utc_offsets(times, "").tolist() == [0] * len(times)
