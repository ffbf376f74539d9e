"""The command `detector`: run, check, init, signals, backtest, notify."""

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
# Headings of `backtest --help`.
WHAT, TRUTH, MORE, OUT = "What is replayed", "What is true", "Compare and decide", "What is written"
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
    series: Annotated[
        list[Path] | None,
        typer.Argument(
            help="CSV (timestamp,value, or a column for each series), Parquet, OpenMetrics text "
            "(.om, .prom, .txt) or a saved answer of the range API (.json). Without any the "
            "server of the configuration is read."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", help="Begin of the replay: 30d, or a time.", rich_help_panel=WHAT),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--to", help="End of the replay: now, 1d, or a time.", rich_help_panel=WHAT),
    ] = None,
    signal: Annotated[
        list[str] | None,
        typer.Option(help="Only this signal of the server; repeatable.", rich_help_panel=WHAT),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(
            help="Scoring cadence, such as 300s; without it that of the configuration, 1m.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            help="Of files: traffic, latency, errors, saturation, drift, quality or other.",
            rich_help_panel=WHAT,
        ),
    ] = "other",
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps what was read, for the next time.", rich_help_panel=WHAT
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=0, help="Threads; 0 is one a core.", rich_help_panel=WHAT)
    ] = 0,
    incidents: Annotated[
        list[Path] | None,
        typer.Option(
            help="YAML or CSV with start, end, and signal, labels, note if you like; repeatable.",
            rich_help_panel=TRUTH,
        ),
    ] = None,
    truth: Annotated[
        list[str] | None,
        typer.Option(
            help="PromQL that was true during incidents; repeatable.", rich_help_panel=TRUTH
        ),
    ] = None,
    alerts: Annotated[
        list[str] | None,
        typer.Option(
            help="An alert whose past firing counts as incident (weak); repeatable.",
            rich_help_panel=TRUTH,
        ),
    ] = None,
    silences: Annotated[
        str | None,
        typer.Option(
            help="Address of an Alertmanager whose silences count as incidents (weak).",
            rich_help_panel=TRUTH,
        ),
    ] = None,
    inhibit: Annotated[
        list[str] | None,
        typer.Option(
            help="An alert that mutes ours while it fires, and the labels that must be equal: "
            "JobDown:job; repeatable.",
            rich_help_panel=TRUTH,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Look for the sensitivity that keeps to it: '2 pages/week'.",
            rich_help_panel=MORE,
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit 1 unless it holds: 'recall>=0.8', 'pages_per_week<=2'; repeatable.",
            rich_help_panel=MORE,
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="Put beside us, on the same data: grafana (adaptive and robust of "
            "promql-anomaly-detection) or rules:FILE, your alerting rules; repeatable.",
            rich_help_panel=MORE,
        ),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="Another detector.yml to put beside this one; repeatable.", rich_help_panel=MORE
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="HTML to write: the report to look at, one file.", rich_help_panel=OUT),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="JSON to write: everything found.", rich_help_panel=OUT)
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            help="Markdown to write: the summary, for a pull request.", rich_help_panel=OUT
        ),
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="CSV to write: one row a step.", rich_help_panel=OUT)
    ] = None,
    write_back: Annotated[
        str | None,
        typer.Option(
            help="Write the scores to the server with this as label run, for Grafana.",
            rich_help_panel=OUT,
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Replay stored series through the live path: what you would have been paged for.

    Two weeks of your signals, and how noisy it would have been:

    [bold]detector backtest -c detector.yml --from 14d --html report.html[/bold]

    The same held to your incidents, beside the rules you have:

    [bold]detector backtest -c detector.yml --from 14d --incidents incidents.yml --compare
    rules:alerts.yml --html report.html[/bold]

    As a gate in CI; exit 1 when it would find less or page more:

    [bold]detector backtest -c detector.yml --from 14d --incidents incidents.yml
    --require 'recall>=0.8' --require 'pages_per_week<=2'[/bold]

    From a file: a row for each step, with `alert` (state 1) and `firing` (the alert of the kind,
    after its `for` and `keep_firing_for`, evaluated each minute):

    [bold]detector backtest series.csv --step 300s --kind latency --scores out.csv[/bold]

    Exit codes: 0 done, 1 a requirement does not hold, 2 wrong arguments, 3 the server cannot be
    read, 130 cancelled; what was done until then is written.
    """
    import time

    from detector import configuration
    from detector.backtest import cli as backtest_cli

    settings = configuration.load(config)
    given = backtest_cli.Options(
        tuple(series or ()), since, until, tuple(signal or ()), step, kind, tuple(incidents or ()),
        tuple(truth or ()), tuple(alerts or ()), silences, tuple(inhibit or ()), budget,
        tuple(require or ()), scores, report, html, markdown, cache, jobs, tuple(compare or ()),
        tuple(against or ()), write_back,
    )  # fmt: skip
    raise typer.Exit(backtest_cli.run(settings, given, time.time()))


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
