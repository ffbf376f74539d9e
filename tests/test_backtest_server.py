"""A backtest from a real Prometheus: equal to the live run, cached, cancelled, judged."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Result, config, one_line
from replays import (
    ASKED,
    HOUR,
    OUTAGE,
    SIGNALS,
    command,
    replay,
    rows_of,
    seeded,
    settings_for,
)
from running import NOW, Running, rule
from server import Server
from synthetic import DAY

from detector.backtest import sources
from detector.backtest.command import backtest
from detector.backtest.run import FIELDS, replayed
from detector.backtest.sources import grid_for, opened
from detector.errors import ConfigError, SourceError
from detector.score import GONE


def test_the_replay_has_the_rows_of_the_live_run(server: Server) -> None:
    seeded(server)
    settings = settings_for(server)
    given = settings.model_dump(
        by_alias=True, include={"signals", "exclude_alerts", "masks", "history"}, exclude_unset=True
    )
    live = Running(server.url, **given)
    begin = NOW - 90 * 60
    seen: dict[str, dict[tuple[Any, int], tuple[float, ...]]] = {"rps": {}, "failing": {}}
    for at in range(begin, NOW + 1, 60):
        live.cycle(at)
        for name, runner in live.service._runners.items():
            newest = runner.newest
            assert newest is not None
            assert newest.time == at
            scores = newest.scores
            for s, key in enumerate(scores.labels):
                if scores.state[s, -1] != GONE:
                    numbers = (*(getattr(scores, f)[s, -1] for f in FIELDS), scores.state[s, -1])
                    seen[name][key, at] = tuple(map(float, numbers))
    outcome = replay(settings, replace(ASKED, start=begin, end=None))
    traces = {one.trace.signal.name: one.trace for one in outcome.judged}
    rps = rows_of(traces["rps"])
    assert rps.keys() == seen["rps"].keys()
    for row in rps:
        np.testing.assert_array_equal(rps[row], seen["rps"][row])
    failing = rows_of(traces["failing"])
    # The outage closes the gate of the one, and is an anomaly of the other.
    assert {int(row[-1]) for row in rps.values()} == {0, 4}
    assert {0, 1} <= {int(row[-1]) for row in failing.values()}
    # The first error ever seen is scored against zeros, live as in the replay.
    assert failing.keys() == seen["failing"].keys()
    wrong = [r for r in failing if failing[r][-1] != seen["failing"][r][-1]]
    assert wrong == []


def test_incidents_from_the_server(server: Server) -> None:
    seeded(server)
    outcome = replay(settings_for(server), replace(ASKED, alerts=("Planned",)))
    found = outcome.found
    first, second = found.incidents
    assert (first.source, first.weak, first.labels) == ("alert", True, (("job", "b"),))
    assert NOW - 7000 <= first.start < first.end <= NOW - 6000 + 60
    assert (second.start, second.end, second.source) == (*OUTAGE, "expression")
    (delay,) = [
        d for one, d in zip(found.incidents, found.delays, strict=True) if one.source != "alert"
    ]
    assert delay is not None
    assert delay <= 600
    assert "1 of 2 incidents are weak labels: alerts or silences" in outcome.notes
    assert found.figures["pages"] is not None
    assert outcome.history["rps"][0][1] == pytest.approx(7, abs=0.6)


def test_what_was_read_is_kept(server: Server, tmp_path: Path) -> None:
    seeded(server)
    cache = tmp_path / "cache"
    asked = replace(ASKED, cache=cache, truth=(), incidents=())
    first = replay(settings_for(server), asked)
    files = sorted(cache.iterdir())
    assert files
    assert not list(cache.glob("*.part"))
    # A file that was cut off is read again; the others are not.
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:100])
    written = [path.stat().st_mtime_ns for path in files[1:]]
    second = replay(settings_for(server), asked)
    assert files[0].read_bytes() == whole
    assert [path.stat().st_mtime_ns for path in files[1:]] == written
    for a, b in zip(first.judged, second.judged, strict=True):
        assert rows_of(a.trace).keys() == rows_of(b.trace).keys()
        np.testing.assert_array_equal(a.trace.score, b.trace.score)
    server.stop()
    third = replay(settings_for(server, rules={"enabled": False}), asked)
    np.testing.assert_array_equal(first.judged[0].trace.score, third.judged[0].trace.score)


@pytest.mark.parametrize("cached", [False, True])
def test_progress_tells_of_the_cache_where_there_is_one(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    seeded(server)
    monkeypatch.setattr(sources, "SAID_CHUNKS", 1)
    asked = replace(ASKED, cache=tmp_path if cached else None, truth=(), incidents=())
    said: list[str] = []
    for _ in range(2):
        backtest(settings_for(server), asked, NOW + 30, threading.Event(), said.append)
    chunks = [line for line in said if "chunks read" in line]
    assert chunks[0] == "1 chunks read" + (", 0 of them from --cache" if cached else "")
    assert all(("--cache" in line) == cached for line in chunks)


def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    seeded(server)
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="--cache .*taken: cannot be written"):
        replay(settings_for(server), replace(ASKED, cache=tmp_path / "taken"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(ConfigError, match="--cache .*full: cannot be written: File too large"):
            replay(settings_for(server), replace(ASKED, cache=tmp_path / "full"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    # Nothing half-written is left to be taken for a chunk.
    assert list((tmp_path / "full").iterdir()) == []


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor_gives_the_same(
    server: Server, pool: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded(server)
    settings = settings_for(server)
    stop = threading.Event()
    source = opened(settings, ASKED, NOW + 30, stop, lambda line: None)
    loaded = next(source.load())
    grid = grid_for(settings, None)
    given = (loaded.signal, grid, loaded.samples, source.start, source.end)
    with ThreadPoolExecutor(1) as one:
        whole = replayed(*given, one, stop)
    monkeypatch.setattr("detector.backtest.run.SHARD", 1)
    with pool(2) as several:
        parts = replayed(*given, several, stop)
    np.testing.assert_array_equal(whole.score, parts.score)
    assert whole.labels == parts.labels
    stop.set()
    with ThreadPoolExecutor(1) as one:
        assert replayed(*given, one, stop).labels == ()


def test_groups_are_replayed(server: Server) -> None:
    seeded(server)
    group = {"name": "both", "signals": ["rps", "failing"], "by": ["job"]}
    outcome = replay(settings_for(server, groups=[group]))
    assert [one.trace.signal.name for one in outcome.judged] == ["rps", "failing", "both"]
    both = outcome.judged[-1].trace
    assert both.channels == ("rps", "failing")
    assert (("job", "a"),) in both.labels


def test_nothing_in_the_range(server: Server) -> None:
    with pytest.raises(ConfigError, match="no samples of rps, failing in the range"):
        replay(settings_for(server), replace(ASKED, truth=()))
    with pytest.raises(ConfigError, match="no such signal; there are: failing, rps"):
        replay(settings_for(server), replace(ASKED, signals=("rsp",)))
    with pytest.raises(ConfigError, match="before now"):
        replay(settings_for(server), replace(ASKED, start=NOW + DAY))


def test_the_command(
    detector: Callable[..., Result], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded(server)
    monkeypatch.chdir(tmp_path)
    given = command(tmp_path, server.url)
    given += ["--truth", "fault", "--report", "r.json", "--markdown", "m.md", "--scores", "s.csv"]
    code, out, err = detector(*given, "--require", "recall>=0.5", "--inhibit", "Planned:job")
    assert code == 0, err
    header = next(line for line in out.splitlines() if line.startswith("signal\t"))
    assert header.split("\t")[1] == "found"
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["complete"] is True
    assert report["figures"]["recall"] == 1.0
    assert (tmp_path / "m.md").read_text().startswith("### Backtest: ")
    assert (tmp_path / "s.csv").read_text().startswith("signal,series,timestamp,")
    code, _, err = detector(*given, "--require", "recall>=0.5", "--require", "pages<=0")
    assert code == 1
    assert "error: pages is " in err
    assert "required <= 0" in err
    code, out, _ = detector(*given, "--budget", "300 pages/week")
    assert code == 0
    assert "confirmed on the rest" in out
    server.stop()
    code, _, err = detector(*given)
    assert code == 3
    assert "cannot be reached" in one_line(err)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "give files to read, or --from"),
        (["--from", "soon"], "--from 'soon'"),
        (["--from", "1d", "--to", "2d"], "--from must be before --to"),
        (["--from", "1d", "--require", "luck>=1"], "no figure luck"),
        (["--from", "1d", "--budget", "some"], "--budget 'some'"),
        (["--from", "1d", "--incidents", "none.yml"], "none.yml: no such file"),
        (["--from", "1d", "--report", "nowhere/r.json"], "the folder does not exist"),
        (["--from", "1d", "--report", "x", "--markdown", "x"], "two outputs"),
        (["x.csv", "--truth", "up"], "need a server"),
        (["x.csv", "--step", ""], "--step: '' is no duration"),
    ],
)
def test_wrong_options(
    detector: Callable[..., Result],
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    text = json.dumps({"prometheus": {"url": server.url}, "signals": SIGNALS})
    code, _, err = detector("backtest", "-c", config(tmp_path, text), *given)
    assert code == 2
    assert says in one_line(err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_by_a_signal_it_leaves_what_it_has(
    server: Server, tmp_path: Path, number: signal.Signals
) -> None:
    seeded(server)
    # The budget's replays go on for long after the first judgement.
    code = (
        "import sys, detector.backtest.budget as b;"
        "b.SENSITIVITIES = b.choose.__defaults__[0];"
        "b.choose.__defaults__ = (tuple(0.5 + i / 1e4 for i in range(10_000)),);"
        "from detector.cli import main; main()"
    )
    given = [*command(tmp_path, server.url), "--from", NOW - HOUR, "--truth", "fault"]
    given += ["--budget", "2 pages/week", "--report", tmp_path / "r.json"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("failing:"):
            break
    time.sleep(0.2)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (said, err)
    assert "cancelled" in err
    assert "rps" in out
    assert json.loads((tmp_path / "r.json").read_text())["complete"] is False


def test_a_server_that_breaks_down_says_so(server: Server) -> None:
    server.stop()
    with pytest.raises(SourceError, match="cannot be reached"):
        replay(settings_for(server))


def test_rules_are_signals_here_too(server: Server) -> None:
    seeded(server)
    server.set_rules(rule("from_rules", "rps"))
    outcome = replay(settings_for(server), replace(ASKED, signals=("from_rules",)))
    assert [one.trace.signal.source for one in outcome.judged] == ["rules"]
