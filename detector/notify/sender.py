"""What every way of sending has in common: a sender, a failure, and secrets read when needed."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from detector.errors import ConfigError
from detector.notify.message import Message

# Why a message is not taken: the credentials, the message itself and the file of a secret are
# `refused`, `rejected` and `secret`.
FAILURES = (
    "rate_limited",
    "timeout",
    "unreachable",
    "refused",
    "server_error",
    "rejected",
    "secret",
    "failed",
)


class DeliveryFailure(Exception):
    """A message was not taken.

    Parameters
    ----------
    text : str
        One line without secrets.
    reason : str
        Short stable word for metrics, one of `FAILURES`.
    wait : float
        Seconds the service asked to wait, 0 when it did not.
    """

    def __init__(self, text: str, reason: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.reason = reason
        self.wait = wait

    @property
    def final(self) -> bool:
        """Whether trying again is of no use."""
        return self.reason == "rejected"


class Sender(Protocol):
    """One way of sending."""

    @property
    def updates(self) -> bool:
        """Whether a message that was sent can be replaced."""

    def send(self, message: Message, reference: str) -> str:
        """Send a message, or replace the one that `reference` names.

        Returns
        -------
        str
            How the service knows the message, empty when it does not.

        Raises
        ------
        DeliveryFailure
        """


def secret(path: Path, key: str) -> str:
    """Return what a secret file holds; it is read each time, so that it can be replaced.

    Raises
    ------
    ConfigError
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"notify: {key}: {error.strerror}: {path}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"notify: {key}: is no UTF-8 text: {path}") from None
    if not text or not text.isprintable():
        raise ConfigError(f"notify: {key}: must be one line: {path}")
    return text
