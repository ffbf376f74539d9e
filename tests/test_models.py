"""Every model keeps the contract; each does what it is there for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import contract
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from synthetic import DAY, grid, labels, matrix, traffic

from detector.models import auto, registry, stl, zscore
from detector.models.baseline import Baseline
from detector.models.univariate import trailing_level
from detector.series import Model as ModelName
from detector.series import SeriesMatrix

A, B = labels(job="a"), labels(job="b")
UNIVARIATE = [name for name, model in registry.MODELS.items() if not model.joint]
SEASONAL = [name for name in UNIVARIATE if registry.MODELS[name].seasonal]


def fit_of(model: str) -> contract.Fit:
    return lambda history: registry.fit(model, history)


@pytest.mark.parametrize("check", contract.EVERY, ids=lambda check: check.__name__[6:])
@pytest.mark.parametrize("model", UNIVARIATE)
def test_the_contract(model: str, check: Callable[[contract.Fit], None]) -> None:
    check(fit_of(model))


@pytest.mark.parametrize("check", contract.SEASONAL, ids=lambda check: check.__name__[6:])
@pytest.mark.parametrize("model", SEASONAL)
def test_the_contract_of_seasons(model: str, check: Callable[[contract.Fit], None]) -> None:
    check(fit_of(model))


@pytest.mark.parametrize("model", UNIVARIATE)
@settings(max_examples=60, deadline=None)
@given(
    values=arrays.arrays(
        np.float64,
        st.integers(1, 96),
        elements=st.one_of(
            st.floats(-1e300, 1e300),
            st.floats(allow_infinity=False),
            st.sampled_from([np.nan, 0.0, 1.0, 1e-300]),
        ),
    )
)
def test_any_samples_have_a_defined_result(model: str, values: np.ndarray) -> None:
    contract.check_any(fit_of(model), values)


def test_the_registry_knows_what_can_be_configured() -> None:
    assert set(UNIVARIATE) == set(ModelName.__args__)
    assert [name for name, model in registry.MODELS.items() if model.joint] == ["forest"]
    with pytest.raises(ValueError, match="judges groups"):
        registry.fit("forest", matrix(grid(1, 300), {}))


@pytest.mark.parametrize("module", ["detector", "detector.models.registry"])
def test_no_heavy_library_is_loaded_before_it_is_chosen(module: str) -> None:
    heavy = ("statsmodels", "sklearn", "pandas", "matplotlib")
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_zscore_is_the_median_of_the_last_hours_and_the_deviation_around_it() -> None:
    times = grid(8, 3600)
    x = np.random.default_rng(1).standard_normal(len(times))
    base = zscore.fit(matrix(times, {A: x}))
    assert base.table[0] == pytest.approx(np.median(x[-48:]))
    assert base.expected[0, 100] == pytest.approx(np.median(x[52:100]))
    assert np.isnan(base.expected[0, :12]).all()
    off = np.abs(x - base.expected[0])
    assert base.scale[0] == pytest.approx(1.4826 * np.nanmedian(off))


def test_zscore_of_mostly_zeros_has_the_spread_of_the_rest() -> None:
    times = grid(8, 300)
    x = np.zeros(len(times))
    x[::20] = 4.0
    base = zscore.fit(matrix(times, {A: x}))
    assert base.scale[0] == pytest.approx(1.2533 * 0.2, rel=0.05)


def test_stl_knows_weekends_after_two_weeks_and_days_after_two_days() -> None:
    def weekend_error(days: int) -> float:
        times = grid(days + 7, 300)
        clean = traffic(times, noise=0.0)
        upto = days * 288
        base = stl.fit(matrix(times[:upto], {A: traffic(times, 2)[:upto]}))
        weekend = (times[upto:] // DAY + 3) % 7 >= 5
        error = np.abs(contract.forecast(base, times[upto:]) / clean[upto:] - 1)
        return float(np.median(error[weekend]))

    assert weekend_error(15) < 0.05
    assert weekend_error(12) > 0.2
    times = grid(4, 300)
    days = traffic(times, 3)
    history = matrix(times[:864], {A: days[:864]})
    ahead = [
        np.abs(contract.forecast(model.fit(history), times[864:]) - days[864:]).mean()
        for model in (stl, zscore)
    ]
    assert ahead[0] < 0.4 * ahead[1]


@pytest.mark.parametrize(("days", "share"), [(2, 1.0), (10, 0.3)])
def test_stl_of_too_little_is_the_zscore(days: int, share: float) -> None:
    times = grid(days, 300)
    x = traffic(times)
    hours = np.random.default_rng(4).random(days * 24) >= share
    x[np.repeat(hours, 12)] = np.nan
    history = matrix(times, {A: x})
    contract.equal(stl.fit(history), zscore.fit(history))


@pytest.mark.parametrize("factor", [0.0, 3.0])
@pytest.mark.parametrize("hours", [1, 4])
def test_stl_does_not_learn_one_incident(factor: float, hours: int) -> None:
    """Neither for the week to come, nor as what was expected while it lasted."""
    times = grid(28, 300)
    x = traffic(times, 5)
    begin = 23 * 288 + 14 * 12
    inside = slice(begin, begin + 12 * hours)
    with_incident = x.copy()
    with_incident[inside] *= factor
    usual = stl.fit(matrix(times, {A: x}))
    found = stl.fit(matrix(times, {A: with_incident}))
    np.testing.assert_allclose(found.table, usual.table, rtol=0.05)
    np.testing.assert_allclose(found.expected[0, inside], usual.expected[0, inside], rtol=0.05)


@pytest.mark.parametrize("days", [15, 28])
def test_residuals_of_stl_are_those_of_a_forecast(days: int) -> None:
    """In sample they are 1.6 to 1.9 times too small where noise lasts for hours."""
    ratios = []
    for seed in range(4):
        times = grid(days + 7, 300)
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal(len(times))
        for t in range(1, len(noise)):
            noise[t] = 0.95 * noise[t - 1] + np.sqrt(1 - 0.95**2) * noise[t]
        x = traffic(times, noise=0.0) * (1 + 0.05 * noise)
        upto = days * 288
        base = stl.fit(matrix(times[:upto], {A: x[:upto]}))
        season = base.table[0][times // 300 % 2016]
        ahead = (x - season - trailing_level(x - season, 288)[0])[upto:]
        past = x[:upto] - base.expected[0]
        ratios.append(np.median(np.abs(ahead)) / np.nanmedian(np.abs(past)))
    assert 0.85 < np.mean(ratios) < 1.25


def test_auto_takes_the_cheapest_of_the_best_and_says_why() -> None:
    times = grid(28, 300)
    noise = np.random.default_rng(5).standard_normal(len(times))
    history = matrix(times, {A: traffic(times, 5), B: 100 + noise})
    weekly, flat = auto.choose(history)
    assert weekly.model in ("seasonal", "stl")
    assert flat.model == "zscore"
    assert "last 5.6 days held back: zscore 0." in flat.reason
    base = auto.fit(history)
    for s, choice in enumerate((weekly, flat)):
        alone = registry.fit(choice.model, history)
        np.testing.assert_array_equal(base.table[s], alone.table[s])
        np.testing.assert_array_equal(base.expected[s], alone.expected[s])
    assert registry.explain("auto", history) == (weekly, flat)
    assert [choice.reason for choice in registry.explain("stl", history)] == 2 * ["as configured"]


def test_ties_within_five_percent_go_to_the_cheaper_one() -> None:
    errors = {"zscore": 1.06, "seasonal": 1.04, "stl": 1.0}
    assert auto._decide(errors, 5.6) == auto.Choice(
        "seasonal",
        "cheapest within 5 % of the least error on the last 5.6 days held back: "
        "zscore 1.06, seasonal 1.04, stl 1",
    )
    assert auto._decide({**errors, "zscore": 0.9}, 5.6).reason.startswith("least error")


def test_an_incident_in_what_is_held_back_does_not_decide() -> None:
    times = grid(15, 300)
    x = traffic(times, 6)
    quiet = auto.choose(matrix(times, {A: x}))[0].model
    x[-400:-360] *= 50
    assert auto.choose(matrix(times, {A: x}))[0].model == quiet


@pytest.mark.parametrize("days", [15, 28])
def test_a_nightly_job_is_a_season_though_it_is_an_hour_of_a_day(days: int) -> None:
    """Its error is far from usual, as an incident's is, and comes back each night."""
    times = grid(days, 300)
    noise = np.random.default_rng(8).standard_normal(len(times))
    night = times % DAY // 3600 == 2
    x = np.where(night, 50.0 + 2.0 * noise, 0.2 * (1.0 + 0.1 * noise))
    (choice,) = auto.choose(matrix(times, {A: x}))
    assert choice.model == "seasonal", choice.reason


