"""Sends through Apprise: e-mail, and any service that it has an address form for."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detector.errors import ConfigError
from detector.notify import inert
from detector.notify.message import Message
from detector.notify.sender import DeliveryFailure, secret
from detector.notify.writing import PICTURE, html, plain
from detector.notify_settings import EmailSettings

TYPES = {"critical": "failure", "error": "failure", "info": "info"}
# What Apprise's log says of a failure; its result says only that there was one.
REASONS = (
    (re.compile(r"error=429|Too Many Requests", re.I), "rate_limited"),
    (re.compile(r"error=5\d\d"), "server_error"),
    (re.compile(r"error=40[13]|authenticat|\b535\b", re.I), "refused"),
    (re.compile(r"error=4(00|13)\b"), "rejected"),
    (re.compile(r"timed? ?out", re.I), "timeout"),
    (re.compile(r"refused|unreachable|resolve|connection error|closed", re.I), "unreachable"),
)
# Apprise does not say how long a service asks to wait.
RATE_LIMITED_SECONDS = 60.0


class AppriseSender:
    """One address of Apprise.

    Parameters
    ----------
    name : str
        For messages about it.
    make : callable
        Makes Apprise's sender, from secrets as they are now.
    as_html : bool
        Whether we write the HTML; otherwise the text goes, made inert for its format.
    """

    updates = False

    def __init__(
        self, name: str, make: Callable[[Message | None], Any], as_html: bool = False
    ) -> None:
        self._name = name
        self._make = make
        self._html = as_html
        make(None)
        # Reasons stand in its debug lines, which a message's own reader gets; they hold addresses,
        # so nobody else does.
        own = logging.getLogger("apprise")
        own.setLevel(logging.DEBUG)
        own.propagate = False

    def send(self, message: Message, reference: str) -> str:
        """See `Sender`; a service that takes no picture gets the text, which says all."""
        import apprise
        from apprise.attachment.memory import AttachMemory

        plugin = self._make(message)
        service = apprise.Apprise(asset=_asset())
        service.add(plugin)
        attach = apprise.AppriseAttachment()
        if message.picture:
            attach.add(
                AttachMemory(  # type: ignore[no-untyped-call]  # the library has no types here
                    message.picture, name=PICTURE, mimetype="image/png"
                )
            )
        asked = apprise.NotifyFormat.HTML if self._html else apprise.NotifyFormat.TEXT
        shown = plugin.resolve_format(asked)
        title, body, form = _body(message, self._html, shown)
        kind = "success" if message.status == "resolved" else TYPES.get(message.severity, "warning")
        said: list[str] = []
        done = service.notify(
            body=body,
            title=title,
            notify_type=apprise.NotifyType(kind),
            body_format=form,
            attach=attach if message.picture else None,
            interpret_escapes=False,
            log_callback=lambda entry, *_: said.append(str(getattr(entry, "message", entry))),
            log_level=logging.DEBUG,
        )
        if not done:
            raise self._failure(" ".join(said))
        return ""

    def _failure(self, said: str) -> DeliveryFailure:
        """Return what went wrong, by what Apprise logged; its text may hold an address."""
        reason = next((word for pattern, word in REASONS if pattern.search(said)), "failed")
        wait = RATE_LIMITED_SECONDS if reason == "rate_limited" else 0.0
        return DeliveryFailure(f"{self._name}: not taken ({reason})", reason, wait)


def from_file(name: str, path: Path) -> AppriseSender:
    """Return the sender for the Apprise address that a file holds."""

    def make(message: Message | None) -> Any:
        import apprise

        url = secret(path, f"target {name}: apprise_file")
        plugin: Any = apprise.Apprise.instantiate(url, asset=_asset(), suppress_exceptions=True)
        if plugin is None:
            raise ConfigError(
                f"notify: target {name}: {path} holds no address that Apprise knows; its wiki "
                "has the form for each service"
            )
        plugin.overflow_mode = apprise.OverflowMode.SPLIT
        if message is not None and getattr(plugin, "secure_protocol", "") == "pagerduty":
            # A resolve must find its incident, whatever the title says by then; a second part would
            # take the place of the first.
            plugin.action, plugin.dedup = "map", plugin.dedup or message.key
            plugin.overflow_mode = apprise.OverflowMode.TRUNCATE
        return plugin

    return AppriseSender(name, make)


def email(name: str, settings: EmailSettings) -> AppriseSender:
    """Return the sender for mail; it is never written as an address with a password in it."""

    def make(message: Message | None) -> Any:
        import apprise

        host, _, port = settings.host.rpartition(":")
        given: dict[str, Any] = {
            "schema": "mailto" if settings.tls == "none" else "mailtos",
            "host": host,
            "smtp_host": host,
            "port": int(port),
            "from_addr": settings.from_,
            "targets": list(settings.to),
            "secure_mode": {"none": "insecure", "starttls": "starttls", "implicit": "ssl"}[
                settings.tls
            ],
            "format": "html",
            "inline": True,
        }
        if settings.password_file is not None:
            given["user"] = settings.username
            given["password"] = secret(settings.password_file, f"target {name}: password_file")
        if message is not None and message.key:
            # Mail programs put the firing and the resolved one together.
            given["headers"] = {"References": f"<{message.key}@detector.invalid>"}
        plugin = apprise.Apprise.instantiate(given, asset=_asset(), suppress_exceptions=True)
        if plugin is None:
            raise ConfigError(f"notify: target {name}: Apprise takes no mail from this; see email:")
        return plugin

    return AppriseSender(name, make, as_html=True)


def _asset() -> Any:
    import apprise

    return apprise.AppriseAsset(
        app_id="detector",
        app_desc="anomaly detector",
        app_url="",
        async_mode=False,
        allow_templates=False,
    )


def _body(message: Message, as_html: bool, shown: str) -> tuple[str, str, str]:
    """Return title, body and the body's format, inert for the format a service reads."""
    if as_html:
        return message.title, html(message), "html"
    title, text = inert.unmarked(message.title), inert.unmarked(plain(message))
    if shown == "markdown":
        return inert.markdown(title), inert.markdown(text), "markdown"
    return title, text, "text"
