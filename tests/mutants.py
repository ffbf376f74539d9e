"""Makes rules wrong, one way at a time: metric, label, threshold, `for`, severity, aggregation."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from detector import expression


@dataclass(frozen=True)
class Mutant:
    """A rule file with one mistake in it, and what the mistake is."""

    file: Path
    rule: str
    mistake: str
    content: Any

    def __str__(self) -> str:
        """Return a name for it."""
        return f"{self.file.name.removesuffix('.rules.yml')} {self.rule}: {self.mistake}"


def mutants(file: Path) -> Iterator[Mutant]:
    """Yield a rule file with each mistake that is made here, one at a time."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    for g, group in enumerate(content["groups"]):
        for r, rule in enumerate(group["rules"]):
            for mistake, changed in _changes(rule):
                wrong = copy.deepcopy(content)
                wrong["groups"][g]["rules"][r] = changed
                yield Mutant(file, rule.get("alert") or rule["record"], mistake, wrong)


def _changes(rule: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for mistake, expr in _expressions(rule["expr"]):
        yield mistake, rule | {"expr": expr}
    if "for" in rule:
        yield "for twice as long", rule | {"for": f"{2 * int(rule['for'][:-1])}m"}
        yield "no for", {key: value for key, value in rule.items() if key != "for"}
    for label in rule.get("labels", {}):
        yield f"label {label}", rule | {"labels": rule["labels"] | {label: "wrong"}}


def _expressions(expr: str) -> Iterator[tuple[str, str]]:
    for metric in dict.fromkeys(s.metric for s in expression.selectors(expression.parse(expr))):
        for found in re.finditer(rf"(?<![\w:]){re.escape(metric)}(?![\w:])", expr):
            yield f"metric {metric}", f"{expr[: found.end()]}_x{expr[found.end() :]}"
    for found in re.finditer(r'(\w+)(=~|!~|!=|=)"([^"]*)"', expr):
        label, operator, value = found.groups()
        wrong = f'{label}{operator}"{value}x"' if operator in ("=", "=~") else f'{label}=~".*"'
        yield f"matcher {found[0]}", expr[: found.start()] + wrong + expr[found.end() :]
    for found in re.finditer(r"(==|>=|>|<) (\d+(?:\.\d+)?)", expr):
        wrong = f"{found[1]} {float(found[2]) * 1.5 + 1:g}"
        yield f"threshold {found[0]}", expr[: found.start()] + wrong + expr[found.end() :]
    for found in re.finditer(r"\bby \(([\w, ]+)\)", expr):
        labels = found[1].split(", ")
        for label in labels:
            kept = ", ".join(one for one in labels if one != label)
            yield (
                f"by without {label}",
                expr[: found.start()] + f"by ({kept})" + expr[found.end() :],
            )


# One side of a share says the same as both: what is left out of either has no partner.
EQUIVALENT = re.compile(
    r"node_filesystem:ratio: matcher fstype|k8s_throttled:ratio: matcher container"
)
