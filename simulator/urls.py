"""Addresses given on the command line, checked before anything is done with them."""

from __future__ import annotations

from urllib.parse import urlsplit

from detector.errors import ConfigError


def http_url(option: str, text: str, port: int) -> str:
    """Return a URL without a slash at its end.

    Parameters
    ----------
    option : str
        Where it was given, such as ``--target``.
    text : str
        What was given.
    port : int
        The usual one, for the example in the error.

    Raises
    ------
    ConfigError
        When it is no http(s) URL.

    Examples
    --------
    >>> http_url("--target", "http://localhost:8000/", 8000)
    'http://localhost:8000'
    """
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"{option} {text!r} is no URL; write for example http://localhost:{port}")
    return text.rstrip("/")
