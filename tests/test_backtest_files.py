"""What a backtest reads besides timestamp,value: columns, Parquet, OpenMetrics, range answers."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import Result

from detector.backtest.files import read_file
from detector.errors import ConfigError


def write(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def found(path: Path, step: int = 60) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Return {signal: {labels: [(time, value)]}} of the samples that are there."""
    return {
        name: {
            ",".join(f"{k}={v}" for k, v in key): [
                (int(t), float(v))
                for t, v, absent in zip(
                    one.stamps[s], one.samples.values[s], one.samples.absent[s], strict=True
                )
                if not absent
            ]
            for s, key in enumerate(one.samples.labels)
        }
        for name, one in read_file(path, step).items()
    }


def test_a_column_for_each_series(tmp_path: Path) -> None:
    path = write(tmp_path, "cpu.csv", "timestamp,a,b\n60,1,2\n120,3,\n")
    series = found(path)["cpu"]
    assert series["series=a"] == [(60, 1.0), (120, 3.0)]
    # An empty cell is no sample; one that is no number says nothing, and neither does a column.
    assert series["series=b"] == [(60, 2.0)]
    path = write(tmp_path, "cpu.csv", "timestamp,a,b,c\n60,1,2,\n120,3,nan,\n")
    series = found(path)["cpu"]
    assert [time for time, _ in series["series=b"]] == [60, 120]
    assert np.isnan([value for _, value in series["series=c"]]).tolist() == [True, True]
    with pytest.raises(ConfigError, match="cpu.csv:3: 'x' is no number"):
        read_file(write(tmp_path, "cpu.csv", "timestamp,a,b\n60,1,2\n120,3,x\n"), 60)


def test_a_table_in_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "cpu.parquet"
    stamps = pd.to_datetime([60, 120], unit="s", utc=True)
    pd.DataFrame({"timestamp": stamps, "value": [1.0, np.inf]}).to_parquet(path)
    ((_, first), (_, second)) = found(path)["cpu"][""]
    assert first == 1.0
    assert np.isnan(second)
    pd.DataFrame({"a": [1, 2]}, index=pd.Index([60, 120], name="timestamp")).to_parquet(path)
    assert found(path) == {"cpu": {"series=a": [(60, 1.0), (120, 2.0)]}}
    whole = path.read_bytes()
    with pytest.raises(ConfigError, match="no Parquet file"):
        read_file(write(tmp_path, "cut.parquet", whole[: len(whole) // 2]), 60)


def test_openmetrics_text(tmp_path: Path) -> None:
    text = (
        "# TYPE rps gauge\n"
        'rps{job="a"} 1 60\nrps{job="a"} NaN 120\nrps{job="b"} 3 60.5\n'
        "# TYPE cpu_seconds counter\ncpu_seconds_total 5 60\n# EOF\n"
    )
    signals = found(write(tmp_path, "dump.om", text))
    assert sorted(signals) == ["cpu_seconds_total", "rps"]
    assert signals["rps"]["job=b"] == [(60, 3.0)]
    assert signals["rps"]["job=a"][0] == (60, 1.0)


ANSWER = {
    "status": "success",
    "data": {
        "resultType": "matrix",
        "result": [
            {"metric": {"__name__": "up", "job": "a"}, "values": [[60, "1"], [120.5, "+Inf"]]},
            {"metric": {"job": "b"}, "values": [[60, "0.5"]]},
        ],
    },
}


def test_an_answer_of_the_range_api(tmp_path: Path) -> None:
    signals = found(write(tmp_path, "saved.json", json.dumps(ANSWER)))
    assert sorted(signals) == ["saved", "up"]
    assert signals["saved"] == {"job=b": [(60, 0.5)]}
    assert [t for t, _ in signals["up"]["job=a"]] == [60, 120]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.om", "# TYPE rps gauge\nrps 1 60\n", "cut off"),
        ("x.om", "# TYPE rps gauge\nrps 1\n# EOF\n", "without timestamp"),
        ("x.om", "rps{job= 1 60\n# EOF\n", "no OpenMetrics text"),
        ("x.om", "# EOF\n", "no samples"),
        ("x.om", b"\xff\xfe\x00# EOF\n", "not UTF-8"),
        ("x.prom", "# TYPE rps gauge\nrps 1 1700000000000\n# EOF\n", "not milliseconds"),
        ("x.json", json.dumps(ANSWER)[:150], "no JSON, or cut off"),
        ("x.json", "", "no JSON, or cut off"),
        ("x.json", '{"status":"error","error":"too many"}', "the answer is an error: too many"),
        ("x.json", '{"data":{"resultType":"vector","result":[]}}', "no answer of the range API"),
        ("x.json", '{"data":{"resultType":"matrix","result":[]}}', "no samples"),
        (
            "x.json",
            '{"data":{"resultType":"matrix","result":[{"metric":{},"values":[[60,"x"]]}]}}',
            "no pair of time and number",
        ),
        ("x.json", "[" * 100_000, "no JSON, or cut off"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, name: str, content: str | bytes, says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        found(write(tmp_path, name, content))
    assert says in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.om", "a.json", "a.parquet", "a.csv"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"no such file|needs a library"):
        read_file(tmp_path / name, 60)


def test_a_full_disk_takes_one_file_and_no_other(
    tmp_path: Path, detector: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room for the scores: the summary and the small files are there all the same."""
    monkeypatch.chdir(tmp_path)
    times = range(1_759_708_800, 1_759_708_800 + 600 * 300, 300)
    rows = "".join(f"{t},{10 + i % 7}\n" for i, t in enumerate(times))
    (tmp_path / "s.csv").write_text("timestamp,value\n" + rows)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        given = ("--step", "300s", "--scores", "out.csv", "--markdown", "m.md")
        code, out, err = detector("backtest", "s.csv", *given)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert code == 2
    assert "out.csv: cannot be written: File too large" in err
    assert "history behind a day" in out
    assert (tmp_path / "m.md").read_text().startswith("### Backtest")
    assert not (tmp_path / "out.csv").exists()
