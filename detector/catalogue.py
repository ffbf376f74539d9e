"""The library of signals that is shipped, each with the text that a rule file takes over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detector import expression, names
from detector.expression import Selector
from detector.rule_files import Rule, read_rules

LIBRARY = Path(__file__).parent / "library"


@dataclass(frozen=True)
class Entry:
    """One signal of the library: its rule, its lines with the comments above, what it is for."""

    topic: str
    rule: Rule
    text: str

    @property
    def name(self) -> str:
        """Return the name of the signal."""
        return self.rule.labels[names.RULE_NAME].value

    @property
    def kind(self) -> str:
        """Return the kind of the signal."""
        return self.rule.labels[names.RULE_KIND].value

    @property
    def selectors(self) -> tuple[Selector, ...]:
        """Return the series it reads."""
        return expression.selectors(expression.parse(self.rule.expr.value))


def entries(directory: Path = LIBRARY) -> tuple[Entry, ...]:
    """Return all signals of the library, by file and place in it.

    Examples
    --------
    >>> {entry.topic for entry in entries()} > {"http", "node", "kubernetes"}
    True
    """
    found = []
    for path in sorted(directory.glob("*.rules.yml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        rules, _ = read_rules(path)
        for rule in rules:
            first = rule.line - 1
            while lines[first - 1].strip().startswith("#"):
                first -= 1
            text = "\n".join(lines[first : rule.last_line]).rstrip()
            found.append(Entry(path.name.removesuffix(".rules.yml"), rule, text))
    return tuple(found)
