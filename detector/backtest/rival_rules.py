"""Alerting rules of a file, their expressions evaluated by the server over its own past."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from detector.backtest.alerting import Rule
from detector.backtest.duel import Watched, watched_firings
from detector.backtest.request import RULES
from detector.backtest.scores_file import EVERY
from detector.backtest.server import ChunkedPrometheus
from detector.durations import parse_duration
from detector.errors import ConfigError
from detector.unreadable import unreadable

# No rule is left out because it has many results.
NO_LIMIT = 10_000_000
_NONE = re.compile("0+[a-z]*")


@dataclass(frozen=True)
class AlertingRule:
    """An alerting rule of a file; `labels` are those it adds, without templates."""

    name: str
    expression: str
    rule: Rule
    labels: dict[str, str]
    interval: int


@dataclass(frozen=True)
class RuleFile:
    """What a file has: alerting rules, and the names its recording rules write."""

    alerts: tuple[AlertingRule, ...]
    records: tuple[str, ...]


def read_rules(path: Path) -> RuleFile:
    """Read a rule file of Prometheus.

    Raises
    ------
    ConfigError
        When it is none, or has no alerting rule.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        rules = [
            (rule, group.get("interval", f"{EVERY}s"))
            for group in document["groups"]
            for rule in group["rules"]
        ]
        alerts = tuple(_alert(rule, every) for rule, every in rules if "alert" in rule)
        records = tuple(str(rule["record"]) for rule, _ in rules if "record" in rule)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise unreadable(path, error) from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except (KeyError, TypeError, AttributeError):
        raise ConfigError(f"{path}: no rule file; try promtool check rules") from None
    if not alerts:
        raise ConfigError(f"{path}: no alerting rules to compare with")
    return RuleFile(alerts, records)


def rule_alerts(
    source: ChunkedPrometheus, file: RuleFile, start: int, end: int
) -> tuple[list[Watched], list[str]]:
    """Return when the alerts of a file would have fired in [start, end), and notes.

    The server evaluates each expression at each evaluation of its group, with the samples it has
    now; `for` and `keep_firing_for` are `alerting.firings`.

    Raises
    ------
    SourceError
    """
    found: list[Watched] = []
    notes = [
        f"{one.name}: the server has no samples of {record} in the range, which another rule of "
        "the file records; load that rule first, or write its expression out"
        for one in file.alerts
        for record in file.records
        if re.search(rf"(?<![\w:]){re.escape(record)}(?![\w:])", one.expression)
        and not source.holds(f"count({record}) + 1", *_grid(start, end, one.interval))
    ]
    for one in file.alerts:
        first, last, step = _grid(start, end, one.interval)
        matrix = source.read(((one.expression, ()),), first, last, step, NO_LIMIT).matrix
        if not matrix.labels:
            notes.append(
                f"{one.name}: its expression has no result in the range; it never held, or the "
                "server has no such metric"
            )
        for s, key in enumerate(matrix.labels):
            own = dict(key) | one.labels
            labels = tuple(sorted(own.items()))
            identity = {"alertname": one.name}
            # Any result counts, zero and NaN as well.
            active = ~matrix.absent[s]
            found += watched_firings("", labels, identity, matrix.times, active, one.rule)
    return found, notes


def compared_files(compare: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each file that is to be compared with."""
    for text in compare:
        if text.startswith(RULES):
            yield text, Path(text.removeprefix(RULES))


def _grid(start: int, end: int, step: int) -> tuple[int, int, int]:
    return -(-start // step) * step, (end - 1) // step * step, step


def _alert(rule: dict[str, Any], every: str) -> AlertingRule:
    patience = Rule(*(_patience(rule.get(k)) for k in ("for", "keep_firing_for")))
    added = {str(k): str(v) for k, v in (rule.get("labels") or {}).items()}
    fixed = {k: v for k, v in added.items() if "{{" not in v}
    interval = max(int(parse_duration(str(every))), 1)
    return AlertingRule(str(rule["alert"]), str(rule["expr"]), patience, fixed, interval)


def _patience(text: object) -> float:
    """Return seconds; a rule may also write that it has none."""
    return 0.0 if text is None or _NONE.fullmatch(str(text)) else parse_duration(str(text))
