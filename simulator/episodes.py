"""Spreads labelled faults over a stretch of past: when, which and how large."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.curve import DAY_SECONDS
from simulator.faults import FAULTS

# One or two a day, long enough to be worth an alert, short enough to leave the day recognisable.
_PER_DAY = (1, 2)
_SECONDS = (10 * 60, 60 * 60)
# From half size, which should still be found, to full size.
_SIZE_SHARES = (0.5, 1.0)


@dataclass(frozen=True)
class Episode:
    """One fault in the past, active from `start` up to `end` (unix seconds)."""

    fault: str
    size: float
    start: float
    end: float


def spread(start: float, end: float, rng: np.random.Generator) -> list[Episode]:
    """Return one or two faults for every whole day of a stretch, in order and never overlapping.

    Parameters
    ----------
    start, end : float
        Unix seconds; days are counted from `start`.
    rng : numpy.random.Generator
        Draws number, hours, lengths, kinds and sizes; the kinds come about equally often.
    """
    names = list(FAULTS)
    queue: list[str] = []
    episodes = []
    for day in range(int((end - start) // DAY_SECONDS)):
        count = int(rng.integers(_PER_DAY[0], _PER_DAY[1] + 1))
        share = DAY_SECONDS / count
        for part in range(count):
            if not queue:
                queue = [names[i] for i in rng.permutation(len(names))]
            fault = FAULTS[queue.pop()]
            # Whole minutes; each part of the day has room for one episode of the longest kind.
            seconds = 60.0 * int(rng.integers(_SECONDS[0] // 60, _SECONDS[1] // 60 + 1))
            room = share - _SECONDS[1]
            begin = (
                start + day * DAY_SECONDS + part * share + 60.0 * int(rng.uniform(0, room) // 60)
            )
            size = fault.default_size * float(rng.uniform(*_SIZE_SHARES))
            if fault.name == "traffic_zero":
                size = fault.default_size
            episodes.append(Episode(fault.name, size, begin, begin + seconds))
    return episodes


def sizes_at(
    episodes: list[Episode], fault: str, times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the size of a fault at each of the times, 0 where it is not active."""
    sizes = np.zeros(len(times))
    for episode in episodes:
        if episode.fault == fault:
            sizes[(times >= episode.start) & (times < episode.end)] = episode.size
    return sizes
