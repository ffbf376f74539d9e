"""The command `detector`: exit codes, one line for each mistake, and a clean end."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import httpx
import numpy as np
import pytest
from commands import Result, config, one_line
from server import Server
from synthetic import MONDAY, grid, traffic
from tools import free_port


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("DETECTOR_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--nope"], "No such option: --nope; see detector run --help"),
        (["bogus"], "No such command 'bogus'; see detector --help"),
        (["run", "--config"], "Option '--config' requires an argument; see detector --help"),
    ],
)
def test_a_wrong_argument_is_one_line(
    detector: Callable[..., Result], arguments: list[str], message: str
) -> None:
    code, out, err = detector(*arguments)
    assert (code, out) == (2, "")
    assert message in one_line(err)


def test_the_version_is_that_of_the_package(detector: Callable[..., Result]) -> None:
    assert detector("--version") == (0, f"{version('prometheus-anomaly-detector')}\n", "")


@pytest.mark.parametrize("command", ["run", "check", "signals"])
def test_an_unknown_key_is_exit_code_2(
    detector: Callable[..., Result], tmp_path: Path, command: str
) -> None:
    code, out, err = detector(command, "--config", config(tmp_path, "stepp: 1m"))
    assert (code, out) == (2, "")
    assert "unknown key 'stepp'; did you mean 'step'?" in one_line(err)


@pytest.mark.parametrize("command", ["run", "check", "signals"])
def test_a_misspelt_variable_is_exit_code_2(
    detector: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("DETECTOR_PROMETHEUS__ULR", "http://x")
    code, _, err = detector(command)
    assert code == 2
    assert "did you mean DETECTOR_PROMETHEUS__URL?" in one_line(err)


@pytest.mark.parametrize("command", ["check", "signals"])
def test_an_unreachable_server_is_exit_code_3(
    detector: Callable[..., Result], tmp_path: Path, command: str
) -> None:
    path = config(tmp_path, f"prometheus: {{url: 'http://127.0.0.1:{free_port()}'}}")
    code, out, err = detector(command, "-c", path)
    assert code == 3
    assert "cannot be reached" in out + err


@pytest.mark.parametrize("command", ["run", "check", "signals"])
def test_a_token_that_cannot_be_sent_is_exit_code_2(
    detector: Callable[..., Result], tmp_path: Path, command: str
) -> None:
    (tmp_path / "token").write_bytes(b"hunter2\xff")
    text = f"prometheus: {{bearer_token_file: '{tmp_path / 'token'}'}}"
    code, out, err = detector(command, "-c", config(tmp_path, text))
    assert (code, out) == (2, "")
    assert "prometheus.bearer_token_file: " in one_line(err)
    assert "hunter2" not in err


def test_unknown_commands_and_options_are_exit_code_2(detector: Callable[..., Result]) -> None:
    assert detector("explode")[0] == 2
    assert detector("check", "--nope")[0] == 2
    assert detector("backtest")[0] == 2


def test_a_port_in_use_is_exit_code_2(detector: Callable[..., Result], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, err = detector("run", "-c", config(tmp_path, f"listen: {listen}"))
    assert code == 2
    assert f"listen {listen}" in one_line(err)


RULES = {
    "record": "x:rps",
    "expr": "rps",
    "labels": {"anomaly_name": "rps", "anomaly_type": "traffic"},
}


def test_signals_lists_the_groups(
    detector: Callable[..., Result], server: Server, tmp_path: Path
) -> None:
    text = (
        f"prometheus: {{url: '{server.url}'}}\nhistory: 1d\n"
        "signals: [{name: a, query: up}, {name: b, query: up}]\n"
        "groups: [{name: g, signals: [a, b], by: [job, instance]}]\n"
    )
    path = config(tmp_path, text)
    _, out, _ = detector("signals", "--explain", "-c", path)
    assert "group\tmodel\tsignals\tby\ng\tforest\ta, b\tjob, instance\n" in out
    _, out, _ = detector("signals", "--json", "-c", path)
    assert json.loads(out)[-1] == {
        "name": "g", "model": "forest", "signals": ["a", "b"], "by": ["job", "instance"]
    }  # fmt: skip


def test_check_and_signals(detector: Callable[..., Result], server: Server, tmp_path: Path) -> None:
    now = int(time.time()) // 300 * 300
    server.write("rps", np.arange(now - 3600, now + 1, 60), 1.0, job="a")
    server.set_rules(RULES)
    text = f"prometheus: {{url: '{server.url}'}}\nhistory: 1d\n"
    path = config(tmp_path, text)
    # The server is fed by hand and does not scrape the detector: said, but no error.
    code, out, err = detector("check", "-c", path)
    assert (code, err) == (0, "")
    assert "model seasonal, sensitivity 1, time zone UTC" in out
    assert "step 1m, profile 5m, history 1d" in out
    assert "rps: traffic from rules, direction both" in out
    assert "no scrape target on port 9112" in out
    code, out, _ = detector("check", "-c", path, "--json")
    found = json.loads(out)
    assert (code, found["ok"], found["signals"]) == (0, True, ["rps"])
    code, out, _ = detector("signals", "-c", path)
    assert code == 0
    header, row = (line.split("\t") for line in out.splitlines())
    assert header[:4] == ["signal", "kind", "source", "series"]
    assert header[4:] == ["history from (UTC)", "samples", "gate"]
    assert row[:4] == ["rps", "traffic", "rules", "1"]
    assert row[4] == time.strftime("%Y-%m-%d %H:%M", time.gmtime(now - 3600))
    assert int(row[5]) == 13
    code, out, _ = detector("signals", "-c", path, "--json")
    assert json.loads(out)[0]["oldest"] == now - 3600
    code, out, _ = detector("signals", "-c", path, "--explain")
    assert (code, out.splitlines()[2]) == (0, "signal\tseries\tmodel\twhy")
    code, out, _ = detector("signals", "-c", path, "--explain", "--json")
    assert (code, json.loads(out)[0]["model"]) == (0, "seasonal")
    assert isinstance(json.loads(out)[0]["models"], list)

    broken = config(tmp_path, text + "signals: [{name: bad, query: 'sum('}]\n")
    code, out, _ = detector("check", "-c", broken)
    assert code == 1
    assert "parse error" in out
    assert "rps" in out
    code, out, _ = detector("signals", "-c", broken)
    assert code == 1
    assert "parse error" in out


def test_check_without_signals_is_exit_code_1(
    detector: Callable[..., Result], server: Server, tmp_path: Path
) -> None:
    code, out, _ = detector("check", "-c", config(tmp_path, f"prometheus: {{url: '{server.url}'}}"))
    assert code == 1
    assert "no signal found; give a recording rule the label anomaly_name" in out


def series(path: Path, days: float = 4, step: int = 300) -> Path:
    times = grid(days, step)
    values = traffic(times)
    values[-30:-20] = 0
    lines = (f"{t},{v}" for t, v in zip(times, values, strict=True))
    path.write_text("timestamp,value\n" + "\n".join(lines) + "\n")
    return path


def test_backtest(detector: Callable[..., Result], tmp_path: Path) -> None:
    path, out = series(tmp_path / "rps.csv"), tmp_path / "out.csv"
    code, stdout, err = detector("backtest", path, "--step", "300s", "--scores", out)
    assert (code, stdout) == (0, "")
    assert one_line(err).startswith("1152 steps of 5m, 1 episodes")
    with open(out, newline="") as file:
        rows = list(csv.reader(file))
    assert ",".join(rows[0]) == "timestamp,observed,expected,lower,upper,score,state,alert,firing"
    assert len(rows) == 1153
    assert rows[1][0] == str(MONDAY)
    assert sum(int(row[7]) for row in rows[1:]) in range(10, 16)
    # An alias of a kind is the kind.
    assert detector("backtest", path, "--step", "5m", "--scores", out, "--kind", "Requests")[0] == 0


def test_backtest_says_which_masks_need_a_server(
    detector: Callable[..., Result], tmp_path: Path
) -> None:
    text = (
        "masks: {train: [up], mute: [{days: [sun]}]}\npolicies: {rps: {when: up}}\n"
        "groups: [{name: shop, signals: [rps, latency]}]"
    )
    path, out = series(tmp_path / "rps.csv"), tmp_path / "out.csv"
    given = ("backtest", path, "--step", "5m", "--scores", out, "-c", config(tmp_path, text))
    code, _, err = detector(*given)
    assert code == 0
    assert err.startswith("warning: when, masks.train.0: no server to ask; not in force for a file")
    assert "warning: groups.shop: not in force for files" in err


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["absent.csv", "--scores", "o.csv"], "absent.csv: no such file"),
        (["rps.csv", "--scores", "o.csv", "--step", "7s"], "no multiple of it divides a day"),
        (["rps.csv", "--scores", "o.csv", "--step", "1.5s"], "whole seconds"),
        (["rps.csv", "--scores", "o.csv", "--step", "soon"], "is no duration"),
        (["rps.csv", "--scores", "o.csv", "--kind", "weather"], "--kind weather: choose from"),
        (["rps.csv", "--scores", "nowhere/o.csv"], "the folder does not exist"),
        (["rps.csv", "--scores", "."], "cannot be written"),
        (["rps.csv", "--scores", "./rps.csv"], "--scores is the file that is read"),
        (["rps.csv", "--scores", "link.csv"], "--scores is the file that is read"),
        (["rps.csv", "--scores", "o.csv", "--config", "absent.yml"], "absent.yml"),
    ],
)
def test_backtest_with_wrong_arguments(
    detector: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    text = series(tmp_path / "rps.csv", days=1).read_text()
    (tmp_path / "link.csv").symlink_to("rps.csv")
    code, _, err = detector("backtest", *given)
    assert code == 2
    assert says in one_line(err)
    assert (tmp_path / "rps.csv").read_text() == text


class Hanging:
    """A server that takes connections and never answers."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.taken: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self.taken.append(self._listener.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self._listener.close()
        for one in self.taken:
            one.close()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.close()


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("rules", ["true", "false"], ids=["reading rules", "reading samples"])
def test_sigterm_ends_it_while_the_server_hangs(
    hanging: Hanging, tmp_path: Path, rules: str
) -> None:
    port = free_port()
    path = config(
        tmp_path,
        f"prometheus: {{url: 'http://127.0.0.1:{hanging.port}', timeout: 60s}}\n"
        f"listen: 127.0.0.1:{port}\nrules: {{enabled: {rules}}}\n"
        "signals: [{name: a, query: up}]\n",
    )
    program = [sys.executable, "-c", "from detector.cli import main; main()"]
    log = tmp_path / "log"
    with open(log, "w") as output:
        process = subprocess.Popen([*program, "run", "-c", path], stdout=output, stderr=output)
        try:
            wait_for(lambda: bool(hanging.taken) or process.poll() is not None)
            client = httpx.Client(base_url=f"http://127.0.0.1:{port}")
            assert client.get("/healthz").status_code == 200
            assert client.get("/readyz").status_code == 503
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 0
        finally:
            process.kill()
            process.wait()
    text = log.read_text()
    assert "listening on" in text
    assert "stopped" in text
    assert "Traceback" not in text


