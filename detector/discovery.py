"""Finds the signals: recording rules with the label anomaly_name, and detector.yml's own."""

from __future__ import annotations

import glob
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import yaml

from detector import names, promql
from detector.errors import ConfigError
from detector.labels import label_set
from detector.series import Group, Labels, Signal
from detector.settings import Settings, known_kind, own_groups, own_signals, signal_of
from detector.unreadable import unreadable


@dataclass(frozen=True)
class Discovery:
    """The signals by name, one line for each definition not usable as written, and the groups."""

    signals: dict[str, Signal]
    warnings: tuple[str, ...] = field(default=())
    groups: tuple[Group, ...] = field(default=())


def discover(settings: Settings, read_rules: Callable[[], list[dict[str, Any]]]) -> Discovery:
    """Collect all signals.

    Parameters
    ----------
    settings : Settings
        Says where rules are read, and defines further signals.
    read_rules : callable
        Returns the server's rules as the rules API lists them; called when `rules.url` counts.

    Returns
    -------
    Discovery
        Several rules of one name are one signal, their union; its kind is the first rule's.

    Raises
    ------
    SourceError
        When the server's rules cannot be read.
    ConfigError
        When a rule file cannot be read or a name stands in rules and in detector.yml, there as
        a signal or a group.
    """
    rules: list[dict[str, Any]] = []
    if settings.rules.enabled:
        rules = rules_of_files(settings.rules.files) if settings.rules.files else read_rules()
    signals, warnings = _signals_of(rules, settings)
    for signal in own_signals(settings):
        if signal.name in signals:
            raise ConfigError(
                f"signals.{signal.name}: a recording rule has this anomaly_name already; "
                "rename one of them"
            )
        signals[signal.name] = signal
    groups = tuple(own_groups(settings))
    for group in groups:
        if group.name in signals:
            raise ConfigError(
                f"groups.{group.name}: a recording rule has this anomaly_name already; rename "
                "one of them"
            )
    warnings += _without_effect(settings, groups, signals) + _feedback(signals.values())
    return Discovery(signals, tuple(warnings), groups)


def rules_of_files(patterns: Iterable[str]) -> list[dict[str, Any]]:
    """Read recording rules from rule files, in the shape of the rules API."""
    paths: set[str] = set()
    for pattern in patterns:
        matches = glob.glob(pattern)
        if not matches:
            raise ConfigError(f"rules.files: no file matches {pattern}")
        paths.update(matches)
    rules = []
    for path in sorted(paths):
        try:
            with open(path, encoding="utf-8") as file:
                groups = (yaml.safe_load(file) or {}).get("groups") or []
            for group in groups:
                for rule in group.get("rules") or []:
                    if "record" in rule:
                        rules.append(
                            {
                                "name": str(rule["record"]),
                                "query": str(rule["expr"]),
                                "labels": {**group.get("labels", {}), **(rule.get("labels") or {})},
                                "type": "recording",
                            }
                        )
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise unreadable(path, error) from None
        except (AttributeError, KeyError, TypeError):
            raise ConfigError(f"{path}: no rule file; try promtool check rules {path}") from None
    return rules


def _without_effect(
    settings: Settings, groups: Iterable[Group], signals: Collection[str]
) -> list[str]:
    """Return a line for each name in the configuration that no signal has."""
    found = [
        f"policies.{name}: no signal and no kind of this name; it has no effect"
        for name in sorted(settings.policies.keys() - set(signals))
        if not known_kind(name)
    ]
    named = [(f"groups.{group.name}", group.signals) for group in groups]
    for word, masks in (("train", settings.masks.train), ("mute", settings.masks.mute)):
        named += [(f"masks.{word}.{i}", tuple(mask.signals)) for i, mask in enumerate(masks)]
    for where, wanted in named:
        unknown = sorted(set(wanted) - set(signals))
        if unknown:
            found.append(f"{where}: no signal of the name {', '.join(map(repr, unknown))}")
    return found


def _feedback(signals: Iterable[Signal]) -> list[str]:
    """Return a line for each signal that is made of what the detector writes."""
    return [
        f"signal {signal.name}: its query reads the detector's own scores, so that what it says "
        "becomes what it learns; ask for something else"
        for signal in signals
        if any(promql.reads_scores(query) for query, _ in signal.queries)
    ]


def _signals_of(
    rules: list[dict[str, Any]], settings: Settings
) -> tuple[dict[str, Signal], list[str]]:
    queries: dict[str, list[tuple[str, Labels]]] = {}
    kinds: dict[str, str] = {}
    warnings: list[str] = []
    for rule in rules:
        labels = {str(k): str(v) for k, v in (rule.get("labels") or {}).items()}
        name = labels.get(names.RULE_NAME)
        if not name or rule.get("type", "recording") != "recording":
            continue
        word = labels.get(names.RULE_KIND)
        kind = names.kind_of(word)
        if word and not known_kind(word):
            warnings.append(
                f"rule {rule['name']}: anomaly_type {word!r} is not known and counts as 'other'; "
                f"choose from {', '.join(names.KINDS)}"
            )
        if kinds.setdefault(name, kind) != kind:
            warnings.append(
                f"rule {rule['name']}: anomaly_name {name!r} has kind {kinds[name]!r} from another "
                f"rule; {kind!r} is not used"
            )
        query = (rule["query"], label_set(labels))
        if query not in queries.setdefault(name, []):
            queries[name].append(query)
    signals = {
        name: signal_of(settings, name, kinds[name], tuple(found), "rules")
        for name, found in queries.items()
    }
    return signals, warnings
