"""When a signal is scored and fitted anew: grids of time, and boundaries that are absolute.

Boundaries are staggered by the signal's name, so that signals do not refit in one cycle.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from detector.durations import format_duration
from detector.errors import ConfigError
from detector.models.baseline import DAY

# Channels are calibrated on this many of the last steps: ten days of minutes, all the four weeks
# of five.
WINDOW_STEPS = 15_000
# No model says anything about a series before it has this many samples on the profile grid, and a
# day of them; as in `models.seasonal`, which would load the compiler here.
LEAST_SAMPLES = 20


@dataclass(frozen=True)
class Schedule:
    """The grids of time, all in seconds.

    Parameters
    ----------
    step : int
        Scoring cadence.
    profile : int
        Grid of seasonal slots and of the history; a multiple of `step` that divides a day.
    history : int
        How far back a fit looks; a multiple of `profile`, at least a day and 20 of its slots.
    refit : int
        Distance of two fits; a multiple of `profile`.

    Raises
    ------
    ConfigError
        When the grids do not fit together.
    """

    step: int
    profile: int
    history: int
    refit: int

    def __post_init__(self) -> None:
        for name in ("step", "profile"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1s")
        if self.profile % self.step or DAY % self.profile:
            raise ConfigError(
                f"profile ({self.profile}s) must be a multiple of step ({self.step}s) and "
                "divide a day; try step 1m with profile 5m"
            )
        for name in ("history", "refit"):
            value = getattr(self, name)
            if value < self.profile or value % self.profile:
                raise ConfigError(
                    f"{name} ({value}s) must be a positive multiple of profile ({self.profile}s)"
                )
        least = max(DAY, LEAST_SAMPLES * self.profile)
        if self.history < least:
            raise ConfigError(
                f"history ({self.history}s) is too short for any model to score anything: it "
                f"needs at least {format_duration(least)} with a profile of "
                f"{format_duration(self.profile)}; the default is 28d"
            )

    def boundary(self, signal: str, now: int) -> int:
        """Return the last refit boundary of a signal at or before `now`."""
        cells = self.refit // self.profile
        digest = hashlib.sha256(signal.encode()).digest()
        offset = int.from_bytes(digest[:8], "big") % cells * self.profile
        return (now - offset) // self.refit * self.refit + offset

    def history_times(self, boundary: int) -> tuple[int, int]:
        """Return first and last profile time of the history of a boundary, both included."""
        first = -(-(boundary - self.history) // self.profile) * self.profile
        return first, boundary - self.profile

    def fold_start(self, boundary: int) -> int:
        """Return the first step time that has a say on the fold that belongs to a boundary."""
        return boundary - min(WINDOW_STEPS * self.step, self.history)
