"""`detector backtest` on the command line: its options and what `--help` teaches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from detector.options import ConfigOption

# Headings of `backtest --help`.
WHAT, TRUTH, MORE, OUT = "What is replayed", "What is true", "Compare and decide", "What is written"


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
