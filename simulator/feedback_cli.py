"""The `simulator feedback` commands: options here, the work elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Look after stored predictions: migrations, retention, erasure.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Database = Annotated[
    str,
    typer.Option(
        "--feedback-database",
        help="sqlite:///file or postgresql://user@host/name.",
        envvar="SIMULATOR_FEEDBACK_DATABASE",
    ),
]
_DATABASE = "sqlite:///.simulator-feedback/feedback.sqlite"


@app.command()
def migrate(
    revision: Annotated[str, typer.Argument(help="head, base (drops all) or a number.")] = "head",
    database: Database = _DATABASE,
) -> None:
    """Bring the database to a revision; the service does it itself when it starts.

    Example: simulator feedback migrate --feedback-database postgresql://churn@localhost/churn
    """
    from simulator.churn.feedback import command

    typer.echo(command.migrate(database, revision))


@app.command()
def retain(
    age: Annotated[str, typer.Argument(help="Such as 30d.")],
    database: Database = _DATABASE,
) -> None:
    """Delete predictions older than an age; the service does it each hour with its --retain.

    Example: simulator feedback retain 30d
    """
    from simulator.churn.feedback import command

    typer.echo(command.retain(database, age))


@app.command()
def erase(
    customer: Annotated[str, typer.Argument(help="The user_id of the customer.")],
    churn_control: Annotated[
        str, typer.Option(help="Control URL of the service.", envvar="SIMULATOR_CHURN_CONTROL")
    ] = "http://127.0.0.1:8001",
    token_file: Annotated[
        Path, typer.Option(help="File with the control token.", envvar="SIMULATOR_TOKEN_FILE")
    ] = Path(".simulator-token"),
) -> None:
    """Delete all that is stored of a customer.

    Example: simulator feedback erase 00000bfd7d50f01092811bc0c8d7b0d6fe7c3596
    """
    from simulator.churn.feedback import command

    typer.echo(command.erase(customer, churn_control, token_file))
