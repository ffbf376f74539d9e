"""Faults: the board, its metric, the control interface with its token, and the inject command."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from starlette.testclient import TestClient

from detector.errors import ConfigError, SourceError
from simulator import cli
from simulator.control import control_app, control_server, control_token, read_token
from simulator.faults import (
    FAULTS,
    FaultBoard,
    FaultCollector,
    checked_size,
    fault_named,
    faults_of,
    traffic_factor,
)
from simulator.inject import describe_faults, inject

TOKEN = "a-secret"
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> FaultBoard:
    return FaultBoard(faults_of("churn"), clock)


@pytest.fixture
def client(board: FaultBoard) -> TestClient:
    return TestClient(control_app(board, TOKEN))


def test_a_fault_acts_until_its_time_is_over(board: FaultBoard, clock: Clock) -> None:
    assert board.size("latency") == 0.0
    board.start("latency", seconds=60)
    assert board.size("latency") == FAULTS["latency"].default_size
    clock.now += 59.9
    assert board.size("latency") == 0.2
    clock.now += 0.1
    assert board.size("latency") == 0.0
    assert board.active() == []


def test_a_second_injection_replaces_the_first_and_stop_ends_it(board: FaultBoard) -> None:
    board.start("errors", seconds=60, size=0.5)
    board.start("errors", seconds=10, size=0.03)
    assert board.active() == [{"fault": "errors", "size": 0.03, "until": 1010.0}]
    assert board.stop("errors") is True
    assert board.stop("errors") is False
    assert board.size("errors") == 0.0


def test_a_board_refuses_faults_of_the_other_process(board: FaultBoard) -> None:
    with pytest.raises(ConfigError, match="acts in the traffic process"):
        board.start("traffic_zero", seconds=60)


def test_every_fault_has_one_process() -> None:
    assert set(faults_of("churn")) == {"latency", "errors"}
    assert set(faults_of("churn")) | set(faults_of("traffic")) == set(FAULTS)


@pytest.mark.parametrize("size", [0.0, -1.0, 1.5, float("nan"), float("inf")])
def test_impossible_sizes_are_refused(size: float) -> None:
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        checked_size(FAULTS["errors"], size)


def test_the_size_of_a_total_stop_is_ignored() -> None:
    assert checked_size(FAULTS["traffic_zero"], 0.3) == 1.0


def test_unknown_faults_get_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="did you mean latency"):
        fault_named("latncy")
    with pytest.raises(ConfigError, match="choose of traffic_zero"):
        fault_named("qqqq")


def test_truth_metric(board: FaultBoard) -> None:
    registry = CollectorRegistry()
    registry.register(FaultCollector(board))
    board.start("errors", seconds=60)
    text = generate_latest(registry).decode()
    assert 'simulator_fault_active{fault="errors"} 1.0' in text
    assert 'simulator_fault_active{fault="latency"} 0.0' in text
    assert "traffic_zero" not in text


def test_the_board_survives_many_threads(board: FaultBoard) -> None:
    seen: set[float] = set()

    def flip() -> None:
        for _ in range(300):
            board.start("latency", seconds=60, size=0.1)
            seen.add(board.size("latency"))
            board.stop("latency")

    threads = [threading.Thread(target=flip) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen <= {0.0, 0.1}


def test_traffic_factor() -> None:
    np.testing.assert_allclose(
        traffic_factor([0, 1, 0, 0], [0, 0, 0.5, 0], [0, 1, 0, 1]), [1, 0, 0.5, 2]
    )


def test_control_starts_shows_and_stops(client: TestClient) -> None:
    body = {"fault": "latency", "size": 0.1, "seconds": 30}
    answer = client.post("/faults", json=body, headers=AUTHORISED)
    assert answer.status_code == 200
    assert answer.json() == {"fault": "latency", "size": 0.1, "until": 1030.0}
    assert client.get("/faults", headers=AUTHORISED).json() == {"active": [answer.json()]}
    stopped = client.delete("/faults/latency", headers=AUTHORISED)
    assert stopped.json() == {"fault": "latency", "was_active": True}
    assert client.get("/faults", headers=AUTHORISED).json() == {"active": []}


@pytest.mark.parametrize("header", [None, "", "a-secret", "Bearer wrong", "Bearer ", "Bearer é"])
def test_control_needs_the_token(client: TestClient, board: FaultBoard, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode()}
    body = {"fault": "latency", "seconds": 30}
    for answer in (
        client.post("/faults", json=body, headers=headers),
        client.get("/faults", headers=headers),
        client.delete("/faults/latency", headers=headers),
    ):
        assert answer.status_code == 401
    assert board.active() == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("no json", "send JSON"),
        ("[1]", "send JSON"),
        ('{"seconds": 3}', "send JSON"),
        ('{"fault": "latency"}', "seconds must be a number"),
        ('{"fault": "latency", "seconds": true}', "seconds must be a number"),
        ('{"fault": "latency", "seconds": NaN}', "above 0"),
        ('{"fault": "latency", "seconds": 1' + "0" * 400 + "}", "above 0"),
        ('{"fault": "latency", "seconds": 5, "size": "x"}', "size must be a number"),
        ('{"fault": "latency", "seconds": 5, "size": -1}', "above 0"),
        ('{"fault": "traffic_zero", "seconds": 5}', "acts in the traffic process"),
        ('{"fault": "bogus", "seconds": 5}', "there is no fault"),
        ('{"fault": "latency", "x": "' + "y" * 5000 + '"}', "send JSON"),
    ],
)
def test_control_refuses_what_it_does_not_understand(
    client: TestClient, board: FaultBoard, body: str, message: str
) -> None:
    answer = client.post("/faults", content=body, headers=AUTHORISED)
    assert answer.status_code == 422
    assert message in answer.json()["error"]
    assert board.active() == []


def test_an_unknown_fault_cannot_be_stopped(client: TestClient) -> None:
    assert client.delete("/faults/traffic_zero", headers=AUTHORISED).status_code == 404


def test_an_empty_token_is_refused(board: FaultBoard) -> None:
    with pytest.raises(ConfigError, match="token is empty"):
        control_app(board, "")


def test_the_token_file_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "token"
    first = control_token(path)
    assert len(first) >= 24
    assert control_token(path) == first == read_token(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["token"]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[FaultBoard, str, Path]]:
    token_file = tmp_path / "token"
    board = FaultBoard(faults_of("churn"))
    with control_server(board, control_token(token_file), 0) as port:
        yield board, f"http://127.0.0.1:{port}", token_file


def run_inject(url: str, token_file: Path, **options: object) -> str:
    arguments = {"fault": "latency", "duration": "90s", "size": None, **options}
    return inject(churn_control=url, traffic_control=url, token_file=token_file, **arguments)


def test_inject_reaches_the_process(running: tuple[FaultBoard, str, Path]) -> None:
    board, url, token_file = running
    line = run_inject(url, token_file, size=0.1)
    assert "latency at size 0.1" in line
    assert "for 1m30s" in line
    assert board.size("latency") == 0.1
    assert run_inject(url, token_file, stop=True) == "latency: stopped"
    assert run_inject(url, token_file, stop=True) == "latency: was not active"


def test_inject_explains_what_is_wrong(
    running: tuple[FaultBoard, str, Path], tmp_path: Path
) -> None:
    board, url, token_file = running
    wrong = tmp_path / "other"
    wrong.write_text("guess")
    with pytest.raises(ConfigError, match="refused the token"):
        run_inject(url, wrong)
    with pytest.raises(ConfigError, match="give the --token-file"):
        run_inject(url, tmp_path / "missing")
    with pytest.raises(ConfigError, match="did you mean latency"):
        run_inject(url, token_file, fault="latenci")
    with pytest.raises(ConfigError, match="at most 30"):
        run_inject(url, token_file, size=31.0)
    with pytest.raises(ConfigError, match="no duration"):
        run_inject(url, token_file, duration="soon")
    with pytest.raises(ConfigError, match="--churn-control 'nonsense' is no URL"):
        run_inject("nonsense", token_file)
    with pytest.raises(ConfigError, match="acts in the traffic process"):
        run_inject(url, token_file, fault="traffic_drop")
    assert board.active() == []


def test_inject_says_when_nobody_listens(running: tuple[FaultBoard, str, Path]) -> None:
    _, url, token_file = running
    with pytest.raises(SourceError, match="is the simulator running") as caught:
        run_inject("http://127.0.0.1:9", token_file)
    assert caught.value.exit_code == 3
    with pytest.raises(SourceError, match="no control port"):
        run_inject(f"{url}/else", token_file)


def test_a_taken_control_port_is_one_line(running: tuple[FaultBoard, str, Path]) -> None:
    board, url, _ = running
    with (
        pytest.raises(ConfigError, match="choose another port"),
        control_server(board, TOKEN, int(url.rpartition(":")[2])),
    ):
        pass


def test_the_list_teaches_every_fault() -> None:
    text = describe_faults()
    for fault in FAULTS.values():
        assert fault.name in text
        assert fault.effect in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["inject", "latncy"], 2, "did you mean latency"),
        (["inject"], 2, "--list"),
        (["inject", "latency", "--size", "big"], 2, "see simulator inject --help"),
        (["bogus"], 2, "No such command"),
        (["feedback"], 2, "erase"),
        (["run"], 2, "Missing option '--target'; see simulator run --help"),
        (["run", "--target", "nowhere"], 2, "is no URL"),
        (["run", "--target", "http://x:99999"], 2, "--target 'http://x:99999' is no URL"),
        (["run", "--target", "http://x", "--host", ""], 2, "--host is empty"),
        (["seed", "--url", "", "--model", "m"], 2, "--url '' is no URL; write for example"),
        (["drift", "nowhere"], 2, "URL 'nowhere' is no URL; write for example"),
        (["feedback", "erase", ""], 2, "give the user_id"),
        (["up", "--dir", __file__], 2, "test_faults.py: cannot be used (File exists)"),
        (["demo", "--messages", __file__], 2, "test_faults.py: cannot be made (File exists)"),
        (["demo", "--messages", "x", "--quiet", "30m"], 2, "--quiet injects none"),
        (["run", "--target", "http://x", "--at", "Foo"], 2, "weekday"),
        (["run", "--target", "http://x", "--at", "Sun 04:00", "--phase", "3"], 2, "not both"),
    ],
)
def test_command_line_errors(
    arguments: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["simulator", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == code
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("Usage:") or said.count("\n") == 1


def test_inject_from_the_command_line(
    running: tuple[FaultBoard, str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    board, url, token_file = running
    options = ["--for", "1m", "--churn-control", url, "--token-file", str(token_file)]
    monkeypatch.setattr("sys.argv", ["simulator", "inject", "errors", *options])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    assert "errors at size 0.06" in capsys.readouterr().out
    assert board.size("errors") == 0.06
