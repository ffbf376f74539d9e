"""Every metric, label, kind and state name of the public contract, in one place."""

from __future__ import annotations

from enum import IntEnum, IntFlag

# Written per series.
SCORE = "anomaly_score"
OBSERVED = "anomaly_observed"
EXPECTED = "anomaly_expected"
LOWER = "anomaly_lower"
UPPER = "anomaly_upper"
STATE = "anomaly_state"
EVIDENCE = "anomaly_evidence"
# Written per job of a signal.
PRESENT = "anomaly_series_present"
USUAL = "anomaly_series_usual"
# Of the alerts on signals the one about series that are gone; all others are about an anomaly.
NO_DATA_ALERT = "AnomalyNoData"

# Labels the detector sets; a source label of the same name is renamed with the prefix below.
SIGNAL = "signal"
KIND = "kind"
CHANNEL = "channel"
RESERVED_LABELS = frozenset({SIGNAL, KIND, CHANNEL})
EXPORTED_PREFIX = "exported_"
# Exposed empty when absent: with `honor_labels: true` Prometheus then adds none of its own.
IDENTITY_LABELS = ("job", "instance")

# Labels that make a recording rule a signal (convention of grafana/promql-anomaly-detection).
RULE_LABEL_PREFIX = "anomaly_"
RULE_NAME = "anomaly_name"
RULE_KIND = "anomaly_type"

KINDS = ("traffic", "latency", "errors", "saturation", "drift", "quality", "other")
KIND_ALIASES = {"requests": "traffic", "resource": "saturation"}

CHANNELS = ("spike", "jump", "sustained", "trend", "spread", "novelty", "shape", "unrest")


class State(IntEnum):
    """What `anomaly_state` says about a series at its newest step."""

    OK = 0
    ANOMALOUS = 1
    WARMING_UP = 2
    NO_DATA = 3
    MASKED = 4


class Mask(IntFlag):
    """Why a sample is set apart; a closed `when` gate sets all."""

    UNTAUGHT = 1
    MUTED = 2
    GATED = 4


def kind_of(text: str | None) -> str:
    """Return the canonical kind for a rule's or user's word; unknown or missing is ``other``."""
    word = (text or "").strip().lower()
    word = KIND_ALIASES.get(word, word)
    return word if word in KINDS else "other"
