"""The feedback loop of the real service, over HTTP."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from test_churn_serve import CUSTOMERS, Service, running

from simulator import cli
from simulator.churn import artefact
from simulator.churn.feedback.actuals import LARGEST_BODY_BYTES
from simulator.churn.feedback.metrics import ACTUAL_OUTCOMES
from simulator.churn.model import scores
from simulator.churn.train import train

ACTUALS = "/v1/actuals"
UNKNOWN = "0" * 32
FAST = ("--label-maturity", "1s", "--performance-window", "30s", "--performance-refresh", "200ms")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model")
    train(out=out, data=None, rows=2000, seed=1, pushgateway=None)
    return out


@pytest.fixture(scope="module")
def service(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(model, tmp_path_factory.mktemp("run"), *FAST) as started:
        yield started


def send(service: Service, rows: Any) -> httpx.Response:
    body = rows if isinstance(rows, bytes) else json.dumps({"actuals": rows}).encode()
    return service.http.post(ACTUALS, content=body)


def predicted(service: Service, customers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answer = service.post({"customers": customers})
    assert answer.status_code == 200
    return list(answer.json()["predictions"])


def metric(service: Service, wanted: str, **labels: str) -> float | None:
    return service.metrics().get((wanted, frozenset(labels.items())))


def until(condition: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_late_labels_become_performance(model: Path, tmp_path: Path) -> None:
    with running(model, tmp_path, *FAST) as service:
        made = predicted(service, CUSTOMERS)
        until(lambda: metric(service, "churn_performance_withheld") == 1.0)
        # Whoever has no labels is not known to be wrong.
        assert metric(service, "churn_performance_score", measure="auc") != 1.0
        rows = [
            {"prediction_id": p["prediction_id"], "churned": p["class"] == "churn"} for p in made
        ]
        answer = send(service, rows[: len(rows) // 2])
        assert answer.json()["accepted"] == len(rows) // 2
        send(service, rows)
        until(lambda: metric(service, "churn_performance_withheld") == 0.0)
        assert metric(service, "churn_performance_score", measure="accuracy") == 1.0
        assert metric(service, "churn_performance_score", measure="auc") == 1.0
        assert metric(service, "churn_label_coverage_ratio") == 1.0
        assert metric(service, "churn_performance_window_predictions") == len(rows)
        assert metric(service, "churn_label_delay_seconds_count") == len(rows)
        cohorts = service.http.get("/v1/performance").json()["cohorts"]
        assert sum(cohort["labelled"] for cohort in cohorts) == len(rows)
        assert {cohort["model_version"] for cohort in cohorts} == {made[0]["model_version"]}


def test_rows_are_judged_one_by_one(service: Service) -> None:
    (made,) = predicted(service, CUSTOMERS[:1])
    until(lambda: metric(service, "churn_feedback_queue_predictions") == 0.0)
    one = made["prediction_id"]
    rows: list[Any] = [
        {"prediction_id": one, "churned": True},
        {"prediction_id": one, "churned": True},
        {"prediction_id": one, "churned": False},
        {"prediction_id": UNKNOWN, "churned": False},
        {"prediction_id": "short", "churned": True},
        {"prediction_id": one, "churned": 1},
        {"prediction_id": one, "churned": True, "observed_at": 1e300},
        {"prediction_id": one, "churned": True, "when": 1},
        17,
    ]
    before = {o: metric(service, "churn_actuals_total", outcome=o) or 0 for o in ACTUAL_OUTCOMES}
    answer = send(service, rows)
    assert answer.status_code == 200
    found = answer.json()
    errors = {error["row"]: error["msg"] for error in found.pop("errors")}
    expected = {"accepted": 2, "duplicate": 1, "corrected": 0, "contradicted": 1, "unknown": 1}
    assert found == {**expected, "rejected": 5}
    assert set(errors) == {4, 5, 6, 7, 8}
    assert "32 hexadecimal digits" in errors[4]
    assert "true or false" in errors[5]
    assert "not in the future" in errors[6]
    assert errors[7] == "unknown field when"
    for outcome, count in found.items():
        name = "churn_actuals_total"
        assert metric(service, name, outcome=outcome) == before[outcome] + count


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 422, "not JSON"),
        (b"[]", 422, "send JSON such as"),
        (b'{"actuals": []}', 422, "send JSON such as"),
        (b'{"actuals": [1], "more": 1}', 422, "send JSON such as"),
        (b'{"actuals": [NaN]}', 422, "not JSON"),
        (b'{"actuals": [' + b"1," * 100_000 + b"1]}", 422, "more than 100000"),
        (b"x" * (LARGEST_BODY_BYTES + 1), 413, "longer than 16 MiB"),
    ],
)
def test_what_is_no_batch_is_refused(
    service: Service, body: bytes, status: int, message: str
) -> None:
    answer = send(service, body)
    assert answer.status_code == status
    assert message in answer.json()["detail"]


def test_a_batch_of_100_000_while_predictions_are_answered(service: Service) -> None:
    rows = [{"prediction_id": f"{i:032x}", "churned": i % 2 == 0} for i in range(1, 100_001)]
    answer = send(service, rows)
    assert answer.status_code == 200
    assert answer.json()["accepted"] == answer.json()["unknown"] == 100_000
    assert predicted(service, CUSTOMERS[:1])


def test_predictions_are_answered_while_the_database_is_locked(model: Path, tmp_path: Path) -> None:
    with running(model, tmp_path) as service:
        until(lambda: metric(service, "churn_feedback_database_up") == 1.0)
        file = tmp_path / "feedback" / "feedback.sqlite"
        with contextlib.closing(sqlite3.connect(file)) as other:
            other.execute("BEGIN EXCLUSIVE")
            made = predicted(service, CUSTOMERS)
            answer = send(service, [{"prediction_id": made[0]["prediction_id"], "churned": True}])
            assert answer.status_code == 503
            assert answer.headers["Retry-After"]
            assert "send it again" in answer.json()["detail"]
            name = "churn_feedback_predictions_total"
            until(lambda: metric(service, name, outcome="spooled") == len(made))
            other.rollback()
        until(lambda: metric(service, name, outcome="replayed") == len(made))
        assert metric(service, "churn_actuals_total", outcome="failed") == 1.0


def test_predictions_are_answered_without_any_database(model: Path, tmp_path: Path) -> None:
    away = ("--feedback-database", "postgresql://tester@127.0.0.1:9/none")
    with running(model, tmp_path, *away) as service:
        predicted(service, CUSTOMERS)
        name = "churn_feedback_predictions_total"
        until(lambda: metric(service, name, outcome="spooled") == len(CUSTOMERS))
        assert metric(service, "churn_feedback_database_up") == 0.0
        assert metric(service, "churn_performance_exporter") == 0.0
        assert send(service, [{"prediction_id": UNKNOWN, "churned": True}]).status_code == 503
        assert service.http.get("/v1/performance").status_code == 503


def test_two_replicas_share_a_database_and_one_exports(
    model: Path, tmp_path: Path, database: str
) -> None:
    options = (*FAST, "--feedback-database", database)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with running(model, tmp_path / "one", *options) as one:
        with running(model, tmp_path / "two", *options) as two:
            made = predicted(one, CUSTOMERS) + predicted(two, CUSTOMERS)
            until(lambda: metric(one, "churn_feedback_queue_predictions") == 0.0)
            rows = [{"prediction_id": p["prediction_id"], "churned": True} for p in made]
            # Either takes the labels of both.
            until(lambda: send(two, rows).json()["unknown"] == 0)

            def exporters() -> float:
                return sum(metric(r, "churn_performance_exporter") or 0.0 for r in (one, two))

            until(lambda: exporters() == 1.0)
        until(lambda: metric(one, "churn_performance_exporter") == 1.0)
        # It says so first, and computes then.
        until(lambda: metric(one, "churn_performance_window_predictions") == len(made))


def test_erasure_needs_the_token_and_leaves_nothing(service: Service) -> None:
    customer = CUSTOMERS[5] | {"user_id": "somebody/with a slash"}
    predicted(service, [customer, customer])
    until(lambda: metric(service, "churn_feedback_queue_predictions") == 0.0)
    url = f"{service.control}/customers/somebody%2Fwith%20a%20slash"
    assert httpx.delete(url).status_code == 401
    headers = {"Authorization": f"Bearer {service.token_file.read_text().strip()}"}
    answer = httpx.delete(url, headers=headers)
    assert answer.json() == {"customer": "somebody/with a slash", "predictions_erased": 2}
    assert httpx.delete(url, headers=headers).json()["predictions_erased"] == 0


def test_each_stored_prediction_names_the_model_that_made_it(model: Path, tmp_path: Path) -> None:
    own, other = tmp_path / "model", tmp_path / "other"
    shutil.copytree(model, own)
    train(out=other, data=None, rows=1000, seed=2, pushgateway=None)
    old, new = artefact.load(own), artefact.load(other)
    with running(own, tmp_path, *FAST) as service, ThreadPoolExecutor(2) as pool:
        answers: list[dict[str, Any]] = []
        enough = threading.Event()

        def go_on(customers: list[dict[str, Any]]) -> None:
            while not enough.is_set():
                answers.extend(predicted(service, customers))

        # The writer has work all the time: whatever waits in its queue was made by the old model.
        tasks = [pool.submit(go_on, CUSTOMERS[i : i + 10]) for i in (0, 10)]
        try:
            until(lambda: len(answers) > 200)
            shutil.copytree(other, own, dirs_exist_ok=True)
            service.process.send_signal(signal.SIGHUP)
            until(lambda: any(one["model_version"] == new.version for one in list(answers)))
        finally:
            enough.set()
        for task in tasks:
            task.result()
        until(lambda: metric(service, "churn_feedback_queue_predictions") == 0.0)
        with contextlib.closing(sqlite3.connect(tmp_path / "feedback/feedback.sqlite")) as file:
            rows = file.execute("SELECT id, model_version, score, features FROM predictions")
            stored = {one[0]: one[1:] for one in rows.fetchall()}
    assert {one["model_version"] for one in answers} == {old.version, new.version}
    assert {one["prediction_id"]: one["model_version"] for one in answers} == {
        identifier: row[0] for identifier, row in stored.items()
    }
    for loaded in (old, new):
        made = [row for row in stored.values() if row[0] == loaded.version][-50:]
        expected = scores(loaded.model, [json.loads(row[2]) for row in made])
        np.testing.assert_allclose([row[1] for row in made], expected)


def test_the_commands_speak_in_one_line(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def simulator(*arguments: object) -> tuple[int, str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["simulator", "feedback", *map(str, arguments)])
            with pytest.raises(SystemExit) as caught:
                cli.main()
        out = capsys.readouterr()
        return int(caught.value.code or 0), (out.out + out.err).strip()

    where = ("--feedback-database", f"sqlite:///{tmp_path / 'f.sqlite'}")
    code, line = simulator("retain", "30d", *where)
    assert code == 3
    assert "simulator feedback migrate" in line
    assert simulator("migrate", *where) == (0, "the feedback database is at revision head")
    assert simulator("retain", "30d", *where) == (0, "0 predictions older than 30d are deleted")
    assert simulator("migrate", "base", *where)[0] == 0
    assert simulator("migrate", "7", *where) == (
        2,
        "error: there is no revision 7; choose of base, 0001",
    )
    away = ("--feedback-database", "postgresql://tester@127.0.0.1:9/none")
    code, line = simulator("migrate", *away)
    assert code == 3
    assert len(line.splitlines()) == 1
    predicted(service, [CUSTOMERS[7]])
    until(lambda: metric(service, "churn_feedback_queue_predictions") == 0.0)
    erase = ("erase", CUSTOMERS[7]["user_id"], "--churn-control", service.control, "--token-file")
    code, line = simulator(*erase, service.token_file)
    assert (code, line.partition(" ")[2]) == (0, "predictions of the customer are erased")
    (tmp_path / "token").write_text("guess")
    assert simulator(*erase, tmp_path / "token")[0] == 2
