"""Training: data that is read or refused, the artefact and its checks, the push."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families

from detector.errors import ConfigError
from simulator.churn import artefact, dataset
from simulator.churn.binning import make_reference
from simulator.churn.model import CustomerEncoder, scores, train_model
from simulator.churn.schema import COLUMNS
from simulator.churn.train import TrainingReport, train
from simulator.population import as_requests, synthetic_customers

ROWS = 2000


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.DataFrame(synthetic_customers(np.random.default_rng(1), ROWS))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingReport]:
    out = tmp_path_factory.mktemp("model") / "new" / "directory"
    return out, _train(out)


def test_training_on_synthetic_customers(trained: tuple[Path, TrainingReport]) -> None:
    out, report = trained
    loaded = artefact.load(out)
    assert loaded.version == report.version
    assert loaded.rows == report.rows == ROWS
    assert loaded.auc == report.auc > 0.88
    customers = as_requests(synthetic_customers(np.random.default_rng(9), 50))
    ours = scores(loaded.model, customers)
    assert ((ours > 0.0) & (ours < 1.0)).all()
    # The shortcut gives what scikit-learn gives.
    np.testing.assert_allclose(ours, loaded.model.predict_proba(customers)[:, 1])


def test_the_same_seed_gives_the_same_model(
    trained: tuple[Path, TrainingReport], tmp_path: Path
) -> None:
    _, report = trained
    assert _train(tmp_path / "again").version == report.version
    assert _train(tmp_path / "other", seed=8).version != report.version


def test_unknown_and_missing_categories_are_encoded(frame: pd.DataFrame) -> None:
    customers = as_requests({name: frame[name].to_numpy() for name in frame})
    encoder = CustomerEncoder().fit(customers)
    one = customers[0] | {"REGION": "DAKAR", "TENURE": "K > 24 month", "ZONE1": 4.0}
    changed = one | {"REGION": "MARS", "TENURE": "Z never"}
    unknown = one | {"REGION": None, "ZONE1": None}
    rows = encoder.transform([one, changed, unknown])
    assert np.isfinite(rows).all()
    assert rows[0].sum() == pytest.approx(rows[1].sum() + 2.0)
    assert (rows[0] != rows[2]).sum() == 4


def test_reading_a_csv_file_gives_its_rows(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "Train.csv"
    # Other order and a further column, as users' files have.
    frame.assign(extra="x")[["extra", *reversed(COLUMNS)]].to_csv(path, index=False)
    read = dataset.read_customers(path, ROWS, np.random.default_rng(1))
    assert list(read) == list(COLUMNS)
    again = pd.DataFrame(read).set_index("user_id").loc[frame.user_id].reset_index()
    pd.testing.assert_frame_equal(again[list(COLUMNS)], frame, check_dtype=False)
    fewer = dataset.read_customers(path, 500, np.random.default_rng(1))
    assert len(set(fewer["user_id"])) == 500
    # A draw from everywhere, not the head of the file.
    assert np.isin(fewer["user_id"], frame.user_id.tail(ROWS // 2)).mean() == pytest.approx(
        0.5, abs=0.1
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="REGULARITY"), r"lacks the column REGULARITY;"),
        (lambda frame: frame.drop(columns=["CHURN", "ZONE1"]), r"lacks the columns ZONE1, CHURN;"),
        (
            lambda frame: frame.assign(MONTANT=["abc", "12x", *frame.MONTANT[2:].astype(str)]),
            r"MONTANT must hold numbers from 0 on; 2 of its cells do not, .* in line 2: 'abc'",
        ),
        (
            lambda frame: frame.assign(REVENUE=[*frame.REVENUE[:-1], np.inf]),
            r"REVENUE .*; 1 of its cells .* in line 2001: 'inf'",
        ),
        (
            lambda frame: frame.assign(ON_NET=-1.0),
            r"ON_NET .*; 2000 of its cells .* line 2: '-1.0'",
        ),
        (lambda frame: frame.assign(CHURN=frame.CHURN + 1), r"CHURN must hold 0 or 1;"),
        (
            lambda frame: frame.assign(CHURN=[None, *frame.CHURN[1:]]),
            r"CHURN must hold 0 or 1; 1 of its cells do not, the first in line 2",
        ),
        (lambda frame: frame.assign(CHURN=0), r"0 of the smaller class of CHURN"),
        (lambda frame: frame.head(50), r"gives 50 rows"),
        (lambda frame: frame.head(0), r"gives 0 rows"),
    ],
)
def test_unusable_data_is_refused_in_one_line(
    frame: pd.DataFrame, tmp_path: Path, change, message: str
) -> None:
    path = tmp_path / "Train.csv"
    change(frame).to_csv(path, index=False)
    with pytest.raises(ConfigError, match=message) as caught:
        dataset.read_customers(path, ROWS, np.random.default_rng(1))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01\n", b'a,b\n"1,2\n3'])
def test_files_that_are_no_csv_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "Train.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"Train\.csv") as caught:
        dataset.read_customers(path, ROWS, np.random.default_rng(1))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_unusable_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read .*none.csv"):
        train(out=tmp_path, data=tmp_path / "none.csv", rows=ROWS, seed=7, pushgateway=None)
    with pytest.raises(ConfigError, match="cannot read"):
        train(out=tmp_path, data=tmp_path, rows=ROWS, seed=7, pushgateway=None)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="choose another --out"):
        _train(tmp_path / "file" / "model")


def test_the_command_ends_with_2_and_one_line(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "Train.csv"
    frame.drop(columns="TENURE").to_csv(path, index=False)
    done = subprocess.run(
        [sys.executable, "-c", "from simulator.cli import main; main()"]
        + ["train", "--data", str(path), "--out", str(tmp_path / "model")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"error: {path} lacks the column TENURE; "
        "it must be a Train.csv of the Expresso churn challenge"
    ]
    assert not (tmp_path / "model").exists()


def test_a_changed_model_file_is_never_unpickled(
    trained: tuple[Path, TrainingReport], tmp_path: Path
) -> None:
    out = tmp_path / "model"
    shutil.copytree(trained[0], out)
    canary = tmp_path / "canary"
    (out / artefact.MODEL_FILE).write_bytes(pickle.dumps(_Canary(canary)))
    with pytest.raises(ConfigError, match="SHA-256 differs.*run simulator train again"):
        artefact.load(out)
    assert not canary.exists()
    # The same file does its harm once its hash is recorded: the check is what held it back.
    _change(out, sha256=hashlib.sha256((out / artefact.MODEL_FILE).read_bytes()).hexdigest())
    artefact.load(out)
    assert canary.exists()


def test_missing_and_damaged_artefacts_are_refused(
    trained: tuple[Path, TrainingReport], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*model\.json.*simulator train --out"):
        artefact.load(tmp_path / "none")
    out = tmp_path / "model"
    shutil.copytree(trained[0], out)
    (out / artefact.MODEL_FILE).unlink()
    with pytest.raises(ConfigError, match=r"cannot read .*model\.joblib"):
        artefact.load(out)
    shutil.copy(trained[0] / artefact.MODEL_FILE, out)
    artefact.load(out)
    for change in ({"format": 99}, {"columns": ["REGION"]}, {"reference": []}):
        _change(out, **change)
        with pytest.raises(ConfigError, match="simulator train again"):
            artefact.load(out)
        shutil.copy(trained[0] / artefact.DESCRIPTION_FILE, out)
    for text in ("", "{", "[]", "{}", "null"):
        (out / artefact.DESCRIPTION_FILE).write_text(text)
        with pytest.raises(ConfigError, match="is damaged; run simulator train again"):
            artefact.load(out)
    # A file that is as recorded, and no model.
    content = b"no pickle"
    (out / artefact.MODEL_FILE).write_bytes(content)
    shutil.copy(trained[0] / artefact.DESCRIPTION_FILE, out)
    _change(out, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(ConfigError, match="cannot be loaded"):
        artefact.load(out)


def test_saving_replaces_an_older_model(frame: pd.DataFrame, tmp_path: Path) -> None:
    columns = {name: frame[name].to_numpy() for name in frame}
    for seed in (1, 2):
        model, auc = train_model(as_requests(columns)[: 900 + seed], frame.CHURN[: 900 + seed], 1)
        version = artefact.save(
            tmp_path, model, make_reference(columns), rows=900, auc=auc, created=0.0
        )
        loaded = artefact.load(tmp_path)
        assert loaded.version == version
        assert loaded.created == "1970-01-01T00:00:00+00:00"
    assert sorted(os.listdir(tmp_path)) == [artefact.MODEL_FILE, artefact.DESCRIPTION_FILE]


def test_the_figures_reach_the_pushgateway(
    gateway: tuple[str, list[tuple[str, str]]], tmp_path: Path
) -> None:
    url, pushes = gateway
    report = _train(tmp_path, pushgateway=url)
    assert str(report).endswith(f"figures pushed to {url}")
    ((path, text),) = pushes
    assert path == "/metrics/job/churn_training"
    values = {
        (sample.name, sample.labels.get("class", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values[("churn_training_rows", "")] == ROWS
    assert values[("churn_training_auc", "")] == report.auc
    assert values[("churn_training_class_ratio", "churn")] == report.churn_ratio
    assert values[("churn_training_class_ratio", "stay")] == 1.0 - report.churn_ratio
    assert values[("churn_training_duration_seconds", "")] > 0.0
    assert values[("churn_training_timestamp_seconds", "")] > 1e9
    assert len(values) == 6


def test_training_succeeds_without_the_pushgateway(tmp_path: Path) -> None:
    report = _train(tmp_path, pushgateway="http://127.0.0.1:1")
    line = str(report).splitlines()[-1]
    assert "did not reach the Pushgateway at http://127.0.0.1:1" in line
    assert artefact.load(tmp_path).version == report.version


@pytest.mark.parametrize("url", ["localhost:9091", "ftp://localhost", "http://me:secret@localhost"])
def test_unusable_pushgateway_urls_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="--pushgateway") as caught:
        _train(tmp_path / "model", pushgateway=url)
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "model").exists()


@pytest.fixture
def gateway() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A server that keeps what is pushed to it."""
    pushes: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            pushes.append((self.path, body.decode()))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", pushes
    server.shutdown()
    thread.join()
    server.server_close()


class _Canary:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def _train(out: Path, seed: int = 7, pushgateway: str | None = None) -> TrainingReport:
    return train(out=out, data=None, rows=ROWS, seed=seed, pushgateway=pushgateway)


def _change(out: Path, **changes: object) -> None:
    path = out / artefact.DESCRIPTION_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
