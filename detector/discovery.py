"""Finds the signals: recording rules with the label anomaly_name, and detector.yml's own."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import yaml

from detector import names
from detector.errors import ConfigError
from detector.series import Labels, Signal, label_set
from detector.settings import Settings, known_kind, own_signals, policy_of


@dataclass(frozen=True)
class Discovery:
    """The signals by name, and one line for each definition that could not be used as written."""

    signals: dict[str, Signal]
    warnings: tuple[str, ...] = field(default=())


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
        When a rule file cannot be read or a name stands in rules and in detector.yml.
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
    for name in sorted(settings.policies.keys() - signals.keys()):
        if known_kind(name):
            continue
        warnings.append(f"policies.{name}: no signal and no kind of this name; it has no effect")
    return Discovery(signals, tuple(warnings))


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
            raise ConfigError(f"{path}: {str(error).splitlines()[0]}") from None
        except (AttributeError, KeyError, TypeError):
            raise ConfigError(f"{path}: no rule file; try promtool check rules {path}") from None
    return rules


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
        name: Signal(
            name, kinds[name], tuple(found), policy_of(settings, name, kinds[name]), "rules"
        )
        for name, found in queries.items()
    }
    return signals, warnings
