"""Reads a PromQL expression: the series it selects, and whether it can be without a result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as parser

from detector.promql import quoted

_COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
_OPERATORS = {
    "MatchOp.Equal": "=",
    "MatchOp.NotEqual": "!=",
    "MatchOp.Re": "=~",
    "MatchOp.NotRe": "!~",
}
# Series that exist only while something is wrong: their presence is the comparison.
CONDITIONS = frozenset({"ALERTS", "ALERTS_FOR_STATE"})


@dataclass(frozen=True)
class Matcher:
    """A condition on one label: `operator` is ``=``, ``!=``, ``=~`` or ``!~``."""

    label: str
    operator: str
    value: str

    def __str__(self) -> str:
        """Return it as PromQL."""
        return f"{self.label}{self.operator}{quoted(self.value)}"


@dataclass(frozen=True)
class Selector:
    """A metric, ``""`` when it is chosen by a matcher, and the conditions on its labels."""

    metric: str
    matchers: tuple[Matcher, ...]

    def __str__(self) -> str:
        """Return it as PromQL, without window, offset and the time it is taken at."""
        inside = ",".join(map(str, self.matchers))
        return f"{self.metric}{{{inside}}}" if inside or not self.metric else self.metric


def parse(text: str) -> parser.Expr:
    """Return the syntax tree of an expression.

    Raises
    ------
    ValueError
        With what is wrong, when it is none.
    """
    return parser.parse(text)


def selectors(tree: parser.Expr) -> tuple[Selector, ...]:
    """Return each selection of series in a tree once, in the order they are written.

    Examples
    --------
    >>> tree = parse('rate(a{b=~"c"}[5m]) / on (x) sum(d) + rate(a{b=~"c"}[1h])')
    >>> [str(selector) for selector in selectors(tree)]
    ['a{b=~"c"}', 'd']
    """
    found: dict[Selector, None] = {}
    for node in _nodes(tree):
        if isinstance(node, parser.VectorSelector):
            written = [
                Matcher(m.name, _OPERATORS[str(m.op)], m.value) for m in node.matchers.matchers
            ]
            name = node.name or next(
                (m.value for m in written if m.label == "__name__" and m.operator == "="), ""
            )
            kept = tuple(m for m in written if m.label != "__name__" or not name)
            found[Selector(name, kept)] = None
    return tuple(found)


def compares(tree: parser.Expr) -> bool:
    """Return whether an expression has a result only under a condition, as an alert needs.

    Examples
    --------
    >>> [compares(parse(e)) for e in ("up == 0", "absent(up)", "sum(x > 1)", "a unless b")]
    [True, True, True, True]
    >>> [compares(parse(e)) for e in ("up", "up == bool 0", "(a > 1) or b", "rate(x[5m])")]
    [False, False, False, False]
    """
    if isinstance(tree, parser.BinaryExpr):
        operator = str(tree.op)
        if operator in _COMPARISONS:
            return not (tree.modifier is not None and tree.modifier.return_bool)
        if operator == "unless":
            return True
        if operator == "or":
            return compares(tree.lhs) and compares(tree.rhs)
        return compares(tree.lhs) or compares(tree.rhs)
    if isinstance(tree, parser.Call):
        if tree.func.name.startswith("absent"):
            return True
        return any(compares(argument) for argument in tree.args)
    if isinstance(tree, parser.VectorSelector):
        return tree.name in CONDITIONS
    inner = getattr(tree, "expr", None)
    return inner is not None and compares(inner)


def divisors(tree: parser.Expr) -> tuple[str, ...]:
    """Return what shares are taken of: the right sides of divisions at the top, joined by `or`.

    Examples
    --------
    >>> divisors(parse("sum(a) / sum(b) or c / (d)"))
    ('sum(b)', '(d)')
    """
    if isinstance(tree, parser.BinaryExpr) and str(tree.op) == "or":
        return divisors(tree.lhs) + divisors(tree.rhs)
    if isinstance(tree, parser.BinaryExpr) and str(tree.op) == "/":
        return (" ".join(tree.rhs.prettify().split()),)
    return ()


def _nodes(tree: Any) -> Iterator[Any]:
    """Yield a node and all below it."""
    yield tree
    for part in ("expr", "lhs", "rhs", "vector_selector", "param"):
        below = getattr(tree, part, None)
        if isinstance(below, parser.Expr):
            yield from _nodes(below)
    for argument in getattr(tree, "args", ()):
        yield from _nodes(argument)
