"""Each compiled routine against its naive twin."""

from __future__ import annotations

import math
from collections.abc import Callable

import naive
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from detector import histograms, kernels, levels, medians, neighbours, networks, tails

NAN = math.nan
# Samples are finite or missing: readers turn infinities into NaN.
EXTREMES = [0.0, -0.0, 1.0, 1.0, NAN, NAN, 1e300, -1e300, 5e-324, 1e-300, 1e15, 1e15 + 1]
NUMBERS = st.floats(-1e3, 1e3) | st.sampled_from(EXTREMES)
PRESENT = NUMBERS.filter(lambda v: not math.isnan(v))


def runs_of(numbers: st.SearchStrategy[float], most: int) -> st.SearchStrategy[list[float]]:
    """Lists of numbers, and constant ones."""
    constant = st.builds(lambda value, n: [value] * n, numbers, st.integers(0, most))
    return st.lists(numbers, max_size=most) | constant


SERIES = runs_of(NUMBERS, 60)
# What a channel measures: distances in scales.
MAGNITUDES = st.floats(0, 50, width=32) | st.sampled_from([0.0, 1e-9, 1e-7, 20.0, 9e5])


# Fits are made in float32, whose range is smaller.
PRECISIONS = st.sampled_from([np.float32, np.float64])


def held(x: list[float], real: type) -> np.ndarray:
    most = 1e30 if real is np.float32 else np.inf
    return np.clip(np.array(x, float), -most, most).astype(real)


def same(fast: np.ndarray, slow: list[float], size: float = 0.0) -> None:
    """Equal but for rounding; where values of `size` cancel each other, for that of theirs."""
    single = fast.dtype == np.float32
    tiny = max((1e-7 if single else 1e-15) * size, 1e-44 if single else 1e-323)
    rounding = 1e-6 if single else 1e-12
    np.testing.assert_allclose(fast, np.array(slow, float), rtol=rounding, atol=tiny)


