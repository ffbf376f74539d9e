"""The public contract: these names are an API and change only with a line in the changelog."""

from __future__ import annotations

import pytest

from detector import names
from detector.settings import KIND_POLICIES


def test_the_contract_is_frozen() -> None:
    metrics = [names.SCORE, names.OBSERVED, names.EXPECTED, names.LOWER, names.UPPER, names.STATE]
    assert metrics == [
        "anomaly_score",
        "anomaly_observed",
        "anomaly_expected",
        "anomaly_lower",
        "anomaly_upper",
        "anomaly_state",
    ]
    assert names.EVIDENCE == "anomaly_evidence"
    assert {state.name: int(state) for state in names.State} == {
        "OK": 0,
        "ANOMALOUS": 1,
        "WARMING_UP": 2,
        "NO_DATA": 3,
        "MASKED": 4,
    }
    assert {"signal", "kind", "channel"} == names.RESERVED_LABELS
    assert (names.RULE_NAME, names.RULE_KIND) == ("anomaly_name", "anomaly_type")


def test_every_kind_has_a_policy() -> None:
    assert tuple(KIND_POLICIES) == names.KINDS


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("traffic", "traffic"),
        ("requests", "traffic"),
        ("resource", "saturation"),
        (" Latency ", "latency"),
        ("weather", "other"),
        ("", "other"),
        (None, "other"),
    ],
)
def test_kind_of(word: str | None, kind: str) -> None:
    assert names.kind_of(word) == kind
