"""Runs a backtest from the options of the command line and writes what it found."""

from __future__ import annotations

import json
import signal as signals_module
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from detector.backtest.budget import parse_budget
from detector.backtest.command import backtest
from detector.backtest.document import document
from detector.backtest.duel_table import duels_document, duels_markdown, print_duels
from detector.backtest.gate import failures, parse_requirement
from detector.backtest.outcome import Outcome, described
from detector.backtest.packed import packed
from detector.backtest.page import page
from detector.backtest.request import Request, check, compared, moment, muting, run_label
from detector.backtest.scores_file import write_scores
from detector.backtest.summary import markdown, print_summary
from detector.backtest.telling import tell, telling
from detector.backtest.write_back import WriteBack
from detector.command_line import STOPPING, stopped_by_signals
from detector.configuration import load
from detector.durations import format_duration, parse_duration
from detector.errors import ConfigError
from detector.settings import KIND_POLICIES, Settings, known_kind

# What a shell says of a command that Ctrl-C ended.
CANCELLED = 130


@dataclass(frozen=True)
class Options:
    """The options as they were typed."""

    series: tuple[Path, ...]
    since: str | None
    until: str | None
    signal: tuple[str, ...]
    step: str | None
    kind: str
    incidents: tuple[Path, ...]
    truth: tuple[str, ...]
    alerts: tuple[str, ...]
    silences: str | None
    inhibit: tuple[str, ...]
    budget: str | None
    require: tuple[str, ...]
    scores: Path | None
    report: Path | None
    html: Path | None
    markdown: Path | None
    cache: Path | None
    jobs: int
    compare: tuple[str, ...] = ()
    against: tuple[Path, ...] = ()
    write_back: str | None = None


def run(settings: Settings, options: Options, now: float) -> int:
    """Replay, write and print; return the exit code.

    0: done, and every requirement holds. 1: one does not. 130: ended by Ctrl-C or SIGTERM; what
    was replayed until then is written all the same.

    Raises
    ------
    ConfigError, SourceError
    """
    request = understood(options, now)
    check(request)
    against = {str(path): _beside(settings, path) for path in options.against}
    back = WriteBack(settings.prometheus, request.write_back) if request.write_back else None
    before = {number: signals_module.getsignal(number) for number in STOPPING}
    stop = stopped_by_signals()
    quiet = request.scores_only
    try:
        with telling(quiet) as (say, progress):
            sink = None if back is None else back.add
            outcome = backtest(settings, request, now, stop, say, None, against, progress, sink)
        code = _told(request, outcome)
        if back is not None:
            tell(back.said())
            back.finish()
        return code
    finally:
        if back is not None:
            back.close()
        for number, handler in before.items():
            signals_module.signal(number, handler)


def _beside(settings: Settings, path: Path) -> Settings:
    """Return another configuration, reading the same server."""
    if not path.exists():
        raise ConfigError(f"--against {path}: no such file")
    return load(path).model_copy(update={"prometheus": settings.prometheus})


def understood(options: Options, now: float) -> Request:
    """Return the request that the options make.

    Raises
    ------
    ConfigError
    """
    step = None
    if options.step is not None or options.series:
        try:
            seconds = parse_duration("1m" if options.step is None else options.step)
        except ConfigError as error:
            raise ConfigError(f"--step: {error}") from None
        if seconds != int(seconds):
            raise ConfigError(f"--step {options.step} must be whole seconds")
        step = int(seconds) if options.step is not None else None
    kind = known_kind(options.kind)
    if kind is None:
        raise ConfigError(f"--kind {options.kind}: choose from {', '.join(KIND_POLICIES)}")
    return Request(
        files=options.series,
        step=step,
        kind=kind,
        start=None if options.since is None else moment("--from", options.since, now),
        end=None if options.until is None else moment("--to", options.until, now),
        signals=options.signal,
        incidents=options.incidents,
        alerts=options.alerts,
        truth=options.truth,
        silences=options.silences,
        inhibit=tuple(muting(text) for text in options.inhibit),
        cache=options.cache,
        scores=options.scores,
        report=options.report,
        html=options.html,
        markdown=options.markdown,
        budget=None if options.budget is None else parse_budget(options.budget),
        require=tuple(parse_requirement(text) for text in options.require),
        jobs=options.jobs,
        compare=compared(options.compare),
        write_back=run_label(options.write_back),
    )


