"""Processes of a stack: they end when told, when they fail, and when we die without a word."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from server import Server

from detector.errors import ConfigError, SourceError
from simulator import tools
from simulator.layout import claimed, make_layout
from simulator.processes import Interrupted, PortReservations, Supervisor, interruptible
from simulator.scaling import PROFILES
from simulator.stack import Stack, running_stack

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: print('no', flush=True))\n"
    "print('up', flush=True)\n"
    "while True: time.sleep(60)",
]


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_for(condition: object, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_all_programs_are_stopped_last_one_first(tmp_path: Path) -> None:
    order = tmp_path / "order"
    script = (
        "import signal, sys, time\n"
        f"def end(*_): open({str(order)!r}, 'a').write(sys.argv[1]); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('up', flush=True)\n"
        "time.sleep(60)"
    )
    with Supervisor(tmp_path) as supervisor:
        children = [supervisor.start(n, [sys.executable, "-c", script, n]) for n in "abc"]
        for child in children:
            _wait_for(lambda child=child: "up" in child.log.read_text())
    assert order.read_text() == "cba"
    assert not any(_alive(child.process.pid) for child in children)


def test_one_that_does_not_listen_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator.processes._STOP_SECONDS", 0.2)
    with Supervisor(tmp_path) as supervisor:
        child = supervisor.start("stubborn", STUBBORN)
        _wait_for(lambda: "up" in child.log.read_text())
    assert child.process.returncode == -signal.SIGKILL
    assert "no" in child.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_them(tmp_path: Path, number: signal.Signals) -> None:
    children = []

    def run() -> None:
        with interruptible(), Supervisor(tmp_path) as supervisor:
            children.append(supervisor.start("a", SLEEP))
            os.kill(os.getpid(), number)
            time.sleep(5)

    with pytest.raises(Interrupted, match=number.name):
        run()
    assert not _alive(children[0].process.pid)


def test_an_exception_stops_them(tmp_path: Path) -> None:
    children = []

    def run() -> None:
        with Supervisor(tmp_path) as supervisor:
            children.append(supervisor.start("a", SLEEP))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert not _alive(children[0].process.pid)


def test_they_die_with_us(tmp_path: Path) -> None:
    script = (
        "import pathlib, time\n"
        "from simulator.processes import Supervisor\n"
        f"s = Supervisor(pathlib.Path({str(tmp_path)!r})).__enter__()\n"
        f"print(s.start('a', {SLEEP!r}).process.pid, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert _alive(child)
        parent.kill()
    _wait_for(lambda: not _alive(child) or _is_zombie(child))


def _is_zombie(process: int) -> bool:
    """Nobody may be there to take note of the end of an orphan."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return True
    return text.rpartition(")")[2].split()[0] == "Z"


def test_one_that_ends_by_itself_is_reported_with_its_last_words(tmp_path: Path) -> None:
    dies = [sys.executable, "-c", "print('first'); raise SystemExit('no room left')"]
    with Supervisor(tmp_path) as supervisor:
        supervisor.start("churn", dies)
        with pytest.raises(SourceError, match=r"churn ended .*exit code 1.*\n.*\n.*no room left"):
            supervisor.wait_until("nothing", lambda: False, 10)
    with Supervisor(tmp_path) as supervisor:
        with pytest.raises(SourceError, match=r"train failed with exit code 1(.|\n)*no room left"):
            supervisor.run("train", dies)
        with pytest.raises(SourceError, match="cannot start /no/such/program"):
            supervisor.start("x", ["/no/such/program"])


def test_waiting_has_an_end(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    with pytest.raises(SourceError, match="waited 0 s for detector to answer at http"):
        supervisor.wait_for("detector", "http://127.0.0.1:9/", 0.1)


def test_a_reserved_port_is_refused_to_others_and_open_to_a_server() -> None:
    ports = PortReservations()
    port = ports.reserve()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    # As the programs of the stack do it: with SO_REUSEADDR.
    with socket.create_server(("127.0.0.1", port)):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    assert len({ports.reserve() for _ in range(50)} | {port}) == 51
    ports.close()


def test_a_missing_program_is_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "_UNPACKED", (tmp_path / "bin",))
    with pytest.raises(ConfigError, match="prometheus is neither on PATH nor in .*: make install"):
        _run(tmp_path / "x")
    assert not (tmp_path / "x").exists()
    for name in ("prometheus", "prometheus-alertmanager", "pushgateway"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert tools.program("alertmanager") == str(tmp_path / "prometheus-alertmanager")


def test_the_environment_file_leads_to_the_programs_of_this_stack(tmp_path: Path) -> None:
    directory = tmp_path / "a b"
    with contextlib.closing(PortReservations()) as ports, claimed(directory):
        layout = make_layout(directory, PROFILES["fast"], ports)
        file = Stack(layout, Supervisor(tmp_path), 0.0, 7).write_environment()
    script = f". '{file}' && command -v simulator && cat \"$SIMULATOR_TOKEN_FILE\""
    done = subprocess.run(
        ["sh", "-c", script],
        env={"PATH": "/usr/bin:/bin:/a b"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, token = done.stdout.splitlines()
    assert Path(found) == Path(sys.executable).with_name("simulator")
    assert token == layout.token_file.read_text(encoding="utf-8").strip()


def test_alerts_wait_until_prometheus_has_seen_each_signal_evaluated_lately(tmp_path: Path) -> None:
    server = Server(tmp_path).start()
    try:
        with contextlib.closing(PortReservations()) as ports, claimed(tmp_path / "x") as place:
            layout = make_layout(place, PROFILES["fast"], ports)
        layout.addresses["prometheus:9090"] = f"127.0.0.1:{server.port}"
        stack = Stack(layout, Supervisor(tmp_path), 0.0, 7)
        now = int(time.time()) - 10
        steps = {"quick": now - 3600, "slow": now - 4 * 3600}

        def write(moment: int, name: str, value: float, **labels: str) -> None:
            server.write(name, moment, value, job="detector", instance="detector-0", **labels)

        write(now, "detector_step_seconds", 3600)
        write(now, "detector_signals", 2)
        for signal, newest in steps.items():
            # Nothing is known of the second one yet, or its newest step is long ago.
            assert not stack._scores_are_fresh()
            write(now, "detector_signal_up", 1, signal=signal)
            write(now, "detector_signal_evaluated_timestamp_seconds", newest, signal=signal)
        assert not stack._scores_are_fresh()
        write(now + 1, "detector_signal_evaluated_timestamp_seconds", now - 3600, signal="slow")
        assert stack._scores_are_fresh()
    finally:
        server.stop()


def test_bad_options_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'Someday' is no weekday and hour"):
        _run(tmp_path / "x", at="Someday")
    with pytest.raises(ConfigError, match=f"no profile 'slow'; choose of {', '.join(PROFILES)}"):
        _run(tmp_path / "x", profile="slow")
    assert not (tmp_path / "x").exists()


def _run(directory: Path, at: str | None = None, profile: str = "fast") -> None:
    with running_stack(at=at, directory=directory, seed=7, profile=profile, say=print):
        pytest.fail("it started")
