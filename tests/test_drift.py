"""The reference, the distances from it and their floors without drift."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance

from detector.errors import ConfigError
from simulator.churn.binning import make_reference
from simulator.churn.distances import (
    SMALLEST_OBSERVED,
    applicable,
    distance,
    ks_p_value,
    statistics_from_counts,
)
from simulator.churn.drift import DRIFTED_FROM, assess, describe
from simulator.churn.floors import LEVEL, make_floors
from simulator.churn.model import CHURN, STAY
from simulator.churn.reference import FeatureReference, Reference
from simulator.churn.schema import CATEGORIES, FEATURES
from simulator.population import as_requests, feature_drift, synthetic_customers

ROWS = 5000


def made_scores(rows: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).beta(1, 3, rows)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return make_reference(synthetic_customers(np.random.default_rng(1), ROWS), made_scores(ROWS))


@pytest.fixture(scope="module")
def customers() -> list[dict[str, object]]:
    return as_requests(synthetic_customers(np.random.default_rng(2), 3000))


def test_distances_of_binned_windows_are_those_of_scipy(reference: Reference) -> None:
    rng = np.random.default_rng(3)
    for column in reference.columns:
        counts = rng.integers(0, 50, (2, 3, column.bins))
        counts[..., 0] += SMALLEST_OBSERVED
        for statistic in applicable(column):
            ours = distance(column, counts, statistic)
            assert ours.shape == (2, 3)
            for index in np.ndindex(2, 3):
                theirs = {
                    "wasserstein": lambda c=column, q=counts[index]: (
                        wasserstein_distance(c.means, c.means, c.shares, q) / c.std
                    ),
                    "jensen_shannon": lambda c=column, q=counts[index]: jensenshannon(c.shares, q),
                    "psi": lambda c=column, q=counts[index]: plain_psi(c.shares, q),
                }[statistic]()
                assert ours[index] == pytest.approx(theirs, abs=1e-9)


def plain_psi(shares: tuple[float, ...], counts: np.ndarray) -> float:
    """Evidently's formula, with its 0.0001 for an empty bin."""
    total = 0.0
    for count, share in zip(counts, shares, strict=True):
        q, p = max(count / counts.sum(), 1e-4), max(share, 1e-4)
        total += (q - p) * math.log(q / p)
    return total


def test_bins_cost_little_of_the_distance_of_the_values_themselves(reference: Reference) -> None:
    """The Wasserstein distance of the raw values, clipped as the bins' means are, within 0.07."""
    before = synthetic_customers(np.random.default_rng(1), ROWS)
    for factor in (1.0, 1.3, 2.0):
        after = synthetic_customers(np.random.default_rng(8), 3000)
        for feature in _of_kind(reference, "number"):
            p, q = (v[~np.isnan(v)] for v in (before[feature.name], after[feature.name] * factor))
            limits = np.quantile(p, (0.001, 0.999))
            theirs = wasserstein_distance(np.clip(p, *limits), np.clip(q, *limits)) / feature.std
            ours = float(distance(feature, _counts(feature, q), "wasserstein"))
            assert ours == pytest.approx(theirs, abs=0.07), (feature.name, factor)


def test_p_values_are_those_of_scipy_on_the_bins(reference: Reference) -> None:
    before = synthetic_customers(np.random.default_rng(1), ROWS)
    after = synthetic_customers(np.random.default_rng(9), 1000)
    for feature in _of_kind(reference, "number"):
        p, q = (feature.slots(columns[feature.name]) for columns in (before, after))
        p, q = (np.clip(one[one != feature.bins], None, feature.bins - 1) for one in (p, q))
        ours = ks_p_value(feature, np.bincount(q, minlength=feature.bins))
        assert ours == pytest.approx(ks_2samp(p, q, method="asymp").pvalue, abs=1e-9)
    for column in _of_kind(reference, "category"):
        assert ks_p_value(column, np.full(column.bins, 100)) is None


def test_the_unit_is_the_standard_deviation_of_the_reference() -> None:
    values = np.random.default_rng(3).normal(100.0, 7.0, 100_000)
    feature = make_reference({**_empty(len(values)), "MONTANT": values}).features[
        FEATURES.index("MONTANT")
    ]
    assert feature.std == pytest.approx(7.0, rel=0.05)
    assert statistics_from_counts(feature, _counts(feature, values + 3.5)) == pytest.approx(
        0.5, rel=0.1
    )


