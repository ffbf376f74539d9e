"""Runs the whole example natively: Prometheus, Alertmanager, the service, the detector, sinks."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import httpx

from detector.errors import ConfigError, SourceError
from detector.export import FRESH_STEPS
from simulator.curve import phase_for
from simulator.inject import inject
from simulator.layout import SIGNAL_RULES, Layout, claimed, make_layout
from simulator.processes import PortReservations, Supervisor
from simulator.programs import COMMANDS, Chance, environment
from simulator.scaling import PROFILES, Profile
from simulator.tools import program
from simulator.watch import Watch

_START_SECONDS = 60.0
# Reading and fitting four weeks of every signal, on a machine that is busy otherwise.
_FIT_SECONDS = 240.0
# Of the shipped signals.
_LONGEST_WINDOW_SECONDS = 300.0
_SETTLE_WINDOWS = 3
# Keeps the traffic back until the past is written.
_HOLD = "traffic_zero"
_WATCH_SECONDS = 1.0

Say = Callable[[str], None]


class Stack:
    """A running example.

    Parameters
    ----------
    layout : Layout
    supervisor : Supervisor
        Watches its programs.
    phase : float
        Seconds added to the clock before the traffic curve is read.
    seed : int
    """

    def __init__(self, layout: Layout, supervisor: Supervisor, phase: float, seed: int):
        self.layout = layout
        self.supervisor = supervisor
        self._chance = Chance(phase, seed)
        self._scraped_since = math.inf

    def start(self, say: Say) -> None:
        """Start everything in order and wait until the detector scores all signals.

        The past is written before the first scrape, and alerts are loaded when all else runs: a
        service that has not been started yet is no incident.
        """
        began = time.monotonic()

        def done(what: str) -> None:
            say(f"{time.monotonic() - began:6.1f} s  {what}")

        self._start_servers()
        done("Prometheus, Alertmanager, Pushgateway, detector notify and the message sink run")
        self._run("train")
        done("the churn model is trained")
        self._start_service()
        done("the churn service waits for traffic")
        self._run("seed")
        self._begin()
        done("four weeks of past are written, traffic flows and is scraped")
        self._start("detector")
        self._wait("detector", "detector:9112/readyz", _FIT_SECONDS)
        done("the detector scores every signal")
        self._settle()
        done("the start of the service is over")
        self.layout.write_rules()
        self.reload()
        self.supervisor.wait_until("Prometheus to find Alertmanager", self._alerts_have_a_way, 60)
        done("alerts are on")

    def _start_servers(self) -> None:
        for name in ("sink", "notify", "pushgateway", "alertmanager", "prometheus"):
            self._start(name)
        self._wait("sink", "sink:8090/healthz")
        self._wait("notify", "notify:9114/healthz")
        for address in ("pushgateway:9091", "alertmanager:9093", "prometheus:9090"):
            self._wait(address.partition(":")[0], f"{address}/-/ready")
        # With a sample of now, all of the past is out of order, which Prometheus puts aside.
        # Without one it is in order, and Prometheus compacts hundreds of blocks for minutes.
        self.supervisor.wait_until("Prometheus to scrape itself", self._scrapes_itself, 30)

    def _start_service(self) -> None:
        self._start("churn")
        self._wait("churn", "churn:8000/readyz")
        self._start("traffic")
        self._wait("traffic", "traffic:8010/healthz")
        self.inject(_HOLD, "1h")

    def _begin(self) -> None:
        """Let traffic flow and have it scraped, right where the seeded past ends.

        The processes wait for this moment, because requests between the past and the first one
        served would be missing from the first minute's rate.
        """
        self.inject(_HOLD, stop=True)
        self.layout.start_scraping()
        self.layout.write_rules(SIGNAL_RULES)
        self.reload()
        self._scraped_since = time.monotonic()

    def _settle(self) -> None:
        """Wait until the start of the service is out of all windows.

        A process that starts takes CPU, its first window of drift holds few customers, and fits
        take a while. That is real, but it is not what the faults are to be compared with.
        """
        window = max(
            self.layout.profile.minimum_window_seconds,
            _LONGEST_WINDOW_SECONDS / self.layout.profile.factor,
        )
        watch = Watch(self.layout)

        def over() -> bool:
            passed = time.monotonic() - self._scraped_since
            calm = not watch.look().anomalous() or passed > _SETTLE_WINDOWS * window
            return passed > window and calm and self._scores_are_fresh()

        self.supervisor.wait_until(
            "the detector to evaluate each signal step by step",
            over,
            _SETTLE_WINDOWS * window + _FIT_SECONDS,
            pause=_WATCH_SECONDS,
        )

    def _scores_are_fresh(self) -> bool:
        """Return whether Prometheus has seen a late step of each signal evaluated.

        A signal whose first fit took long is behind until the next cycle; AnomalyScoresStale, at
        six steps, would tell people so.
        """
        age = "time() - detector_signal_evaluated_timestamp_seconds"
        limit = f"on (job, instance) group_left () {FRESH_STEPS} * detector_step_seconds"
        known = "count(detector_signal_up) >= sum(detector_signals)"
        late = f"{age} > {limit}"
        return self._gives(known) and not self._gives(late)

    def inject(
        self, fault: str, duration: str = "10m", size: float | None = None, *, stop: bool = False
    ) -> None:
        """Start a fault in the process where it acts, or stop it."""
        inject(
            fault=fault,
            duration=duration,
            size=size,
            churn_control=self.layout.url("churn:8001"),
            traffic_control=self.layout.url("traffic:8011"),
            token_file=self.layout.token_file,
            stop=stop,
        )

    def reload(self) -> None:
        """Tell Prometheus to read its files again; SourceError when it refuses them."""
        answer = self._ask("POST", "/-/reload")
        if answer.status_code != httpx.codes.OK:
            raise SourceError(f"Prometheus refused the files: {answer.text.strip()}")

    def _scrapes_itself(self) -> bool:
        return self._gives("up")

    def _gives(self, query: str) -> bool:
        """Return whether an instant query has a result now."""
        answer = self._ask("GET", f"/api/v1/query?{urlencode({'query': query})}")
        return bool(answer.json()["data"]["result"])

    def _alerts_have_a_way(self) -> bool:
        answer = self._ask("GET", "/api/v1/alertmanagers")
        return bool(answer.json()["data"]["activeAlertmanagers"])

    def _ask(self, method: str, path: str) -> httpx.Response:
        url = f"{self.layout.url('prometheus:9090')}{path}"
        try:
            return httpx.request(method, url, timeout=10.0, trust_env=False)
        except httpx.HTTPError as error:
            self.supervisor.check()
            raise SourceError(f"Prometheus does not answer at {url}: {error}") from error

    def _start(self, name: str) -> None:
        command = COMMANDS[name](self.layout, self._chance)
        self.supervisor.start(name, command, environment(self.layout))

    def _run(self, name: str) -> None:
        command = COMMANDS[name](self.layout, self._chance)
        self.supervisor.run(name, command, environment(self.layout))

    def _wait(self, name: str, place: str, seconds: float = _START_SECONDS) -> None:
        address, _, path = place.partition("/")
        self.supervisor.wait_for(name, f"{self.layout.url(address)}/{path}", seconds)

    def addresses(self) -> str:
        """Return what a user wants to open, one line each."""
        at = self.layout
        lines = {
            "Prometheus": at.url("prometheus:9090"),
            "Alertmanager": at.url("alertmanager:9093"),
            "Pushgateway": at.url("pushgateway:9091"),
            "Churn service": f"{at.url('churn:8000')}/docs",
            "Detector": f"{at.url('detector:9112')}/metrics",
            "Notify": f"{at.url('notify:9114')}/metrics",
            "Messages": f"{at.url('sink:8090')}/messages",
            "Files and logs": str(at.directory),
        }
        return "\n".join(f"  {name:<15}{value}" for name, value in lines.items())

    def write_environment(self) -> Path:
        """Write a file to source, after which `simulator inject` finds this stack."""
        at = self.layout
        path = at.directory / "env"
        programs = shlex.quote(str(Path(sys.executable).parent))
        path.write_text(
            f'export PATH={programs}:"$PATH"\n'
            f"export SIMULATOR_CHURN_CONTROL={at.url('churn:8001')}\n"
            f"export SIMULATOR_TRAFFIC_CONTROL={at.url('traffic:8011')}\n"
            f"export SIMULATOR_TOKEN_FILE={shlex.quote(str(at.token_file))}\n",
            encoding="utf-8",
        )
        return path


@contextlib.contextmanager
def running_stack(
    *, at: str | None, directory: Path | None, seed: int, profile: str, say: Say
) -> Iterator[Stack]:
    """Start a stack, yield it when it is complete, and stop it again whatever happens.

    Parameters
    ----------
    at : str or None
        Weekday and UTC hour that now counts as, such as ``Sun 04:00``.
    directory : Path or None
        For data and logs; None takes a new one below ``.run``.
    seed : int
        Of model, past and traffic.
    profile : str
        ``fast`` or ``production``.
    say : callable
        Gets a line about each stage.

    Raises
    ------
    ConfigError
        When options make no sense or programs are missing.
    SourceError
        When a program cannot be started or ends by itself; with the last lines of its log.
    """
    speed = _profile(profile)
    phase = phase_for(at, time.time())
    for name in ("prometheus", "alertmanager", "pushgateway"):
        program(name)
    with (
        contextlib.closing(PortReservations()) as ports,
        claimed(directory or new_directory("stack")) as place,
    ):
        layout = make_layout(place, speed, ports)
        with Supervisor(place / "logs") as supervisor:
            stack = Stack(layout, supervisor, phase, seed)
            stack.start(say)
            yield stack


def new_directory(name: str) -> Path:
    """Return the path of a directory nobody uses, named after the time."""
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return Path(".run") / f"{name}-{moment}-{os.getpid()}"


def _profile(name: str) -> Profile:
    if name not in PROFILES:
        raise ConfigError(f"there is no profile {name!r}; choose of {', '.join(PROFILES)}")
    return PROFILES[name]
