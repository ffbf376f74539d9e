"""What the channels measure, and their calibration on the past."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from evaluations import COARSE, MINUTES, A, Line
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from synthetic import DAY, grid, matrix, traffic

from detector import band, calibration, channels, kernels, measures, names, neighbours, score, tails
from detector.channels import (
    CHANNELS,
    JUMP,
    NOVELTY,
    ORDER,
    REFERENCES,
    SHAPE_BLOCKS,
    SHAPE_SECONDS,
    SPIKE,
    SPREAD,
    SPREAD_STEPS,
    SUSTAINED,
    UNREST,
    Normal,
    State,
)
from detector.models import seasonal
from detector.policy import Policy
from detector.references import course_of
from detector.schedule import WINDOW_STEPS
from detector.series import Float

WEEKS = grid(17, 300)


def prepared(
    x: Float, policy: Policy | None = None, step: int = 300, profile: int = 300
) -> tuple[Normal, State]:
    """Calibrate on a history that is whole on the step grid."""
    times = grid(len(x) * step / DAY, step)
    recent = matrix(times, {A: x})
    past = recent.every(profile)
    base = seasonal.fit(past)
    last = recent.between(int(times[-1]) + step - WINDOW_STEPS * step, int(times[-1]) + step)
    return score.prepare(base, past, last, last.times, policy or Policy())


@pytest.fixture(scope="module")
def usual() -> tuple[Normal, State]:
    return prepared(traffic(WEEKS, 1))


def fresh(state: State) -> State:
    copies = State(*(array.copy() for array in state))
    copies.recent[:] = 0.0
    copies.steps[:] = 0.0
    copies.last[:] = np.nan
    copies.unrest[:] = 0.0
    copies.lean[:] = 0.0
    return copies


@examples(60)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 40),
    surprise=st.floats(0.02, 5),
    scale=st.sampled_from([1e-12, 0.3, 1.0, 7e8]),
    spread=st.tuples(st.floats(-6, 6), st.floats(measures.LEAST_LOG_SPREAD, 3)),
    still=st.booleans(),
)
def test_observe(
    usual: tuple[Normal, State],
    seed: int,
    count: int,
    surprise: float,
    scale: float,
    spread: tuple[float, float],
    still: bool,
) -> None:
    rng = np.random.default_rng(seed)
    deviations = np.clip(rng.normal(0, 5, count), -kernels.Z_LIMIT, kernels.Z_LIMIT)
    samples = np.full(count, 3.0) if still else scale * deviations
    wider = rng.uniform(kernels.NARROWEST, 3, count)
    weights = rng.normal(0, 0.4, ORDER)
    normal = usual[0]._replace(
        scale=np.array([scale]),
        memory=weights[None, :],
        surprise=np.array([surprise]),
        spread=np.array([spread]),
    )
    state = fresh(usual[1])
    found = []
    for z, x, w in zip(deviations, samples, wider, strict=True):
        out = np.full(CHANNELS, np.nan)
        channels.observe(z, x, w, normal, state, 0, out)
        found.append(out[[SPIKE, JUMP, SUSTAINED, SPREAD]])
    slow = naive.observed(
        deviations, samples, wider, weights, surprise, scale, spread, SPREAD_STEPS
    )
    np.testing.assert_allclose(
        np.reshape(found, (-1, 4)), np.reshape(slow, (-1, 4)), rtol=1e-9, atol=1e-9
    )


@examples(60)
@given(
    steps=st.lists(st.floats(0, 1e3), min_size=SPREAD_STEPS, max_size=SPREAD_STEPS),
    scale=st.floats(1e-12, 1e6),
)
def test_log_spread(steps: list[float], scale: float) -> None:
    fast = channels.log_spread(np.array(steps), scale)
    assert fast == pytest.approx(naive.log_spread(steps, scale))


def test_the_spread_of_a_flat_line_is_a_number() -> None:
    flat = channels.log_spread(np.zeros(SPREAD_STEPS), 1.0)
    assert flat == pytest.approx(math.log(1e-3))


@examples(40)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 400),
    holes=st.sampled_from([0.0, 0.1, 0.9]),
    still=st.booleans(),
)
def test_measuring_the_past_is_observing_each_sample(
    usual: tuple[Normal, State], seed: int, count: int, holes: float, still: bool
) -> None:
    rng = np.random.default_rng(seed)
    x = np.full(count, 3.0) if still else rng.normal(0, 2, count)
    z = np.where(rng.random(count) < holes, np.nan, np.clip(x, -3, 3)).astype(np.float32)
    narrow = rng.uniform(0.5, 2, count).astype(np.float32)
    # What the calibration writes, and nothing else, has to be its own.
    normal = usual[0]._replace(
        memory=np.zeros((1, ORDER)),
        surprise=np.ones(1),
        spread=np.array([[0.0, 1.0]]),
        lean=np.zeros((1, 5)),
    )
    state = fresh(usual[1])
    past = np.full((CHANNELS, count), np.nan, np.float32)
    leanings = np.full(count, np.inf, np.float32)
    known = measures.measure(x, z, narrow, normal, state, 0, past, leanings)

    slow = fresh(usual[1])
    found = np.full((CHANNELS, count), np.nan)
    leant = np.full(count, np.nan)
    seen = 0
    for k in range(count):
        if np.isnan(z[k]):
            likely = channels.predicted(slow.recent[0], normal.memory[0])
            channels.push(slow.recent[0], likely)
            slow.lean[0] = channels.leant(slow.lean[0], likely, normal.fade[0, 1])
            continue
        out = np.full(CHANNELS, np.nan)
        channels.observe(float(z[k]), x[k], 1.0 / narrow[k], normal, slow, 0, out)
        seen += 1
        found[UNREST, k] = out[UNREST]
        if k >= SPREAD_STEPS:
            found[[SPIKE, JUMP, SUSTAINED], k] = np.abs(out[[SPIKE, JUMP, SUSTAINED]])
            leant[k] = naive.leaning(out[SUSTAINED], slow.lean[0])
            # Until there are enough steps, the spread says nothing of the past.
            found[SPREAD, k] = abs(out[SPREAD]) if seen > SPREAD_STEPS + 1 else np.nan
    assert known == np.isfinite(found[SPIKE]).sum()
    np.testing.assert_allclose(past, found, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(leanings * normal.lean[0, 4], leant, rtol=1e-4, atol=1e-4)
    for name in ("recent", "steps", "last", "unrest", "lean"):
        mine, other = getattr(state, name), getattr(slow, name)
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5, err_msg=name)


@examples(100)
@given(
    deviations=st.lists(st.floats(-kernels.Z_LIMIT, kernels.Z_LIMIT), max_size=30),
    fade=st.floats(0.01, 0.5),
)
def test_the_lean_is_a_mean_that_forgets(deviations: list[float], fade: float) -> None:
    lean = 0.0
    for z in deviations:
        lean = channels.leant(lean, z, fade)
    assert lean == pytest.approx(naive.leant(deviations, fade), abs=1e-12)
    assert abs(lean) <= channels.LEAN_MOST


@pytest.mark.parametrize(
    ("mean", "lean", "both"),
    [(2, 1, 1), (1, 2, 1), (-2, -1, 1), (2, -1, 0), (-2, 1, 0), (0, 3, 0), (3, 0, 0)],
)
def test_an_hour_leans_where_its_last_minutes_do(mean: float, lean: float, both: float) -> None:
    assert channels.leaning(float(mean), float(lean)) == both == naive.leaning(mean, lean)


def test_push_keeps_the_newest_in_front() -> None:
    ring = np.array([3.0, 2.0, 1.0])
    channels.push(ring, 4.0)
    assert ring.tolist() == [4.0, 3.0, 2.0]


@pytest.mark.parametrize(
    "x",
    [
        traffic(WEEKS, 2),
        np.random.default_rng(3).standard_normal(len(WEEKS)),
        np.random.default_rng(4).standard_t(2.5, len(WEEKS)),
        np.random.default_rng(5).poisson(0.4, len(WEEKS)).astype(float),
        np.full(len(WEEKS), 7.0),
        np.zeros(len(WEEKS)),
        np.where(np.arange(len(WEEKS)) % 288 == 10, 1e6, np.arange(len(WEEKS)) % 2.0),
    ],
    ids=["traffic", "gauss", "heavy tails", "counts", "constant", "zero", "one spike a day"],
)
def test_what_is_calibrated_is_finite_and_in_order(x: Float) -> None:
    normal, state = prepared(x)
    least = np.full(CHANNELS, tails.LEAST_DECADE)
    least[UNREST] = tails.LEAST_OF_HOURS
    assert (normal.tails[..., 1] >= least).all()
    assert (normal.tails[..., 0] >= 0).all()
    assert (normal.lean[:, 1] >= tails.LEAST_OF_LEANINGS).all()
    assert (normal.lean[:, 4] >= measures.LEAST_LEANING).all()
    assert not np.isnan(normal.lean).any()
    assert not np.isnan(normal.tails).any()
    assert ((normal.trust >= 0) & (normal.trust < 1)).all()
    assert (normal.surprise > 0).all()
    assert (normal.spread[:, 1] >= measures.LEAST_LOG_SPREAD).all()
    assert (normal.edge > 0).all()
    assert (normal.band > 0).all()
    assert (normal.known <= REFERENCES).all()
    for array in (normal.memory, normal.windows, normal.courses, normal.spread, normal.middle):
        assert np.isfinite(array).all()
    for array in (state.recent, state.steps, state.course, state.level):
        assert np.isfinite(array).all()


def test_trust_grows_with_the_past_and_the_edge_comes_nearer() -> None:
    """Cold start: little is trusted of a short past, and the edge of normal is further away."""
    found = [prepared(traffic(grid(days, 300), 6))[0] for days in (1, 2, 5, 8, 14)]
    trusts = [float(normal.trust[0]) for normal in found]
    edges = [float(normal.edge[0]) for normal in found]
    widths = [float(normal.band[0].mean() * normal.scale[0]) for normal in found]
    assert trusts == sorted(trusts)
    assert edges == sorted(edges, reverse=True)
    assert edges[0] == pytest.approx(score.EDGE * (1 + score.CAUTION), rel=1e-3)
    assert edges[-2] == pytest.approx(score.EDGE, rel=1e-3)
    assert edges[-1] == score.EDGE
    assert widths[0] > widths[-1]


@pytest.mark.parametrize("factor", [2.0**-300, 0.125, 1024.0, 2.0**900])
def test_the_unit_of_a_series_changes_nothing_but_its_scale(factor: float) -> None:
    x = traffic(WEEKS, 7)
    (one, start), (other, begun) = prepared(x), prepared(x * factor)
    if factor < 1e-12:
        # The least scale is no smaller than a rounding error of nothing.
        assert other.scale[0] >= 1e-12
        return
    np.testing.assert_array_equal(one.scale * factor, other.scale)
    np.testing.assert_array_equal(one.reference * factor, other.reference)
    np.testing.assert_array_equal(one.reach[:, 0] * factor, other.reach[:, 0])
    of_scale = {"table", "scale", "growth", "middle", "reference", "reach"}
    for name in set(Normal._fields) - of_scale:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    np.testing.assert_array_equal(start.recent, begun.recent)
    np.testing.assert_array_equal(start.level * factor, begun.level)


def test_trust_is_a_quarter_at_the_stated_number_of_samples() -> None:
    times = grid(4, 300)
    x = traffic(times, 31)
    past = matrix(times, {A: x})
    base = seasonal.fit(past)
    for share, count in ((0.25, calibration.TRUST_SAMPLES), (1.0, 10**6)):
        steps = min(count + SPREAD_STEPS, len(times))
        recent = past.between(int(times[-steps]), int(times[-1]) + 1)
        normal, _ = score.prepare(base, past, recent, recent.times, Policy())
        assert normal.trust[0] <= share + 1e-9
        if steps < len(times):
            assert normal.trust[0] == pytest.approx(share)


def test_above_and_below_are_alike() -> None:
    x = np.random.default_rng(32).standard_normal(len(WEEKS))
    (one, _), (other, _) = prepared(x), prepared(-x)
    for name in ("scale", "memory", "surprise", "spread", "tails", "edge", "trust"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-9)
    np.testing.assert_allclose(other.band[:, :2], one.band[:, 1::-1], rtol=0.02)
    np.testing.assert_array_equal(other.windows, -one.windows)
    # One tail for both sides: bursts upwards widen the band below as well.
    bursts = np.abs(x) ** 3
    tail = prepared(bursts)[0].tails[0, SPIKE]
    np.testing.assert_allclose(prepared(-bursts)[0].tails[0, SPIKE], tail, rtol=0.05)


@pytest.mark.parametrize("kind", ["gauss", "heavy tails", "smooth"])
def test_what_is_to_come_is_as_rare_as_the_past_says(kind: str) -> None:
    """A tenth of all new steps lies beyond the quantile of a tenth, in each channel."""
    rng = np.random.default_rng(33)
    more = 2000
    drawn = {
        "gauss": rng.standard_normal(len(WEEKS) + more),
        "heavy tails": rng.standard_t(3, len(WEEKS) + more),
        "smooth": np.convolve(rng.standard_normal(len(WEEKS) + more), np.ones(4), "same"),
    }[kind]
    normal, state = prepared(drawn[:-more])
    magnitudes = np.zeros(CHANNELS)
    found = []
    level = np.median(drawn[:-more])
    for x in drawn[-more:]:
        z = (x - level) / normal.scale[0]
        channels.observe(z, x, 1.0, normal, state, 0, magnitudes)
        window = state.recent[0, : normal.windows.shape[1]].copy()
        magnitudes[NOVELTY] = neighbours.novelty(
            window, normal.windows[0], normal.known[0, 0], np.empty(REFERENCES, np.float32)
        )
        found.append(np.abs(magnitudes))
    edges = np.expm1(normal.tails[0, :, 0])
    rates = (np.array(found) > edges).mean(axis=0)
    for channel in (SPIKE, JUMP, SUSTAINED, SPREAD):
        assert rates[channel] == pytest.approx(1 - tails.LOW, abs=0.05), channel
    # Windows of the past are compared with those before them only, fewer than live ones are.
    assert 0.005 < rates[NOVELTY] < 0.15


def test_the_expected_value_between_history_and_forecast() -> None:
    values, table = np.array([1.0, 2.0]), np.array([10.0, 20.0, 30.0])
    for begin, cells in ((-1, 5), (0, 4), (1, 3), (2, 2), (5, 4), (-9, 3)):
        row = np.empty(cells)
        calibration._expect(values, table, 0.5, begin, 4, row)
        wanted = [np.nan] * 9 + [1.0, 2.0, 10.5, 20.5, 30.5, 10.5, 20.5, 30.5, 10.5]
        np.testing.assert_array_equal(row, wanted[9 + begin : 9 + begin + cells])


def test_heavier_tails_give_a_wider_band() -> None:
    rng = np.random.default_rng(8)
    gauss = rng.standard_normal(len(WEEKS))
    bursts = gauss + np.where(rng.random(len(gauss)) < 0.02, 8 * rng.random(len(gauss)), 0)
    light, heavy = (prepared(100 + x)[0] for x in (gauss, bursts))
    assert (heavy.band[:, :2] > light.band[:, :2]).all()


def test_novelty_refers_to_windows_of_the_past() -> None:
    """None of the references is a course of deviations that never was."""
    x = np.random.default_rng(9).standard_normal(len(WEEKS))
    normal, _ = prepared(x)
    width = normal.windows.shape[1]
    assert width == channels.window_length(300)
    assert normal.known[0, 0] == REFERENCES
    references = normal.windows[0, :, : normal.known[0, 0]].T
    # A constant expectation but for the level: differences are those of the samples.
    steps = np.diff(x[::-1]) / normal.scale[0]
    pasts = np.lib.stride_tricks.sliding_window_view(steps, width - 1)
    for reference in references[::20]:
        nearest = np.abs(np.diff(reference) - pasts).max(axis=1).min()
        assert nearest < 1.0


@pytest.mark.parametrize("schedule", [COARSE, MINUTES], ids=["coarse", "minutes"])
def test_the_course_at_a_boundary_is_that_of_the_last_six_hours(schedule: object) -> None:
    times = grid(17, schedule.step)
    x = traffic(times, noise=0.0)
    line = Line(x, schedule)
    ago = (line.boundary - 1 - times) // SHAPE_SECONDS
    course = [np.mean(x[ago == i]) for i in range(SHAPE_BLOCKS)]
    middle, unit = line.normal.middle[0]
    found = np.empty(SHAPE_BLOCKS)
    course_of(line.state.course[0], found)
    np.testing.assert_allclose(found * unit + middle, course, rtol=0.02)


def test_grids_too_coarse_for_a_course_have_no_shape() -> None:
    times = grid(17, 3600)
    normal, _ = prepared(traffic(times, 10), step=3600, profile=3600)
    assert normal.courses.shape[1] == 1
    assert normal.known[0, 1] == 0
    assert channels.window_length(3600) < channels.window_length(300)


BANDS = {
    "traffic": traffic(WEEKS, 11),
    "gauss": 100 + np.random.default_rng(12).standard_normal(len(WEEKS)),
    "heavy tails": np.random.default_rng(13).standard_t(2.5, len(WEEKS)),
    "walk": np.convolve(np.random.default_rng(14).standard_normal(len(WEEKS)), np.ones(10), "same"),
    "one day": traffic(grid(1, 300), 15),
    "two days": traffic(grid(2, 300), 15),
}


@pytest.mark.parametrize("side", [0, 1], ids=["above", "below"])
@pytest.mark.parametrize("name", BANDS)
def test_the_band_is_the_deviation_that_scores_one_when_held(name: str, side: int) -> None:
    normal, _ = prepared(BANDS[name])
    width = normal.windows.shape[1]
    sign = 1 - 2 * side
    held = float(normal.band[0, side])
    assert np.isfinite(held)

    def highest(z: float) -> float:
        return band.held_score(sign * z, normal, 0, width, np.empty(REFERENCES, np.float32))

    assert highest(held) == pytest.approx(1.0, rel=0.05)
    assert highest(held) >= 1.0
    assert highest(0.97 * held) < 1.0
    assert highest(1.1 * held) > 1.0


@pytest.mark.parametrize("side", [1.0, -1.0], ids=["above", "below"])
@pytest.mark.parametrize("schedule", [COARSE, MINUTES], ids=["coarse", "minutes"])
@pytest.mark.parametrize("days", [2.5, 17])
@pytest.mark.parametrize("kind", ["traffic", "gauss", "heavy tails"])
def test_held_at_the_bound_for_five_steps_a_calm_series_scores_one(
    kind: str, days: float, schedule: object, side: float
) -> None:
    """The same with the fold itself, over the sample's own expected value and bounds."""
    times = grid(days, schedule.step)
    rng = np.random.default_rng(16)
    x = {
        "traffic": traffic(times, 16),
        "gauss": 100 + rng.standard_normal(len(times)),
        "heavy tails": rng.standard_t(2.5, len(times)),
    }[kind]
    line = Line(x, schedule, days=days)
    line.calm(20)
    said = line.deviate([side] * 5)
    # The course of six hours, usual when the band was drawn, has moved a little by then.
    assert said.score[0].max() == pytest.approx(1.0, rel=0.08)


