"""Label sets and matrices: identity of a series from query to metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import labels, matrix

from detector.labels import label_set, output_labels, result_labels
from detector.policy import Policy
from detector.series import SeriesMatrix, empty_matrix

NAMES = st.sampled_from(["job", "instance", "signal", "kind", "channel", "exported_kind", "zone"])


def test_result_labels_follow_the_rule() -> None:
    result = {"__name__": "up", "job": "a", "team": "x", "anomaly_name": "old"}
    rule = (("anomaly_name", "rps"), ("anomaly_type", "traffic"), ("team", "y"), ("job", ""))
    assert result_labels(result, rule) == (("team", "y"),)


def test_an_empty_label_is_an_absent_one() -> None:
    assert label_set({"b": "2", "a": "1", "c": ""}) == (("a", "1"), ("b", "2"))


def test_reserved_labels_are_kept_under_another_name() -> None:
    result = {"signal": "s", "kind": "k", "channel": "c", "exported_signal": "e", "instance": "i"}
    out = output_labels(result_labels(result, ()), "rps", "traffic")
    assert out == {
        "exported_signal": "e",
        "exported_exported_signal": "s",
        "exported_kind": "k",
        "exported_channel": "c",
        "instance": "i",
        "job": "",
        "signal": "rps",
        "kind": "traffic",
    }


def test_labels_that_are_written_alike_are_one_series() -> None:
    assert result_labels({"kind": "x"}, ()) == result_labels({"exported_kind": "x"}, ())


@given(st.dictionaries(NAMES, st.sampled_from(["x", "y"]), max_size=6))
def test_no_label_value_is_lost(own: dict[str, str]) -> None:
    out = output_labels(result_labels(own, ()), "rps", "traffic")
    assert out["signal"] == "rps"
    assert out["kind"] == "traffic"
    kept = {k: v for k, v in out.items() if k not in ("signal", "kind") and v}
    assert sorted(kept.values()) == sorted(own.values())
    assert {k for k in own if k not in ("signal", "kind", "channel")} <= kept.keys()


def grid_of(count: int = 4) -> SeriesMatrix:
    times = np.arange(600, 600 + count * 60, 60)
    return matrix(times, {labels(job="a"): np.arange(count, dtype=float)})


def test_between_is_half_open_and_a_view() -> None:
    samples = grid_of()
    part = samples.between(660, 780)
    assert part.times.tolist() == [660, 720]
    assert np.shares_memory(part.values, samples.values)
    assert samples.between(0, 600).times.size == 0


def test_every_takes_multiples_of_the_coarser_step() -> None:
    samples = matrix(np.arange(660, 1300, 60), {labels(job="a"): np.arange(11.0)})
    coarse = samples.every(300)
    assert coarse.times.tolist() == [900, 1200]
    assert coarse.values.tolist() == [[4.0, 9.0]]
    assert coarse.step == 300


def test_aligned_adds_absent_rows_and_reorders() -> None:
    samples = grid_of(2)
    both = samples.aligned((labels(job="b"), labels(job="a")))
    assert both.absent.tolist() == [[True, True], [False, False]]
    assert np.isnan(both.values[0]).all()
    assert both.values[1].tolist() == [0.0, 1.0]
    assert samples.aligned(()).values.shape == (0, 2)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        SeriesMatrix((), np.arange(3), np.zeros((1, 3)), np.zeros((1, 3), bool), 60)
    assert empty_matrix(60).values.shape == (0, 0)


@pytest.mark.parametrize(
    "times", [[0, 120, 60], [0, 60, 60], [120, 60, 0], [0.0, 60.0, np.nan], [0.0, 60.0, 120.0]]
)
def test_times_are_checked(times: list[float]) -> None:
    with pytest.raises(ValueError, match="times must be integers, unix seconds, ascending"):
        SeriesMatrix((), np.array(times), np.zeros((0, 3)), np.zeros((0, 3), bool), 60)


def test_rows_of_the_same_labels_are_refused() -> None:
    twice = (labels(job="a"), labels(job="a"))
    samples = SeriesMatrix(twice, np.array([60]), np.zeros((2, 1)), np.zeros((2, 1), bool), 60)
    for use in (samples.check_unique, lambda: samples.aligned((labels(job="b"),))):
        with pytest.raises(ValueError, match="two rows have the same labels"):
            use()


def test_bounded_has_no_infinity_and_is_the_same_matrix_without_one() -> None:
    samples = grid_of(4)
    assert samples.bounded() is samples
    assert samples.bounded(2.0).values.tolist()[0][:3] == [0.0, 1.0, 2.0]
    for far in (np.inf, -np.inf):
        found = matrix(samples.times, {labels(job="a"): np.array([0.0, far, np.nan, 1.0])})
        np.testing.assert_array_equal(found.bounded().values, [[0.0, np.nan, np.nan, 1.0]])
        assert found.values[0, 1] == far


@pytest.mark.parametrize(
    "given",
    [
        {"direction": "sideways"},
        {"missing": "nil"},
        {"sensitivity": -1},
        {"sensitivity": float("nan")},
        {"min_abs": float("nan")},
        {"min_rel": -0.1},
        {"lower": 1.0, "upper": 0.0},
        {"lower": float("nan")},
    ],
    ids=str,
)
def test_a_policy_that_means_nothing_is_refused(given: dict[str, Any]) -> None:
    (name, *_) = given
    with pytest.raises(ValueError, match=name):
        Policy(**given)
