"""A real PostgreSQL of the tests: made, started and ended as a user that is not root."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from tools import ROOT, free_port

_NUMBERS = itertools.count()
_FETCHED = ROOT / ".tools" / "usr"
# Debian keeps the programs of each version in a folder that is on no PATH.
_FOLDERS = [
    *Path("/usr/lib/postgresql").glob("*/bin"),
    *(_FETCHED / "lib" / "postgresql").glob("*/bin"),
]
# What a server needs of the fetched packages; it finds its share folder from its own place.
_NEEDED = ("lib/postgresql", "share/postgresql", "lib/*-linux-gnu*")


class Postgres:
    """A running server, which may be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._programs = _programs(directory)
        done = subprocess.run(
            [self._programs / "initdb", "-D", directory / "data", "-U", "tester", "--no-sync"]
            + ["--auth=trust", "--encoding=UTF8", "--locale=C"],
            capture_output=True,
            text=True,
            check=False,
            **_as_nobody(directory, self._programs),
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._directory / "data", "-p", str(self.port)]
                + ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
                + ["-c", "fsync=off", "-c", "shared_buffers=16MB"],
                stdout=log,
                stderr=log,
                **_as_nobody(self._directory, self._programs),
            )
        deadline = time.monotonic() + 30
        while True:
            assert self._process.poll() is None, (self._directory / "log").read_text()
            with contextlib.suppress(psycopg.OperationalError):
                self._run("SELECT 1")
                return
            assert time.monotonic() < deadline, (self._directory / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End it at once; clients lose their connections."""
        if self._process is not None and self._process.poll() is None:
            # Immediate shutdown: as when the machine goes away.
            self._process.send_signal(3)
            self._process.wait(20)

    def new_database(self) -> str:
        """Return the URL of an empty database."""
        name = f"test_{next(_NUMBERS)}"
        self._run(f"CREATE DATABASE {name}")
        return f"postgresql://tester@127.0.0.1:{self.port}/{name}"

    def _run(self, statement: str) -> None:
        where = f"host=127.0.0.1 port={self.port} user=tester dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(statement.encode())


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server in a directory of its own, and end and delete it afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = None
    try:
        if os.geteuid() == 0:
            user = _user()
            os.chown(directory, user.pw_uid, user.pw_gid)
        server = Postgres(directory)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(directory)


def _programs(directory: Path) -> Path:
    """Return the folder of initdb and postgres; those in .tools are copied for another user.

    That user may not be able to enter the folder of the project.
    """
    for where in (None, *map(str, _FOLDERS)):
        if found := shutil.which("postgres", path=where):
            folder = Path(os.path.realpath(found)).parent
            break
    else:
        raise FileNotFoundError("postgres is neither on PATH nor in .tools; run `make test`")
    if os.geteuid() != 0 or not folder.is_relative_to(_FETCHED):
        return folder
    for pattern in _NEEDED:
        for path in _FETCHED.glob(pattern):
            copy = directory / path.relative_to(_FETCHED)
            shutil.copytree(path, copy, symlinks=True, dirs_exist_ok=True)
    return directory / folder.relative_to(_FETCHED)


def _as_nobody(directory: Path, programs: Path) -> dict[str, object]:
    """Return what a process of the server is started with: initdb and postgres refuse root."""
    environment = dict(os.environ)
    if not programs.is_relative_to("/usr"):
        libraries = programs.parents[2].glob("*-linux-gnu*")
        environment["LD_LIBRARY_PATH"] = ":".join(map(str, libraries))
    own: dict[str, object] = {"cwd": directory, "env": environment}
    if os.geteuid() == 0:
        user = _user()
        own |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return own


def _user() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")
