"""A CSV file through the live path: what is read, what is written, what is refused."""

from __future__ import annotations

import csv
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Result
from synthetic import DAY, MONDAY, grid, labels, matrix, traffic

from detector.backtest.command import backtest
from detector.backtest.files import read_csv
from detector.backtest.request import Request
from detector.backtest.scores_file import write_scores
from detector.backtest.sources import profile_for
from detector.errors import ConfigError
from detector.pipeline import replay
from detector.schedule import Schedule
from detector.series import Signal
from detector.settings import KIND_POLICIES, Settings

COLUMNS = [
    "timestamp",
    "observed",
    "expected",
    "lower",
    "upper",
    "score",
    "state",
    "alert",
    "firing",
]
SIGNAL = Signal("series", "traffic", (), KIND_POLICIES["traffic"])
SCHEDULE = Schedule(300, 300, 28 * DAY, DAY)


def store(path: Path, times: np.ndarray, values: np.ndarray) -> Path:
    lines = [f"{t},{v!r}" for t, v in zip(times.tolist(), values.tolist(), strict=True)]
    path.write_text("timestamp,value\n" + "\n".join(lines) + "\n")
    return path


def scored(
    path: Path, out: Path, settings: Settings | None = None, **given: Any
) -> tuple[int, int]:
    """Write the scores of a file; return the number of rows and of episodes."""
    request = Request(files=(path,), step=300, **given)
    outcome = backtest(settings or Settings(), request, 0.0, threading.Event(), lambda line: None)
    return write_scores(out, [one.trace for one in outcome.judged], outcome.stamps)


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def number(text: str) -> float:
    return float(text) if text else math.nan


def test_the_file_holds_the_rows_of_the_pipeline(tmp_path: Path) -> None:
    times = grid(16, 300)
    values = traffic(times, 1)
    values[-288:-276] = 0
    values[3000:3100] = np.nan
    present = ~np.isnan(values)
    path = store(tmp_path / "series.csv", times[present], values[present])
    out = tmp_path / "out.csv"
    count, episodes = scored(path, out, kind="traffic")
    rows = rows_of(out)
    assert list(rows[0]) == COLUMNS
    assert count == len(rows) == len(times)
    found = [int(row["timestamp"]) for row in rows if row["alert"] == "1"]
    # The first weekend is news to a detector that has seen five days; the outage is news.
    assert episodes == sum(b - a > 300 for a, b in zip([0, *found], found, strict=False))
    assert times[-288] in found
    samples = matrix(times, {labels(): values})
    parts = list(replay(SIGNAL, SCHEDULE, samples, int(times[0]), int(times[-1]) + 300))
    for name in ("observed", "expected", "lower", "upper", "score"):
        mine = np.array([number(row[name]) for row in rows])
        pipeline = np.concatenate([getattr(part, name)[0] for part in parts])
        np.testing.assert_array_equal(mine, pipeline)
    assert [int(row["timestamp"]) for row in rows] == times.tolist()
    assert all(row["alert"] == str(int(row["state"] == "1")) for row in rows)
    assert {row["state"] for row in rows} == {"0", "1", "2", "3"}
    assert {row["state"] for row in rows[3000:3100]} == {"3"}
    assert rows[0]["score"] == ""


def test_too_short_a_file_is_said_to_be_unscored(
    detector: Callable[..., Result], tmp_path: Path
) -> None:
    times = grid(2, 300)[:144]
    path = store(tmp_path / "series.csv", times, traffic(times))
    code, out, _ = detector("backtest", path, "--step", "5m")
    assert code == 0
    assert "1 of 1 series were warming up throughout and never scored (series)" in out
    assert "\t-\t-\t-\t0.00%" in out
    code, _, err = detector("backtest", path, "--step", "5m", "--require", "pages_per_week<=2")
    assert (code, "pages_per_week is undefined" in err) == (1, True)


def test_samples_beyond_the_limits_are_said(tmp_path: Path) -> None:
    times = grid(2, 300)
    path = store(tmp_path / "a_ratio.csv", times, np.where(times < times[144], 0.5, 20.0))
    request = Request(files=(path,), step=300)
    outcome = backtest(Settings(), request, 0.0, threading.Event(), lambda line: None)
    (note,) = (one for one in outcome.notes if "outside" in one)
    assert note.startswith("a_ratio: 75.0% of its samples are outside its limits [0, 1] (its name")