def test_no_drift_is_zero_and_too_few_values_are_nan(reference: Reference) -> None:
    for column in reference.columns:
        same = np.array(column.shares) * 1e6
        few = np.zeros(column.bins)
        few[0] = SMALLEST_OBSERVED - 1
        for statistic in applicable(column):
            value = distance(column, [same, few, np.zeros(column.bins)], statistic)
            assert value[0] == pytest.approx(0.0, abs=1e-6)
            assert np.isnan(value[1:]).all()


@pytest.mark.parametrize("size", [500, 1000, 3000])
def test_floors_hold_their_level_without_drift(reference: Reference, size: int) -> None:
    """Windows from the population the reference is a sample of, not from the reference.

    Of 400 windows a share `1 - LEVEL` may pass the floor; over all columns and statistics it is
    between a third and three times that, and of no statistic more than 4 %.
    """
    columns = synthetic_customers(np.random.default_rng(11), 60_000)
    placed = reference.place(as_requests(columns), made_scores(60_000, seed=12))
    floors = make_floors(reference)
    rng = np.random.default_rng(13)
    passed: dict[tuple[str, str], list[bool]] = {}
    means: dict[tuple[str, str], list[float]] = {}
    for _ in range(400):
        window = placed[rng.integers(0, len(placed), size)]
        counts = np.bincount(window.ravel(), minlength=int(reference.starts[-1]))
        drift = assess(reference, floors, size, counts)
        for one in (*drift.features, *drift.outputs):
            for statistic, value in one.values.items():
                key = (one.column.name, statistic)
                passed.setdefault(key, []).append(value > one.floors[statistic])
                means.setdefault(key, []).append(value / max(one.expected[statistic], 1e-12))
    shares = {key: np.mean(found) for key, found in passed.items() if len(found) > 300}
    usual = 1.0 - LEVEL
    assert len(shares) > 40
    assert usual / 3 < np.mean(list(shares.values())) < 3 * usual
    # The reference is one sample: where it happened to be far off, all windows are.
    assert max(shares.values()) < 0.2, shares
    assert np.median([np.mean(found) for found in means.values()]) == pytest.approx(1.0, abs=0.1)


def test_floors_shrink_with_the_window(reference: Reference) -> None:
    floors = make_floors(reference)
    for column in reference.columns:
        for statistic in applicable(column):
            levels = [floors.at(column.name, statistic, n)[1] for n in (30, 100, 1000, 10_000)]
            assert levels == sorted(levels, reverse=True)
            assert all(np.isnan(floors.at(column.name, statistic, SMALLEST_OBSERVED - 1)))


def test_the_reference_describes_its_own_data(reference: Reference) -> None:
    columns = synthetic_customers(np.random.default_rng(1), ROWS)
    codes = reference.encode(as_requests(columns))
    assert codes.shape == (ROWS, len(FEATURES))
    for position, feature in enumerate(reference.features):
        counts = np.bincount(codes[:, position], minlength=feature.bins + 1)
        assert counts[-1] / ROWS == pytest.approx(feature.missing_ratio)
        assert counts[:-1].sum() == feature.known
        np.testing.assert_allclose(counts[:-1] / counts[:-1].sum(), feature.shares)
        # Nothing of the training data is outside what training saw.
        assert feature.slots(columns[feature.name].tolist()).max() <= feature.bins
        if feature.kind == "number":
            # No bin is empty, and each bin's mean lies inside it.
            assert counts[:-1].min() > 0
            assert feature.slots(feature.means).tolist() == list(range(feature.bins))


def test_slots_of_values_outside_the_reference(reference: Reference) -> None:
    for feature in reference.features:
        assert feature.slots([None, math.nan]).tolist() == [feature.bins] * 2
        if feature.kind == "number":
            outside = feature.slots([feature.lowest - 1.0, feature.highest + 1.0])
            assert outside.tolist() == [feature.bins + 1, feature.bins + 2]
        else:
            outside = feature.slots(["never seen"])
            assert outside.tolist() == [feature.bins + 2]
        folded = feature.folded(np.bincount(outside, minlength=feature.width))
        assert folded.sum() == len(outside)
        assert folded[-1] == 1


