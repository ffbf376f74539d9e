"""Shared fixtures: real Prometheus servers, each ended with its test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres import Postgres, running_postgres
from server import Server


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
