"""The `simulator` commands of the churn service: options here, the work elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulator.options import (
    TOKEN_FILE,
    Host,
    LabelMaturity,
    Model,
    PerformanceWindow,
    Seed,
    TokenFile,
)

app = typer.Typer()

FeedbackDirectory = Annotated[
    Path, typer.Option(help="Directory for predictions and what became of them.")
]
FeedbackDatabase = Annotated[
    str | None,
    typer.Option(
        help="sqlite:///file or postgresql://user@host/name; else SQLite in --feedback-dir.",
        envvar="SIMULATOR_FEEDBACK_DATABASE",
    ),
]

_FEEDBACK_DIRECTORY = Path(".simulator-feedback")


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Directory for the model and its reference.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Train.csv of the Expresso schema; else synthetic customers."),
    ] = None,
    rows: Annotated[int, typer.Option(min=500, help="Customers to train on.")] = 20_000,
    seed: Seed = 7,
    pushgateway: Annotated[
        str | None, typer.Option(help="Pushgateway URL for the figures of the training.")
    ] = None,
) -> None:
    """Train the churn model.

    Example: simulator train --out model --data Train.csv
    """
    from simulator.churn import train as training

    report = training.train(out=out, data=data, rows=rows, seed=seed, pushgateway=pushgateway)
    typer.echo(str(report))


@app.command()
def serve(
    model: Model,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="API and /metrics.")] = 8000,
    control_port: Annotated[int, typer.Option(min=0, max=65535, help="Fault control.")] = 8001,
    token_file: TokenFile = TOKEN_FILE,
    seed: Seed = 7,
    monitoring: Annotated[
        bool, typer.Option(help="Watch drift and data quality of what is predicted.")
    ] = True,
    feedback_dir: FeedbackDirectory = _FEEDBACK_DIRECTORY,
    feedback_database: FeedbackDatabase = None,
    label_maturity: LabelMaturity = "30m",
    performance_window: PerformanceWindow = "1h",
    performance_refresh: Annotated[
        str, typer.Option(help="How often performance is computed.")
    ] = "1m",
    retain: Annotated[str, typer.Option(help="Age at which predictions are deleted.")] = "90d",
) -> None:
    """Run the churn-prediction service; SIGHUP makes it load the model again.

    Example: simulator serve --model model --port 8000
    """
    from simulator.churn import serve as service
    from simulator.churn.feedback.settings import feedback_settings

    service.serve(
        model=model,
        host=host,
        port=port,
        control_port=control_port,
        token_file=token_file,
        seed=seed,
        monitored=monitoring,
        feedback=feedback_settings(
            directory=feedback_dir,
            database=feedback_database,
            maturity=label_maturity,
            window=performance_window,
            retain=retain,
            refresh=performance_refresh,
        ),
    )


@app.command()
def drift(
    urls: Annotated[list[str], typer.Argument(help="URLs of all replicas of the service.")],
    window: Annotated[str, typer.Option(help="count (the last 1000) or time (an hour).")] = "count",
    as_json: Annotated[bool, typer.Option("--json", help="For a script.")] = False,
) -> None:
    """Add up the windows of the service's replicas and say which columns have drifted.

    Example: simulator drift http://127.0.0.1:8000 http://127.0.0.1:8100
    """
    from simulator.churn import replicas

    typer.echo(replicas.drift_report(urls, window, as_json))


@app.command()
def compare(
    data: Annotated[Path, typer.Option(help="Train.csv of the Expresso schema.")],
    rows: Annotated[int, typer.Option(min=500, help="Customers of either kind.")] = 20_000,
    seed: Seed = 7,
    as_json: Annotated[bool, typer.Option("--json", help="For a script.")] = False,
) -> None:
    """Say for each column how far the synthetic customers are from those of a file.

    Example: simulator compare --data Train.csv
    """
    from simulator.churn import likeness

    typer.echo(likeness.likeness_report(data=data, rows=rows, seed=seed, as_json=as_json))
