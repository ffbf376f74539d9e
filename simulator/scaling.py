"""Rewrites the shipped configuration files for a stack of its own: shorter times, other addresses.

The files keep production values (a step of a minute, windows of five). The fast profile divides
their durations, so that a demonstration takes minutes instead of an hour.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from detector.durations import format_duration, parse_duration
from detector.errors import ConfigError

# Keys that hold a duration to be divided, with the least it becomes in seconds. Retention, history,
# profile and the out-of-order window describe stored data and stay as they are.
_DURATION_KEYS = {
    "interval": 1.0,
    "evaluation_interval": 1.0,
    "for": 0.0,
    "keep_firing_for": 0.0,
    "group_wait": 0.0,
    "group_interval": 0.0,
    "repeat_interval": 0.0,
    "resolve_timeout": 0.0,
    # What the picture of a message shows.
    "window": 60.0,
    "scrape_interval": 5.0,
    "step": 10.0,
    # More than one scrape: a step is scored when all its samples are in.
    "delay": 6.0,
}
_PROMQL_KEYS = {"expr", "query", "when"}
# Text for people, in which "5m" is no setting; `labels` and `annotations` of rules.
_TEXT_KEYS = {"labels", "annotations"}
# The least a subquery's resolution becomes: one scrape of the fast profile.
_MINIMUM_RESOLUTION_SECONDS = 5.0

# Strings and comments come first, so that a bracket inside them is not taken for a window.
_PROMQL_TOKEN = re.compile(
    r"""(?P<text>"(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | `[^`]*` | \#[^\n]*)
      | \[\s*(?P<range>[0-9a-z]+)\s*(?:(?P<colon>:)\s*(?P<resolution>[0-9a-z]*)\s*)?\]""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Profile:
    """How a stack differs in time from the shipped files.

    Parameters
    ----------
    name : str
    factor : float
        What durations are divided by; 1 leaves the files as they are.
    minimum_window_seconds : float
        The least a range window becomes. The seeded past has samples 30 s apart, so a minute always
        holds two.
    """

    name: str
    factor: float
    minimum_window_seconds: float = 60.0


PROFILES = {"fast": Profile("fast", 12.0), "production": Profile("production", 1.0)}


@dataclass(frozen=True)
class Places:
    """Where things are in a stack: `addresses` by name:port, `paths` by path prefix."""

    addresses: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)


def render(text: str, profile: Profile, places: Places, origin: str = "file") -> str:
    """Return a configuration or rule file as one stack needs it.

    Parameters
    ----------
    text : str
        YAML as shipped: rules, prometheus.yml, alertmanager.yml or detector.yml.
    profile : Profile
    places : Places
    origin : str
        Name of the file, for the message.

    Raises
    ------
    ConfigError
        When the text is no YAML.
    """
    scaled = scale_text(
        text, profile.factor, minimum_window=profile.minimum_window_seconds, origin=origin
    )
    return relocate(scaled, places)


def scale_text(text: str, factor: float, minimum_window: float = 60.0, origin: str = "file") -> str:
    """Return YAML with its durations divided, windows inside PromQL included.

    Comments are lost; annotations and labels are kept to the letter. A factor of 1 returns the text
    unchanged. Durations never grow: one below its minimum already is left alone.

    Examples
    --------
    >>> print(scale_text("for: 2m\\nexpr: rate(x[20m]) > 5", factor=12))
    for: 10s
    expr: rate(x[1m40s]) > 5
    <BLANKLINE>
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{origin}: no valid YAML: {problem}") from None
    if factor == 1.0:
        return text
    scaled = _scale_value(document, factor, minimum_window)
    return yaml.safe_dump(scaled, sort_keys=False, allow_unicode=True, width=10_000)


def _scale_value(value: Any, factor: float, minimum_window: float) -> Any:
    if isinstance(value, list):
        return [_scale_value(item, factor, minimum_window) for item in value]
    if not isinstance(value, dict):
        return value
    scaled = {}
    for key, item in value.items():
        if key in _TEXT_KEYS:
            scaled[key] = item
        elif key in _DURATION_KEYS and isinstance(item, (str, int, float)):
            scaled[key] = _divide(item, factor, _DURATION_KEYS[key])
        elif key in _PROMQL_KEYS and isinstance(item, str):
            scaled[key] = scale_promql(item, factor, minimum_window)
        else:
            scaled[key] = _scale_value(item, factor, minimum_window)
    return scaled


def scale_promql(query: str, factor: float, minimum_window: float = 60.0) -> str:
    """Return a query with its range windows and subquery resolutions divided.

    Strings, comments and `offset` are left alone; an offset points into the past, which keeps its
    real length.

    Examples
    --------
    >>> scale_promql('rate(x{path="[5m]"}[30m]) / max_over_time(y[2h:1m])', factor=12)
    'rate(x{path="[5m]"}[2m30s]) / max_over_time(y[10m:5s])'
    """

    def replace(match: re.Match[str]) -> str:
        if match["text"] is not None:
            return match[0]
        window = _divide(match["range"], factor, minimum_window)
        if match["colon"] is None:
            return f"[{window}]"
        resolution = match["resolution"]
        if resolution:
            resolution = _divide(resolution, factor, _MINIMUM_RESOLUTION_SECONDS)
        return f"[{window}:{resolution}]"

    return _PROMQL_TOKEN.sub(replace, query)


def _divide(duration: str | float, factor: float, minimum: float) -> Any:
    """Return a duration divided, at least `minimum`, unless it was below that before."""
    try:
        seconds = parse_duration(duration)
    except ConfigError:
        # 0s, or no duration at all: the program that reads the file is the judge of that.
        return duration
    return format_duration(min(seconds, max(seconds / factor, minimum)))


def relocate(text: str, places: Places) -> str:
    """Return text with every known name:port and path prefix replaced, wherever it stands."""
    for name, address in places.addresses.items():
        text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?!\d)", _literal(address), text)
    for prefix, path in places.paths.items():
        text = text.replace(prefix, path)
    return text


def _literal(replacement: str) -> Callable[[re.Match[str]], str]:
    """Return a replacement in which backslashes mean nothing."""
    return lambda _: replacement
