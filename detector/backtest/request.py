"""What a backtest is asked for, checked before anything is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from detector.backtest.gate import Requirement
from detector.durations import parse_duration
from detector.errors import ConfigError

# What `--compare` takes beside `grafana`: one of its strategies, or a rule file.
STRATEGIES = ("adaptive", "robust")
RULES = "rules:"


@dataclass(frozen=True)
class Request:
    """A backtest.

    Parameters
    ----------
    files : tuple of Path
        Stored series; without any the server is read.
    step : int or None
        Seconds; None is the configuration's.
    kind : str
        Kind of the signals in files.
    start, end : int or None
        Unix seconds; None is where the file begins and ends.
    signals : tuple of str
        Names; empty for all.
    incidents, alerts, truth, silences
        Where incidents are read: files, names of alerts, expressions, an Alertmanager's address.
    inhibit : tuple of (str, tuple of str)
        Alerts that mute ours, with the labels that must be equal.
    cache, scores, report, html, markdown : Path or None
        Folder of what was read, and the files to write.
    budget : float or None
        Pages a week.
    require : tuple of Requirement
    jobs : int
        Threads; 0 for one a core.
    compare : tuple of str
        What is put beside us: `adaptive`, `robust` (the strategies of Grafana's rules), or
        `rules:FILE`.
    write_back : str
        Label `run` of the scores written to the server; empty for none.
    """

    files: tuple[Path, ...] = ()
    step: int | None = None
    kind: str = "other"
    start: int | None = None
    end: int | None = None
    signals: tuple[str, ...] = ()
    incidents: tuple[Path, ...] = ()
    alerts: tuple[str, ...] = ()
    truth: tuple[str, ...] = ()
    silences: str | None = None
    inhibit: tuple[tuple[str, tuple[str, ...]], ...] = ()
    cache: Path | None = None
    scores: Path | None = None
    report: Path | None = None
    html: Path | None = None
    markdown: Path | None = None
    budget: float | None = None
    require: tuple[Requirement, ...] = ()
    jobs: int = 0
    compare: tuple[str, ...] = ()
    write_back: str = ""

    @property
    def outputs(self) -> dict[str, Path]:
        """The files to write, by option."""
        named = {
            "--scores": self.scores,
            "--report": self.report,
            "--html": self.html,
            "--markdown": self.markdown,
        }
        return {option: path for option, path in named.items() if path is not None}

    @property
    def scores_only(self) -> bool:
        """Whether nothing but the scores is asked for."""
        asked = (self.incidents, self.alerts, self.truth, self.silences, self.require, self.compare)
        return list(self.outputs) == ["--scores"] and self.budget is None and not any(asked)


def check(request: Request) -> None:
    """Raise ConfigError when outputs cannot be written or the options do not fit together."""
    for option, path in request.outputs.items():
        if not path.parent.is_dir():
            raise ConfigError(f"{path}: the folder does not exist")
        for read in (*request.files, *request.incidents):
            if path.exists() and read.exists() and path.samefile(read):
                raise ConfigError(f"{path}: {option} is the file that is read; name another")
    if len({path.absolute() for path in request.outputs.values()}) < len(request.outputs):
        raise ConfigError("two outputs have the same name; rename one")
    asks = request.alerts or request.truth or request.inhibit
    if request.files and (asks or request.signals or request.cache):
        raise ConfigError(
            "--alerts, --truth, --inhibit, --signal and --cache need a server; with files give "
            "--incidents"
        )
    rules = any(one.startswith(RULES) for one in request.compare)
    if request.files and (rules or request.write_back):
        raise ConfigError(
            "--compare rules:FILE and --write-back need a server; with files "
            "--compare grafana and --against are possible"
        )
    if not request.files and request.start is None:
        raise ConfigError("give files to read, or --from (such as 30d) to read the server")
    if None not in (request.start, request.end) and request.start >= request.end:  # type: ignore[operator]
        raise ConfigError("--from must be before --to")


def moment(option: str, text: str, now: float) -> int:
    """Return a time given as `now`, a duration before now, ISO 8601 or unix seconds.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> moment("--from", "1h", 7200.0), moment("--to", "1970-01-01T00:01:00Z", 0.0)
    (3600, 60)
    """
    word = text.strip()
    if word == "now":
        return int(now)
    try:
        return int(float(word))
    except (ValueError, OverflowError):
        pass
    try:
        return int(now - parse_duration(word))
    except ConfigError:
        pass
    try:
        when = datetime.fromisoformat(word)
    except ValueError:
        raise ConfigError(
            f"{option} {text!r}: write now, a duration such as 30d, or a time such as "
            "2025-10-06T00:00:00Z"
        ) from None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())


def muting(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the alert that mutes ours and the labels that must be equal, from `JobDown:job`.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> muting("InstanceDown:job,instance")
    ('InstanceDown', ('job', 'instance'))
    """
    name, _, labels = text.partition(":")
    if not name.strip():
        raise ConfigError(f"--inhibit {text!r}: write for example JobDown:job")
    return name.strip(), tuple(word.strip() for word in labels.split(",") if word.strip())


def compared(given: Sequence[str]) -> tuple[str, ...]:
    """Return what is compared with; `grafana` stands for both its strategies.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> compared(["grafana", "rules:alerts.yml"])
    ('adaptive', 'robust', 'rules:alerts.yml')
    """
    found: dict[str, None] = {}
    for text in given:
        if text == "grafana":
            found |= dict.fromkeys(STRATEGIES)
        elif text in STRATEGIES or (text.startswith(RULES) and text != RULES):
            found[text] = None
        else:
            raise ConfigError(
                f"--compare {text!r}: write grafana, {', '.join(STRATEGIES)} or rules:FILE"
            )
    return tuple(found)


def run_label(text: str | None) -> str:
    """Return the name of a run to write back; empty for none.

    Raises
    ------
    ConfigError
    """
    if text is not None and not text.strip():
        raise ConfigError("--write-back: give the run a name, such as tuned-2")
    return "" if text is None else text.strip()


def threads(request: Request) -> int:
    """Return how many threads replay."""
    return request.jobs or len(os.sched_getaffinity(0))
