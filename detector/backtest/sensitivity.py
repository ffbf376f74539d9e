"""Replays a range at other sensitivities, for the one that keeps to a budget."""

from __future__ import annotations

import threading
from concurrent.futures import Executor
from dataclasses import replace

from detector.backtest.budget import CHOSEN_ON, Choice, choose
from detector.backtest.grouping import Inhibition, Route
from detector.backtest.judging import judge
from detector.backtest.results import Results, results
from detector.backtest.run import replayed
from detector.backtest.server import Cancelled
from detector.backtest.sources import Loaded, Opened
from detector.backtest.truth import Incident


def chosen(
    budget: float,
    kept: list[Loaded],
    source: Opened,
    incidents: tuple[Incident, ...],
    inhibitions: list[Inhibition],
    delay: float,
    pool: Executor,
    stop: threading.Event,
) -> Choice:
    """Replay both parts of a range at each sensitivity, and choose.

    Parameters
    ----------
    budget : float
        Pages a week.
    kept : list of Loaded
        All signals with their samples.
    source : Opened
    incidents : tuple of Incident
    inhibitions : list of Inhibition
    delay : float
        Seconds after which a step is scored.
    pool : Executor
        What replays.
    stop : threading.Event

    Raises
    ------
    Cancelled
        When `stop` is set.
    """
    grid, start, end = source.grid, source.start, source.end
    middle = start + int((end - start) * CHOSEN_ON) // grid.step * grid.step

    def replay(factor: float) -> tuple[Results, Results]:
        halves = []
        for a, b in ((start, middle), (middle, end)):
            inside = [one for one in incidents if a <= one.start < b]
            judged = []
            for loaded in kept:
                policy = loaded.signal.policy
                moved = min(max(policy.sensitivity * factor, 0.1), 10.0)
                signal = replace(loaded.signal, policy=replace(policy, sensitivity=moved))
                trace = replayed(signal, grid, loaded.samples, a, b, pool, stop)
                judged.append(judge(loaded.told(trace), inside, grid.step, delay, ranked=False))
                if stop.is_set():
                    raise Cancelled("ended while looking for the sensitivity")
            halves.append(results(judged, inside, a, b, Route(), inhibitions))
        return halves[0], halves[1]

    return choose(budget, replay)