def whole(x: list[float], period: int) -> list[float]:
    return x[: len(x) // period * period]


@examples(100)
@given(x=SERIES, width=st.integers(1, 9), real=PRECISIONS)
def test_column_medians(x: list[float], width: int, real: type) -> None:
    rows = naive.cut(held(x, real).tolist(), width)
    out = np.empty(width, real)
    medians.column_medians(np.array(rows, real).reshape(-1, width), out)
    same(out, naive.column_medians(rows, width))


@examples(100)
@given(x=SERIES, period=st.integers(1, 12), most=st.integers(1, 8), real=PRECISIONS)
def test_left_out_medians(x: list[float], period: int, most: int, real: type) -> None:
    given = held(whole(x, period), real)
    before = given.copy()
    out = np.empty(len(given), real)
    medians.left_out_medians(given, period, most, out)
    same(out, naive.left_out_medians(before.tolist(), period, most))
    np.testing.assert_array_equal(given, before)


def test_left_out_medians_never_hold_the_own_cycle() -> None:
    out = np.empty(8)
    medians.left_out_medians(np.array([1.0, 10, 2, 20, 30, 900, 4, 40]), 2, 2, out)
    # Two cycles before the sample's own; where they do not exist, later ones.
    assert out.tolist() == [16.0, 460.0, 15.5, 455.0, 1.5, 15.0, 16.0, 460.0]


@examples(60)
@given(x=SERIES, period=st.integers(1, 12), most=st.integers(1, 8), real=PRECISIONS)
def test_cycle_medians(x: list[float], period: int, most: int, real: type) -> None:
    given = held(whole(x, period), real)
    out = np.empty(period, real)
    medians.cycle_medians(given, period, most, out)
    same(out, naive.cycle_medians(given.tolist(), period, most))


@examples(100)
@given(
    x=st.lists(NUMBERS, min_size=20, max_size=60),
    begins=st.lists(st.integers(0, 11), max_size=9),
    width=st.integers(1, 9),
    real=PRECISIONS,
)
def test_stretch_medians(x: list[float], begins: list[int], width: int, real: type) -> None:
    given = held(x, real)
    out = np.empty(width, real)
    medians.stretch_medians(given, np.array(begins, np.int64), out)
    same(out, naive.stretch_medians(given.tolist(), begins, width))


@pytest.mark.parametrize(
    ("count", "median"),
    [
        (3, networks.median3),
        (4, networks.median4),
        (7, networks.median7),
        (12, networks.median12),
    ],
)
def test_networks_sort_every_order_of_present_and_missing(
    count: int, median: Callable[..., float]
) -> None:
    """A network that is right on all zeros and ones is right on all numbers (Knuth 5.3.4)."""
    for bits in range(2**count):
        ones = [float(bits >> i & 1) for i in range(count)]
        assert median(*ones) == naive.middle(ones)
        # The same with every one missing, and numbers that tell places apart.
        some = [float(i) if v else NAN for i, v in enumerate(ones)]
        same(np.array([median(*some)]), [naive.middle(some)])


@examples(100)
@given(x=SERIES, block=st.integers(1, 12), real=PRECISIONS)
def test_block_medians(x: list[float], block: int, real: type) -> None:
    given = held(x, real)
    same(medians.block_medians(given, block), naive.block_medians(given.tolist(), block))


@examples(100)
@given(values=SERIES, blocks=st.integers(1, 25), least=st.integers(1, 7), real=PRECISIONS)
def test_trailing_levels(values: list[float], blocks: int, least: int, real: type) -> None:
    given = held(values, real)
    out = np.empty(len(values) + 1, real)
    medians.trailing_levels(given, blocks, least, out)
    same(out, naive.trailing_levels(given.tolist(), blocks, least))


@examples(100)
@given(x=SERIES, half=st.integers(0, 8), real=PRECISIONS)
def test_running_mean(x: list[float], half: int, real: type) -> None:
    given = held(x, real).tolist()
    out = np.empty(len(x), real)
    medians.running_mean(np.array(given, real), half, out)
    # Sums may be reordered: huge values that cancel leave a rounding error of their size.
    size = max([abs(v) for v in naive.known(given)], default=0.0)
    same(out, naive.running_mean(given, half), 10 * size)


@examples(100)
@given(values=runs_of(PRESENT, 60), q=st.floats(0, 1))
def test_quantile(values: list[float], q: float) -> None:
    before = np.array(values, float)
    fast = kernels.quantile(before, q)
    same(np.array([fast]), [naive.quantile(values, q)], max(map(abs, values), default=0.0))
    np.testing.assert_array_equal(before, values)


@examples(300)
@given(values=SERIES, near=st.none() | PRESENT, at=st.integers(0, 100))
def test_median_near(values: list[float], near: float | None, at: int) -> None:
    """The median does not depend on where it is looked for: among the values, far off, nowhere."""
    start = NAN if near is None else near
    if at < len(values):
        start = values[at]
    fast = levels.median_near(np.array(values, float), start)
    same(np.array([fast]), [naive.middle(values)], max(map(abs, naive.known(values)), default=0.0))
    assert fast == levels.median_near(np.array(values, float), NAN) or math.isnan(fast)


@examples(100)
@given(values=runs_of(PRESENT, 60), qs=st.tuples(*[st.floats(0, 1)] * 3).map(sorted))
def test_three_quantiles(values: list[float], qs: list[float]) -> None:
    before = np.array(values, float)
    fast = kernels.three_quantiles(before, *qs)
    same(fast, [naive.quantile(values, q) for q in qs], max(map(abs, values), default=0.0))
    np.testing.assert_array_equal(before, values)


@examples(100)
@given(values=runs_of(MAGNITUDES | st.just(NAN), 200), q=st.floats(0.01, 1))
def test_histogram_quantile(values: list[float], q: float) -> None:
    single = np.array(values, np.float32)
    slow = naive.histogram_quantile(single.tolist(), q, histograms.BUCKETS)
    assert histograms.histogram_quantile(histograms.buckets_of(single), q) == slow


@examples(100)
@given(values=runs_of(MAGNITUDES | st.just(NAN), 200))
def test_largest_and_known(values: list[float]) -> None:
    single = np.array(values, np.float32)
    known = naive.known(single.tolist())
    same(np.array([histograms.largest_of(single)]), [max(known, default=NAN)])
    assert histograms.known_in(single) == len(known)
    np.testing.assert_array_equal(histograms.known_of(single), np.array(known, np.float32))
    low, high = kernels.range_of(single)
    assert (low, high) == (min(known, default=np.inf), max(known, default=-np.inf))


@examples(100)
@given(
    values=st.lists(st.floats(-18, 18).map(lambda e: 2.0**e), min_size=1, max_size=60),
    q=st.floats(0.01, 1),
)
def test_histogram_quantile_is_within_a_bucket(values: list[float], q: float) -> None:
    single = np.array(values, np.float32)
    found = histograms.histogram_quantile(histograms.buckets_of(single), q)
    assert found == pytest.approx(naive.nearest_rank(single.tolist(), q), rel=1 / 32)


@pytest.mark.parametrize("value", [0.0, 1e-30, 2.0**-21])
def test_histogram_quantile_of_nothing_worth_counting_is_zero(value: float) -> None:
    for count in (9, 0):
        single = np.full(count, value, np.float32)
        assert histograms.histogram_quantile(histograms.buckets_of(single), 0.9) == 0.0


@examples(100)
@given(
    values=st.lists(
        st.floats(-18, 18).map(lambda e: 2.0**e) | st.just(0.0) | st.just(NAN), max_size=60
    ),
    q=st.floats(0.01, 1),
    unit=st.sampled_from([2.0**-106, 1e-9, 1.0, 1e12, 2.0**100]),
)
def test_positive_quantile_is_within_a_bucket(values: list[float], q: float, unit: float) -> None:
    found = histograms.positive_quantile((np.array(values) * unit).astype(np.float32), q)
    known = naive.known(values)
    if not known:
        assert math.isnan(found)
        return
    rank = naive.nearest_rank(known, q)
    # Where the histogram does not reach, it interpolates between two samples.
    near = [naive.nearest_rank(known, min(max(q + d / len(known), 0.0), 1.0)) for d in (-1, 1)]
    low, high = min(rank, near[0]), max(rank, near[1])
    assert low * (1 - 1 / 32) <= found / unit <= high * (1 + 1 / 32)


def test_a_magnitude_beyond_the_histogram_counts_as_its_largest() -> None:
    huge = np.array([1.0, 3e38], np.float32)
    found = histograms.histogram_quantile(histograms.buckets_of(huge), 1.0)
    assert np.isfinite(found)
    assert found > 1e5


@examples(150)
@given(magnitudes=runs_of(MAGNITUDES | st.just(NAN), 80), day=st.integers(1, 40))
def test_fit_tail(magnitudes: list[float], day: int) -> None:
    tail = np.empty(4)
    single = np.array(magnitudes, np.float32)
    tails.fit_tail(single, day, tails.LEAST_DECADE, tail)
    slow = naive.fit_tail(
        single.tolist(),
        day,
        tails.LOW,
        tails.HIGH,
        tails.LEAST_DECADE,
        tails.KNOT,
        tails.PLATEAU,
    )
    # Quantiles come from the histogram: log1p keeps its 1 / 32 at most.
    assert tail[0] == pytest.approx(slow[0], abs=0.032)
    assert tail[1] == pytest.approx(slow[1], abs=0.064)
    assert tail[2:].tolist() == pytest.approx(slow[2:], rel=1e-6)
    assert tail[1] >= tails.LEAST_DECADE


TAILS = st.tuples(
    st.floats(0, 4),
    st.floats(tails.LEAST_DECADE, 4),
    st.floats(0, 6) | st.just(math.inf),
    st.floats(1, 5) | st.just(math.inf),
)


@examples(200)
@given(
    magnitude=MAGNITUDES,
    more=st.floats(0, 10),
    tail=TAILS,
    trust=st.floats(0, 1),
    prior=st.floats(0.1, 4),
)
def test_tail_evidence(
    magnitude: float, more: float, tail: tuple[float, ...], trust: float, prior: float
) -> None:
    rest = np.array(tail), trust, prior
    fast = tails.tail_evidence(magnitude, *rest)
    slow = naive.tail_evidence(magnitude, tail, trust, prior, tails.EVIDENCE_LIMIT)
    assert fast == pytest.approx(slow, rel=1e-12, abs=1e-12)
    assert 0.0 <= fast <= tails.EVIDENCE_LIMIT
    assert tails.tail_evidence(magnitude + more, *rest) >= fast - 1e-12


def test_what_every_fourth_day_shows_is_no_rarer_than_that() -> None:
    """A tail that the quantiles do not see is seen in the largest values of the days."""
    rng = np.random.default_rng(1)
    past = np.abs(rng.standard_normal(20 * 288)).astype(np.float32)
    tail = np.empty(4)
    tails.fit_tail(past, 288, tails.LEAST_DECADE, tail)
    without = tails.tail_evidence(9.0, tail, 1.0, 0.0)
    past[100::288] = 9.0
    tails.fit_tail(past, 288, tails.LEAST_DECADE, tail)
    assert tails.tail_evidence(9.0, tail, 1.0, 0.0) <= tail[3] + 1e-6 < without
    # Days without samples are none; days that differ are incidents, not a habit.
    past[: 5 * 288] = np.nan
    tails.fit_tail(past, 288, tails.LEAST_DECADE, tail)
    assert tails.tail_evidence(9.0, tail, 1.0, 0.0) <= tail[3] + 1e-6 < without
    past[-100] = 90.0
    tails.fit_tail(past, 288, tails.LEAST_DECADE, tail)
    assert tail[2:].tolist() == [np.inf, np.inf]


def test_what_one_or_two_days_reach_is_no_tail() -> None:
    """An outage of six hours is most of a hundredth of four weeks."""
    past = np.abs(np.random.default_rng(2).standard_normal(28 * 288)).astype(np.float32)
    quiet, tail = np.empty(4), np.empty(4)
    tails.fit_tail(past, 288, tails.LEAST_DECADE, quiet)
    for days in (1, 2, 3):
        past[days * 1440 : days * 1440 + 144] = 15.0
        tails.fit_tail(past, 288, tails.LEAST_DECADE, tail)
        away = np.abs(tail[:2] - quiet[:2]).max()
        assert away < 0.1 if days < 3 else away > 0.5
    # Of a week they may be the weekend.
    tails.fit_tail(past[: 13 * 288], 288, tails.LEAST_DECADE, tail)
    assert tail[1] > 1.0


@examples(100)
@given(st.lists(st.floats(2.0**-126, 2.0**127, width=32) | st.just(NAN), max_size=60))
def test_logarithms(values: list[float]) -> None:
    found = np.array(values, np.float32)
    wanted = np.log(found.astype(float))
    kernels.logarithms(found)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


@examples(100)
@given(
    z=runs_of(st.floats(-3, 3) | st.sampled_from([0.0, 3.0, -3.0]), 80),
    order=st.integers(1, 12),
)
def test_autoregression(z: list[float], order: int) -> None:
    weights = np.full(order, NAN)
    kernels.autoregression(np.array(z, float), order, weights)
    np.testing.assert_allclose(weights, naive.autoregression(z, order), rtol=1e-6, atol=1e-7)


def test_autoregression_finds_what_made_a_series() -> None:
    rng = np.random.default_rng(2)
    z = np.zeros(20_000)
    for t in range(2, len(z)):
        z[t] = 0.5 * z[t - 1] + 0.3 * z[t - 2] + rng.standard_normal()
    weights = np.empty(6)
    kernels.autoregression(z, 6, weights)
    np.testing.assert_allclose(weights, [0.5, 0.3, 0, 0, 0, 0], atol=0.03)


@examples(100)
@given(
    window=st.lists(st.floats(-20, 20), min_size=1, max_size=12),
    count=st.integers(0, 30),
    seed=st.integers(0, 2**32 - 1),
    kinds=st.integers(1, 30),
)
def test_novelty(window: list[float], count: int, seed: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    # Some references repeat, and the columns beyond `count` are not looked at.
    some = rng.normal(0, 5, (kinds, len(window))).astype(np.float32)
    references = np.ascontiguousarray(some[rng.integers(0, kinds, 35)].T)
    found = neighbours.novelty(np.array(window), references, count, np.empty(35, np.float32))
    slow = naive.novelty(window, references.T[:count].tolist())
    # Distances are added up in single precision.
    assert found == pytest.approx(slow, rel=1e-5, abs=1e-5)


@examples(100)
@given(
    size=st.integers(1, 12),
    begins=st.lists(st.integers(0, 20), max_size=30).map(sorted),
    seed=st.integers(0, 2**32 - 1),
)
def test_novelties(size: int, begins: list[int], seed: int) -> None:
    """Each window is compared with the references that begin to count before it."""
    rng = np.random.default_rng(seed)
    windows = rng.normal(0, 5, (size, 20)).astype(np.float32)
    references = rng.normal(0, 5, (size, 30)).astype(np.float32)
    found = np.empty(20, np.float32)
    neighbours.novelties(windows, references, np.array(begins, np.int64), found)
    for q in range(20):
        used = [references[:, r].tolist() for r, begin in enumerate(begins) if begin <= q]
        slow = naive.novelty(windows[:, q].tolist(), used) if len(used) > 4 else math.inf
        assert found[q] == pytest.approx(slow, rel=1e-5, abs=1e-5)


@examples(60)
@given(
    expected=st.floats(-1e3, 1e3) | st.sampled_from([0.0, 1e300, -1e300, 5e-324]),
    exponent=st.sampled_from([0.0, 0.5, 1.0]),
    pivot=st.floats(1e-3, 1e3) | st.sampled_from([1e300, 1e-300]),
)
def test_widening(expected: float, exponent: float, pivot: float) -> None:
    fast = kernels.widening(expected, np.array([exponent, pivot]))
    limits = kernels.NARROWEST, kernels.WIDEST
    slow = naive.widening(expected, exponent, pivot, *limits)
    assert fast == pytest.approx(slow)
    many = np.empty(9, np.float32)
    kernels.widenings(np.full(9, expected), np.array([exponent, pivot]), many)
    assert many == pytest.approx(slow, rel=1e-6)
    assert fast > 0.0
