"""The simulated feature store, whose look-up dominates the service time.

Its time and its failures are drawn from the same functions live and in the seeded past, so that
both share one distribution on any machine.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

# A look-up across a network: 60 ms in the middle, 99 of 100 below 171 ms.
MEDIAN_SECONDS = 0.060
SIGMA = 0.45
# Failures on a good day.
ERROR_PROBABILITY = 0.004

# Drawn at once, because one numpy call costs more than the numbers it returns.
_DRAWS = 1024


class LookUpError(Exception):
    """The feature store did not answer; the request ends with status 503."""


def draw_seconds(
    rng: np.random.Generator, n: int, added_seconds: float = 0.0
) -> NDArray[np.float64]:
    """Return the durations of n look-ups.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    n : int
        Look-ups.
    added_seconds : float
        What the latency fault adds to each, in seconds.

    Returns
    -------
    ndarray of float64, shape (n,)
        Seconds, lognormal plus `added_seconds`.
    """
    return rng.lognormal(math.log(MEDIAN_SECONDS), SIGMA, n) + added_seconds


def error_probability(added_probability: float = 0.0) -> float:
    """Return the probability that a look-up fails, with what the errors fault adds."""
    return min(1.0, ERROR_PROBABILITY + added_probability)


class FeatureStore:
    """A feature store that answers after a drawn time, or fails.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    fault_size : callable
        Current size of the faults ``latency`` (seconds) and ``errors`` (probability), 0.0 when off.
    """

    def __init__(self, rng: np.random.Generator, fault_size: Callable[[str], float]):
        self._rng = rng
        self._fault_size = fault_size
        self._draws: list[tuple[float, float]] = []

    async def look_up(self) -> None:
        """Wait for the answer; LookUpError when there is none, after the same time."""
        if not self._draws:
            seconds = draw_seconds(self._rng, _DRAWS).tolist()
            chances = self._rng.random(_DRAWS).tolist()
            self._draws = list(zip(seconds, chances, strict=True))
        # Both at once: others take their turn while this one waits.
        seconds_needed, chance = self._draws.pop()
        await asyncio.sleep(seconds_needed + self._fault_size("latency"))
        # The fault may have begun while this request waited.
        if chance < error_probability(self._fault_size("errors")):
            raise LookUpError("the feature store did not answer; try again")
