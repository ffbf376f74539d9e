"""What becomes of predictions when the database is slow, locked, gone, or the process is killed."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres import running_postgres
from sqlalchemy import func, select

from detector.errors import ConfigError
from simulator.churn.feedback.database import open_database
from simulator.churn.feedback.loop import prediction_ids
from simulator.churn.feedback.records import erase_customer
from simulator.churn.feedback.spool import Spool, SpoolFullError
from simulator.churn.feedback.tables import PREDICTIONS, PredictionRow
from simulator.churn.feedback.writer import Writer

NOW = 1_790_000_000.0
# Spools 50 predictions at a time into a directory and says so after each, until it is killed.
SPOOLER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_feedback_writer import made
from simulator.churn.feedback.spool import Spool
spool = Spool(Path({directory!r}))
for part in range(10_000):
    spool.append(made(50, part))
    print(part, flush=True)
"""


def made(count: int, part: int = 0) -> list[PredictionRow]:
    return [
        PredictionRow(
            f"{part:016x}{i:016x}", f"customer-{i}", NOW, 0.25, False, "v1", '{"A": null}'
        )
        for i in range(count)
    ]


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextlib.contextmanager
def writing(url: str, directory: Path, **options: int) -> Iterator[Writer]:
    engine = open_database(url)
    writer = Writer(engine, Spool(directory), **options)
    writer.start()
    try:
        yield writer
    finally:
        writer.stop()
        engine.dispose()


def stored(url: str) -> int:
    engine = open_database(url)
    with engine.connect() as connection:
        found = connection.execute(select(func.count()).select_from(PREDICTIONS)).scalar_one()
    engine.dispose()
    return int(found)


def put(writer: Writer, rows: list[PredictionRow]) -> None:
    writer.put(len(rows), lambda: rows)


def test_predictions_are_stored_and_the_rest_at_the_end(database: str, tmp_path: Path) -> None:
    with writing(database, tmp_path / "spool") as writer:
        put(writer, made(30))
        until(lambda: writer.counts["stored"] == 30)
        put(writer, made(20, 1))
    assert stored(database) == 50
    assert writer.counts == {"stored": 50}
    assert writer.lost == {}


def test_a_database_that_was_never_there(tmp_path: Path) -> None:
    url = "postgresql://tester@127.0.0.1:9/none"
    with writing(url, tmp_path / "spool") as writer:
        put(writer, made(40))
        until(lambda: writer.counts["spooled"] == 40)
        assert not writer.up
        assert writer.spool_bytes > 0
    # The next process finds what this one left, in another database too.
    other = f"sqlite:///{tmp_path / 'f.sqlite'}"
    with writing(other, tmp_path / "spool") as writer:
        until(lambda: writer.counts["replayed"] == 40)
        assert writer.spool_bytes == 0
    assert stored(other) == 40


def test_postgresql_goes_away_and_comes_back(tmp_path: Path) -> None:
    with running_postgres() as server:
        url = server.new_database()
        with writing(url, tmp_path / "spool") as writer:
            put(writer, made(10))
            until(lambda: writer.counts["stored"] == 10)
            server.stop()
            put(writer, made(10, 1))
            until(lambda: writer.counts["spooled"] == 10)
            put(writer, made(10, 2))
            until(lambda: writer.counts["spooled"] == 20)
            assert not writer.up
            server.start()
            until(lambda: writer.counts["replayed"] == 20)
            put(writer, made(10, 3))
            until(lambda: writer.counts["stored"] == 20)
        assert stored(url) == 40
        assert writer.lost == {}


def test_a_locked_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'f.sqlite'}"
    with writing(url, tmp_path / "spool") as writer:
        put(writer, made(10))
        until(lambda: writer.counts["stored"] == 10)
        with contextlib.closing(sqlite3.connect(tmp_path / "f.sqlite")) as other:
            other.execute("BEGIN EXCLUSIVE")
            put(writer, made(10, 1))
            until(lambda: writer.counts["spooled"] == 10)
            other.rollback()
        until(lambda: writer.counts["replayed"] == 10)
    assert stored(url) == 20


