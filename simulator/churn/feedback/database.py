"""Opens the feedback database, SQLite or PostgreSQL, and brings it to a revision."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from detector.errors import ConfigError

# A prediction waits for none of these: they bound how long the writer's thread is held up.
_LOCK_SECONDS = 2
_CONNECT_SECONDS = 3
_STATEMENT_SECONDS = 10
_MIGRATIONS = Path(__file__).with_name("migrations")
# Any number that nobody else uses: one replica migrates, the others wait.
_MIGRATION_LOCK = 7_230_651_208


def open_database(url: str) -> Engine:
    """Return an engine for a database; nothing is connected yet.

    Parameters
    ----------
    url : str
        ``sqlite:///path`` or ``postgresql://user@host/name``; the password comes from PGPASSWORD or
        PGPASSFILE.

    Raises
    ------
    ConfigError
        When it is neither, or holds a password.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(_advice("the database is no URL")) from error
    if parsed.password is not None:
        raise ConfigError(_advice("the database URL holds a password, which others can read"))
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        return _sqlite(parsed)
    if kind == "postgresql":
        options = f"-c statement_timeout={_STATEMENT_SECONDS}s -c lock_timeout={_LOCK_SECONDS}s"
        limits = {"connect_timeout": _CONNECT_SECONDS, "tcp_user_timeout": 5000}
        return create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            connect_args={**limits, "options": options},
            pool_pre_ping=True,
            pool_size=4,
            max_overflow=4,
            pool_timeout=_CONNECT_SECONDS,
        )
    raise ConfigError(_advice(f"databases of {kind} are not supported"))


def _advice(problem: str) -> str:
    return (
        f"{problem}; write sqlite:///feedback.sqlite or postgresql://user@host/name and put a "
        "password into PGPASSWORD or PGPASSFILE"
    )


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ConfigError(_advice("the feedback database must be a file"))
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"), connect_args={"timeout": _LOCK_SECONDS}
    )

    @event.listens_for(engine, "connect")
    def _set(connection: sqlite3.Connection, _record: object) -> None:
        # Readers and the writer do not wait for each other. A killed process loses nothing; a
        # machine that loses power may lose the last moments.
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous=NORMAL")
        # What is erased is overwritten, not only unlinked.
        connection.execute("PRAGMA secure_delete=ON")

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Change to WAL; when several do so at once, SQLite refuses without its usual wait."""
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def migrate(engine: Engine, revision: str = "head") -> None:
    """Bring the database to a revision, up or down (``base`` drops everything).

    Raises
    ------
    ConfigError
        When it holds a revision this version does not know.
    sqlalchemy.exc.DBAPIError
        When it cannot be reached.
    """
    config = _config()
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision: i for i, script in enumerate(reversed(_all(scripts)), 1)}
    wanted = {"head": len(known), "base": 0}.get(revision, known.get(revision))
    if wanted is None:
        raise ConfigError(f"there is no revision {revision}; choose of base, {', '.join(known)}")
    with engine.connect() as connection:
        _lock(connection)
        now = MigrationContext.configure(connection).get_current_revision()
        if now is not None and now not in known:
            raise ConfigError(
                f"the feedback database is of revision {now}, which this version does not know; "
                "install the version that made it, or give another database"
            )
        config.attributes["connection"] = connection
        if wanted > known.get(now or "", 0):
            command.upgrade(config, revision)
        elif wanted < known.get(now or "", 0):
            command.downgrade(config, revision)
        connection.commit()


def _lock(connection: Connection) -> None:
    """Let one process migrate at a time; the end of the transaction lets the next one."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")


def _all(scripts: ScriptDirectory) -> list[Any]:
    return list(scripts.walk_revisions())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config
