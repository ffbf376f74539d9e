"""The churn service over real HTTP: predictions, refusals, metrics, faults, start and end."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from simulator.churn import artefact
from simulator.churn.model import scores
from simulator.churn.schema import (
    FEATURES,
    IDENTIFIER,
    LARGEST_BATCH,
    LARGEST_TEXT,
    NUMBERS,
)
from simulator.churn.train import train
from simulator.population import as_requests, customer_stream, feature_drift, synthetic_customers

EXPRESSO = Path(__file__).parents[2] / "shared" / "data" / "expresso" / "train_sample.csv"
PREDICT = "/v1/predict"
START_SECONDS = 60.0

CUSTOMERS = as_requests(synthetic_customers(np.random.default_rng(1), 60))
ONE = CUSTOMERS[0] | {"MONTANT": 500.0, "REGION": "DAKAR"}


@dataclass(frozen=True)
class Service:
    """A running service: a client, its fault control, the token file and the process."""

    http: httpx.Client
    control: str
    token_file: Path
    process: subprocess.Popen[str]

    def post(self, body: Any) -> httpx.Response:
        """Ask again when the feature store fails, which it does once in 250 times."""
        for _ in range(5):
            answer = self.http.post(
                PREDICT, content=body if isinstance(body, bytes) else _text(body)
            )
            if answer.status_code != 503:
                break
        return answer

    def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        text = self.http.get("/metrics").raise_for_status().text
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def fault(self, name: str, size: float) -> None:
        answer = httpx.post(
            f"{self.control}/faults",
            json={"fault": name, "size": size, "seconds": 60},
            headers={"Authorization": f"Bearer {self.token_file.read_text().strip()}"},
        )
        assert answer.status_code == 200, answer.text

    def stop_fault(self, name: str) -> None:
        token = self.token_file.read_text().strip()
        httpx.delete(
            f"{self.control}/faults/{name}", headers={"Authorization": f"Bearer {token}"}
        ).raise_for_status()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model")
    train(out=out, data=None, rows=2000, seed=7, pushgateway=None)
    return out


@pytest.fixture(scope="module")
def shared(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(model, tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def service(shared: Service) -> Service:
    return shared


def test_one_customer_is_scored(service: Service, model: Path) -> None:
    answer = service.post(ONE)
    assert answer.status_code == 200
    loaded = artefact.load(model)
    (prediction,) = answer.json()["predictions"]
    score = float(scores(loaded.model, [ONE])[0])
    assert re.fullmatch("[0-9a-f]{32}", prediction.pop("prediction_id"))
    assert prediction == {
        "user_id": ONE["user_id"],
        "score": pytest.approx(score),
        "class": "churn" if score >= 0.5 else "stay",
        "model_version": loaded.version,
    }


def test_many_customers_are_scored_in_order(service: Service, model: Path) -> None:
    answer = service.post({"customers": CUSTOMERS})
    assert answer.status_code == 200
    predictions = answer.json()["predictions"]
    assert [p["user_id"] for p in predictions] == [c["user_id"] for c in CUSTOMERS]
    expected = scores(artefact.load(model).model, CUSTOMERS)
    np.testing.assert_allclose([p["score"] for p in predictions], expected)
    assert {p["class"] for p in predictions} == {"churn", "stay"}


def test_unknown_categories_and_nulls_are_answered(service: Service) -> None:
    odd = {
        "REGION": "MARS",
        "TENURE": "Z 99 month",
        "TOP_PACK": "Mars 500F=∞;1d",
        "MRG": "YES",
        "user_id": "ünïcode\n",
    }
    nulls = {name: None for name in FEATURES if name not in ("TENURE", "MRG", "REGULARITY")}
    for customer in (ONE | odd, ONE | nulls, ONE | odd | nulls, ONE | {"REGULARITY": 62}):
        answer = service.post(customer)
        assert answer.status_code == 200, answer.text
        assert 0.0 < answer.json()["predictions"][0]["score"] < 1.0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (ONE | {"MONTANT": "a lot"}, "MONTANT"),
        (ONE | {"MONTANT": "500"}, "MONTANT"),
        (ONE | {"MONTANT": True}, "MONTANT"),
        (ONE | {"MONTANT": [1.0]}, "MONTANT"),
        (ONE | {"MONTANT": -1.0}, "MONTANT"),
        (ONE | {"MONTANT": 1e300}, "MONTANT"),
        (ONE | {"REVENUE": float("nan")}, "REVENUE"),
        (ONE | {"REVENUE": float("inf")}, "REVENUE"),
        (ONE | {"REGULARITY": None}, "REGULARITY"),
        (ONE | {"TENURE": None}, "TENURE"),
        (ONE | {"REGION": 7}, "REGION"),
        (ONE | {"REGION": ""}, "REGION"),
        (ONE | {"TOP_PACK": "x" * (LARGEST_TEXT + 1)}, "TOP_PACK"),
        (ONE | {"CHURN": 1}, "CHURN"),
        ({name: value for name, value in ONE.items() if name != "ZONE1"}, "ZONE1"),
        ({name: value for name, value in ONE.items() if name != "user_id"}, "user_id"),
        ({"customers": [ONE, ONE | {"TIGO": "x"}]}, "TIGO"),
        ({"customers": [ONE], "more": 1}, "more"),
        ({"customers": []}, "customers"),
        ({"customers": None}, "customers"),
        ({"customers": ONE}, "customers"),
        ({"customers": [1]}, 0),
        ({"customers": [{}] * (LARGEST_BATCH + 1)}, "customers"),
        ([], "body"),
        ([ONE], "body"),
        (None, "body"),
        (b"", "body"),
        (b"not JSON", "body"),
        (b'{"MONTANT": 1', "body"),
        (b"\xff\xfe", "body"),
        (b"[" * 100_000, "body"),
    ],
)
def test_malformed_requests_are_refused_by_the_field(
    service: Service, body: Any, field: str | int
) -> None:
    answer = service.post(body)
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert field in [entry["loc"][-1] for entry in detail]
    assert all(entry["loc"][0] == "body" and entry["msg"] for entry in detail)
    # What was sent does not come back, and one wrong batch is no long answer.
    assert len(answer.content) < 5000


def test_a_body_that_is_too_long_is_refused(service: Service) -> None:
    assert service.post(b" " * (17 * 1024 * 1024)).status_code == 413


def test_the_largest_batch_is_answered(service: Service) -> None:
    batch = list(itertools.islice(itertools.cycle(CUSTOMERS), LARGEST_BATCH))
    answer = service.post({"customers": batch})
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == LARGEST_BATCH


def test_health_readiness_and_documentation(service: Service, model: Path) -> None:
    assert service.http.get("/healthz").json() == {"status": "ok"}
    ready = service.http.get("/readyz")
    assert (ready.status_code, ready.json()["model_version"]) == (
        200,
        artefact.load(model).version,
    )
    paths = service.http.get("/openapi.json").json()["paths"]
    schema = paths[PREDICT]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["anyOf"][0]["properties"]) == {IDENTIFIER, *FEATURES}
    assert service.http.get(PREDICT).status_code == 405


def test_requests_are_counted_by_status_and_timed(model: Path, tmp_path: Path) -> None:
    with running(model, tmp_path) as service:
        before = service.metrics()
        for status in ("200", "422", "503"):
            assert before[_series("http_requests_total", status=status)] == 0.0
        assert before[_series("http_request_duration_seconds_count")] == 0.0
        begin = time.perf_counter()
        # One in some hundred may fail, as the feature store does: what was answered counts.
        answers = [service.http.post(PREDICT, json=body) for body in (ONE, ONE, ONE, {})]
        service.http.get("/nowhere")
        service.http.get(PREDICT)
        service.fault("errors", 1.0)
        failed = service.http.post(PREDICT, json=ONE)
        assert failed.status_code == 503
        assert "feature store" in failed.json()["detail"]
        elapsed = time.perf_counter() - begin
        after = service.metrics()
        assert after[("simulator_fault_active", frozenset({("fault", "errors")}))] == 1.0
        assert after[("simulator_fault_active", frozenset({("fault", "latency")}))] == 0.0
    statuses = {
        dict(labels)["status"]: value
        for (name, labels), value in after.items()
        if name == "http_requests_total"
    }
    answered = Counter(str(answer.status_code) for answer in [*answers, failed])
    assert answered["200"] > 0
    assert statuses == {status: answered[status] for status in ("200", "422", "503")}
    assert after[_series("http_request_duration_seconds_count")] == 5.0
    # Whole requests: four waited for the feature store, which takes 60 ms in the middle, and none
    # took longer than it did for the one who asked.
    assert 0.1 < after[_series("http_request_duration_seconds_sum")] < elapsed
    assert after[_series("http_request_duration_seconds_bucket", le="+Inf")] == 5.0
    plain = {name: value for (name, labels), value in after.items() if not labels}
    assert plain["http_requests_in_flight"] == 0.0
    assert plain["process_cpu_seconds_total"] > 0.0
    assert 5e7 < plain["process_resident_memory_bytes"] < 5e8
    assert plain["feature_store_request_duration_seconds_count"] == 4.0
    assert plain["churn_score_count"] == 3.0
    assert plain["churn_drift_window_predictions"] == 3.0
    assert plain["churn_drift_window_size"] == 1000.0
    outcomes = {
        dict(labels)["outcome"]: value
        for (name, labels), value in after.items()
        if name == "feature_store_requests_total"
    }
    assert outcomes == {"ok": 3.0, "error": 1.0}
    assert not any(name.endswith("_created") for name, _ in after)


def test_the_model_and_its_reference_are_named(service: Service, model: Path) -> None:
    labels = frozenset(
        {
            ("version", artefact.load(model).version),
            ("reference", artefact.load(model).reference.id),
        }
    )
    assert service.metrics()[("churn_model_info", labels)] == 1.0


def test_drift_of_the_window_is_exposed(model: Path, tmp_path: Path) -> None:
    customers = list(itertools.islice(customer_stream(np.random.default_rng(3)), 2000))
    rng = np.random.default_rng(4)
    with running(model, tmp_path) as service:
        service.post({"customers": customers[:199]})
        assert not any(name.startswith("churn_feature_") for name, _ in service.metrics())
        service.post({"customers": customers[199:1000]})
        quiet = _by_feature(service.metrics(), "churn_feature_drift")
        missing = _by_feature(service.metrics(), "churn_feature_missing_ratio")
        service.post({"customers": [feature_drift(rng, c, 1.0) for c in customers[1000:]]})
        metrics = service.metrics()
        drifted = _by_feature(metrics, "churn_feature_drift")
    assert set(quiet) == set(missing) == set(FEATURES)
    for name, value in missing.items():
        share = np.mean([customer[name] is None for customer in customers[:1000]])
        assert value == pytest.approx(share)
    for name in ("MONTANT", "REVENUE", "REGION"):
        assert drifted[name] > 0.3 + quiet[name]
    kinds = {
        dict(labels)["feature"]: dict(labels)["statistic"]
        for name, labels in metrics
        if name == "churn_feature_drift"
    }
    assert {kinds[name] for name in NUMBERS} == {"wasserstein"}
    assert {kinds[name] for name in FEATURES if name not in NUMBERS} == {"psi"}
    classes = {
        dict(labels)["class"]: value
        for (name, labels), value in metrics.items()
        if name == "churn_predictions_total"
    }
    assert sum(classes.values()) == 2000.0


def test_the_latency_fault_adds_its_seconds(service: Service) -> None:
    service.fault("latency", 0.6)
    try:
        started = time.monotonic()
        assert service.post(ONE).status_code == 200
        assert time.monotonic() - started > 0.6
    finally:
        service.stop_fault("latency")
    _until(lambda: service.post(ONE).elapsed.total_seconds() < 0.6)


def test_a_client_that_goes_away_is_no_server_error(model: Path, tmp_path: Path) -> None:
    with running(model, tmp_path) as service:
        address = (service.http.base_url.host, service.http.base_url.port)
        with socket.create_connection(address) as client:
            client.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
            _until(lambda: service.metrics()[("http_requests_in_flight", frozenset())] == 1.0)
        _until(lambda: service.metrics()[("http_requests_in_flight", frozenset())] == 0.0)
        metrics = service.metrics()
        assert _series("http_requests_total", status="500") not in metrics
        assert metrics[_series("http_requests_total", status="499")] == 1.0


def test_requests_under_way_are_answered_at_sigterm(model: Path, tmp_path: Path) -> None:
    with running(model, tmp_path) as service, ThreadPoolExecutor() as pool:
        service.fault("latency", 1.0)
        waiting = pool.submit(service.http.post, PREDICT, json=ONE)
        _until(lambda: service.metrics()[("http_requests_in_flight", frozenset())] == 1.0)
        service.process.send_signal(signal.SIGTERM)
        assert waiting.result(timeout=10).status_code in {200, 503}
        assert service.process.wait(timeout=10) == 0


def test_a_taken_port_and_unusable_models_end_with_one_line(model: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    with (damaged / artefact.MODEL_FILE).open("ab") as file:
        file.write(b"x")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, message in (
            (["--model", str(model), "--port", str(port)], f"cannot listen on 127.0.0.1:{port}"),
            (["--model", str(damaged)], "SHA-256 differs"),
            (["--model", str(tmp_path)], "make a model with: simulator train"),
        ):
            process = _serve(tmp_path, *arguments)
            output, errors = process.communicate(timeout=START_SECONDS)
            assert process.returncode == 2, errors
            assert output == ""
            (line,) = errors.splitlines()
            assert message in line


@pytest.mark.skipif(not EXPRESSO.is_file(), reason=f"the Expresso sample is not at {EXPRESSO}")
def test_every_real_customer_is_answered(tmp_path: Path) -> None:
    train(out=tmp_path / "model", data=EXPRESSO, rows=20_000, seed=7, pushgateway=None)
    with EXPRESSO.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    churned = [row.pop("CHURN") == "1" for row in rows]
    customers = [
        {
            name: None if cell == "" else float(cell) if name in NUMBERS else cell
            for name, cell in row.items()
        }
        for row in rows
    ]
    with running(tmp_path / "model", tmp_path) as service, ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(service.post, customers))
    assert [answer.status_code for answer in answers] == [200] * 2000
    predictions = [answer.json()["predictions"][0] for answer in answers]
    assert [p["user_id"] for p in predictions] == [c["user_id"] for c in customers]
    as_churn = np.array([p["class"] == "churn" for p in predictions])
    assert np.mean(as_churn == churned) > 0.85


@contextlib.contextmanager
def running(model: Path, directory: Path, *options: str) -> Iterator[Service]:
    """Serve a model on free ports until the block ends."""
    process = _serve(directory, "--model", str(model), *options)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(
            r"on (http://127\.0\.0\.1:\d+), fault control on (127\.0\.0\.1:\d+)$", line
        )
        assert found, line or process.communicate()[1]
        with httpx.Client(base_url=found[1], timeout=30.0) as client:
            yield Service(client, f"http://{found[2]}", directory / "token", process)
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _serve(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the command; a later --port wins over the free one."""
    return subprocess.Popen(
        [sys.executable, "-c", "from simulator.cli import main; main()", "serve"]
        + ["--port", "0", "--control-port", "0", "--token-file", str(directory / "token")]
        + ["--feedback-dir", str(directory / "feedback")]
        + list(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _text(body: Any) -> bytes:
    """Return JSON as Python writes it, NaN and Infinity included."""
    return json.dumps(body).encode()


def _series(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    common = {"handler": PREDICT, "method": "POST"}
    return name, frozenset((common | labels).items())


def _by_feature(metrics: dict[Any, float], wanted: str) -> dict[str, float]:
    return {
        dict(labels)["feature"]: value
        for (name, labels), value in metrics.items()
        if name == wanted
    }


def _until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
