"""Drift statistics against scipy, a plain formula and a recount of the window."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from detector.errors import ConfigError
from simulator.churn.drift import (
    SMALLEST_OBSERVED,
    SMALLEST_WINDOW,
    DriftWindow,
    FeatureReference,
    Reference,
    make_reference,
    statistics_from_counts,
)
from simulator.churn.schema import CATEGORIES, FEATURES
from simulator.population import as_requests, feature_drift, synthetic_customers


@pytest.fixture(scope="module")
def reference() -> Reference:
    return make_reference(synthetic_customers(np.random.default_rng(1), 5000))


@pytest.fixture(scope="module")
def customers() -> list[dict[str, object]]:
    return as_requests(synthetic_customers(np.random.default_rng(2), 3000))


def test_numbers_agree_with_scipy(reference: Reference) -> None:
    rng = np.random.default_rng(3)
    for feature in _of_kind(reference, "number"):
        counts = rng.integers(0, 50, (2, 3, feature.bins))
        counts[..., 0] += SMALLEST_OBSERVED
        ours = statistics_from_counts(feature, counts)
        assert ours.shape == (2, 3)
        for index in np.ndindex(2, 3):
            theirs = wasserstein_distance(
                feature.means, feature.means, feature.shares, counts[index]
            )
            assert ours[index] == pytest.approx(theirs / feature.std)


def test_the_unit_is_the_standard_deviation_of_the_reference() -> None:
    values = np.random.default_rng(3).normal(100.0, 7.0, 100_000)
    feature = make_reference({**_empty(len(values)), "MONTANT": values}).features[
        FEATURES.index("MONTANT")
    ]
    assert feature.std == pytest.approx(7.0, rel=0.05)
    counts = np.bincount([feature.code(v) for v in values + 3.5], minlength=feature.bins)
    assert statistics_from_counts(feature, counts) == pytest.approx(0.5, rel=0.1)


def test_categories_agree_with_the_plain_formula(reference: Reference) -> None:
    rng = np.random.default_rng(3)
    for feature in _of_kind(reference, "category"):
        counts = rng.integers(0, 200, feature.bins)
        counts[-1] = 0
        counts[0] += SMALLEST_OBSERVED
        expected = 0.0
        for count, share in zip(counts, feature.shares, strict=True):
            q, p = max(count / counts.sum(), 1e-4), max(share, 1e-4)
            expected += (q - p) * math.log(q / p)
        assert statistics_from_counts(feature, counts) == pytest.approx(expected)


def test_no_drift_is_zero_and_too_few_values_are_nan(reference: Reference) -> None:
    for feature in reference.features:
        same = np.array(feature.shares) * 1e6
        few = np.zeros(feature.bins)
        few[0] = SMALLEST_OBSERVED - 1
        value = statistics_from_counts(feature, [same, few, np.zeros(feature.bins)])
        assert value[0] == pytest.approx(0.0, abs=1e-6)
        assert np.isnan(value[1:]).all()


def test_the_reference_describes_its_own_data(reference: Reference) -> None:
    columns = synthetic_customers(np.random.default_rng(1), 5000)
    codes = reference.encode(as_requests(columns))
    assert codes.shape == (5000, len(FEATURES))
    for position, feature in enumerate(reference.features):
        counts = np.bincount(codes[:, position], minlength=feature.bins + 1)
        assert counts[-1] / 5000 == pytest.approx(feature.missing_ratio)
        np.testing.assert_allclose(counts[:-1] / counts[:-1].sum(), feature.shares)
        if feature.kind == "number":
            # No bin is empty, and each bin's mean lies inside it.
            assert counts[:-1].min() > 0
            assert [feature.code(mean) for mean in feature.means] == list(range(feature.bins))


def test_codes_of_values_outside_the_reference(reference: Reference) -> None:
    for feature in reference.features:
        assert feature.code(None) == feature.code(math.nan) == feature.bins
        if feature.kind == "number":
            assert feature.code(-1.0) == 0
            assert feature.code(1e12) == feature.bins - 1
        else:
            assert feature.code("never seen") == feature.bins - 1


def test_the_window_counts_its_last_rows(
    reference: Reference, customers: list[dict[str, object]]
) -> None:
    codes = reference.encode(customers)
    window = DriftWindow(reference, size=300)
    added = 0
    # Single rows, uneven batches, one longer than the window.
    for length in (1, 1, 250, 40, 7, 1, 900, 299, 300, 301, 1):
        window.add(codes[added : added + length])
        added += length
        rows = codes[max(0, added - 300) : added]
        assert window.rows == len(rows)
        if len(rows) < SMALLEST_WINDOW:
            assert window.statistics() == window.missing_ratios() == {}
            continue
        statistics, missing = window.statistics(), window.missing_ratios()
        for position, feature in enumerate(reference.features):
            counts = np.bincount(rows[:, position], minlength=feature.bins + 1)
            assert missing[feature.name] == pytest.approx(counts[-1] / len(rows))
            expected = statistics_from_counts(feature, counts[:-1])
            assert statistics.get(feature.name, math.nan) == pytest.approx(expected, nan_ok=True)


def test_a_fault_stands_out_of_the_noise(
    reference: Reference, customers: list[dict[str, object]]
) -> None:
    rng = np.random.default_rng(4)
    window = DriftWindow(reference)
    window.add(reference.encode(customers[:1000]))
    before = window.statistics()
    window.add(reference.encode(feature_drift(rng, c, 1.0) for c in customers[1000:2000]))
    after = window.statistics()
    for name in ("MONTANT", "REVENUE", "ARPU_SEGMENT", "DATA_VOLUME"):
        assert before[name] < 0.12
        assert after[name] > 0.2
    assert after["REGION"] > 1.0 > 20 * before["TENURE"]
    assert after["TOP_PACK"] < 0.12


def test_the_reference_survives_json(reference: Reference) -> None:
    stored = json.loads(json.dumps(reference.to_json(), allow_nan=False))
    again = Reference.from_json(stored)
    assert again == reference
    assert again.id == reference.id
    stored[0]["shares"][0] += 1e-9
    assert Reference.from_json(stored).id != reference.id


@pytest.mark.parametrize("stored", [None, 3, [], [{"name": "REGION"}], [[1]], ["x"]])
def test_a_damaged_reference_is_refused(stored: object) -> None:
    with pytest.raises(ConfigError, match="simulator train"):
        Reference.from_json(stored)


def test_features_without_values_or_spread() -> None:
    columns = _empty(50)
    columns["ZONE1"] = np.full(50, 3.0)
    reference = make_reference(columns)
    window = DriftWindow(reference, size=600)
    customer = dict.fromkeys(FEATURES) | {"ZONE1": 9.0, "REGION": "DAKAR"}
    window.add(reference.encode([customer] * 550))
    assert window.statistics()["ZONE1"] == 0.0
    assert "MONTANT" not in window.statistics()
    assert all(math.isfinite(value) for value in window.statistics().values())


def _of_kind(reference: Reference, kind: str) -> list[FeatureReference]:
    found = [feature for feature in reference.features if feature.kind == kind]
    assert found
    return found


def _empty(rows: int) -> dict[str, np.ndarray]:
    return {
        name: np.full(rows, None, dtype=object) if name in CATEGORIES else np.full(rows, np.nan)
        for name in FEATURES
    }