@pytest.mark.parametrize("side", [1.0, -1.0], ids=["above", "below"])
@pytest.mark.parametrize("schedule", [COARSE, MINUTES], ids=["coarse", "minutes"])
def test_of_a_smooth_series_the_jump_scores_one(schedule: object, side: float) -> None:
    """Where steps are small the first of five is the strangest; the highest score counts."""
    noise = np.random.default_rng(14).standard_normal(len(grid(17, schedule.step)))
    line = Line(np.convolve(noise, np.ones(10), "same"), schedule)
    line.calm(20)
    said = line.deviate([side] * 5)
    assert said.score[0].argmax() == 0
    # Steps of the usual width that change sign each time are not quite calm here.
    assert said.score[0].max() == pytest.approx(1.0, rel=0.1)


def test_a_band_beyond_all_deviations_is_no_band() -> None:
    """Nothing scores 1 where the edge is out of reach: there is no bound, and no alert."""
    line = Line(traffic(WEEKS, 17), policy=Policy(sensitivity=0.1))
    assert (line.normal.band == np.inf).all()
    line.normal.reach[:] = np.nan
    said = line.feed([line.ahead()[0], 1e6, 1e6, -1e6, 0.0])
    assert np.isnan(said.upper).all()
    assert np.isnan(said.lower).all()
    assert (said.score < 1.0).all()
    assert (said.state == 0).all()


