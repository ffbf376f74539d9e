"""A past with an outage in a real Prometheus, and backtests of it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
from commands import config
from running import NOW, past
from server import Server
from synthetic import traffic

from detector.backtest.command import Outcome, backtest
from detector.backtest.request import Request
from detector.backtest.run import FIELDS, Trace
from detector.score import GONE
from detector.settings import Settings

HOUR = 3600
# The outage: from an hour before the end, for half an hour.
OUTAGE = NOW - HOUR, NOW - HOUR // 2
SIGNALS = [
    {
        "name": "rps",
        "kind": "traffic",
        "query": "rps",
        "when": "sum by (job) (rps)",
    },
    {"name": "failing", "kind": "errors", "query": "failing"},
]
ASKED = Request(start=NOW - 2 * HOUR, truth=("fault",))


def settings_for(server: Server, **given: Any) -> Settings:
    return Settings.model_validate(
        {
            "prometheus": {"url": server.url, "timeout": "5s"},
            "history": "7d",
            "signals": SIGNALS,
            "exclude_alerts": ["Planned"],
            "masks": {"mute": [{"query": "maintenance == 1", "signals": ["rps"]}]},
            **given,
        }
    )


def seeded(server: Server) -> None:
    times = past(NOW, 9)
    down = (times >= OUTAGE[0]) & (times < OUTAGE[1])
    for i, job in enumerate("ab"):
        values = traffic(times, i)
        server.write("rps", times, np.where(down & (job == "a"), 0, values), job=job)
        server.write("up", times, 1.0, job=job, instance="x")
    minutes = np.arange(NOW - 2 * HOUR, NOW + 1, 60)
    broken = (minutes >= OUTAGE[0]) & (minutes < OUTAGE[1])
    server.write("failing", minutes[broken], 0.5, job="a")
    server.write("fault", minutes, broken.astype(float), fault="outage")
    quiet = (minutes >= NOW - 7000) & (minutes < NOW - 6000)
    server.write("maintenance", minutes[quiet], 1.0, job="b")
    firing = {"alertname": "Planned", "alertstate": "firing", "job": "b"}
    server.write("ALERTS", minutes[quiet], 1.0, **firing)


def replay(settings: Settings, request: Request = ASKED, **given: Any) -> Outcome:
    """Return what a backtest at the end of the past finds; `given` as `backtest` takes it."""
    return backtest(settings, request, NOW + 30, threading.Event(), lambda line: None, **given)


def command(tmp_path: Path, url: str) -> list[object]:
    """Return the arguments of `detector` that ask for the last two hours of the past."""
    text = json.dumps({"prometheus": {"url": url}, "history": "7d", "signals": SIGNALS})
    path = config(tmp_path, text)
    return ["backtest", "-c", path, "--from", NOW - 2 * HOUR, "--to", NOW]


def rows_of(trace: Trace) -> dict[tuple[Any, int], tuple[float, ...]]:
    return {
        (key, int(t)): tuple(float(getattr(trace, f)[s, i]) for f in (*FIELDS, "state"))
        for s, key in enumerate(trace.labels)
        for i, t in enumerate(trace.times)
        if trace.state[s, i] != GONE
    }
