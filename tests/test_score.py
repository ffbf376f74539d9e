"""Calibration, band and episodes, and what they mean on traffic as it is met."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import DAY, column, episodes, grid, labels, matrix, traffic

from detector import kernels, score
from detector.models import seasonal
from detector.names import State
from detector.pipeline import Evaluation, Schedule, fill_zero, replay
from detector.series import Policy, Scores, Signal
from detector.settings import KIND_POLICIES

A = labels(job="a")
MINUTES = Schedule(60, 300, 28 * DAY, DAY)
STEPS = Schedule(300, 300, 28 * DAY, DAY)


def calibrated(x: np.ndarray, step: int = 300) -> tuple[seasonal.Baseline, score.Calibration]:
    times = grid(len(x) * step / DAY, step)
    base, z = seasonal.fit(matrix(times, {A: x}))
    return base, score.calibrate(base, z)


def test_the_band_inverts_the_evidence() -> None:
    for seed, days in ((1, 2), (2, 8), (3, 28)):
        base, fit = calibrated(traffic(grid(days, 300), seed))
        for side in (0, 1):
            z = fit.band[0, side] / fit.scale[0]
            q95, decade = fit.tails[0, side]
            found = kernels.tail_evidence(z, q95, decade, fit.trust[0], score.PRIOR)
            assert found == pytest.approx(score.EDGE, rel=1e-4)


def test_the_band_narrows_as_history_grows() -> None:
    widths = [
        float(calibrated(traffic(grid(days, 300), 4))[1].band[0].mean()) for days in (1, 3, 8, 28)
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 2 * widths[-1]


def test_heavier_tails_give_a_wider_band() -> None:
    rng = np.random.default_rng(5)
    gauss = rng.standard_normal(28 * 288)
    bursts = gauss + np.where(rng.random(len(gauss)) < 0.02, 8 * rng.random(len(gauss)), 0)
    light, heavy = (calibrated(100 + x)[1] for x in (gauss, bursts))
    # Bursts go up only: so does the width, in scales of the series itself.
    assert heavy.band[0, 0] / heavy.scale[0] > 1.5 * light.band[0, 0] / light.scale[0]
    assert heavy.band[0, 1] / heavy.scale[0] < 1.2 * light.band[0, 1] / light.scale[0]


def replayed(
    times: np.ndarray,
    x: np.ndarray,
    kind: str = "traffic",
    policy: Policy | None = None,
    days: float = 1.5,
) -> list[Scores]:
    signal = Signal("s", kind, (), policy or KIND_POLICIES[kind])
    schedule = MINUTES if times[1] - times[0] == 60 else STEPS
    end = int(times[-1]) + schedule.step
    return list(replay(signal, schedule, matrix(times, {A: x}), end - round(days * DAY), end))


MONTH = grid(29.5, 60)


@pytest.mark.parametrize(
    ("factor", "within_minutes"), [(0.0, 3), (0.5, 6), (2.0, 3)], ids=["to zero", "half", "double"]
)
@pytest.mark.parametrize(("day", "hour"), [(2, 4), (2, 12), (5, 12)], ids=["night", "noon", "Sat"])
def test_an_hour_of_change_is_found_and_ends(
    factor: float, within_minutes: int, day: int, hour: int
) -> None:
    """On a Wednesday night, a Wednesday noon and a Saturday noon."""
    times = grid(28 + day + hour / 24 + 0.25, 60)
    first = len(times) - 6 * 60
    x = traffic(times, 10 * day + hour)
    x[first : first + 60] *= factor
    ((began, ended),) = episodes(replayed(times, x), A)
    assert 0 <= began - times[first] < within_minutes * 60
    assert -300 <= ended - times[first + 60] <= 600


@pytest.mark.parametrize("seed", range(4))
def test_clean_weeks_have_no_episode(seed: int) -> None:
    times = grid(42, 300)
    x = traffic(times, 100 + seed)
    assert episodes(replayed(times, x, days=28), A) == []


def test_clean_first_weeks_have_no_episode_either() -> None:
    """The first weekends come as a surprise to the model, not to the reader."""
    times = grid(28, 300)
    parts = replayed(times, traffic(times, 7), days=28)
    assert episodes(parts, A) == []
    assert np.isfinite(column(parts, "score", A)[1]).sum() > 25 * 288


def test_a_surge_and_an_outage_three_hours_later_are_two_episodes() -> None:
    x = traffic(MONTH, 20)
    first = len(MONTH) - 1000
    x[first : first + 60] *= 2
    x[first + 240 : first + 300] = 0
    surge, outage = episodes(replayed(MONTH, x), A)
    assert MONTH[first] <= surge[0] < surge[1] < MONTH[first + 90]
    assert MONTH[first + 240] <= outage[0] < outage[1] < MONTH[first + 330]


@pytest.mark.parametrize(("direction", "sign"), [("up", -1), ("down", 1)])
def test_the_other_direction_never_alerts(direction: str, sign: int) -> None:
    x = traffic(MONTH, 21)
    first = len(MONTH) - 600
    x[first : first + 60] *= 1 + 0.8 * sign
    policy = Policy(direction=direction)
    parts = replayed(MONTH, x, policy=policy)
    assert episodes(parts, A) == []
    _, value = column(parts, "score", A)
    assert value[-600:].max() <= 0.99
    _, free = column(parts, "lower" if direction == "up" else "upper", A)
    assert np.isnan(free).all()


@pytest.mark.parametrize("floors", [{"min_abs": 50.0}, {"min_rel": 1.5}])
def test_a_deviation_below_the_floor_never_alerts(floors: dict[str, float]) -> None:
    x = traffic(MONTH, 22)
    first = len(MONTH) - 600
    x[first : first + 60] *= 2
    assert episodes(replayed(MONTH, x, policy=Policy()), A) != []
    parts = replayed(MONTH, x, policy=Policy(**floors))
    assert episodes(parts, A) == []
    assert column(parts, "score", A)[1][-600:-540].max() == pytest.approx(0.99)


def test_bounds_respect_physical_limits() -> None:
    share = np.clip(0.02 + 0.02 * np.random.default_rng(6).standard_normal(len(MONTH)), 0, 1)
    parts = replayed(MONTH, share, policy=Policy(lower=0.0, upper=0.05))
    for name in ("lower", "upper", "expected"):
        _, bound = column(parts, name, A)
        assert bound.min() >= 0.0
        assert bound.max() <= 0.05


def test_evidence_is_given_only_in_an_episode_and_sums_to_one() -> None:
    x = traffic(MONTH, 23)
    x[-600:-540] = 0
    parts = replayed(MONTH, x)
    _, state = column(parts, "state", A)
    _, evidence = column(parts, "evidence", A)
    on = state == State.ANOMALOUS
    assert on.any()
    np.testing.assert_allclose(evidence[on].sum(axis=1), 1.0)
    assert np.isnan(evidence[~on]).all()
    # First one sample, then five.
    assert evidence[on][0, 0] > evidence[on][10, 0]


def test_a_lasting_change_becomes_the_new_normal_within_two_days() -> None:
    times = grid(35, 300)
    x = traffic(times, 24)
    x[times >= times[-1] - 4 * DAY] *= 1.6
    found = episodes(replayed(times, x, days=5), A)
    assert found
    assert found[-1][1] < times[-1] - 4 * DAY + 2 * DAY


def test_an_incident_of_some_hours_does_not_move_the_level() -> None:
    x = traffic(MONTH, 25)
    hit = x.copy()
    hit[-900:-660] = 0
    (_, quiet), (_, after) = (column(replayed(MONTH, v), "expected", A) for v in (x, hit))
    np.testing.assert_allclose(after[-600:], quiet[-600:], rtol=0.05)


def test_the_first_errors_ever_are_scored_against_zeros() -> None:
    """No error series exists for 28 days, then one appears; the job was up all the time."""
    times = MONTH
    ratio = np.full(len(times), np.nan)
    ratio[-300:-240] = 0.06
    there = {(("instance", "i"), ("job", "a")): np.ones(len(times), bool)}
    filled = fill_zero(matrix(times, {A: ratio}), there)
    signal = Signal("e", "errors", (), KIND_POLICIES["errors"])
    end = int(times[-1]) + 60
    parts = list(replay(signal, MINUTES, filled, end - DAY, end))
    ((began, ended),) = episodes(parts, A)
    assert began == times[-300]
    assert ended <= times[-240] + 300
    # And live: the series is admitted when its first sample comes, with zeros as its past.
    boundary = MINUTES.boundary("e", int(times[-300]))
    nobody = matrix(times, {})
    live = Evaluation(signal, MINUTES, boundary, nobody.every(300))
    live.advance(nobody.between(live.next_time, int(times[-300])))
    live.admit((A,), filled.every(300))
    now = live.advance(filled.between(live.next_time, live.next_time + 60))
    assert now.state[0, -1] == State.ANOMALOUS
    at, value = column(parts, "score", A)
    assert now.score[0, -1] == value[at == times[-300]][0]


def test_without_presence_the_first_errors_only_warm_up() -> None:
    ratio = np.full(len(MONTH), np.nan)
    ratio[-300:-240] = 0.06
    state = column(replayed(MONTH, ratio, kind="errors"), "state", A)[1]
    assert set(state) == {State.WARMING_UP, State.NO_DATA, score.GONE}


def test_a_missing_sample_is_neither_alert_nor_calm() -> None:
    x = traffic(MONTH, 26)
    x[-600:-540] = 0
    x[-570:-568] = np.nan
    _, state = column(replayed(MONTH, x), "state", A)
    assert (state[-570:-568] == State.NO_DATA).all()
    assert state[-571] == state[-567] == State.ANOMALOUS


def shaped(deviations: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return score and state of a quiet series with these deviations, in upper band widths."""
    times = grid(29, 300)
    x = traffic(times, 27)
    start = len(times) - 250
    for _ in range(2):
        parts = replayed(times, x, days=1)
        at, expected = column(parts, "expected", A)
        _, upper = column(parts, "upper", A)
        # The expected value follows the level, hardly: a second round makes the sizes exact.
        rows = np.searchsorted(at, times[start : start + len(deviations)])
        x[start : start + len(deviations)] = expected[rows] + np.array(deviations) * (
            upper[rows] - expected[rows]
        )
    parts = replayed(times, x, days=1)
    return column(parts, "score", A)[1][rows], column(parts, "state", A)[1][rows]