@pytest.mark.parametrize("sensitivity", [0.5, 1.0, 2.0])
def test_sensitivity_divides_the_edge(sensitivity: float) -> None:
    normal, _ = prepared(traffic(WEEKS, 18), Policy(sensitivity=sensitivity))
    assert normal.edge[0] == score.EDGE / sensitivity


def test_a_sample_shapes_no_calibration_of_the_other_series() -> None:
    both = matrix(WEEKS, {A: traffic(WEEKS, 19), (("job", "b"),): 1e6 + traffic(WEEKS, 20)})
    base = seasonal.fit(both)
    normal, state = score.prepare(base, both, both, both.times, Policy())
    alone = both.aligned(both.labels[1:])
    one, begun = score.prepare(seasonal.fit(alone), alone, alone, alone.times, Policy())
    for name in Normal._fields:
        np.testing.assert_array_equal(getattr(normal, name)[1], getattr(one, name)[0], name)
    for name in State._fields:
        np.testing.assert_array_equal(getattr(state, name)[1], getattr(begun, name)[0], name)


def test_a_past_full_of_holes_is_calibrated_on_what_is_there() -> None:
    x = traffic(WEEKS, 21)
    holes = x.copy()
    holes[np.random.default_rng(22).random(len(x)) < 0.3] = np.nan
    whole, half = prepared(x)[0], prepared(holes)[0]
    assert half.scale[0] == pytest.approx(whole.scale[0], rel=0.2)
    np.testing.assert_allclose(half.tails[0, SPIKE, :3], whole.tails[0, SPIKE, :3], atol=0.15)
    assert 0.5 * half.trust[0] < whole.trust[0]
    assert half.band[0, 0] == pytest.approx(whole.band[0, 0], rel=0.4)


