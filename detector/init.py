"""What `detector init` prints and writes: the proposed signals, their cost, two files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from detector import names
from detector.errors import ConfigError
from detector.prometheus import Prometheus
from detector.proposal import DAY, Proposal, propose
from detector.schedule import WINDOW_STEPS
from detector.settings import PrometheusSettings, Settings
from detector.tables import print_table

RULES_FILE = "signals.rules.yml"
CONFIG_FILE = "detector.yml"
# Score, observed, expected, lower, upper, state; the evidence is there in state 1 only.
_WRITTEN = 6
# Memory of the detector: a series' state, by `make bench`.
_STATE_KIB = 36


def with_server(settings: Settings, url: str | None) -> Settings:
    """Return settings with another server.

    Raises
    ------
    ConfigError
        When the address is none.
    """
    if url is None:
        return settings
    given = settings.prometheus.model_dump(exclude_unset=True) | {"url": url}
    try:
        server = PrometheusSettings.model_validate(given)
    except ValidationError as error:
        reason = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise ConfigError(f"--prometheus {url}: {reason}") from None
    return settings.model_copy(update={"prometheus": server})


def targets(directory: Path, configured: bool, force: bool) -> tuple[Path, ...]:
    """Return the files to write into a directory, before anything is asked.

    Parameters
    ----------
    configured : bool
        There is a configuration file already: only rules are written.

    Raises
    ------
    ConfigError
        When the directory is none, or a file is there and `force` is not given.
    """
    if not directory.is_dir():
        raise ConfigError(f"--write {directory}: no such directory; make it first")
    files = [directory / RULES_FILE] + ([] if configured else [directory / CONFIG_FILE])
    there = [str(path) for path in files if path.exists()]
    if there and not force:
        raise ConfigError(f"{' and '.join(there)}: already there; --force overwrites")
    return tuple(files)


def look(settings: Settings, now: float | None = None) -> Proposal:
    """Ask the server what to propose.

    Raises
    ------
    SourceError
    """
    moment = int(time.time() if now is None else now)
    source = Prometheus(settings.prometheus)
    try:
        return propose(settings, source, moment)
    finally:
        source.close()


def cost(proposal: Proposal, settings: Settings) -> dict[str, float]:
    """Return what the proposal takes: at the start, each step, and to store.

    The server's seconds are those measured for one day and for one moment; the first reading is
    that day as many times as there are points to read, at most: a short past takes less.
    """
    points = settings.history // settings.profile + WINDOW_STEPS
    days = points / (DAY // settings.profile)
    series = proposal.series
    return {
        "series": series,
        "start_samples": series * points,
        "start_server_seconds": sum(s.day_seconds for s in proposal.signals) * days,
        "step_samples": series,
        "step_queries": len(proposal.signals),
        "step_server_seconds": sum(s.now_seconds for s in proposal.signals),
        "stored_series": series * (1 + _WRITTEN),
        "detector_state_mib": series * _STATE_KIB / 1024,
    }


def as_dict(proposal: Proposal, settings: Settings) -> dict[str, Any]:
    """Return plain data for JSON."""
    return {
        "server": proposal.url,
        "signals": [
            {
                "name": s.entry.name,
                "kind": s.entry.kind,
                "library": s.entry.topic,
                "series": s.series,
                "day_samples": s.day_samples,
                "day_seconds": s.day_seconds,
                "now_seconds": s.now_seconds,
                "note": s.note,
            }
            for s in proposal.signals
        ],
        "left_out": [{"name": name, "reason": reason} for name, reason in proposal.left_out],
        "other_jobs": list(proposal.other_jobs),
        "cost": cost(proposal, settings),
    }


def print_proposal(console: Console, proposal: Proposal, settings: Settings) -> None:
    """Print the signals and what they take, before anything is written."""
    header = ("signal", "kind", "library", "series", "samples a day", "query ms", "note")
    print_table(
        console,
        header,
        [
            (
                s.entry.name,
                s.entry.kind,
                s.entry.topic,
                str(s.series),
                str(s.day_samples),
                f"{1000 * s.now_seconds:.0f}",
                s.note,
            )
            for s in proposal.signals
        ],
    )
    for name, reason in proposal.left_out:
        console.print(f"left out: {name}: {reason}", markup=False)
    if proposal.other_jobs:
        console.print(
            f"not in the library: {', '.join(proposal.other_jobs)}; rules of your own cover it",
            markup=False,
        )
    taken = cost(proposal, settings)
    console.print(
        f"{len(proposal.signals)} signals, {proposal.series} series on {proposal.url} "
        f"({proposal.metrics} metrics there). Cost:\n"
        f"  once a day   at most {taken['start_samples']:,.0f} samples read, "
        f"{taken['start_server_seconds']:.1f} s of queries\n"
        f"  each step    {taken['step_queries']} queries, {taken['step_samples']} samples, "
        f"{taken['step_server_seconds']:.2f} s; the recording rules once more the same\n"
        f"  to store     {taken['stored_series']} series more, one sample a step each\n"
        f"  detector     about {taken['detector_state_mib']:.1f} MiB for the state of its series",
        markup=False,
    )


def write(files: Sequence[Path], proposal: Proposal, settings: Settings) -> None:
    """Write the rule file and, when asked for, the configuration.

    Raises
    ------
    ConfigError
        When there is nothing to write, or a file cannot be written.
    """
    if not proposal.signals:
        raise ConfigError(
            f"{proposal.url}: no signal of the library has data there; nothing is written"
        )
    texts = {RULES_FILE: rules_text(proposal), CONFIG_FILE: config_text(settings)}
    for path in files:
        try:
            path.write_text(texts[path.name], encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def rules_text(proposal: Proposal) -> str:
    """Return a rule file with the proposed signals as the library has them."""
    parts = [
        "# Signals for the anomaly detector, by `detector init`. Yours from now on: delete what\n"
        "# nobody would act on, add what is missing; `detector check` this file before a reload.\n"
        "groups:"
    ]
    for topic in dict.fromkeys(s.entry.topic for s in proposal.signals):
        parts.append(f"  - name: anomaly-signals-{topic}\n    interval: 1m\n    rules:")
        parts += [s.entry.text + "\n" for s in proposal.signals if s.entry.topic == topic]
    return "\n".join(parts).rstrip() + "\n"


def config_text(settings: Settings) -> str:
    """Return a configuration for the server; what it leaves out has its default."""
    return (
        "# By `detector init`; every key is in the README. What is not here has its default.\n"
        f"prometheus: {{url: {settings.prometheus.url!r}}}\n"
        f"# Signals are the recording rules of this server with the label {names.RULE_NAME}.\n"
        "# Prometheus has to scrape this address, with honor_labels: true.\n"
        f"listen: {settings.listen}\n"
    )