def test_an_episode_does_not_flap() -> None:
    """It is entered above one and left below 0.65, so scores around one are one episode."""
    value, state = shaped([0.0] * 5 + [3.0] * 2 + [1.1, 0.7] * 8)
    inside = slice(9, None)
    assert value[inside].min() > score.LEAVE
    assert (value[inside] < 1).sum() >= 6
    assert (state[inside] == State.ANOMALOUS).all()


def test_an_episode_ends_after_five_calm_steps() -> None:
    """Inside the band it ends though the score has not fallen far."""
    value, state = shaped([0.0] * 5 + [3.0] * 6 + [0.9] * 8)
    assert (value[11:] > score.LEAVE).all()
    assert state[10:].tolist() == [State.ANOMALOUS] * 5 + [State.OK] * 4


def test_an_episode_goes_on_over_a_refit() -> None:
    times = grid(29.5, 60)
    boundary = MINUTES.boundary("s", int(times[-1]))
    x = traffic(times, 28)
    # Weak enough to be found only after some steps.
    x[(times >= boundary - 3600) & (times < boundary + 3600)] *= 0.6
    ((began, ended),) = episodes(replayed(times, x, days=2), A)
    assert began < boundary - 2400
    assert ended >= boundary + 3300


def test_an_edge_beyond_every_deviation_is_no_edge() -> None:
    """Bursts of a hundred scales are normal here: there is no upper bound, and no alert."""
    rng = np.random.default_rng(29)
    times = grid(29, 300)
    x = rng.standard_normal(len(times))
    x += np.where(rng.random(len(times)) < 0.008, 10 ** rng.uniform(2, 6, len(times)), 0)
    parts = replayed(times, x, policy=Policy(direction="up"), days=1)
    _, upper = column(parts, "upper", A)
    _, value = column(parts, "score", A)
    assert np.isnan(upper).all()
    assert value.max() <= 1
