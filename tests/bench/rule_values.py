"""What the expressions of rules/signals.rules.yml give on simulated series, without a Prometheus.

Series have one sample a minute, so the window [5m] holds six of them and `rate` is the difference
of the outer ones. Letters: T times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from detector.labels import label_set
from detector.series import Labels, SeriesMatrix

STEP = 60
_WINDOW = 5
_SMALLEST_FLOOR = 0.01
Floats = NDArray[np.float64]


class Samples:
    """Simulated series, gathered chunk by chunk."""

    def __init__(self) -> None:
        self._values: dict[Labels, list[Floats]] = {}
        self.times: list[Floats] = []

    def add(self, times: Floats, series: Iterable[tuple[Mapping[str, str], Floats]]) -> None:
        """Take in all series of the next moments."""
        self.times.append(times)
        for labels, values in series:
            self._values.setdefault(label_set(labels), []).append(values)

    def of(self, name: str, **wanted: str) -> dict[Labels, Floats]:
        """Return the series of a name whose labels begin with the given values."""
        return {
            key: np.concatenate(parts)
            for key, parts in self._values.items()
            if (labels := dict(key))["__name__"] == name
            and all(labels.get(k, "").startswith(v) for k, v in wanted.items())
        }

    def matrix(self, found: Mapping[Labels, Floats]) -> SeriesMatrix:
        """Return results as the detector reads them."""
        times = np.concatenate(self.times).astype(np.int64)
        values = np.stack(list(found.values()))
        return SeriesMatrix(tuple(found), times, values, np.zeros(values.shape, bool), STEP)


def _rate(counter: Floats) -> Floats:
    """``rate(x[5m])``; NaN while the window is not full."""
    out = np.full(len(counter), np.nan)
    out[_WINDOW:] = (counter[_WINDOW:] - counter[:-_WINDOW]) / (_WINDOW * STEP)
    return out


def _mean(gauge: Floats) -> Floats:
    """``avg_over_time(x[5m])``."""
    total = np.concatenate([[0.0], np.cumsum(gauge)])
    out = np.full(len(gauge), np.nan)
    out[_WINDOW:] = (total[_WINDOW + 1 :] - total[: -_WINDOW - 1]) / (_WINDOW + 1)
    return out


def _sum_rate(samples: Samples, name: str, by: str | None, **wanted: str) -> dict[Labels, Floats]:
    """``sum by (job, by) (rate(name{...}[5m]))``."""
    out: dict[Labels, Floats] = {}
    for labels, values in samples.of(name, **wanted).items():
        key = label_set({k: v for k, v in labels if k in ("job", by)})
        out[key] = out.get(key, 0.0) + _rate(values)
    return out


def _ratio(parts: dict[Labels, Floats], whole: dict[Labels, Floats]) -> dict[Labels, Floats]:
    (total,) = whole.values()
    with np.errstate(invalid="ignore", divide="ignore"):
        return {key: part / total for key, part in parts.items()}


def _quantile(samples: Samples, share: float) -> dict[Labels, Floats]:
    """``histogram_quantile`` of the request durations."""
    rates = _sum_rate(samples, "http_request_duration_seconds_bucket", "le", job="churn")
    bounds = {float(dict(key)["le"]): values for key, values in rates.items()}
    edges = np.array(sorted(bounds))
    counts = np.stack([bounds[edge] for edge in edges])
    rank = share * counts[-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        at = np.minimum((counts < rank).sum(axis=0), len(edges) - 2)
        column = np.arange(counts.shape[1])
        below = np.where(at > 0, counts[at - 1, column], 0.0)
        lower = np.where(at > 0, edges[at - 1], 0.0)
        inside = (rank - below) / (counts[at, column] - below)
        value = lower + (edges[at] - lower) * inside
        value[counts[-1] == 0] = np.nan
        return {label_set({"job": "churn"}): value}


def _plain(samples: Samples, name: str, mean: bool) -> dict[Labels, Floats]:
    found = samples.of(name, job="churn")
    return {
        tuple(pair for pair in labels if pair[0] != "__name__"): _mean(values) if mean else values
        for labels, values in found.items()
    }


def _in_floors(samples: Samples) -> dict[Labels, Floats]:
    floors = {
        label_set({k: v for k, v in labels if k not in ("__name__", "window")}): np.maximum(
            _mean(values), _SMALLEST_FLOOR
        )
        for labels, values in samples.of("churn_feature_distance_floor", window="count").items()
    }
    drift = _plain(samples, "churn_feature_drift", True)
    return {labels: values / floors[labels] for labels, values in drift.items()}


def _asked(samples: Samples, found: dict[Labels, Floats]) -> dict[Labels, Floats]:
    """``found and on (job, instance) rate(churn_quality_checked_total[2m]) > 0``."""
    (checked,) = samples.of("churn_quality_checked_total").values()
    grows = np.full(len(checked), False)
    grows[2:] = checked[2:] > checked[:-2]
    return {key: np.where(grows, values, np.nan) for key, values in found.items()}


REQUESTS = "http_requests_total"
VALUES: dict[str, Callable[[Samples], dict[Labels, Floats]]] = {
    "churn_traffic": lambda s: _sum_rate(s, REQUESTS, None, job="churn"),
    "churn_latency_p50": lambda s: _quantile(s, 0.5),
    "churn_latency_p99": lambda s: _quantile(s, 0.99),
    "churn_error_ratio": lambda s: _ratio(
        _sum_rate(s, REQUESTS, None, job="churn", status="5"),
        _sum_rate(s, REQUESTS, None, job="churn"),
    ),
    "churn_concurrency": lambda s: _plain(s, "http_requests_in_flight", True),
    "churn_cpu": lambda s: {
        tuple(pair for pair in labels if pair[0] != "__name__"): _rate(values)
        for labels, values in s.of("process_cpu_seconds_total", job="churn").items()
    },
    "churn_memory": lambda s: _plain(s, "process_resident_memory_bytes", False),
    "churn_feature_drift": lambda s: _asked(s, _in_floors(s)),
    "churn_feature_missing": lambda s: _asked(s, _plain(s, "churn_feature_missing_ratio", True)),
    "churn_data_quality": lambda s: _ratio(
        _sum_rate(s, "churn_quality_violations_total", "check", job="churn"),
        _sum_rate(s, "churn_quality_checked_total", None, job="churn"),
    ),
    "churn_prediction_mix": lambda s: _ratio(
        _sum_rate(s, "churn_predictions_total", None, job="churn", **{"class": "churn"}),
        _sum_rate(s, "churn_predictions_total", None, job="churn"),
    ),
    "churn_performance": lambda s: _plain(s, "churn_performance_score", False),
    "churn_performance_loss": lambda s: _plain(s, "churn_performance_loss", False),
    "churn_label_coverage": lambda s: _plain(s, "churn_label_coverage_ratio", False),
}
