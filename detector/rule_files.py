"""Reads rule files with the line of everything in them, and says what is no rule."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from detector.durations import parse_duration
from detector.errors import ConfigError
from detector.finding import RuleFinding
from detector.unreadable import unreadable, yaml_mistake

ENDINGS = (".yml", ".yaml")
# The values of a mapping by key, each with the line of its key.
Entries = dict[str, tuple[int, yaml.Node]]
# Takes line, message and rule of a mistake.
Wrong = Callable[..., None]
# Prometheus takes no bare number but 0, and no fractions.
_DURATION = re.compile(r"0|(\d+(ms|[smhdw]))+")
_GROUP_KEYS = frozenset(
    {"name", "interval", "limit", "rules", "labels", "query_offset", "partial_response_strategy"}
)
_RULE_KEYS = {
    "record": frozenset({"record", "expr", "labels"}),
    "alert": frozenset({"alert", "expr", "for", "keep_firing_for", "labels", "annotations"}),
}


@dataclass(frozen=True)
class Text:
    """A value of a rule file and its line, counted from 1."""

    value: str
    line: int


@dataclass(frozen=True)
class Rule:
    """One rule as it is written; times are in seconds."""

    file: str
    line: int
    last_line: int
    kind: str
    name: str
    expr: Text
    group: str
    labels: Mapping[str, Text] = field(default_factory=dict)
    annotations: Mapping[str, Text] = field(default_factory=dict)
    wait: float = 0.0
    keep: float = 0.0

    def finding(self, level: str, check: str, message: str, line: int | None = None) -> RuleFinding:
        """Return a finding about this rule, at its first line unless told otherwise."""
        return RuleFinding(level, check, self.file, line or self.line, self.name, message)


def rule_paths(given: Iterable[Path]) -> list[Path]:
    """Return the files meant by paths; a directory means those directly in it, as for Prometheus.

    Raises
    ------
    ConfigError
        When there is none.
    """
    found: dict[Path, None] = {}
    for path in given:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix in ENDINGS and p.is_file())
            if not inside:
                raise ConfigError(f"{path}: no .yml or .yaml file in this directory")
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[path] = None
        else:
            raise ConfigError(f"{path}: no such file or directory; name rule files to check")
    return list(found)


def read_rules(path: Path) -> tuple[list[Rule], list[RuleFinding]]:
    """Return the rules of a file and what is wrong with its structure.

    Raises
    ------
    ConfigError
        When it cannot be read at all.
    """
    findings: list[RuleFinding] = []

    def wrong(line: int, message: str, rule: str = "") -> None:
        findings.append(RuleFinding("error", "structure", str(path), line, rule, message))

    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from None
    except yaml.YAMLError as error:
        line, problem = yaml_mistake(error)
        wrong(line, f"no valid YAML: {problem}")
        return [], findings
    top = _entries(root)
    groups = top.get("groups")
    if groups is None or not isinstance(groups[1], yaml.SequenceNode):
        wrong(1, "no rule file: it needs the key groups: with a list of groups")
        return [], findings
    for key in top.keys() - {"groups"}:
        wrong(top[key][0], f"unknown key {key!r}; a rule file has only groups:")
    rules: list[Rule] = []
    names: set[str] = set()
    for node in groups[1].value:
        group = _entries(node)
        name = _text(group, "name")
        if name is None or not name.value:
            wrong(_line(node), "a group without a name: Prometheus refuses the file")
            continue
        if name.value in names:
            wrong(name.line, f"group {name.value!r} is there twice; rename one of them")
        names.add(name.value)
        for key in group.keys() - _GROUP_KEYS:
            wrong(group[key][0], f"unknown key {key!r} in group {name.value}")
        if (interval := _text(group, "interval")) is not None:
            _seconds(interval, "interval", name.value, wrong)
        listed = group.get("rules", (0, None))[1]
        for item in listed.value if isinstance(listed, yaml.SequenceNode) else ():
            rule = _rule(str(path), name.value, group, item, wrong)
            if rule is not None:
                rules.append(rule)
    return rules, findings


def _rule(file: str, group: str, of_group: Entries, node: yaml.Node, wrong: Wrong) -> Rule | None:
    entries = _entries(node)
    kinds = [kind for kind in _RULE_KEYS if kind in entries]
    if len(kinds) != 1:
        wrong(_line(node), "a rule needs either record: or alert:")
        return None
    (kind,) = kinds
    name = _text(entries, kind)
    expr = _text(entries, "expr")
    if name is None or not name.value:
        wrong(_line(node), f"{kind}: needs a name")
        return None
    if expr is None or not expr.value.strip():
        wrong(_line(node), "a rule needs expr: with a PromQL expression", name.value)
        return None
    for key in entries.keys() - _RULE_KEYS[kind]:
        advice = "" if key not in _RULE_KEYS["alert"] else "; only an alert has it"
        wrong(entries[key][0], f"unknown key {key!r}{advice}", name.value)
    times = {
        key: _seconds(text, key, name.value, wrong)
        for key in ("for", "keep_firing_for")
        if (text := _text(entries, key)) is not None
    }
    return Rule(
        file,
        _line(node),
        _last_line(node),
        kind,
        name.value,
        expr,
        group,
        {**_texts(of_group, "labels"), **_texts(entries, "labels")},
        _texts(entries, "annotations"),
        times.get("for", 0.0),
        times.get("keep_firing_for", 0.0),
    )


def _entries(node: yaml.Node | None) -> Entries:
    """Return the values of a mapping by key, each with the line of its key."""
    pairs: Iterator[tuple[yaml.Node, yaml.Node]] = iter(
        node.value if isinstance(node, yaml.MappingNode) else ()
    )
    return {str(key.value): (_line(key), value) for key, value in pairs}


def _texts(entries: Entries, key: str) -> dict[str, Text]:
    inside = _entries(entries[key][1]) if key in entries else {}
    found = {name: _text(inside, name) for name in inside}
    return {name: text for name, text in found.items() if text is not None}


def _text(entries: Entries, key: str) -> Text | None:
    """Return a scalar with its own line: a folded expression begins below its key."""
    line, node = entries.get(key, (0, None))
    return Text(node.value, line) if isinstance(node, yaml.ScalarNode) else None


def _seconds(text: Text, key: str, rule: str, wrong: Wrong) -> float:
    if not _DURATION.fullmatch(text.value):
        wrong(text.line, f"{key}: {text.value!r} is no duration such as 5m", rule)
        return 0.0
    return parse_duration(text.value) if text.value.strip("0smhdw") else 0.0


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _last_line(node: yaml.Node) -> int:
    """Return where a node ends; for YAML a block reaches to the next one, comments included."""
    if isinstance(node, (yaml.MappingNode, yaml.SequenceNode)) and not node.flow_style:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.line) + (node.end_mark.column > 0)