@pytest.mark.parametrize(("step", "late"), [(60, 0), (300, 300)])
def test_the_edges_of_a_job_are_no_deviations_of_the_past(step: int, late: int) -> None:
    """Between two slots of five minutes the straight line is off by most of the job; on the grid
    the job is, each fifth day a slot late."""
    times = grid(21, step)
    since = times % DAY - np.where(times // DAY % 5 == 0, late, 0)
    job = np.where((since >= 7200) & (since < 9000), 90.0, 5.0)
    normal, _ = prepared(job * np.random.default_rng(3).normal(1, 0.02, len(times)), None, step)
    largest_of_a_day = np.expm1(normal.tails[0, SPIKE, 2])
    assert 1 < largest_of_a_day < 5


def test_evidence_of_novelty_needs_references() -> None:
    normal, _ = prepared(traffic(grid(1, 300), 23))
    few, _ = prepared(traffic(grid(1, 3600), 23), step=3600, profile=3600)
    assert normal.known[0, 0] > 0
    assert few.known[0, 0] in range(0, REFERENCES)
    assert normal.tails[0, NOVELTY, 1] >= tails.LEAST_DECADE


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_deviations_of_the_past_are_in_the_scales_of_the_fold(exponent: float) -> None:
    rng = np.random.default_rng(18)
    x, expected = rng.normal(100, 60, 400), rng.normal(100, 60, 400)
    x[::7], expected[::11] = np.nan, np.nan
    growth = np.array([exponent, 50.0])
    z, narrow = ((x - expected) / 3.0).astype(np.float32), np.empty(400, np.float32)
    widths = rng.choice([1.0, 2.5], 24).astype(np.float32)
    slots = rng.integers(0, 24, 400, np.int32)
    calibration._narrow(expected, growth, widths, slots, narrow)
    calibration._clip(narrow, z)
    factors = np.array([kernels.widening(value, growth) for value in expected]) * widths[slots]
    known = ~np.isnan(expected)
    np.testing.assert_allclose(narrow[known], 1 / factors[known], rtol=1e-6)
    limit = kernels.Z_LIMIT
    wanted = np.clip((x - expected) / (3.0 * factors), -limit, limit)
    np.testing.assert_allclose(z, wanted, rtol=1e-6)


def test_the_first_channels_are_those_that_combine_by_themselves() -> None:
    assert names.CHANNELS[: channels.OF_LEVELS] == ("spike", "jump", "sustained")
    assert set(names.CHANNELS[channels.SHORT :]) == {"shape", "unrest"}
