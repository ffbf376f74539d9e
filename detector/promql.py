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
