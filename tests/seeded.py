"""A Prometheus with six hours of what dashboards show: scores, detector, churn service, alerts.

The churn service's metrics are those of `tests/data/churn.prom`, its own exposition under traffic
with three of its features; the detector's come from its registry; scores are made here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tools import run, serving

from detector import names
from detector.notify.telemetry import NotifyTelemetry
from detector.telemetry import Telemetry

END = 1_700_006_400
STEP = 60
START = END - 6 * 3600
TIMES = np.arange(START, END + 1, STEP)
# An incident: two signals leave their band for the last forty minutes.
ONSET = END - 2400
BEFORE = (86_400, 7 * 86_400)
DETECTOR = {"job": "detector", "instance": "detector-0"}
CHURN = {"job": "churn", "instance": "churn-0"}


@dataclass(frozen=True)
class Made:
    """One series of a signal: its usual value, half the width of its band, what it does."""

    signal: str
    kind: str
    labels: dict[str, str]
    usual: float
    half: float
    anomalous: bool = False
    state: names.State = names.State.OK


_JOB = {"job": "churn"}
SIGNALS = (
    Made("churn_traffic", "traffic", _JOB, 20.0, 4.0, anomalous=True),
    Made("churn_latency_p50", "latency", _JOB, 0.02, 0.005),
    Made("churn_latency_p99", "latency", _JOB, 0.12, 0.04, anomalous=True),
    Made("churn_error_ratio", "errors", _JOB, 0.01, 0.01, anomalous=True),
    Made("churn_memory", "saturation", CHURN, 3e8, 3e7),
    Made("churn_cpu", "saturation", CHURN, 0.2, 0.1, state=names.State.WARMING_UP),
    Made("churn_feature_missing", "quality", {**CHURN, "feature": "REGION"}, 0.4, 0.05),
    Made("churn_data_quality", "quality", {**_JOB, "check": "schema"}, 0.01, 0.01),
    Made("churn_prediction_mix", "quality", _JOB, 0.18, 0.04, anomalous=True),
    Made("churn_performance", "quality", {**_JOB, "measure": "auc"}, 0.94, 0.02),
    Made("churn_label_coverage", "quality", _JOB, 0.96, 0.03, state=names.State.MASKED),
    Made("churn_feature_drift", "drift", {**CHURN, "feature": "MONTANT"}, 0.05, 0.06),
    Made("churn_feature_drift", "drift", {**CHURN, "feature": "REGION"}, 0.05, 0.06, True),
    Made("churn_feature_drift", "drift", {**CHURN, "feature": "TENURE"}, 0.05, 0.06),
    # Summed over all jobs, so it has no label `job`.
    Made("shop_orders", "traffic", {"region": "north"}, 300.0, 40.0),
    Made("checkout_latency", "latency", {"job": "checkout"}, 0.3, 0.1, anomalous=True),
)


@contextlib.contextmanager
def seeded(directory: Path) -> Iterator[httpx.Client]:
    """Run the server; its times are START to END, with some of a day and a week before."""
    past = directory / "past.om"
    past.write_text("\n".join([*_lines(), "# EOF", ""]), encoding="utf-8")
    made = run("promtool", "tsdb", "create-blocks-from", "openmetrics", past, directory / "data")
    assert made.returncode == 0, made.stderr
    (directory / "prometheus.yml").write_text("{}", encoding="utf-8")
    flags = (
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        # The past is at a fixed date.
        "--storage.tsdb.retention.time=100y",
    )
    with serving("prometheus", directory, *flags) as client:
        yield client


def _lines() -> Iterator[str]:
    rng = np.random.default_rng(7)
    for number, made in enumerate(SIGNALS):
        yield from _signal(made, rng, phase=number)
    for job, signal, kind in sorted(
        {(m.labels.get("job"), m.signal, m.kind) for m in SIGNALS}, key=str
    ):
        own = {"signal": signal, "kind": kind} | ({"job": job} if job else {})
        yield from _series(names.PRESENT, own, TIMES, 3.0)
        yield from _series(names.USUAL, own, TIMES, 3.0)
    yield from _exposed((Path(__file__).parent / "data" / "churn.prom").read_text("utf-8"), CHURN)
    yield from _exposed(_detector(), DETECTOR)
    yield from _exposed(_notify(), {"job": "notify", "instance": "notify-0"})
    for labels in (DETECTOR, CHURN):
        yield from _series("up", labels, TIMES, 1.0)
    late = TIMES[TIMES >= ONSET]
    yield from _series("simulator_fault_active", {**CHURN, "fault": "latency"}, late, 1.0)
    firing = {"alertstate": "firing", "severity": "warning"}
    own = {"category": "anomaly", "signal": "churn_latency_p99", "kind": "latency", **_JOB}
    yield from _series("ALERTS", {"alertname": "AnomalyLatency", **firing, **own}, late, 1.0)
    own = {"category": "meta", "signal": "churn_cpu", **DETECTOR}
    yield from _series("ALERTS", {"alertname": "AnomalyScoresStale", **firing, **own}, late, 1.0)


def _signal(made: Made, rng: np.random.Generator, phase: int) -> Iterator[str]:
    """Observed, expected, band, score, state and evidence, as the detector would write them."""
    labels = {"signal": made.signal, "kind": made.kind, **made.labels}
    wave = np.sin(2 * np.pi * TIMES / 86_400 + phase)
    expected = made.usual * (1 + 0.3 * wave)
    off = rng.normal(0, 0.25, len(TIMES))
    for back in BEFORE:
        usual = expected + rng.permutation(off) * made.half
        yield from _series(names.OBSERVED, labels, TIMES - back, usual)
    if made.anomalous:
        off[TIMES >= ONSET] += 3.0
    score = np.minimum(np.abs(off), 2.0)
    state = np.where(score > 1, int(names.State.ANOMALOUS), int(made.state))
    observed = expected + off * made.half
    scored = made.state == names.State.OK
    yield from _series(names.OBSERVED, labels, TIMES, observed)
    if made.signal == "checkout_latency":
        # The expression of the overlay's own query.
        yield from _series("job:checkout_latency:p99", made.labels, TIMES, observed)
    if scored:
        yield from _series(names.EXPECTED, labels, TIMES, expected)
        yield from _series(names.LOWER, labels, TIMES, expected - made.half)
        yield from _series(names.UPPER, labels, TIMES, expected + made.half)
        yield from _series(names.SCORE, labels, TIMES, score)
    else:
        state = np.full(len(TIMES), int(made.state))
    yield from _series(names.STATE, labels, TIMES, state)
    on = state == names.State.ANOMALOUS
    for channel, share in (("spike", 0.3), ("sustained", 0.5), ("novelty", 0.2)):
        yield from _series(names.EVIDENCE, {**labels, "channel": channel}, TIMES[on], share)


def _detector() -> str:
    """What a detector says of itself after some cycles, one of them bad."""
    telemetry = Telemetry(STEP)
    telemetry.signals.set(len(SIGNALS))
    telemetry.count_states({0: 12, 1: 2, 2: 1, 4: 1})
    telemetry.rules_read.set(1)
    telemetry.lag.set(38)
    telemetry.cycle_at.set(END)
    for made in SIGNALS:
        telemetry.signal_up.labels(made.signal).set(float(made.signal != "churn_cpu"))
        telemetry.evaluated.labels(made.signal).set(END - 60)
    telemetry.dropped.labels("shop_orders", "limit").set(3)
    telemetry.failures.labels("churn_cpu", "timeout").inc(4)
    for outcome, count in (("ok", 900), ("timeout", 4)):
        telemetry.queries.labels(outcome).inc(count)
    telemetry.samples.inc(1e6)
    telemetry.fits.inc(16)
    for seconds in (0.02, 0.03, 0.4):
        telemetry.cycle_time.observe(seconds)
        telemetry.fit_time.observe(10 * seconds)
    return generate_latest(telemetry.registry).decode()


def _notify() -> str:
    """What `detector notify` says of itself, one of its targets away."""
    telemetry = NotifyTelemetry()
    for target, pending, age in (("team", 0.0, 0.0), ("mail", 3.0, 240.0)):
        telemetry.pending.labels(target).set(pending)
        telemetry.oldest.labels(target).set(age)
        telemetry.deliveries.labels(target, "sent").inc(8)
    telemetry.failures.labels("mail", "unreachable").inc(12)
    return generate_latest(telemetry.registry).decode()


def _exposed(text: str, target: dict[str, str]) -> Iterator[str]:
    """The samples of an exposition over time: counters grow to theirs, the rest has it throughout.

    What is a time moves with the clock, and the loading of the model falls into the range.
    """
    growth = 1 + (TIMES - START) / 600
    loaded = np.where(TIMES < ONSET, START, ONSET)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values: np.ndarray | float = sample.value
            if family.type in ("counter", "histogram", "summary"):
                values = sample.value * growth
            elif sample.name == "churn_model_loaded_timestamp_seconds":
                values = loaded
            elif sample.name.endswith("_timestamp_seconds"):
                values = TIMES - 30.0
            if sample.name not in ("simulator_fault_active",):
                yield from _series(sample.name, {**sample.labels, **target}, TIMES, values)


def _series(
    name: str, labels: dict[str, str], times: np.ndarray, values: np.ndarray | float
) -> Iterator[str]:
    quoted = (f'{key}="{_escaped(text)}"' for key, text in labels.items())
    head = f"{name}{{{','.join(quoted)}}}"
    for time, value in zip(times, np.broadcast_to(values, np.shape(times)), strict=True):
        yield f"{head} {value:.10g} {time}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