def test_a_database_of_a_later_version_and_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "f.sqlite").write_bytes(b"this is no database, but somebody's letter" * 50)
    with writing(f"sqlite:///{tmp_path / 'f.sqlite'}", tmp_path / "spool") as writer:
        put(writer, made(10))
        until(lambda: writer.counts["spooled"] == 10)
    assert (tmp_path / "f.sqlite").read_bytes().startswith(b"this is no database")


def test_a_full_queue_and_a_full_spool_are_declared_lost(tmp_path: Path) -> None:
    engine = open_database("postgresql://tester@127.0.0.1:9/none")
    writer = Writer(engine, Spool(tmp_path / "spool", largest_bytes=2000), largest_queue=100)
    for part in range(5):
        put(writer, made(30, part))
    assert writer.lost == {"queue_full": 60}
    writer.start()
    until(lambda: writer.waiting == 0)
    writer.stop()
    assert writer.lost == {"queue_full": 60, "spool_full": 90}


def test_a_row_the_database_refuses_does_not_take_the_others_with_it(
    postgres: object, database: str, tmp_path: Path
) -> None:
    rows = made(20)
    # PostgreSQL has no NUL in text; SQLite has.
    rows[7] = rows[7]._replace(customer_id="a\0b")
    with writing(database, tmp_path / "spool") as writer:
        put(writer, rows)
        until(lambda: writer.waiting == 0)
        put(writer, made(5, 1))
        until(lambda: writer.counts["stored"] + writer.lost["refused"] == 25)
    assert writer.lost["refused"] == (1 if "postgresql" in database else 0)
    assert writer.up


def test_an_erased_customer_does_not_come_back_from_the_spool(
    database: str, tmp_path: Path
) -> None:
    with writing(database, tmp_path / "spool") as writer:
        until(lambda: writer.up)
    spool = Spool(tmp_path / "spool")
    spool.append(made(10))
    spool.close()
    engine = open_database(database)
    erase_customer(engine, "customer-3", NOW + 1)
    engine.dispose()
    with writing(database, tmp_path / "spool") as writer:
        until(lambda: writer.counts["replayed"] == 10)
    assert stored(database) == 9


def test_kill_9_loses_nothing_that_was_acknowledged_as_spooled(tmp_path: Path) -> None:
    code = SPOOLER.format(tests=str(Path(__file__).parent), directory=str(tmp_path / "spool"))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as output:
        said = [int(line) for line in itertools.islice(output, 40)]
        process.send_signal(signal.SIGKILL)
        said += [int(line) for line in output]
    process.wait(20)
    with writing(f"sqlite:///{tmp_path / 'f.sqlite'}", tmp_path / "spool") as writer:
        until(lambda: writer.up and writer.spool_bytes == 0)
    # The one under way when it was killed may be there too, whole, or be damaged and counted.
    assert 0 <= stored(f"sqlite:///{tmp_path / 'f.sqlite'}") - 50 * len(said) <= 50
    assert writer.counts["replayed"] >= 50 * len(said)


def test_damaged_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    for part in range(3):
        spool.append(made(5, part))
    spool.close()
    (file,) = (tmp_path / "spool").glob("*.spool")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1].replace(b"customer-2", b"customer-9") + lines[2][:40])
    url = f"sqlite:///{tmp_path / 'f.sqlite'}"
    with writing(url, tmp_path / "spool") as writer:
        until(lambda: writer.counts["replayed"] == 5)
    assert writer.lost == {"spool_damaged": 2}
    assert stored(url) == 5


def test_the_spool_is_private_bounded_and_of_one_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", largest_bytes=1000)
    spool.append(made(1))
    with pytest.raises(SpoolFullError):
        spool.append(made(100))
    (file,) = (tmp_path / "spool").glob("*.spool")
    assert file.stat().st_mode & 0o077 == 0
    assert os.stat(tmp_path / "spool").st_mode & 0o077 == 0
    with pytest.raises(ConfigError, match="give each its own --feedback-dir"):
        Spool(tmp_path / "spool")
    spool.close()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="choose another --feedback-dir"):
        Spool(tmp_path / "file")


def test_ids_sort_by_time_and_differ() -> None:
    early, late = prediction_ids(NOW, 1000), prediction_ids(NOW + 0.002, 1000)
    assert max(early) < min(late)
    assert len({*early, *late}) == 2000
    assert {len(one) for one in early} == {32}
