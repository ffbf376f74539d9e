"""Lays out the moments and faults of the seeded past."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.errors import ConfigError
from simulator.curve import WEEK_SECONDS
from simulator.episodes import Episode, spread

MOST_SAMPLES = 14_000_000
# Upper estimate of the series at each moment, for the limit above.
SERIES = 152
# A day of 30-second samples.
_CHUNK_STEPS = 2_880


@dataclass(frozen=True)
class Plan:
    """What is to be written: the moments in chunks, and the faults among them."""

    chunks: tuple[NDArray[np.float64], ...]
    episodes: tuple[Episode, ...]

    @property
    def start(self) -> float:
        """Unix second of the first sample."""
        return float(self.chunks[0][0])

    @property
    def end(self) -> float:
        """Unix second of the last sample."""
        return float(self.chunks[-1][-1])

    @property
    def steps(self) -> int:
        """Number of moments."""
        return sum(map(len, self.chunks))


def plan(
    until: float,
    weeks: float,
    interval: float,
    recent: float,
    recent_interval: float,
    rng: np.random.Generator | None,
) -> Plan:
    """Lay out the moments of a past that ends one interval before `until`.

    Parameters
    ----------
    until, interval, recent, recent_interval : float
        Unix second, and seconds.
    weeks : float
        Length.
    rng : numpy.random.Generator or None
        Places faults, none of them in the recent part; None leaves the past clean.

    Raises
    ------
    ConfigError
        When lengths contradict each other or more than `MOST_SAMPLES` would be written.
    """
    length = weeks * WEEK_SECONDS
    if not (recent + interval <= length and math.isfinite(length)):
        raise ConfigError(f"--weeks {weeks:g} must be longer than --recent and --interval together")
    dense = until - recent_interval * np.arange(int(recent // recent_interval), 0, -1)
    boundary = float(dense[0]) if len(dense) else until
    coarse = boundary - interval * np.arange(int((length - recent) // interval), 0, -1)
    steps = len(dense) + len(coarse)
    if steps * SERIES > MOST_SAMPLES:
        raise ConfigError(
            f"this past has about {steps * SERIES / 1e6:.0f} million samples, more than "
            f"{MOST_SAMPLES / 1e6:.0f} million; lengthen --interval or shorten --weeks or --recent"
        )
    chunks: list[NDArray[np.float64]] = [
        np.asarray(part[start : start + _CHUNK_STEPS], np.float64)
        for part in (coarse, dense)
        for start in range(0, len(part), _CHUNK_STEPS)
    ]
    episodes = spread(float(coarse[0]), boundary, rng) if rng is not None else []
    return Plan(tuple(chunks), tuple(episodes))
