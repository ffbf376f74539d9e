"""The types of configuration values: what is taken, and what is said of the rest."""

from __future__ import annotations

import difflib
import math
import re
import zoneinfo
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from detector.durations import parse_duration
from detector.errors import ConfigError

MOST_PORT = 65_535


class Strict(BaseModel):
    """Base of all sections: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _seconds(value: Any) -> float:
    try:
        return parse_duration(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _whole_seconds(value: Any) -> int:
    seconds = _seconds(value)
    if seconds != int(seconds):
        raise ValueError(f"{value!r} must be whole seconds")
    return int(seconds)


def _server_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{parts.scheme or 'this'} is no http(s) URL; write http://host:9090")
    if parts.username or parts.password:
        raise ValueError("credentials do not belong in a URL; use username and password_file")
    if "?" in url or "#" in url:
        raise ValueError("a server's URL has no ? and no #; write http://host:9090")
    try:
        parts.port  # noqa: B018  # looked at for its check
    except ValueError as error:
        raise ValueError(f"{error}; write http://host:9090") from None
    return url.rstrip("/")


def _listen(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(r"[^:\s]+:\d{1,5}", value):
        raise ValueError("write host:port, such as 127.0.0.1:9112 or 0.0.0.0:9112")
    return _with_port(value)


def _host_port(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(r"[^:/@\s]+:\d{1,5}", value):
        raise ValueError("write host:port, such as smtp.example.org:587, without credentials")
    return _with_port(value)


def _with_port(value: str) -> str:
    port = value.rpartition(":")[2]
    if int(port) > MOST_PORT:
        raise ValueError(f"port {port} is out of range; the last is {MOST_PORT}")
    return value


def _limits(value: Any) -> Any:
    if value is not None and not (isinstance(value, (list, tuple)) and len(value) == 2):
        raise ValueError("must be [lower, upper]; null means none")
    return value


def _finite(limits: tuple[float | None, float | None] | None) -> Any:
    if not all(limit is None or math.isfinite(limit) for limit in limits or ()):
        raise ValueError("must be finite numbers, [lower, upper]; null means none")
    return limits


def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        close = difflib.get_close_matches(name, zoneinfo.available_timezones(), 1)
        hint = f"did you mean {close[0]!r}?" if close else "write an IANA name: Europe/Berlin"
        raise ValueError(f"unknown time zone {name!r}; {hint}") from None
    return name


def listed(value: Any) -> Any:
    """Return one word as a list of it: it may stand without brackets."""
    return [value] if isinstance(value, str) else value


Duration = Annotated[float, BeforeValidator(_seconds)]
WholeSeconds = Annotated[int, BeforeValidator(_whole_seconds)]
ServerUrl = Annotated[str, AfterValidator(_server_url)]
Listen = Annotated[str, BeforeValidator(_listen)]
HostPort = Annotated[str, BeforeValidator(_host_port)]
Limits = Annotated[
    tuple[float | None, float | None] | None, BeforeValidator(_limits), AfterValidator(_finite)
]
Zone = Annotated[str, AfterValidator(_zone)]
Text = Annotated[str, Field(min_length=1)]
Words = Annotated[list[Text], BeforeValidator(listed)]
