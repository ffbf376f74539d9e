"""The work of `simulator feedback`: migrations, retention, erasure by hand."""

from __future__ import annotations

import time
import urllib.parse
from pathlib import Path

import httpx
from sqlalchemy.exc import SQLAlchemyError

from detector.durations import parse_duration
from detector.errors import ConfigError, SourceError
from simulator.churn.feedback.database import migrate as to_revision
from simulator.churn.feedback.database import open_database
from simulator.churn.feedback.records import forget_before
from simulator.churn.feedback.writer import first_line
from simulator.control import read_token
from simulator.urls import http_url

_TIMEOUT_SECONDS = 15.0


def migrate(database: str, revision: str) -> str:
    """Bring a database to a revision and return a line that says so.

    Raises
    ------
    ConfigError
        When the URL or the revision is none.
    SourceError
        When the database does not answer.
    """
    engine = open_database(database)
    try:
        to_revision(engine, revision)
    except SQLAlchemyError as error:
        raise _away(error) from error
    finally:
        engine.dispose()
    return f"the feedback database is at revision {revision}"


def retain(database: str, age: str) -> str:
    """Delete predictions older than an age, with their actuals; errors as of `migrate`."""
    seconds = parse_duration(age)
    engine = open_database(database)
    now = time.time()
    try:
        deleted = forget_before(engine, now - seconds, now)
    except SQLAlchemyError as error:
        raise _away(error) from error
    finally:
        engine.dispose()
    return f"{deleted} predictions older than {age} are deleted"


def erase(customer: str, control: str, token_file: Path) -> str:
    """Ask a running service to delete all that is stored of a customer.

    Raises
    ------
    ConfigError
        When there is no customer, the address is none or the token is wrong.
    SourceError
        When the service or its database does not answer; nothing is erased then.
    """
    if not customer:
        raise ConfigError("give the user_id of the customer whose data is to be erased")
    place = http_url("--churn-control", control, 8001)
    url = f"{place}/customers/{urllib.parse.quote(customer, safe='')}"
    headers = {"Authorization": f"Bearer {read_token(token_file)}"}
    try:
        answer = httpx.delete(url, headers=headers, timeout=_TIMEOUT_SECONDS, trust_env=False)
    except httpx.HTTPError as error:
        raise SourceError(
            f"cannot reach the churn service at {control} ({error or type(error).__name__}); "
            "is it running, and is --churn-control its control port?"
        ) from error
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise ConfigError("the service refused the token; give the --token-file it runs with")
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        raise SourceError(answer.json()["error"])
    if not answer.is_success:
        raise SourceError(f"{control} answered {answer.status_code} and is no control port")
    return f"{answer.json()['predictions_erased']} predictions of the customer are erased"


def _away(error: SQLAlchemyError) -> SourceError:
    return SourceError(
        f"the feedback database fails ({first_line(error)}); is --feedback-database right, and is "
        "it at the revision of this version (simulator feedback migrate)?"
    )