def test_ranges_of_time_are_masked_in_a_file(tmp_path: Path) -> None:
    times = grid(16, 300)
    values = traffic(times, 1)
    outage = slice(-288, -264)
    values[outage] = 0
    path = store(tmp_path / "series.csv", times, values)
    out = tmp_path / "out.csv"
    first, last = (f"{np.datetime64(int(times[i]), 's')}Z" for i in (-288, -276))
    mute = [{"from": first, "to": last}]
    settings = Settings.model_validate(
        {"masks": {"mute": mute}, "policies": {"traffic": {"when": "never asked"}}}
    )
    scored(path, out, settings, kind="traffic")
    states = [row["state"] for row in rows_of(out)]
    assert set(states[-288:-276]) == {"4"}
    assert set(states[-276:-264]) == {"1"}


def read(tmp_path: Path, text: str | bytes, step: int = 60) -> list[tuple[int, int, float]]:
    """Return (grid time, own time, value) of the samples of a file."""
    path = tmp_path / "in.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    recording = read_csv(path, step)
    there = ~recording.samples.absent[0]
    return list(
        zip(
            recording.samples.times[there].tolist(),
            recording.stamps[0][there].tolist(),
            recording.samples.values[0][there].tolist(),
            strict=True,
        )
    )


def test_rows_in_any_order_with_other_columns(tmp_path: Path) -> None:
    text = "host,value,timestamp\na,3,180\nb,1,60\nc,2,120\n"
    assert read(tmp_path, text) == [(60, 60, 1.0), (120, 120, 2.0), (180, 180, 3.0)]


def test_a_sample_counts_at_the_next_step_and_keeps_its_stamp(tmp_path: Path) -> None:
    found = read(tmp_path, "timestamp,value\n61,1\n119.9,2\n120,3\n121,4\n")
    assert found == [(120, 120, 3.0), (180, 121, 4.0)]
    assert read_csv(tmp_path / "in.csv", 60).replaced == 2


def test_times_in_iso_8601(tmp_path: Path) -> None:
    text = (
        "timestamp,value\n2025-10-06T00:00:00Z,1\n2025-10-06 02:01:00+02:00,2\n2025-10-06 00:02,3\n"
    )
    assert [t - MONDAY for t, _, _ in read(tmp_path, text)] == [0, 60, 120]


def test_empty_nan_and_infinite_values_are_no_information(tmp_path: Path) -> None:
    text = "timestamp,value\n60,\n120,NaN\n180,inf\n240,-Inf\n300,null\n360, 1e300\n"
    found = read(tmp_path, text)
    assert len(found) == 6
    assert all(math.isnan(value) for _, _, value in found[:5])
    assert found[5][2] == 1e300


