"""How the detector proves who it is: token, password and certificates, read from files.

Each function raises ConfigError when a file cannot be read or its content cannot be sent; no
secret is ever part of a message.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import httpx

from detector.errors import ConfigError
from detector.settings import PrometheusSettings

# A token of RFC 9110, section 5.6.2.
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def headers(settings: PrometheusSettings) -> dict[str, str]:
    """Return the headers of every request, the bearer token among them."""
    for number, (name, value) in enumerate(settings.headers.items(), 1):
        # A name that is none may hold a whole header, so it is not repeated either.
        if not HEADER_NAME.fullmatch(name):
            raise ConfigError(
                f"prometheus.headers: the name of header {number} is not valid; use letters, "
                "digits and hyphens such as X-Scope-OrgID"
            )
        _check_sendable(value, f"headers.{name}")
    found = dict(settings.headers)
    if settings.bearer_token_file:
        if settings.username:
            raise ConfigError(
                "prometheus.bearer_token_file and username exclude each other; remove one of them"
            )
        token = _secret(settings.bearer_token_file, "bearer_token_file")
        _check_sendable(token, "bearer_token_file")
        found["Authorization"] = f"Bearer {token}"
    return found


def basic_auth(settings: PrometheusSettings) -> httpx.BasicAuth | None:
    """Return user name and password, None when there is no user name."""
    if not settings.username:
        return None
    if not settings.password_file:
        raise ConfigError("prometheus.username needs prometheus.password_file")
    return httpx.BasicAuth(settings.username, _secret(settings.password_file, "password_file"))


def tls(settings: PrometheusSettings) -> ssl.SSLContext:
    """Return the trust and the client certificate of an https server."""
    try:
        context = ssl.create_default_context(
            cafile=str(settings.ca_file) if settings.ca_file else None
        )
        if settings.cert_file:
            context.load_cert_chain(str(settings.cert_file), settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"prometheus TLS files: {error}") from None
    return context


def _check_sendable(value: str, key: str) -> None:
    if not value:
        raise ConfigError(f"prometheus.{key}: is empty")
    if not (value.isascii() and value.isprintable()) or value != value.strip():
        raise ConfigError(
            f"prometheus.{key}: must be one line of printable ASCII without spaces around it"
        )


def _secret(path: Path, key: str) -> str:
    try:
        return str(path.read_text(encoding="utf-8")).strip()
    except OSError as error:
        raise ConfigError(f"prometheus.{key}: {error.strerror}: {path}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"prometheus.{key}: is no UTF-8 text: {path}") from None
