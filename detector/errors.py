"""The errors this project raises, each with the exit code a command ends with.

DetectorError            1  the check that was asked for failed
├── ConfigError          2  configuration or arguments are wrong
└── SourceError          3  a server or file cannot be read

A bad series or sample is data, not an exception: it is skipped and counted by reason.
"""

from __future__ import annotations


class DetectorError(Exception):
    """Base of all errors with a message for the user: one line that says what to do."""

    exit_code = 1


class ConfigError(DetectorError):
    """The configuration, a rule file or an argument cannot be used as given."""

    exit_code = 2


class SourceError(DetectorError):
    """A source of samples cannot be read.

    Parameters
    ----------
    message : str
        One line for the user.
    reason : str
        Short stable word for metrics: ``unreachable``, ``timeout``, ``bad_query``, ``execution``,
        ``too_large``, ``refused`` or ``bad_response``.
    """

    exit_code = 3

    def __init__(self, message: str, *, reason: str = "unreachable"):
        super().__init__(message)
        self.reason = reason
