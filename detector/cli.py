"""The command `detector`: run, check, init, signals, backtest."""

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
def check(
    rules: Annotated[
        list[Path] | None,
        typer.Argument(help="Rule files or directories to check instead, before a reload."),
    ] = None,
    config: ConfigOption = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Check rule files without asking the server.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check configuration, server, rules and every signal's query; exit 1 if something fails.

    With rule files: required labels and annotations, comparisons, PromQL, whether the metrics are
    on the server, and how often each alert would have fired in the last week.

    Example: detector check rules/ --config detector.yml
    """
    from detector import configuration
    from detector.errors import ConfigError

    if offline and not rules:
        raise ConfigError("--offline is for rule files; name some, such as: detector check rules/")
    settings = configuration.load(config)
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    if rules:
        from detector import rule_check

        found = rule_check.check_rules(rules, settings, offline)
        if as_json:
            typer.echo(json.dumps(found.as_dict(), indent=2))
        else:
            rule_check.print_rule_check(console, found)
        raise typer.Exit(found.exit_code)
    from detector import report

    result = report.check(settings)
    if as_json:
        typer.echo(json.dumps(result.as_dict(), indent=2))
    else:
        report.print_check(console, result)
    raise typer.Exit(result.exit_code)


@app.command()
def init(
    prometheus: Annotated[
        str | None, typer.Option(help="The server to look at, such as http://localhost:9090.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="Directory for signals.rules.yml and detector.yml.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite these files.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a server, propose signals for what it has, and say what they cost.

    Nothing is written without --write, nothing overwritten without --force. With --config (for a
    server that asks for credentials) only the rule file is written.

    Example: detector init --prometheus http://localhost:9090 --write .
    """
    from detector import configuration
    from detector import init as init_module
    from detector.errors import ConfigError

    if force and write is None:
        raise ConfigError("--force overwrites what --write names; give --write DIRECTORY too")
    settings = init_module.with_server(configuration.load(config), prometheus)
    files = () if write is None else init_module.targets(write, config is not None, force)
    proposal = init_module.look(settings)
    if as_json:
        typer.echo(json.dumps(init_module.as_dict(proposal, settings), indent=2))
    else:
        console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        init_module.print_proposal(console, proposal, settings)
    if write is not None:
        init_module.write(files, proposal, settings)
    typer.echo(
        f"written: {', '.join(map(str, files))}; load the rules in Prometheus, then detector run"
        if files
        else "nothing written; --write DIRECTORY writes the rule file and detector.yml",
        err=True,
    )
    raise typer.Exit(0 if proposal.signals else 1)


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
