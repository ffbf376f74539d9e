"""The command `detector`: run, check, init, signals, backtest, notify."""

from __future__ import annotations

import inspect
import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from detector.backtest.options import backtest
from detector.command_line import VersionOption, invoke, stopped_by_signals
from detector.options import ConfigOption, JsonOption

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Learn what is normal for each Prometheus series and say what is not.\n\n"
    "Start with [bold]detector check[/bold], which contacts the server and prints the settings "
    "in force and the signals found; then [bold]detector run[/bold].",
)


def main() -> None:
    """Run the command line; an error is one line on stderr and an exit code."""
    invoke(app)


@app.callback()
def _options(version: VersionOption = False) -> None:
    pass


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
    server = serve(settings.listen, service.metrics, lambda: service.ready)
    stop = stopped_by_signals()
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

    Example: detector check rules/
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
    from detector import printing, report

    result = report.check(settings)
    if as_json:
        typer.echo(json.dumps(result.as_dict(), indent=2))
    else:
        printing.print_check(console, result)
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
    """List the signals with their series and how far back their history really goes, and groups.

    With --json they are one list; a group has its members as signals, and no series.
    """
    from detector import configuration, printing, report
    from detector.settings import own_groups

    settings = configuration.load(config)
    rows = report.signals(settings, explained=explain)
    groups = own_groups(settings)
    if as_json:
        listed = [row.as_dict() for row in rows] + [asdict(group) for group in groups]
        typer.echo(json.dumps(listed, indent=2))
    else:
        printing.print_signals(Console(highlight=False), rows)
        printing.print_groups(Console(highlight=False), groups)
        if explain:
            printing.print_models(Console(highlight=False), rows)
    raise typer.Exit(1 if any(row.error for row in rows) else 0)


app.command()(backtest)


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
    stop = stopped_by_signals()
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


# Rich keeps the line ends of a docstring, which a terminal of another width breaks once more.
for _command in app.registered_commands:
    _paragraphs = (inspect.getdoc(_command.callback) or "").split("\n\n")
    _command.help = "\n\n".join(" ".join(one.split()) for one in _paragraphs)


if __name__ == "__main__":
    main()
