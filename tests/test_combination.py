"""How the channels make one score."""

from __future__ import annotations

import numpy as np
import pytest

from detector import combination
from detector.channels import (
    CHANNELS,
    JUMP,
    LOUD_STEPS,
    NOVELTY,
    SHAPE,
    SMOOTHED_STEPS,
    SPIKE,
    SPREAD,
    SUSTAINED,
    TREND,
    UNREST,
)
from detector.combination import MOST_PREDICTABLE

MEASURED = [c for c in range(CHANNELS) if c != TREND]


def weights_at(surprise: float, shaped: bool) -> tuple[np.ndarray, float]:
    """Weights and smoothing of a series whose deviations leave this much of themselves."""
    weights = np.empty(CHANNELS)
    return weights, combination.weigh(surprise, shaped, weights)


@pytest.mark.parametrize("shaped", [True, False])
@pytest.mark.parametrize("surprise", [0.02, 0.85, 1.0, 3.0])
def test_a_combination_is_a_mean_of_squares(surprise: float, shaped: bool) -> None:
    """Never the maximum: one channel that shouts is outvoted, all that agree are right."""
    weights, _ = weights_at(surprise, shaped)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0.0).all()
    for count in (TREND, SHAPE, CHANNELS):
        assert combination.combined(np.full(CHANNELS, 3.0), weights, count) == pytest.approx(9.0)
    for c in MEASURED:
        one = np.zeros(CHANNELS)
        one[c] = 3.0
        power = combination.combined(one, weights, CHANNELS)
        # Where deviations go on by themselves, hours of them are no news.
        silent = (c == UNREST and surprise <= MOST_PREDICTABLE) or (not shaped and c >= SHAPE)
        assert (power > 0.0) != silent
        assert power < 5.0


def test_a_jump_weighs_more_the_better_deviations_are_predicted() -> None:
    by = [weights_at(surprise, True)[0] for surprise in (0.3, 0.8, 0.87, 0.95, 1.0)]
    ratios = [w[JUMP] / w[SPIKE] for w in by]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] == ratios[1] > ratios[2] > ratios[3] == ratios[4]


@pytest.mark.parametrize("newest", [0.5, 0.96])
def test_a_smoothed_score_is_the_largest_of_three_means(newest: float) -> None:
    raw = np.random.default_rng(0).exponential(1, 30)
    ring = np.zeros((2, SMOOTHED_STEPS))
    said = [combination.smoothed(value, newest, ring) for value in raw]
    before = np.concatenate([np.zeros(4), raw])
    rest = (1 - newest) / 3
    means = [
        (newest + rest) * before[k] + rest * (before[k - 1] + before[k - 2]) for k in range(2, 34)
    ]
    assert said == pytest.approx([max(means[k - 2 : k + 1]) for k in range(2, 32)])


def hushed(level: list[float], window: float, shaped: bool) -> np.ndarray:
    """Evidence of all channels at the last of these steps, float64[C]; windows say `window`."""
    loud = np.zeros(LOUD_STEPS)
    evidence = np.zeros(CHANNELS)
    for value in level:
        evidence[:] = 0.0
        evidence[SPIKE], evidence[SUSTAINED] = value, 0.5 * value
        evidence[[SPREAD, NOVELTY, SHAPE, UNREST]] = window
        combination.hush(evidence, loud, shaped)
    return evidence


def test_a_window_says_what_it_finds_while_the_incident_lasts() -> None:
    for shaped in (True, False):
        evidence = hushed([1.0, 8.0, 8.0], 8.0, shaped)
        np.testing.assert_array_equal(evidence[[SPREAD, NOVELTY, SHAPE]], 8.0)


@pytest.mark.parametrize("shaped", [True, False])
def test_a_window_says_less_when_the_incident_is_over(shaped: bool) -> None:
    evidence = hushed([8.0] * 3 + [0.5] * 5, 8.0, shaped)
    np.testing.assert_array_equal(evidence[[NOVELTY, SHAPE, UNREST]], combination.ALONE + 0.5)
    assert evidence[SPREAD] == (8.0 if shaped else pytest.approx(8.0 * 1.5 / 9.0))


@pytest.mark.parametrize("shaped", [True, False])
def test_a_window_speaks_for_itself_where_no_sample_deviates(shaped: bool) -> None:
    """A flat line, or a course never seen, says so without a deviation."""
    evidence = hushed([0.2] * 12, 2.0, shaped)
    np.testing.assert_array_equal(evidence[[SPREAD, NOVELTY, SHAPE]], 2.0)


def test_nothing_is_changed_where_channels_are_silent() -> None:
    weights, _ = weights_at(0.85, True)
    assert combination.combined(np.zeros(CHANNELS), weights, CHANNELS) == 0.0
    assert hushed([0.0] * 20, 0.0, False).sum() == 0.0
