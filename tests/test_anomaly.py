"""The description of an anomalous series: numbers that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from detector import names
from detector.anomaly import REASONS, describe
from detector.models.baseline import DAY
from detector.series import Labels, Scores, SeriesMatrix, Signal

KEY: Labels = (("job", "api"),)
STEP = 60
SIGNAL = Signal("rps", "traffic", (("up", ()),))


def _scores(state: np.ndarray, shares: dict[str, float], start: int = 40 * DAY) -> Scores:
    count = len(state)
    full = np.full((1, count), 2.0)
    evidence = np.full((1, count, len(names.CHANNELS)), np.nan)
    for name in names.CHANNELS:
        evidence[0, state == 1, names.CHANNELS.index(name)] = shares.get(name, 0.0)
    return Scores(
        labels=(KEY,),
        times=start + STEP * np.arange(count),
        observed=full * 3,
        expected=full,
        lower=full * 0.5,
        upper=full * 1.5,
        score=full,
        evidence=evidence,
        state=state.astype(np.int8)[None],
    )


def test_a_calm_series_needs_no_explanation() -> None:
    assert describe(SIGNAL, _scores(np.zeros(5), {}), 0) is None


def test_numbers_evidence_and_beginning_of_the_episode() -> None:
    state = np.zeros(100)
    state[90:] = 1
    scores = _scores(state, {"jump": 0.7, "sustained": 0.295, "shape": 0.005})
    found = describe(SIGNAL, scores, 0)
    assert found is not None
    assert (found.observed, found.expected, found.lower, found.upper) == (6.0, 2.0, 1.0, 3.0)
    assert found.evidence == (("jump", 0.7), ("sustained", 0.295))
    assert found.reason == REASONS["jump"]
    assert found.since == scores.times[90]
    assert found.episodes == 1
    assert np.isnan(found.usual).all()


@pytest.mark.parametrize(("gap", "episodes"), [(5, 1), (30, 2)])
def test_runs_that_are_close_are_one_incident(gap: int, episodes: int) -> None:
    state = np.zeros(100)
    state[10:20] = 1
    state[20 + gap : 25 + gap] = 1
    found = describe(SIGNAL, _scores(state, {"spike": 1.0}), 0, column=22 + gap)
    assert found is not None
    assert found.episodes == episodes
    assert found.since == 40 * DAY + STEP * (20 + gap)


def test_only_the_last_thirty_days_count() -> None:
    days = 35
    state = np.zeros(days * 24)
    state[[0, 24 * 20, -1]] = 1
    scores = _scores(state, {"spike": 1.0})
    hourly = Scores(**{**vars(scores), "times": 40 * DAY + 3600 * np.arange(days * 24)})
    found = describe(SIGNAL, hourly, 0)
    assert found is not None
    assert found.episodes == 2


def test_the_usual_range_is_that_of_the_time_of_day() -> None:
    times = 40 * DAY + 300 * np.arange(-20 * 288, 0)
    at_night = times % DAY < 6 * 3600
    values = np.where(at_night, 10.0, 100.0)[None]
    values[0, -1] = np.nan
    history = SeriesMatrix((KEY,), times, values, np.zeros(values.shape, bool), 300)
    state = np.ones(60 * 12)
    found = describe(SIGNAL, _scores(state, {"spike": 1.0}), 0, column=60, history=history)
    assert found is not None
    assert found.usual == (10.0, 10.0)
    noon = describe(SIGNAL, _scores(state, {"spike": 1.0}), 0, column=660, history=history)
    assert noon is not None
    assert noon.usual == (100.0, 100.0)
