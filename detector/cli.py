"""The command `detector`: run, check, signals, backtest, notify."""

from __future__ import annotations

import json
import logging
import os
import signal as signals_module
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from detector.errors import DetectorError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Learn what is normal for each Prometheus series and say what is not.\n\n"
    "Start with [bold]detector check[/bold], which contacts the server and prints the settings "
    "in force and the signals found; then [bold]detector run[/bold].",
)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="detector.yml; without it defaults and DETECTOR_* hold."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def main() -> None:
    """Run the command line; an error is one line on stderr and an exit code."""
    try:
        app()
    except DetectorError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"error: {error}", style="bold red", markup=False
        )
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


@app.command()
def run(config: ConfigOption = None) -> None:
    """Score all signals step by step and expose the scores on /metrics.

    Ends cleanly on SIGTERM or Ctrl-C. An unreachable server is tried again each step; /readyz
    answers 200 once the first scores are out.
    """
    from detector import configuration
    from detector.prometheus import Prometheus
    from detector.service import Service
    from detector.telemetry import Telemetry
    from detector.warm import warm
    from detector.web import serve

    settings = configuration.load(config)
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    telemetry = Telemetry(settings.step)
    source = Prometheus(
        settings.prometheus, lambda outcome: telemetry.queries.labels(outcome).inc()
    )
    service = Service(settings, source, telemetry)
    telemetry.registry.register(service.collector)
    server = serve(settings.listen, telemetry.registry, lambda: service.ready)
    stop = threading.Event()
    for number in (signals_module.SIGTERM, signals_module.SIGINT):
        signals_module.signal(number, lambda *_: stop.set())
    logging.getLogger("detector").info(
        "listening on http://%s, reading %s", settings.listen, settings.prometheus.url
    )
    try:
        # The first time on a machine this takes a while; no cycle has to wait for it.
        warm()
        service.run(stop)
    finally:
        server.shutdown()
        source.close()
    logging.getLogger("detector").info("stopped")
    if service.busy:
        # A query in flight holds no state, and its thread would keep the process until it times
        # out; Python joins it at exit otherwise.
        logging.shutdown()
        os._exit(0)


@app.command()
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check configuration, server, rules and every signal's query; exit 1 if something fails."""
    from detector import configuration, report

    settings = configuration.load(config)
    result = report.check(settings)
    if as_json:
        typer.echo(json.dumps(result.as_dict(), indent=2))
    else:
        report.print_check(Console(highlight=False, soft_wrap=not sys.stdout.isatty()), result)
    raise typer.Exit(result.exit_code)


@app.command()
def signals(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which model each series has, and why.")
    ] = False,
) -> None:
    """List the signals with their series and how far back their history really goes."""
    from detector import configuration, report

    settings = configuration.load(config)
    rows = report.signals(settings, explained=explain)
    if as_json:
        typer.echo(json.dumps([row.as_dict() for row in rows], indent=2))
    else:
        report.print_signals(Console(highlight=False), rows)
        if explain:
            report.print_models(Console(highlight=False), rows)
    raise typer.Exit(1 if any(row.error for row in rows) else 0)


@app.command()
def backtest(
    series: Annotated[Path, typer.Argument(help="CSV file with the columns timestamp,value.")],
    scores: Annotated[Path, typer.Option(help="CSV file to write: one row a step.")],
    step: Annotated[str, typer.Option(help="Scoring cadence of the file, such as 300s.")] = "1m",
    kind: Annotated[
        str, typer.Option(help="traffic, latency, errors, saturation, drift, quality or other.")
    ] = "other",
    config: ConfigOption = None,
) -> None:
    """Replay a stored series through the live path and write what it would have said.

    Example: detector backtest series.csv --step 300s --scores out.csv
    """
    from detector import backtest as backtest_module
    from detector import configuration
    from detector import settings as settings_module
    from detector.durations import format_duration, parse_duration
    from detector.errors import ConfigError
    from detector.pipeline import Schedule

    settings = configuration.load(config)
    seconds = parse_duration(step)
    if seconds != int(seconds):
        raise ConfigError(f"--step {step} must be whole seconds")
    known = settings_module.known_kind(kind)
    if known is None:
        raise ConfigError(f"--kind {kind}: choose from {', '.join(settings_module.KIND_POLICIES)}")
    whole = int(seconds)
    profile = backtest_module.profile_for(whole, settings.profile)
    grid = Schedule(
        whole,
        profile,
        max(settings.history // profile, 1) * profile,
        max(settings.refit // profile, 1) * profile,
    )
    recording = backtest_module.read_csv(series, whole)
    signal = settings_module.signal_of(settings, series.stem, known, (("", ()),))
    if not scores.parent.is_dir():
        raise ConfigError(f"{scores}: the folder does not exist")
    if scores.exists() and scores.samefile(series):
        raise ConfigError(f"{scores}: --scores is the file that is read; name another")
    rows, episodes = backtest_module.write_scores(
        scores, recording, backtest_module.backtest(recording, signal, grid)
    )
    asked = ", ".join(c.setting for c in signal.conditions if isinstance(c.test, str))
    if asked:
        typer.echo(f"warning: {asked}: no server to ask; not in force for a file", err=True)
    note = f", {recording.replaced} samples replaced by a later one of the same step"
    typer.echo(
        f"{rows} steps of {format_duration(whole)}, {episodes} episodes -> {scores}"
        + (note if recording.replaced else ""),
        err=True,
    )


@app.command()
def notify(config: ConfigOption = None) -> None:
    """Receive Alertmanager's webhooks on /alerts and send messages with a picture and reasons.

    Where they go stands under notify: in detector.yml. What is received is on disk before it is
    answered, and is sent after a restart too.
    """
    from detector import configuration
    from detector.notify.service import Notifier, patient

    settings = configuration.load(config)
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    # They tell of requests, with addresses that are secrets.
    for name in ("httpx", "requests", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    source = patient(settings)
    notifier = Notifier(settings, source)
    stop = threading.Event()
    for number in (signals_module.SIGTERM, signals_module.SIGINT):
        signals_module.signal(number, lambda *_: stop.set())
    notifier.start()
    logging.getLogger("detector").info(
        "listening on http://%s/alerts, %d targets",
        settings.notify.listen,
        len(settings.notify.targets),
    )
    stop.wait()
    notifier.stop()
    source.close()
    logging.getLogger("detector").info("stopped; what is due stays in the spool")