def test_run_scores_and_ends_with_0(server: Server, tmp_path: Path) -> None:
    """The whole command on a real server and the real clock."""
    now = int(time.time()) // 300 * 300
    server.write("rps", np.arange(now - 3 * 86400, now - 7200, 300), 5.0, job="a")
    server.write("rps", np.arange(now - 7200, now + 600, 5), 5.0, job="a")
    server.set_rules(RULES)
    port = free_port()
    path = config(
        tmp_path,
        f"prometheus: {{url: '{server.url}'}}\nlisten: 127.0.0.1:{port}\n"
        "step: 5s\ndelay: 1s\nprofile: 5m\nhistory: 2d\nrefit: 1h\n",
    )
    program = [sys.executable, "-c", "from detector.cli import main; main()"]
    process = subprocess.Popen([*program, "run", "-c", path], stderr=subprocess.DEVNULL)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}")

    def ready() -> bool:
        assert process.poll() is None
        try:
            return client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_for(ready)
        text = client.get("/metrics").text
        assert 'anomaly_state{instance="",job="a",kind="traffic",signal="rps"} 0.0' in text
        assert "detector_cycle_lag_seconds" in text
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()


def test_signals_that_follow_the_first_do_no_harm() -> None:
    """Setting an event takes a lock: a handler within a handler would wait for itself."""
    program = (
        "import os, signal, threading\n"
        "from detector.command_line import stopped_by_signals\n"
        "stop = stopped_by_signals()\n"
        "def burst():\n"
        "    for _ in range(200): os.kill(os.getpid(), signal.SIGTERM)\n"
        "thread = threading.Thread(target=burst)\n"
        "thread.start()\n"
        "stop.wait()\n"
        "thread.join()\n"
        "print('ended')\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for run in runs:
        assert run.communicate(timeout=60)[0] == "ended\n"
        assert run.returncode == 0
