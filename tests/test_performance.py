"""Measures of performance against scikit-learn, and what their counts allow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from simulator.churn.feedback import performance
from simulator.churn.feedback.performance import LOSSES, SCORES, measures, tally


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 400), st.integers(0, 10_000), st.sampled_from([2, 11, 1_000_000]))
def test_measures_equal_scikit_learn(rows: int, seed: int, grid: int) -> None:
    rng = np.random.default_rng(seed)
    scores = np.round(rng.beta(0.7, 2.0, rows) * (grid - 1)) / (grid - 1)
    truth = rng.random(rows) < rng.uniform(0.05, 0.95)
    truth[:2] = True, False
    found = measures(*tally(scores, truth))
    predicted = scores >= 0.5
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted))
    assert found["recall"] == pytest.approx(sk.recall_score(truth, predicted))
    if predicted.any():
        assert found["precision"] == pytest.approx(sk.precision_score(truth, predicted))
    else:
        assert np.isnan(found["precision"])
    assert found["f1"] == pytest.approx(sk.f1_score(truth, predicted, zero_division=0))
    assert found["auc"] == pytest.approx(sk.roc_auc_score(truth, scores))
    assert found["brier"] == pytest.approx(sk.brier_score_loss(truth, scores))
    assert found["log_loss"] == pytest.approx(sk.log_loss(truth, scores), rel=1e-9)
    assert found["calibration_error"] == pytest.approx(naive_calibration_error(scores, truth))
    assert set(found) == {*SCORES, *LOSSES}


def naive_calibration_error(scores: np.ndarray, truth: np.ndarray) -> float:
    total = 0.0
    for b in range(10):
        inside = [i for i, s in enumerate(scores) if min(int(s * 10), 9) == b]
        if inside:
            gap = sum(scores[i] for i in inside) - sum(truth[i] for i in inside)
            total += abs(gap)
    return total / len(scores)


def test_counts_of_replicas_add_up_to_one_process() -> None:
    rng = np.random.default_rng(1)
    scores = np.round(rng.random(3000), 2)
    truth = rng.random(3000) < scores
    grid = np.unique(scores)
    whole = measures(*tally(scores, truth))
    counts = np.zeros((2, len(grid)))
    for part in np.array_split(np.arange(3000), 3):
        values, churned, stayed = tally(scores[part], truth[part])
        place = np.searchsorted(grid, values)
        counts[0, place] += churned
        counts[1, place] += stayed
    together = measures(grid, counts[0], counts[1])
    for name, value in whole.items():
        assert together[name] == pytest.approx(float(value), rel=1e-12)


def test_windows_along_an_axis_are_independent_and_empty_ones_undefined() -> None:
    churned, stayed = np.array([[0, 3], [0, 0], [2, 0]]), np.array([[4, 1], [0, 0], [0, 0]])
    found = measures([0.2, 0.8], churned, stayed)
    alone = measures([0.2, 0.8], churned[0], stayed[0])
    for name, values in found.items():
        assert values.shape == (3,)
        assert values[0] == alone[name]
        assert np.isnan(values[1])
    # Nobody predicted to churn, one class only: what is not defined is not invented.
    assert np.isnan(found["precision"][2])
    assert np.isnan(found["auc"][2])
    assert found["recall"][2] == 0.0


def test_a_perfect_and_a_certain_wrong_score_stay_finite() -> None:
    found = measures(*tally([0.0, 1.0], [True, False]))
    assert np.isfinite(found["log_loss"])
    assert found["auc"] == 0.0
    assert performance.measures([1.0], [5], [0])["calibration_error"] == 0.0
