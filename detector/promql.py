"""Writes values into PromQL, and recognises our own metrics in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from detector import names

_OWN = re.compile(
    r"(?<![\w:])("
    + "|".join(
        (
            names.SCORE,
            names.OBSERVED,
            names.EXPECTED,
            names.LOWER,
            names.UPPER,
            names.STATE,
            names.EVIDENCE,
        )
    )
    + r")(?![\w:])"
)

# What holds no operators: strings and comments, matchers, ranges.
_OPAQUE = re.compile(r"""(["'])(?:\\.|(?!\1).)*\1|`[^`]*`|#[^\n]*|\{[^{}]*\}|\[[^\[\]]*\]""")
# The innermost parentheses; those of functions, aggregations and labels come after a word.
_CALL = re.compile(r"\b(?!(?:and|or|unless|bool)\b)[\w:]+\s*\([^()]*\)", re.IGNORECASE)
_GROUP = re.compile(r"\(([^()]*)\)")
_COMPARISON = re.compile(r"(?:[=!<>]=|[<>])(?!\s*bool\b)", re.IGNORECASE)


def quoted(text: str) -> str:
    r"""Return a text as a string literal; the one way a value gets into an expression.

    Examples
    --------
    >>> quoted('say "x"')
    '"say \\"x\\""'
    """
    return json.dumps(text, ensure_ascii=False)


def firing(alerts: Iterable[str]) -> str:
    """Return the expression of the firing alerts of these names.

    Examples
    --------
    >>> firing(["DiskFull", "Down"])
    'ALERTS{alertstate="firing",alertname=~"DiskFull|Down"}'
    """
    pattern = "|".join(re.escape(name) for name in alerts)
    return f'ALERTS{{alertstate="firing",alertname=~{quoted(pattern)}}}'


def reads_scores(expression: str) -> bool:
    """Return whether an expression reads what the detector itself writes.

    Examples
    --------
    >>> reads_scores("anomaly_state == 1"), reads_scores("job:anomaly_state:sum")
    (True, False)
    """
    return _OWN.search(expression) is not None


def filters(expression: str) -> bool:
    """Return whether an expression has results only where a comparison holds, whatever they are.

    A comparison without ``bool`` passes values on, zeros too; inside a function or an aggregation
    it does not decide.

    Examples
    --------
    >>> filters("maintenance == 0"), filters("(load < 5) and on (job) up")
    (True, True)
    >>> filters("open_hours"), filters("load < bool 5"), filters('sum(x{a!="b"} == 0)')
    (False, False, False)
    """
    text = _OPAQUE.sub("", expression)
    while (simpler := _GROUP.sub(r" \1 ", _CALL.sub("x", text))) != text:
        text = simpler
    return _COMPARISON.search(text) is not None
