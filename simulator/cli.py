"""The `simulator` command: declares the options and calls the module that does the work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from detector.command_line import VersionOption, invoke
from detector.errors import ConfigError
from simulator import churn_cli, feedback_cli
from simulator.options import (
    TOKEN_FILE,
    Host,
    LabelMaturity,
    Model,
    PerformanceWindow,
    Seed,
    TokenFile,
)

app = typer.Typer(
    name="simulator",
    help="A churn-prediction service under realistic traffic and faults, to try the detector on.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(churn_cli.app)
app.add_typer(feedback_cli.app, name="feedback")

At = Annotated[
    str | None,
    typer.Option(help="Weekday and UTC hour that now counts as, such as 'Sun 04:00'."),
]
Phase = Annotated[
    float | None,
    typer.Option(help="Seconds added to the clock before the curve is read; instead of --at."),
]
PeakRps = Annotated[float, typer.Option(help="Requests a second at the top of a working day.")]
Directory = Annotated[
    Path | None, typer.Option("--dir", help="Directory for data and logs; else a new one.")
]
StackProfile = Annotated[
    str, typer.Option(help="fast divides times by twelve; production leaves them as shipped.")
]


@app.command()
def run(
    target: Annotated[str, typer.Option(help="URL of the churn service.")],
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="/metrics and /healthz.")] = 8010,
    control_port: Annotated[int, typer.Option(min=0, max=65535, help="Fault control.")] = 8011,
    token_file: TokenFile = TOKEN_FILE,
    at: At = None,
    phase: Phase = None,
    peak_rps: PeakRps = 24.0,
    seed: Seed = 7,
    label_delay: Annotated[
        str, typer.Option(help="Median time until it is reported who churned.")
    ] = "10m",
) -> None:
    """Send customers to the churn service, as many as the hour of the week asks for.

    Example: simulator run --target http://127.0.0.1:8000 --at "Mon 17:00"
    """
    from simulator import traffic

    traffic.run(
        target=target,
        host=host,
        port=port,
        control_port=control_port,
        token_file=token_file,
        phase=_phase(at, phase),
        peak_rps=peak_rps,
        seed=seed,
        label_delay=label_delay,
    )


@app.command()
def seed(
    url: Annotated[str, typer.Option(help="Prometheus with its remote-write receiver on.")],
    model: Model,
    weeks: Annotated[float, typer.Option(help="Length of the past.")] = 4.0,
    interval: Annotated[str, typer.Option(help="Spacing of the samples.")] = "30s",
    recent: Annotated[str, typer.Option(help="The last part, spaced more densely.")] = "3h",
    recent_interval: Annotated[str, typer.Option(help="Spacing of the last part.")] = "5s",
    at: At = None,
    phase: Phase = None,
    peak_rps: PeakRps = 24.0,
    seed: Seed = 7,
    faults: Annotated[bool, typer.Option("--faults", help="Spread faults over the past.")] = False,
    until: Annotated[
        float | None, typer.Option(help="Unix second at which the live metrics begin; else now.")
    ] = None,
    label_maturity: LabelMaturity = "30m",
    performance_window: PerformanceWindow = "1h",
) -> None:
    """Write the past of the service's metrics into Prometheus, as if it had run for weeks.

    Example: simulator seed --url http://127.0.0.1:9090 --model model --weeks 4 --faults
    """
    from simulator import history

    history.seed(
        url=url,
        model=model,
        weeks=weeks,
        interval=interval,
        recent=recent,
        recent_interval=recent_interval,
        phase=_phase(at, phase, until),
        peak_rps=peak_rps,
        random_seed=seed,
        faults=faults,
        until=until,
        label_maturity=label_maturity,
        performance_window=performance_window,
    )


@app.command()
def inject(
    fault: Annotated[str | None, typer.Argument(help="Name of the fault; see --list.")] = None,
    duration: Annotated[str, typer.Option("--for", help="How long, such as 90s or 5m.")] = "5m",
    size: Annotated[float | None, typer.Option(help="Size; else the full one of --list.")] = None,
    churn_control: Annotated[
        str, typer.Option(help="Control URL of the service.", envvar="SIMULATOR_CHURN_CONTROL")
    ] = "http://127.0.0.1:8001",
    traffic_control: Annotated[
        str, typer.Option(help="Control URL of the traffic.", envvar="SIMULATOR_TRAFFIC_CONTROL")
    ] = "http://127.0.0.1:8011",
    token_file: TokenFile = TOKEN_FILE,
    stop: Annotated[bool, typer.Option("--stop", help="End the fault now.")] = False,
    show: Annotated[bool, typer.Option("--list", help="List the faults and end.")] = False,
) -> None:
    """Break the running simulator on purpose, for a while.

    Examples: simulator inject traffic_zero --for 5m; simulator inject latency --size 0.1 --for 90s;
    simulator inject --list
    """
    from simulator import inject as injection

    if show:
        typer.echo(injection.describe_faults())
        return
    if fault is None:
        raise ConfigError("name a fault to inject; simulator inject --list shows them")
    typer.echo(
        injection.inject(
            fault=fault,
            duration=duration,
            size=size,
            churn_control=churn_control,
            traffic_control=traffic_control,
            token_file=token_file,
            stop=stop,
        )
    )


@app.command()
def sink(
    host: Host = "127.0.0.1",
    smtp_port: Annotated[int, typer.Option(min=0, max=65535, help="E-mail.")] = 2525,
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="Slack.")] = 8090,
    directory: Annotated[Path, typer.Option("--dir", help="Directory for messages.jsonl.")] = Path(
        "messages"
    ),
) -> None:
    """Receive e-mail and Slack messages and keep them in a file.

    Example: simulator sink --dir messages
    """
    from simulator import sink as sinks

    sinks.run_sink(host=host, smtp_port=smtp_port, http_port=http_port, directory=directory)


@app.command()
def up(
    at: At = None,
    directory: Directory = None,
    profile: StackProfile = "fast",
    seed: Seed = 7,
) -> None:
    """Run the whole example and leave it running until Ctrl-C.

    Example: simulator up --at "Mon 17:00"
    """
    from simulator import up as running

    running.up(at=at, directory=directory, seed=seed, profile=profile)


@app.command()
def down(
    directory: Annotated[Path, typer.Option("--dir", help="Directory of the running stack.")],
) -> None:
    """Stop the stack that runs in a directory.

    Example: simulator down --dir .run/up
    """
    from simulator import up as running

    running.down(directory=directory)


@app.command()
def demo(
    at: At = None,
    directory: Directory = None,
    seed: Seed = 7,
    quiet: Annotated[
        str | None, typer.Option(help="Inject nothing for so long, such as 30m; no alert is good.")
    ] = None,
    messages: Annotated[
        Path | None,
        typer.Option(help="Save the messages about each fault, and their pictures, here."),
    ] = None,
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Leave everything running afterwards.")
    ] = False,
) -> None:
    """Run the whole example, inject faults one after another and check that messages arrive.

    Example: simulator demo --at "Sun 04:00"
    """
    from simulator import demo as demonstration

    code = demonstration.demo(
        at=at,
        directory=directory,
        seed=seed,
        quiet=quiet,
        messages=messages,
        keep_running=keep_running,
    )
    raise typer.Exit(code)


def main() -> None:
    """Run the command line; every error of ours is one line and its exit code."""
    try:
        invoke(app)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in {"simulator", "detector"}:
            raise
        typer.echo(
            f"error: {error.name} is not installed; run: pip install '.[simulator]'", err=True
        )
        sys.exit(2)


@app.callback()
def _options(version: VersionOption = False) -> None:
    pass


def _phase(at: str | None, phase: float | None, until: float | None = None) -> float:
    """Return the phase of either option."""
    import time

    from simulator.curve import phase_for

    if at is not None and phase is not None:
        raise ConfigError("give --at or --phase, not both")
    return phase if phase is not None else phase_for(at, time.time() if until is None else until)