def _told(request: Request, outcome: Outcome) -> int:
    """Print the summary, write the files, hold the figures to what is required.

    A file that cannot be written keeps nothing else from being written or said.
    """
    failed = failures(request.require, outcome.found.figures)
    if not request.scores_only:
        notes = [described(outcome), *outcome.notes]
        console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        print_summary(console, outcome.found, notes, outcome.choice)
        print_duels(console, outcome.found, outcome.duels)
    unwritten = []
    for write in _writers(request, outcome, failed):
        try:
            write()
        except ConfigError as error:
            unwritten.append(error)
    for line in failed:
        tell(f"error: {line}")
    if not outcome.complete:
        tell("cancelled; what was replayed until then is above and in the files")
    for other in unwritten[:-1]:
        tell(f"error: {other}")
    if unwritten:
        raise unwritten[-1]
    if not outcome.complete:
        return CANCELLED
    return 1 if failed else 0


def _writers(request: Request, outcome: Outcome, failed: list[str]) -> Iterator[Callable[[], None]]:
    """Yield what writes each file that is asked for."""
    if request.scores is not None:
        yield partial(_write_scores, request.scores, request.scores_only, outcome)
    if request.report is not None or request.html is not None:
        found = _document(request, outcome, failed)
        if request.report is not None:
            yield partial(_write, request.report, json.dumps(found))
        if request.html is not None:
            scores = packed(
                outcome.found,
                outcome.judged,
                outcome.strips,
                outcome.step,
                outcome.lag,
                inhibitions=outcome.inhibitions,
            )
            yield partial(_write, request.html, page(found, scores))
    if request.markdown is not None:
        lines = [*outcome.notes, *(f"required: {line}" for line in failed)]
        text = markdown(outcome.found, lines, outcome.choice)
        yield partial(_write, request.markdown, text + duels_markdown(outcome.found, outcome.duels))


def _write_scores(path: Path, alone: bool, outcome: Outcome) -> None:
    traces = [one.trace for one in outcome.judged]
    rows, episodes = write_scores(path, traces, outcome.stamps)
    for note in outcome.notes if alone else ():
        tell(f"warning: {note}")
    tell(f"{rows} steps of {format_duration(outcome.step)}, {episodes} episodes -> {path}")


def _document(request: Request, outcome: Outcome, failed: list[str]) -> dict[str, Any]:
    choice = outcome.choice
    about = {
        "complete": outcome.complete,
        "notes": outcome.notes,
        "timing": outcome.timing,
        "no_data": [
            {
                "signal": one.signal,
                "labels": dict(one.job),
                "start": one.firing.start,
                "end": one.firing.end,
                "present": one.present,
                "usual": one.usual,
            }
            for one in outcome.vanished
        ],
        "required": [
            {"figure": one.figure, "comparison": one.comparison, "limit": one.limit}
            for one in request.require
        ],
        "failed": failed,
        "duels": duels_document(outcome.duels),
        "budget": None
        if choice is None
        else {
            "pages_per_week": choice.budget,
            "chosen": None if choice.chosen is None else choice.chosen.sensitivity,
            "trials": [
                {
                    "sensitivity": one.sensitivity,
                    "recall": list(one.recall),
                    "pages_per_week": list(one.pages_per_week),
                    "seconds": one.seconds,
                }
                for one in choice.trials
            ],
        },
    }
    return document(outcome.found, outcome.judged, outcome.step, outcome.history, about)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        if path.is_file():
            path.unlink()
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
