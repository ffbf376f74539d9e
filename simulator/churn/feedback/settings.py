"""What can be set of the feedback loop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detector.durations import parse_duration
from detector.errors import ConfigError

# Below this the labelled part may be a biased one.
MINIMUM_COVERAGE = 0.8


@dataclass(frozen=True)
class FeedbackSettings:
    """Where predictions are kept, and when their outcomes are believed.

    Parameters
    ----------
    directory : Path
        For the spool, and for the database when it is SQLite and not named.
    database : str
        URL of the database.
    maturity_seconds : float
        Age at which a prediction's label has usually arrived.
    window_seconds : float
        Performance is that of the predictions from this long before maturity.
    retain_seconds : float
        Older predictions are deleted.
    refresh_seconds : float
        How often performance is computed.
    """

    directory: Path
    database: str
    maturity_seconds: float = 1800.0
    window_seconds: float = 3600.0
    retain_seconds: float = 90 * 86_400.0
    refresh_seconds: float = 60.0


def feedback_settings(
    *,
    directory: Path,
    database: str | None,
    maturity: str,
    window: str,
    retain: str,
    refresh: str,
) -> FeedbackSettings:
    """Return checked settings of command-line texts; ConfigError when they contradict."""
    seconds = [parse_duration(text) for text in (maturity, window, retain, refresh)]
    if min(seconds) <= 0.0:
        raise ConfigError("--label-maturity, --performance-window, --retain must be above 0")
    if seconds[0] + seconds[1] > seconds[2]:
        raise ConfigError(
            f"--retain {retain} is shorter than --label-maturity and --performance-window together"
        )
    return FeedbackSettings(directory, database or default_database(directory), *seconds)


def default_database(directory: Path) -> str:
    """Return the URL of the SQLite file in a directory."""
    return f"sqlite:///{directory / 'feedback.sqlite'}"