def test_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    text = "\ufefftimestamp,value\r\n60,1\r\n120,2\r\n".encode()
    assert len(read(tmp_path, text)) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no CSV file"),
        ("timestamp,value\n", "no samples"),
        ("time,val\n1,2\n", "no column timestamp, value"),
        ("timestamp\n1\n", "no column value"),
        ("reading,value\n1,2\n", "no column timestamp"),
        ("timestamp,value\n60,1\n120,lots\n", "in.csv:3: 'lots' is no number"),
        ("timestamp,value\n60,1\nlater,2\n", "in.csv:3: 'later' is no time"),
        ("timestamp,value\n60,1\n,2\n", "in.csv:3: '' is no time"),
        ("\n\ntimestamp,value\n\n60,1\n  \n120,lots\n", "in.csv:7: 'lots' is no number"),
        ("timestamp,value\r\n\r\n60,1\r\nlater,2\r\n", "in.csv:4: 'later' is no time"),
        ('timestamp,value,note\n60,1,"a\n\nb"\n120,lots,c\n', "in.csv:5: 'lots' is no number"),
        ("timestamp,value\n1700000000000,1\n", "not milliseconds"),
        ("timestamp,value\ninf,1\n", "unix seconds"),
        ("timestamp,value\n60,1,9,9\n70,1\n", "in.csv"),
        (b"\xff\xfe\x00\x01", "no CSV file"),
        ("timestamp,value\n60,1\n".encode("utf-16"), "save it as text in UTF-8"),
        ("timestamp;value\n60;1,5\n", "separated by commas"),
        ("timestamp\tvalue\n60\t1\n", "separated by commas"),
        ("timestamp,a,a\n60,1,2\n", "two columns have the name 'a'"),
        ("\ufeff\n timestamp, a, b, a\n60,1,2,3\n", "two columns have the name 'a'"),
        ("timestamp,value,timestamp\n60,1,2\n", "two columns have the name 'timestamp'"),
        ("timestamp,value\n0,1\n17000000000,1\n", "span"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert says in str(caught.value)
    assert "in.csv" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_columns_that_are_not_read_may_share_a_name(tmp_path: Path) -> None:
    assert read(tmp_path, "timestamp,value,note,note,,\n60,1,a,b,,\n") == [(60, 60, 1.0)]
    path = tmp_path / "apart.csv"
    path.write_text("timestamp,a,a.1\n60,1,2\n")
    assert len(read_csv(path, 60).samples.labels) == 2


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_csv(tmp_path / "absent.csv", 60)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_csv(tmp_path, 60)


@pytest.mark.parametrize(
    ("step", "profile"), [(60, 300), (300, 300), (240, 480), (1, 300), (3600, 3600), (DAY, DAY)]
)
def test_profile_for(step: int, profile: int) -> None:
    assert profile_for(step, 300) == profile


@pytest.mark.parametrize("step", [7, 1000, 2 * DAY])
def test_a_step_that_divides_no_day(step: int) -> None:
    with pytest.raises(ConfigError, match="divides a day"):
        profile_for(step, 300)


def test_a_file_of_one_sample(tmp_path: Path) -> None:
    path = store(tmp_path / "s.csv", np.array([MONDAY]), np.array([1.0]))
    out = tmp_path / "out.csv"
    assert scored(path, out) == (1, 0)
    assert rows_of(out) == [
        dict(zip(COLUMNS, [str(MONDAY), "1.0", "", "", "", "", "2", "0", "0"], strict=True))
    ]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    path = store(tmp_path / "s.csv", np.array([MONDAY]), np.array([1.0]))
    with pytest.raises(ConfigError, match="cannot be written"):
        scored(path, tmp_path)


def test_what_is_odd_with_a_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    lines = [f"{MONDAY + 3600 * i},1" for i in range(30)] + [f"{MONDAY + 1},2", f"{MONDAY + 2},3"]
    path.write_text("timestamp,value\n" + "\n".join(lines) + "\n")
    request = Request(files=(path,), step=300)
    outcome = backtest(Settings(), request, 0.0, threading.Event(), lambda line: None)
    assert any("1 samples of s replaced by a later one" in note for note in outcome.notes)
    assert not any("to keep them" in note for note in outcome.notes)
    assert any("samples are 1h apart, the step is 5m" in note for note in outcome.notes)
    assert any(note.startswith("no incidents in the range") for note in outcome.notes)


def test_a_step_that_drops_samples_is_told_with_one_that_does_not(tmp_path: Path) -> None:
    path = store(tmp_path / "s.csv", grid(2, 300), np.ones(576))
    outcome = backtest(Settings(), Request(files=(path,), step=600), 0.0, threading.Event(), print)
    assert any("samples of s replaced" in note for note in outcome.notes)
    assert any(note.endswith("use --step 5m to keep them") for note in outcome.notes)


def test_the_range_of_a_file_can_be_narrowed(tmp_path: Path) -> None:
    times = grid(4, 300)
    path = store(tmp_path / "s.csv", times, traffic(times))
    request = Request(files=(path,), step=300, start=int(times[-10]), end=int(times[-5]))
    outcome = backtest(Settings(), request, 0.0, threading.Event(), lambda line: None)
    (one,) = outcome.judged
    assert one.trace.times.tolist() == times[-10:-5].tolist()
    whole = Request(files=(path,), step=300)
    every = backtest(Settings(), whole, 0.0, threading.Event(), lambda line: None).judged[0].trace
    np.testing.assert_array_equal(one.trace.score, every.score[:, -10:-5])
    late = Request(files=(path,), step=300, start=int(times[-1]) + 600)
    with pytest.raises(ConfigError, match="no samples between --from and --to"):
        backtest(Settings(), late, 0.0, threading.Event(), lambda line: None)
