"""Trains the churn model, keeps it as an artefact and reports the training to the Pushgateway."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from prometheus_client import CollectorRegistry, Gauge, push_to_gateway

from detector.errors import ConfigError
from simulator.churn import artefact, dataset
from simulator.churn.binning import make_reference
from simulator.churn.model import CHURN, STAY, scores, train_model
from simulator.churn.schema import TARGET
from simulator.population import as_requests, synthetic_customers
from simulator.urls import http_url

JOB = "churn_training"
_PUSH_TIMEOUT_SECONDS = 5.0
_STREAM = 1


@dataclass(frozen=True)
class TrainingReport:
    """What a training came to.

    Parameters
    ----------
    version : str
        Of the model.
    out : Path
        Directory of the artefact.
    rows : int
        Customers trained on.
    churn_ratio : float
        Share of them that churned.
    auc : float
        Area under the ROC curve, on a held-out quarter.
    duration_seconds : float
        From reading the data to the saved model.
    push : str
        What became of the push to the Pushgateway; empty when none was asked for.
    """

    version: str
    out: Path
    rows: int
    churn_ratio: float
    auc: float
    duration_seconds: float
    push: str = ""

    def __str__(self) -> str:
        line = (
            f"model {self.version} in {self.out}: {self.rows} customers, {self.churn_ratio:.1%} "
            f"churned, AUC {self.auc:.3f}, {self.duration_seconds:.1f} s"
        )
        return f"{line}\n{self.push}" if self.push else line


def train(
    *, out: Path, data: Path | None, rows: int, seed: int, pushgateway: str | None
) -> TrainingReport:
    """Train on the user's file, or on synthetic customers when `data` is None.

    Parameters
    ----------
    out : Path
        Directory for the artefact; made when missing, its model replaced.
    data : Path or None
        A Train.csv of the Expresso churn challenge.
    rows : int
        Customers to train on; of a longer file so many are drawn.
    seed : int
        Same seed and data, same model.
    pushgateway : str or None
        URL of the Pushgateway; when it does not answer, the training succeeds all the same.

    Raises
    ------
    ConfigError
        When the data, the directory or the URL cannot be used.
    """
    if pushgateway is not None:
        _check_url(pushgateway)
    started = time.monotonic()
    # Other customers than those that the traffic draws by the same seed.
    rng = np.random.default_rng([seed, _STREAM])
    columns = (
        synthetic_customers(rng, rows) if data is None else dataset.read_customers(data, rows, rng)
    )
    churned = columns[TARGET]
    customers = as_requests(columns)
    model, auc = train_model(customers, churned, seed)
    reference = make_reference(columns, scores(model, customers))
    version = artefact.save(out, model, reference, rows=len(churned), auc=auc, created=time.time())
    report = TrainingReport(
        version=version,
        out=out,
        rows=len(churned),
        churn_ratio=float(churned.mean()),
        auc=auc,
        duration_seconds=time.monotonic() - started,
    )
    if pushgateway is None:
        return report
    return TrainingReport(**{**vars(report), "push": _push(report, pushgateway)})


def _push(report: TrainingReport, url: str) -> str:
    """Send the figures and return a line that says whether they arrived."""
    registry = CollectorRegistry()
    classes = Gauge(
        "churn_training_class_ratio",
        "Share of each class in the training data.",
        ["class"],
        registry=registry,
    )
    classes.labels(CHURN).set(report.churn_ratio)
    classes.labels(STAY).set(1.0 - report.churn_ratio)
    for name, text, value in (
        ("rows", "Customers trained on.", report.rows),
        ("auc", "Area under the ROC curve on held-out customers.", report.auc),
        ("duration_seconds", "Duration of the training.", report.duration_seconds),
        ("timestamp_seconds", "Unix time at which the training ended.", time.time()),
    ):
        Gauge(f"churn_training_{name}", text, registry=registry).set(value)
    try:
        push_to_gateway(url, job=JOB, registry=registry, timeout=_PUSH_TIMEOUT_SECONDS)
    except OSError as error:
        return (
            f"the figures did not reach the Pushgateway at {url} ({error}); the model is saved "
            "all the same"
        )
    return f"figures pushed to {url}"


def _check_url(url: str) -> None:
    if urlsplit(http_url("--pushgateway", url, 9091)).username is not None:
        raise ConfigError("--pushgateway must hold no credentials; give the URL without them")
