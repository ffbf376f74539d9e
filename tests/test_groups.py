"""The joint judgement of a group: what its forest finds, how series are matched, how it lives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from running import NOW, Running, past
from server import Server
from synthetic import grid, labels, matrix

from detector import groups, names
from detector.models import forest, zscore
from detector.policy import Policy
from detector.series import Float, Group, Labels, Scores

GROUP = Group("checkout", "forest", ("rate", "latency", "errors"), ("job",))
DAY = 288


def together(count: int, seed: int = 0, share: float = 0.8) -> Float:
    """Return deviations [3, count] of signals that move together, each with noise of its own."""
    rng = np.random.default_rng(seed)
    common, own = rng.standard_normal(count), rng.standard_normal((3, count))
    z: Float = np.sqrt(share) * common + np.sqrt(1 - share) * own
    return z


@pytest.fixture(scope="module")
def fitted() -> forest.Forest:
    found = forest.fit(together(14 * DAY), DAY)
    assert found is not None
    return found


def scored(fitted: forest.Forest, offset: tuple[float, ...], length: int = 24) -> tuple[Any, Any]:
    z = together(length + 40, seed=1)
    z[:, -length:] += np.array(offset)[:, None]
    score, evidence = fitted.score(z)
    return score[-length:], evidence[:, -length:]


def test_usual_moments_are_below_the_edge(fitted: forest.Forest) -> None:
    score, evidence = fitted.score(together(28 * DAY, seed=2))
    assert score.min() >= 0
    assert np.median(score) < 0.2
    assert (score > 1).sum() <= 1
    assert evidence.shape == (3, 28 * DAY - forest.LEAD)
    np.testing.assert_allclose(np.nansum(evidence, axis=0), 1.0)


def test_several_signals_off_at_once_are_found(fitted: forest.Forest) -> None:
    assert scored(fitted, (3, 3, 3))[0][:6].max() > 1
    assert scored(fitted, (1, 1, 1))[0].max() < 1


def test_signals_that_part_are_found_though_each_is_near_normal(fitted: forest.Forest) -> None:
    score, evidence = scored(fitted, (2, -2, 0))
    assert score[:6].max() > 1
    assert np.median(evidence[2]) < 0.2
    assert scored(fitted, (2, 2, 2))[0].max() < score.max()


def test_further_off_scores_more_and_absurd_values_do_no_harm(fitted: forest.Forest) -> None:
    tops = [scored(fitted, (size, 0, 0))[0].max() for size in (4, 8, 16, 1e300)]
    assert tops == sorted(tops)
    assert np.isfinite(tops).all()
    assert np.median(scored(fitted, (8, 0, 0))[1][0]) > 0.8


def test_it_is_a_pure_function_of_the_past() -> None:
    z = together(5 * DAY)
    one, other = forest.fit(z, DAY), forest.fit(z, DAY)
    assert one is not None
    assert other is not None
    next_day = together(DAY, seed=3)
    np.testing.assert_array_equal(one.score(next_day)[0], other.score(next_day)[0])
    # Cell by cell is the same as all at once.
    score, _ = one.score(next_day)
    for t in (0, 100, DAY - forest.LEAD - 1):
        assert one.score(next_day[:, t : t + forest.LEAD + 1])[0][0] == pytest.approx(score[t])


def test_missing_signals_are_no_information(fitted: forest.Forest) -> None:
    z = together(100, seed=4)
    z[1] = np.nan
    assert np.isfinite(fitted.score(z)[0]).all()
    z[:, 50] = np.nan
    score, _ = fitted.score(z)
    assert np.flatnonzero(np.isnan(score)).tolist() == [50 - forest.LEAD]


def test_too_little_history_is_no_forest() -> None:
    assert forest.fit(together(DAY - 1), DAY) is None
    alone = np.full((3, 5 * DAY), np.nan)
    alone[0] = together(5 * DAY)[0]
    assert forest.fit(alone, DAY) is None
    short = forest.fit(together(DAY), DAY)
    assert short is not None
    assert short.edge == forest.EDGE_DECADES


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.0, 1.0, -1e300])
def test_signals_without_any_variation_are_no_error(value: float) -> None:
    flat = forest.fit(np.full((3, 3 * DAY), value), DAY)
    assert flat is not None
    assert np.isfinite(flat.score(np.full((3, 20), value))[0]).all()
    assert flat.score(np.full((3, 20), value))[0].max() <= 1


def test_series_are_matched_by_the_labels_of_the_group() -> None:
    key = labels(instance="1", job="a")
    assert groups.key_of(key, ("job",)) == labels(job="a")
    assert groups.key_of(key, ()) == ()
    assert groups.key_of(key, ("job", "zone")) is None


def group_fit(days: int = 7) -> groups.GroupFit:
    """Fit a group of two jobs, of which one has only one member."""
    times = grid(days, 300)
    z = together(len(times), seed=5)
    rows: dict[str, dict[Labels, Float]] = {
        "rate": {labels(job="a", instance="1"): 100 + z[0], labels(job="b"): 100 + z[1]},
        "latency": {labels(job="a"): 5 + z[1]},
        "errors": {labels(job="a"): 50 + z[2]},
    }
    matrices = {name: matrix(times, own) for name, own in rows.items()}
    return groups.fit(
        GROUP,
        5,
        {name: own.values for name, own in matrices.items()},
        {name: zscore.fit(own) for name, own in matrices.items()},
        dict.fromkeys(GROUP.signals, Policy()),
    )


def member_scores(key: Labels, values: Float, expected: float, times: Any) -> Scores:
    shape = (1, len(times))
    nan = np.full(shape, np.nan)
    observed = np.reshape(values, shape)
    state = np.where(np.isnan(observed), names.State.NO_DATA, names.State.OK).astype(np.int8)
    evidence = np.full((*shape, len(names.CHANNELS)), np.nan)
    return Scores((key,), times, observed, np.full(shape, expected), nan, nan, nan, evidence, state)


def advanced(fitted: groups.GroupFit, z: Float, times: Any) -> Scores:
    own = {
        "rate": member_scores(labels(job="a", instance="1"), 100 + z[0], 100, times),
        "latency": member_scores(labels(job="a"), 5 + z[1], 5, times),
        "errors": member_scores(labels(job="a"), 50 + z[2], 50, times),
    }
    return groups.advance(fitted, times, own, dict.fromkeys(GROUP.signals, Policy()))


def test_an_episode_of_a_group_names_its_signals_and_ends() -> None:
    fitted = group_fit()
    # A job with one of the members only has nothing to be off together with.
    assert list(fitted.joint) == [labels(job="a")]
    times = np.arange(0, 60 * 120, 60)
    z = np.repeat(together(24, seed=6), 5, axis=1)
    z[:, 40:70] += np.array([[3.0], [-3.0], [0.0]])
    z[:, 110] = np.nan
    scores = advanced(fitted, z, times)
    assert scores.labels == (labels(job="a"),)
    state = scores.state[0]
    assert (state[:40] == names.State.OK).all()
    assert (state[55:70] == names.State.ANOMALOUS).all()
    assert (state[105:110] == names.State.OK).all()
    assert state[110] == names.State.NO_DATA
    assert np.isnan(scores.expected).all()
    on = scores.evidence[0, 60]
    assert on.sum() == pytest.approx(1.0)
    assert on[2] < 0.2
    assert np.isnan(scores.evidence[0, 0]).all()


def test_step_by_step_a_group_says_the_same() -> None:
    times = np.arange(0, 60 * 60, 60)
    z = together(60, seed=7)
    z[:, 30:] += np.array([[2.0], [-2.0], [0.0]])
    whole = advanced(group_fit(), z, times)
    fitted = group_fit()
    parts = [advanced(fitted, z[:, t : t + 1], times[t : t + 1]) for t in range(60)]
    for name in ("score", "state"):
        joined = np.concatenate([getattr(part, name) for part in parts], axis=1)
        np.testing.assert_allclose(joined, getattr(whole, name), rtol=1e-9)


def test_only_the_side_that_counts_counts() -> None:
    unit = groups.Unit(2.0, 0.0, 1.0)
    z = groups._deviations(np.array([4.0, -4.0]), np.zeros(2), unit, "up")
    assert z.tolist() == [2.0, 0.0]
    grown = groups.Unit(2.0, 1.0, 10.0)
    assert groups._deviations(np.array([24.0]), np.array([20.0]), grown, "both")[0] == 1.0


def test_a_running_detector_writes_the_score_of_a_group(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    times = np.concatenate([past(), np.arange(NOW + 60, NOW + 1801, 60)])
    z = together(len(times), seed=8)
    apart = np.where(times > NOW, 4.0, 0.0)
    server.write("rate", times, 100 + z[0] + apart, job="a")
    server.write("latency", times, 50 + z[1] - apart, job="a")
    own = [{"name": name, "query": name} for name in ("rate", "latency")]
    group = {"name": "both", "signals": ["rate", "latency"], "by": ["job"]}
    running = Running(server.url, signals=own, groups=[group], rules={"enabled": False})
    running.cycle()
    assert running.get("anomaly_state", signal="both", kind="other", job="a") == names.State.OK
    assert running.get("anomaly_expected", signal="both") is None
    for minute in (10, 20, 30):
        running.cycle(NOW + 60 * minute)
    assert running.get("anomaly_state", signal="both", job="a") == names.State.ANOMALOUS
    assert "anomaly began signal=both labels={'job': 'a'}" in caplog.messages
    assert running.get("anomaly_evidence", signal="both", channel="rate") > 0.2