@pytest.mark.parametrize(
    ("days", "why"), [(0.0, "no history"), (1.5, "less than two days"), (4.0, "too few samples")]
)
def test_where_nothing_can_be_compared_auto_is_the_default(days: float, why: str) -> None:
    times = grid(5, 300)
    x = traffic(times)
    x[: round((5 - days) * 288)] = np.nan
    if days == 4.0:
        x[np.arange(len(x)) % 60 > 0] = np.nan
    (choice,) = auto.choose(matrix(times, {A: x}))
    assert choice.model == "seasonal"
    assert why in choice.reason


def test_auto_fits_each_series_once_to_the_whole_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = grid(15, 300)
    noise = np.random.default_rng(1).standard_normal(len(times))
    history = matrix(times, {A: 100 + noise, B: traffic(times, 2)})
    models = [choice.model for choice in auto.choose(history)]
    assert len(set(models)) == 2
    alone = [
        registry.fit(model, matrix(times, {key: row}))
        for model, key, row in zip(models, history.labels, history.values, strict=True)
    ]
    whole: list[str] = []

    def counted(name: str) -> contract.Fit:
        def fit(lesson: SeriesMatrix) -> Baseline:
            whole.extend([name] * len(lesson.labels) * (len(lesson.times) == len(times)))
            return registry.fit(name, lesson)

        return fit

    monkeypatch.setattr(auto, "CANDIDATES", {name: counted(name) for name in auto.CANDIDATES})
    base = auto.fit(history)
    assert sorted(whole) == sorted(models)
    for s, one in enumerate(alone):
        np.testing.assert_array_equal(base.table[s], one.table[0])
        np.testing.assert_array_equal(base.expected[s], one.expected[0])


def test_local_times_move_the_season() -> None:
    """Times may be local: the slots follow them, whatever the grid's first time is."""
    times = grid(15, 300)
    history = matrix(times, {A: traffic(times, 7)})
    local = replace(history, times=history.times + 7200)
    for model in UNIVARIATE:
        base, moved = registry.fit(model, history), registry.fit(model, local)
        np.testing.assert_allclose(moved.table, np.roll(base.table, 24, axis=1), rtol=1e-6)
