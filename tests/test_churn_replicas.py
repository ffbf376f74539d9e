"""The monitored service over real HTTP: its metrics and their table, replicas, models replaced."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from test_churn_serve import ONE, PREDICT, running
from tools import serving

from simulator import cli
from simulator.churn import artefact
from simulator.churn.schema import FEATURES
from simulator.churn.train import train
from simulator.population import customer_stream, missing_values, synthetic_customers

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
STREAM = list(itertools.islice(customer_stream(np.random.default_rng(3)), 3000))
EXPRESSO = Path(__file__).parents[2] / "shared" / "data" / "expresso" / "train_sample.csv"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model")
    train(out=out, data=None, rows=3000, seed=7, pushgateway=None)
    return out


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def command(*arguments: object) -> Done:
    """Run a command in this process: starting another takes longer than most of them."""
    out, error = io.StringIO(), io.StringIO()
    code = 0
    with (
        patch.object(sys, "argv", ["simulator", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(code, out.getvalue(), error.getvalue())


def test_the_table_in_the_readme_is_what_the_service_exposes(model: Path, tmp_path: Path) -> None:
    with running(model, tmp_path, "--performance-refresh", "200ms") as service:
        service.post({"customers": STREAM[:600]})
        text = ""
        # Performance is exposed when it was computed for the first time.
        while "churn_performance_score" not in text:
            text = service.http.get("/metrics").text
    exposed = {}
    for family in text_string_to_metric_families(text):
        name = family.name + "_total" * (family.type == "counter")
        labels = {label for sample in family.samples for label in sample.labels}
        exposed[name] = labels - {"le"}
        assert len(family.documentation) > 10, name
        # Base units, and counters that say so.
        assert not re.search(r"_(ms|milliseconds|percent|minutes|mb|kb)$", name)
    exposed = {name: labels for name, labels in exposed.items() if not name.startswith("process_")}
    table = README.split("### The churn service", 1)[1].split("\n## ", 1)[0]
    written = {
        name: set(re.split(r",\s*", labels)) if labels else set()
        for name, labels in re.findall(r"^\| `(\w+)(?:\{([\w, ]+)\})?` \|", table, re.M)
    }
    assert written == exposed


def test_a_burst_of_missing_values_and_hostile_categories(model: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    with running(model, tmp_path) as service:
        service.post({"customers": STREAM[:1000]})
        quiet, series = service.metrics(), len(service.metrics())
        odd = [
            missing_values(rng, one, 0.5) | {"REGION": f"MARS {i}", "TENURE": f"T{i}"}
            for i, one in enumerate(STREAM[1000:2000])
        ]
        service.post({"customers": odd})
        service.http.post(PREDICT, json=ONE | {"MONTANT": "a lot"})
        loud = service.metrics()
        # A thousand new categories are no new series.
        assert len(loud) == series
    plain = _plain(loud)
    assert plain["missing_value_count"] > 1.3 * _plain(quiet)["missing_value_count"]
    before, after = (_labelled(m, "churn_quality_violations_total", "check") for m in (quiet, loud))
    assert after["unseen_category"] - before["unseen_category"] == 1000
    assert after["schema"] - before["schema"] == 1
    assert after["duplicate"] == before["duplicate"] == 0
    assert plain["churn_quality_checked_total"] == 2001
    invalid = _labelled(loud, "churn_feature_invalid_ratio", "feature")
    assert set(invalid) == set(FEATURES)
    assert (invalid["REGION"], invalid["TENURE"]) == (1.0, 1.0)
    assert invalid["MONTANT"] < 0.01
    # Both categories are other ones now; the numbers that are left are as they were.
    assert _plain(quiet)["drifted_columns_count"] == 0
    assert plain["drifted_columns_count"] == 2
    assert plain["data_drift_value"] > 1.5 * plain["data_drift_value_expected"]
    assert abs(time.time() - plain["churn_last_prediction_timestamp_seconds"]) < 60


def test_a_hundred_thousand_customers_are_refused_in_one_line(model: Path, tmp_path: Path) -> None:
    body = orjson.dumps({"customers": list(itertools.islice(itertools.cycle(STREAM), 100_000))})
    assert len(body) > 16 * 1024 * 1024
    with running(model, tmp_path) as service:
        answer = service.http.post(PREDICT, content=body)
        assert answer.status_code == 413
        assert answer.json()["detail"] == (
            "the body is longer than 16 MiB; send fewer customers at once"
        )
        assert service.post(ONE).status_code == 200
        assert _plain(service.metrics())["churn_quality_checked_total"] == 1


def test_replicas_add_up_to_one_service(model: Path, tmp_path: Path) -> None:
    for name in ("one", "a", "b", "c"):
        (tmp_path / name).mkdir()
    with ExitStack() as stack:
        one, *replicas = (
            stack.enter_context(running(model, tmp_path / name)) for name in ("one", "a", "b", "c")
        )
        for i in range(0, 1200, 40):
            batch = STREAM[i : i + 40]
            one.post({"customers": batch})
            replicas[i // 40 % 3].post({"customers": batch})
        urls = [str(replica.http.base_url) for replica in replicas]
        whole = one.http.get("/v1/drift").json()["windows"]
        for window in ("count", "time"):
            done = command("drift", *urls, "--window", window, "--json")
            assert done.returncode == 0, done.stderr
            together = orjson.loads(done.stdout)
            assert together["replicas"] == 3
            assert together["predictions"] == whole[window]["predictions"]
            assert together["columns"] == whole[window]["columns"]
        done = command("drift", *urls)
        assert "1000 predictions of 3 replicas, window by count: 0 of 17 features" in done.stdout
        done = command("drift", urls[0], urls[0] + "/")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "named twice" in done.stderr
    done = command("drift", urls[0])
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "cannot reach" in done.stderr


def test_a_running_service_takes_a_new_model_and_refuses_a_damaged_one(
    model: Path, tmp_path: Path
) -> None:
    own = tmp_path / "model"
    shutil.copytree(model, own)
    with running(own, tmp_path) as service:
        service.post({"customers": STREAM[:600]})
        first = _plain(service.metrics())
        assert first["churn_reference_changes_total"] == 1
        (own / artefact.MODEL_FILE).write_bytes(b"damaged")
        service.process.send_signal(signal.SIGHUP)
        _until(lambda: _plain(service.metrics())["churn_model_load_success"] == 0)
        assert service.process.stderr is not None
        line = service.process.stderr.readline()
        assert "goes on: " in line
        assert "SHA-256 differs" in line
        metrics = service.metrics()
        assert _plain(metrics)["churn_drift_window_predictions"] == 600
        assert _labelled(metrics, "churn_dependency_up", "dependency")["model_store"] == 0
        assert _labelled(metrics, "churn_model_loads_total", "outcome") == {"ok": 1, "refused": 1}
        answer = service.post(ONE).json()["predictions"][0]
        assert answer["model_version"] == artefact.load(model).version

        train(out=own, data=None, rows=1000, seed=8, pushgateway=None)
        service.process.send_signal(signal.SIGHUP)
        _until(lambda: _plain(service.metrics())["churn_model_load_success"] == 1)
        answer = service.post(ONE).json()["predictions"][0]
        assert answer["model_version"] == artefact.load(own).version
        assert service.http.get("/readyz").json()["model_version"] == answer["model_version"]
        metrics = service.metrics()
    plain = _plain(metrics)
    assert plain["churn_reference_changes_total"] == 2
    assert plain["churn_drift_window_predictions"] == 1
    assert (
        plain["churn_model_loaded_timestamp_seconds"]
        > (first["churn_model_loaded_timestamp_seconds"])
    )
    # Totals outlive the model, and one model is named.
    assert plain["churn_quality_checked_total"] == 602
    (labels,) = (dict(own) for name, own in metrics if name == "churn_model_info")
    assert labels["reference"] == artefact.load(own).reference.id


def test_without_monitoring_only_the_service_is_watched(model: Path, tmp_path: Path) -> None:
    with running(model, tmp_path, "--no-monitoring") as service:
        assert service.post(ONE).status_code == 200
        names = {name for name, _ in service.metrics()}
        answer = service.http.get("/v1/drift")
    assert answer.status_code == 404
    assert "--no-monitoring" in answer.json()["detail"]
    assert "churn_model_info" in names
    assert not any("drift" in name or "quality" in name for name in names)


def test_the_synthetic_customers_are_compared_with_a_file(tmp_path: Path) -> None:
    import pandas as pd

    path = tmp_path / "Train.csv"
    frame = pd.DataFrame(synthetic_customers(np.random.default_rng(1), 2000))
    frame.to_csv(path, index=False)
    done = command("compare", "--data", path, "--rows", 2000, "--json")
    assert done.returncode == 0, done.stderr
    compared = orjson.loads(done.stdout)
    # The file is of the same population: hardly anything passes a floor of 99 %.
    assert [one["column"] for one in compared["columns"]] == list(FEATURES)
    assert sum(one["value"] > one["floor"] for one in compared["columns"]) <= 2
    assert all(auc["lowest"] > 0.85 for auc in compared["auc"].values())
    done = command("compare", "--data", path, "--rows", 2000)
    assert len(done.stdout.splitlines()) == 1 + len(FEATURES) + 2
    frame.drop(columns="TENURE").to_csv(path, index=False)
    done = command("compare", "--data", path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.e2e
def test_training_tells_a_real_pushgateway_and_survives_its_end(tmp_path: Path) -> None:
    with serving("pushgateway", tmp_path) as gateway:
        url = str(gateway.base_url)
        done = command("train", "--out", tmp_path / "model", "--rows", 1000, "--pushgateway", url)
        assert done.returncode == 0, done.stderr
        assert f"figures pushed to {url}" in done.stdout
        text = gateway.get("/metrics").text
    assert 'churn_training_rows{instance="",job="churn_training"} 1000' in text
    done = command("train", "--out", tmp_path / "model", "--rows", 1000, "--pushgateway", url)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"did not reach the Pushgateway at {url}" in done.stdout
    # The figures are not lost: the service tells them too.
    with running(tmp_path / "model", tmp_path) as service:
        assert _plain(service.metrics())["churn_model_training_rows"] == 1000


@pytest.mark.skipif(not EXPRESSO.is_file(), reason=f"the Expresso sample is not at {EXPRESSO}")
def test_the_real_customers_are_like_the_synthetic_ones() -> None:
    done = command("compare", "--data", EXPRESSO, "--rows", 2000, "--json")
    assert done.returncode == 0, done.stderr
    compared = orjson.loads(done.stdout)
    assert compared["auc"]["file"]["mean"] > 0.9
    assert all(one["value"] < 0.5 for one in compared["columns"])


def _plain(metrics: dict[tuple[str, frozenset[tuple[str, str]]], float]) -> dict[str, float]:
    return {name: value for (name, labels), value in metrics.items() if not labels}


def _labelled(metrics, name: str, label: str) -> dict[str, float]:
    return {dict(own)[label]: value for (found, own), value in metrics.items() if found == name}


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