def test_predictions_are_columns_too(reference: Reference) -> None:
    score, said = reference.outputs
    assert said.categories == (STAY, CHURN)
    assert said.shares[1] == pytest.approx((made_scores(ROWS) >= 0.5).mean())
    customer = dict.fromkeys(FEATURES)
    placed = reference.place([customer] * 2, [0.1, 0.9]) - reference.starts[:-1]
    assert placed[:, -1].tolist() == [0, 1]
    assert placed[:, -2].tolist() == score.slots([0.1, 0.9]).tolist()


def test_a_fault_stands_out_of_the_noise(
    reference: Reference, customers: list[dict[str, object]]
) -> None:
    rng = np.random.default_rng(4)
    floors = make_floors(reference)
    quiet, loud = (
        _assessed(reference, floors, window)
        for window in (
            customers[:1000],
            [feature_drift(rng, c, 1.0) for c in customers[1000:2000]],
        )
    )
    assert quiet.drifted == 0
    names = {one.column.name for one in loud.features if one.drifted}
    assert {"MONTANT", "REVENUE", "ARPU_SEGMENT", "DATA_VOLUME", "REGION"} <= names
    assert len(names) <= 6
    value, expected = quiet.summary()
    assert value == pytest.approx(expected, rel=0.15)
    assert loud.summary()[0] > 1.5 * loud.summary()[1]
    for one in loud.features:
        assert one.drifted == (
            one.values[one.column.statistic] > max(one.floors[one.column.statistic], DRIFTED_FROM)
        )
    assert _assessed(reference, floors, customers[:499]).features == ()
    json.dumps(describe(loud), allow_nan=False)


def test_the_summary_weighs_by_what_is_known(
    reference: Reference, customers: list[dict[str, object]]
) -> None:
    drift = _assessed(reference, make_floors(reference), customers[:1000])
    known = [f for f in drift.features if f.values]
    weights = [1000 - f.missing for f in known]
    expected = np.average([f.values["jensen_shannon"] for f in known], weights=weights)
    assert drift.summary()[0] == pytest.approx(expected)
    blank = [c | dict.fromkeys(FEATURES) for c in customers[:600]]
    empty = _assessed(reference, make_floors(reference), blank)
    assert math.isnan(empty.summary()[0])
    assert (empty.drifted, empty.missing) == (0, 600 * len(FEATURES))


def test_the_reference_survives_json(reference: Reference) -> None:
    stored = json.loads(json.dumps(reference.to_json(), allow_nan=False))
    again = Reference.from_json(stored)
    assert again == reference
    assert again.id == reference.id
    stored["features"][0]["shares"][0] += 1e-9
    assert Reference.from_json(stored).id != reference.id


@pytest.mark.parametrize(
    "stored",
    [None, 3, [], {}, [[1]], "x", {"features": [], "outputs": []}, {"features": 1, "outputs": []}],
)
def test_a_damaged_reference_is_refused(stored: object) -> None:
    with pytest.raises(ConfigError, match="simulator train"):
        Reference.from_json(stored)


def test_features_without_values_or_spread() -> None:
    columns = _empty(50)
    columns["ZONE1"] = np.full(50, 3.0)
    reference = make_reference(columns)
    customer = dict.fromkeys(FEATURES) | {"ZONE1": 9.0, "REGION": "DAKAR"}
    drift = _assessed(reference, make_floors(reference), [customer] * 550)
    found = {one.column.name: one for one in drift.features}
    assert found["ZONE1"].values["wasserstein"] == 0.0
    assert found["ZONE1"].invalid == 550
    assert not found["MONTANT"].values
    assert not found["REGION"].values
    assert drift.drifted == 0


def _assessed(reference, floors, customers):
    placed = reference.place(customers, made_scores(len(customers)))
    counts = np.bincount(placed.ravel(), minlength=int(reference.starts[-1]))
    return assess(reference, floors, len(customers), counts)


def _counts(feature: FeatureReference, values: np.ndarray) -> np.ndarray:
    return feature.folded(np.bincount(feature.slots(values), minlength=feature.width))


def _of_kind(reference: Reference, kind: str) -> list[FeatureReference]:
    found = [feature for feature in reference.features if feature.kind == kind]
    assert found
    return found


def _empty(rows: int) -> dict[str, np.ndarray]:
    return {
        name: np.full(rows, None, dtype=object) if name in CATEGORIES else np.full(rows, np.nan)
        for name in FEATURES
    }
