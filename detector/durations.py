"""Durations as Prometheus writes them: ``90s``, ``5m``, ``1h30m``, ``28d``, ``2w``."""

from __future__ import annotations

import re

from detector.errors import ConfigError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


def parse_duration(text: str | int | float) -> float:
    """Return seconds for a duration in Prometheus' notation; a bare number means seconds.

    Raises
    ------
    ConfigError
        When the text is no duration or not positive.

    Examples
    --------
    >>> parse_duration("1h30m")
    5400.0
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        seconds = float(text)
    else:
        word = str(text).strip()
        parts = _PART.findall(word)
        if not parts or "".join(n + u for n, u in parts) != word:
            if not re.fullmatch(r"\d+(\.\d+)?", word):
                raise ConfigError(
                    f"{word!r} is no duration; write for example 30s, 5m, 1h30m or 28d"
                )
            parts = [(word, "s")]
        seconds = sum(float(n) * _UNITS[u] for n, u in parts)
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"duration {text!r} must be more than zero")
    return seconds


def format_duration(seconds: float) -> str:
    """Return seconds in Prometheus' notation, the largest units first.

    Examples
    --------
    >>> format_duration(5400)
    '1h30m'
    >>> format_duration(2.5)
    '2s500ms'
    """
    rest = round(seconds * 1000)
    out = ""
    for unit, size in sorted(_UNITS.items(), key=lambda item: -item[1]):
        if unit == "w":
            continue
        count, rest = divmod(rest, round(size * 1000))
        out += f"{count}{unit}" if count else ""
    return out or "0s"
