"""Shared fixtures: real servers, each ended with its test, and the command `detector`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import Result
from postgres import Postgres, running_postgres
from server import Server

from detector import cli


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Make servers that are not started yet; all are stopped at the end of the test."""
    made: list[Server] = []

    def make(scrape: str = "[]") -> Server:
        directory = tmp_path / f"prometheus{len(made)}"
        directory.mkdir()
        made.append(Server(directory, scrape))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def server(new_server: Callable[..., Server]) -> Server:
    """A running Prometheus without rules and samples."""
    return new_server().start()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL."""
    with running_postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'feedback.sqlite'}"
    server = request.getfixturevalue("postgres")
    assert isinstance(server, Postgres)
    return server.new_database()


@pytest.fixture
def detector(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Run the command line in this process; return exit code, output and errors."""

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["detector", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return (code, *capsys.readouterr())

    return call
