"""What every univariate model promises: one suite, run by tests/test_models.py over all of them.

Each check takes the fit of a model, `SeriesMatrix -> Baseline`, and raises when a promise is
broken.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np
from synthetic import DAY, grid, labels, matrix, traffic

from detector.models.baseline import WEEK, Baseline, level_blocks
from detector.models.registry import LARGEST
from detector.series import Labels, SeriesMatrix

Fit = Callable[[SeriesMatrix], Baseline]

A, B, C = labels(job="a"), labels(job="b"), labels(job="c")
STEP = 300


def fitted(fit: Fit, times: np.ndarray, rows: Mapping[Labels, np.ndarray]) -> Baseline:
    """Fit with every warning an error, and check what holds for any input."""
    history = matrix(times, rows)
    before = history.values.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        base = fit(history)
    np.testing.assert_array_equal(history.values, before)
    check_shapes(base, history)
    return base


def level(base: Baseline, s: int = 0) -> float:
    """Return what scoring adds to the table: the median of the known blocks."""
    known = base.blocks[s][np.isfinite(base.blocks[s])]
    return float(np.median(known)) if len(known) else 0.0


def forecast(base: Baseline, times: np.ndarray, s: int = 0) -> np.ndarray:
    """Return what is expected at times on the profile grid after the boundary."""
    slots = WEEK // base.profile
    row: np.ndarray = base.table[s][times // base.profile % slots] + level(base, s)
    return row


def equal(one: Baseline, other: Baseline) -> None:
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


def check_shapes(base: Baseline, history: SeriesMatrix) -> None:
    count, samples = history.values.shape
    shapes = {
        "table": (count, WEEK // history.step),
        "blocks": (count, level_blocks(DAY // history.step)[0]),
        "expected": (count, samples),
        "scale": (count,),
        "growth": (count, 2),
        "reference": (count, 2),
        "seconds": (count,),
        "samples": (count,),
        "ready": (count,),
    }
    assert base.labels == history.labels
    assert base.profile == history.step
    for name, shape in shapes.items():
        value = getattr(base, name)
        assert value.shape == shape, name
        assert not np.isinf(value).any(), name
        assert value.dtype == {"ready": bool, "samples": np.int64}.get(name, np.float64), name
    usable = np.abs(history.values) <= LARGEST
    np.testing.assert_array_equal(base.samples, usable.sum(axis=1))
    # Ready is ready: there is a forecast for some slot, and a scale to divide by.
    assert np.isfinite(base.table[base.ready]).any(axis=1).all()
    assert (base.scale[base.ready] > 0).all()


def check_determinism(fit: Fit) -> None:
    """The same history gives the same baseline, and no row has an influence on another."""
    times = grid(16, STEP)
    rows = {A: traffic(times, 1), B: 1e6 * traffic(times, 2), C: np.full(len(times), np.nan)}
    base = fitted(fit, times, rows)
    equal(base, fitted(fit, times, rows))
    alone = fitted(fit, times, {B: rows[B]})
    for name, value in vars(base).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value[1], getattr(alone, name)[0], err_msg=name)


def check_degenerate(fit: Fit) -> None:
    """Nothing, too little, constant, huge, tiny and negative input has a defined result."""
    times = grid(3, STEP)
    fitted(fit, times, {})
    fitted(fit, times[:0], {A: np.empty(0)})
    one = np.full(len(times), np.nan)
    assert not fitted(fit, times, {A: one}).ready[0]
    one[100] = 1.0
    assert not fitted(fit, times, {A: one}).ready[0]
    for constant in (0.0, 5.0, -5.0, 1e300, -1e300, 1e-300):
        base = fitted(fit, times, {A: np.full(len(times), constant)})
        assert base.ready[0]
        np.testing.assert_allclose(forecast(base, times), constant, rtol=1e-9)
    rate = traffic(times)
    for unit in (1e298, -1e298, 1e-300, -1.0):
        base = fitted(fit, times, {A: unit * rate})
        assert base.ready[0]
        error = np.abs(forecast(base, times + 3 * DAY) - unit * rate)
        assert np.median(error) < 0.6 * abs(unit) * rate.mean()


def check_largest(fit: Fit) -> None:
    """Samples up to the largest float are missing where a fit could not add them up."""
    times = grid(15, STEP)
    rate, n = traffic(times), np.arange(len(times))
    for most in (1e301, 1e308, 1.7e308, np.finfo(float).max):
        for sign in (1.0, -1.0):
            assert not fitted(fit, times, {A: np.full(len(times), sign * most)}).ready[0]
            once = np.where(n == 4000, sign * most, rate)
            equal(
                fitted(fit, times, {A: once}),
                fitted(fit, times, {A: np.where(n == 4000, np.nan, rate)}),
            )
        for run in (1, 12, 288):
            assert not fitted(fit, times, {A: np.where(n // run % 2, most, -most)}).ready[0]
    # A week with one sample far above all others, as far as a fit can tell.
    for unit in (1.0, 1e-200, 5e-324):
        fitted(fit, times, {A: np.where(n == 4000, LARGEST, unit * rate)})


def check_any(fit: Fit, values: np.ndarray) -> None:
    """Whatever the samples are: no warning, no exception, no infinity (see `fitted`)."""
    times = grid(len(values) / 24, 3600)
    base = fitted(fit, times, {A: values})
    seen = np.flatnonzero(np.abs(values) <= LARGEST)
    if len(seen) < 20 or seen[-1] - seen[0] < 23:
        assert not base.ready[0]


def check_scaling(fit: Fit) -> None:
    """Another unit is the same series; the power of two leaves every bit of it."""
    times = grid(16, STEP)
    rate = traffic(times, 3)
    base, large = (fitted(fit, times, {A: unit * rate}) for unit in (1.0, 1024.0))
    for name in ("table", "blocks", "expected", "scale", "reference"):
        np.testing.assert_allclose(
            getattr(large, name), 1024.0 * getattr(base, name), rtol=1e-6, atol=1e-3, err_msg=name
        )


def check_shift(fit: Fit) -> None:
    """A constant on top changes what is expected by that constant, but for a tenth of a scale.

    Not exactly: seasons may grow with a level, and the smallest scale is a share of it.
    """
    times = grid(16, STEP)
    rate = traffic(times, 4)
    base, shifted = (fitted(fit, times, {A: rate + offset}) for offset in (0.0, 50.0))
    np.testing.assert_allclose(shifted.scale, base.scale, rtol=0.1)
    off = forecast(shifted, times) - 50.0 - forecast(base, times)
    assert np.abs(off).mean() < 0.1 * base.scale[0]


def check_gaps(fit: Fit) -> None:
    """Missing samples, hours and days hardly change what is expected."""
    times = grid(25, STEP)
    rate = traffic(times, 5)
    gappy = rate.copy()
    gappy[np.random.default_rng(6).random(len(times)) < 0.1] = np.nan
    gappy[1000:1400] = np.nan
    gappy[3000:3030] = np.nan
    base, holes = (fitted(fit, times, {A: x}) for x in (rate, gappy))
    tomorrow = times[-288:] + DAY
    off = forecast(holes, tomorrow) - forecast(base, tomorrow)
    assert np.abs(off).mean() < 0.35 * base.scale[0]
    np.testing.assert_allclose(holes.scale, base.scale, rtol=0.1)
    # Nothing before the series began is as good as no history at all.
    late = np.full(len(times), np.nan)
    late[-9 * 288 :] = rate[-9 * 288 :]
    padded = fitted(fit, times, {A: late})
    short = fitted(fit, times[-9 * 288 :], {A: rate[-9 * 288 :]})
    np.testing.assert_allclose(forecast(padded, times), forecast(short, times), rtol=0.02)
    np.testing.assert_allclose(padded.scale, short.scale, rtol=0.02)
    assert padded.seconds[0] == short.seconds[0]


def check_honesty(fit: Fit) -> None:
    """What the past was expected to be is no better known than what comes next."""
    times = grid(29, STEP)
    noise = np.random.default_rng(7).standard_normal(len(times))
    upto = 28 * 288
    base = fitted(fit, times[:upto], {A: 100 + noise[:upto]})
    past = np.nanstd(100 + noise[:upto] - base.expected[0])
    assert past > 0.98
    ahead = np.std(100 + noise[upto:] - forecast(base, times[upto:]))
    assert abs(ahead / past - 1) < 0.15
    assert abs(base.scale[0] / past - 1) < 0.1


def check_truth(fit: Fit) -> None:
    """On clean seasonal data what is expected is the truth, in the past and on the next day."""
    times = grid(26, STEP)
    clean = traffic(times, noise=0.0)
    upto = 25 * 288
    base = fitted(fit, times[:upto], {A: traffic(times, 8)[:upto]})
    past = np.abs(base.expected[0] / clean[:upto] - 1)
    assert np.nanmedian(past) < 0.03
    assert np.isfinite(past[8 * 288 :]).all()
    ahead = np.abs(forecast(base, times[upto:]) / clean[upto:] - 1)
    assert np.median(ahead) < 0.03
    assert np.quantile(ahead, 0.98) < 0.08


def check_readiness(fit: Fit) -> None:
    """A day of history is enough to begin, less is not; nor are a handful of samples."""
    times = grid(3, STEP)
    rate = traffic(times)
    assert fitted(fit, times[:288], {A: rate[:288]}).ready[0]
    assert not fitted(fit, times[:287], {A: rate[:287]}).ready[0]
    sparse = np.full(len(times), np.nan)
    sparse[::50] = 1.0
    assert not fitted(fit, times, {A: sparse}).ready[0]


def check_recency(fit: Fit) -> None:
    """A level that changed two days ago is what is expected, and an incident of hours is not."""
    times = grid(21, STEP)
    rate = 20 + np.random.default_rng(9).standard_normal(len(times))
    lasting = rate.copy()
    lasting[-2 * 288 :] += 30
    assert abs(np.mean(forecast(fitted(fit, times, {A: lasting}), times)) - 50) < 3
    incident = rate.copy()
    incident[-3 * 12 :] += 30
    base = fitted(fit, times, {A: incident})
    assert abs(np.mean(forecast(base, times)) - 20) < 1
    assert base.scale[0] < 2


def check_other_grids(fit: Fit) -> None:
    """Any grid that divides a day will do, half a day and a whole one included."""
    for profile in (60, 2700, 3600, 43_200, DAY):
        times = grid(40 if profile > 3600 else 9, profile)
        base = fitted(fit, times, {A: traffic(times)})
        assert base.ready[0], profile
        assert np.isfinite(forecast(base, times)).all(), profile


EVERY = (
    check_determinism,
    check_degenerate,
    check_largest,
    check_scaling,
    check_shift,
    check_gaps,
    check_honesty,
    check_readiness,
    check_recency,
    check_other_grids,
)
SEASONAL = (check_truth,)
