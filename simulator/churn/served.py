"""The model that answers now; a new one takes its place whole or not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from detector.errors import ConfigError
from simulator.churn.artefact import Artefact
from simulator.churn.monitor import Monitor
from simulator.churn.quality import Tally


@dataclass(frozen=True)
class Active:
    """A model in use.

    Parameters
    ----------
    artefact : Artefact
    monitor : Monitor or None
        Its windows, which begin empty; None when nothing is watched.
    since : float
        Unix second from which on it answers.
    load_seconds : float
        Time its loading took.
    """

    artefact: Artefact
    monitor: Monitor | None
    since: float
    load_seconds: float


class Served:
    """The model in use and how often another one was asked for.

    Parameters
    ----------
    load : callable
        Reads the model; ConfigError when it cannot be used.
    monitored : bool
        Whether inputs and outputs are watched.

    Raises
    ------
    ConfigError
        When the first model cannot be used.
    """

    def __init__(self, load: Callable[[], Artefact], monitored: bool = True):
        self._load = load
        self._monitored = monitored
        self.tally = Tally()
        self.loads = {"ok": 0, "refused": 0}
        self.last_load_good = True
        self.references = 0
        self.active = self._loaded()
        self._count(self.active, None)

    async def reload(self) -> str:
        """Load the model again and return a line that says which one answers from now on.

        Requests are answered meanwhile, those under way by the model they began with.
        """
        try:
            active = await asyncio.to_thread(self._loaded)
        except ConfigError as error:
            self.loads["refused"] += 1
            self.last_load_good = False
            return f"model {self.active.artefact.version} goes on: {error}"
        if self.active.monitor is not None:
            # What waits to be counted belongs to the totals too.
            self.active.monitor.state()
        self._count(active, self.active)
        self.active = active
        return f"model {active.artefact.version} answers from now on, with its own reference"

    def _count(self, active: Active, before: Active | None) -> None:
        self.loads["ok"] += 1
        self.last_load_good = True
        same = before and before.artefact.reference.id == active.artefact.reference.id
        self.references += not same

    def _loaded(self) -> Active:
        started = time.monotonic()
        artefact = self._load()
        seconds = time.monotonic() - started
        monitor = Monitor(artefact.reference, self.tally) if self._monitored else None
        return Active(artefact, monitor, time.time(), seconds)
