"""The faults that can be switched on, and the board of those that are active now."""

from __future__ import annotations

import difflib
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from detector.errors import ConfigError

LONGEST_FAULT_SECONDS = 7 * 86_400.0


@dataclass(frozen=True)
class Fault:
    """One fault: where it acts, its full size and what the size means."""

    name: str
    process: Literal["churn", "traffic"]
    default_size: float
    largest_size: float
    effect: str


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("traffic_zero", "traffic", 1.0, 1.0, "all traffic stops (the size is ignored)"),
        Fault("traffic_drop", "traffic", 0.5, 1.0, "share of the traffic removed"),
        Fault("traffic_surge", "traffic", 1.0, 10.0, "share of the traffic added (1 doubles it)"),
        Fault("latency", "churn", 0.2, 30.0, "seconds added to each feature-store look-up"),
        Fault("errors", "churn", 0.06, 1.0, "failure probability added to each look-up"),
        Fault("feature_drift", "traffic", 2.0, 20.0, "amounts times 1+size, one region preferred"),
        Fault("missing_values", "traffic", 0.5, 1.0, "probability that nullable fields come null"),
        Fault("concept_drift", "traffic", 1.0, 1.0, "share of customers the model is wrong about"),
    )
}


def faults_of(process: Literal["churn", "traffic"]) -> tuple[str, ...]:
    """Return the names of the faults that act in one process."""
    return tuple(name for name, fault in FAULTS.items() if fault.process == process)


def fault_named(name: str) -> Fault:
    """Return the fault of that name; ConfigError names the closest ones when there is none."""
    if name not in FAULTS:
        close = difflib.get_close_matches(name, FAULTS, n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}?" if close else f"choose of {', '.join(FAULTS)}"
        raise ConfigError(f"there is no fault {name!r}; {hint}")
    return FAULTS[name]


def checked_size(fault: Fault, size: float | None) -> float:
    """Return the size to use: the default for None; ConfigError when it makes no sense."""
    if size is None:
        return fault.default_size
    if not (math.isfinite(size) and 0.0 < size <= fault.largest_size):
        raise ConfigError(
            f"size {size:g} of {fault.name} must be above 0 and at most {fault.largest_size:g} "
            f"({fault.effect})"
        )
    return fault.default_size if fault.name == "traffic_zero" else size


class FaultBoard:
    """The faults of one process that are active now; safe to use from several threads.

    Parameters
    ----------
    names : iterable of str
        The faults this process owns; asking for another one is a programming error (KeyError).
    clock : callable
        Returns unix seconds; a fault ends by itself when its time is over.
    """

    def __init__(self, names: Iterable[str], clock: Callable[[], float] = time.time):
        self.names = tuple(names)
        self._clock = clock
        self._lock = threading.Lock()
        # Size and end (unix seconds) of each fault.
        self._active: dict[str, tuple[float, float]] = dict.fromkeys(self.names, (0.0, 0.0))

    def start(self, name: str, seconds: float, size: float | None = None) -> dict[str, Any]:
        """Switch a fault on for some seconds (again: anew) and return what is now active.

        Raises
        ------
        ConfigError
            When the fault is not of this process, or size or duration make no sense.
        """
        fault = fault_named(name)
        if name not in self.names:
            raise ConfigError(f"{name} acts in the {fault.process} process; send it there")
        if not (math.isfinite(seconds) and 0.0 < seconds <= LONGEST_FAULT_SECONDS):
            raise ConfigError(f"seconds {seconds:g} must be above 0 and at most a week")
        entry = (checked_size(fault, size), self._clock() + seconds)
        with self._lock:
            self._active[name] = entry
        return {"fault": name, "size": entry[0], "until": entry[1]}

    def stop(self, name: str) -> bool:
        """Switch a fault off; returns whether it was on."""
        was_on = self.size(name) > 0.0
        with self._lock:
            self._active[name] = (0.0, 0.0)
        return was_on

    def size(self, name: str) -> float:
        """Return the size of a fault now, 0.0 when it is not active."""
        with self._lock:
            size, until = self._active[name]
        return size if self._clock() < until else 0.0

    def active(self) -> list[dict[str, Any]]:
        """Return the active faults with size and end (unix seconds)."""
        with self._lock:
            entries = dict(self._active)
        now = self._clock()
        return [
            {"fault": name, "size": size, "until": until}
            for name, (size, until) in entries.items()
            if now < until
        ]


class FaultCollector(Collector):
    """Exposes `simulator_fault_active{fault}` (0 or 1) for every fault of a board."""

    def __init__(self, board: FaultBoard):
        self._board = board

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "simulator_fault_active", "1 while this fault is injected.", labels=["fault"]
        )
        for name in self._board.names:
            family.add_metric([name], float(self._board.size(name) > 0.0))
        yield family


def traffic_factor(zero: ArrayLike, drop: ArrayLike, surge: ArrayLike) -> NDArray[np.float64]:
    """Return what the arrival rate is multiplied with under the sizes of the three traffic faults.

    Parameters
    ----------
    zero, drop, surge : array_like
        Sizes of `traffic_zero`, `traffic_drop` and `traffic_surge`, 0 where inactive; broadcast.

    Returns
    -------
    ndarray of float64
        At least 0; 1 without faults.
    """
    left = np.where(np.asarray(zero) > 0.0, 0.0, 1.0 - np.asarray(drop, np.float64))
    return np.asarray(left * (1.0 + np.asarray(surge, np.float64)))
