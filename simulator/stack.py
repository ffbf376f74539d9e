"""Runs the whole example natively: Prometheus, Alertmanager, the service, the detector, sinks."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx

from detector.errors import ConfigError, SourceError
from simulator.curve import phase_for
from simulator.layout import SIGNAL_RULES, Layout, claimed, make_layout
from simulator.processes import PortReservations, Supervisor
from simulator.scaling import PROFILES, Profile
from simulator.tools import ROOT, program
from simulator.watch import Watch

_START_SECONDS = 60.0
# Reading and fitting four weeks of every signal, on a machine that is busy otherwise.
_FIT_SECONDS = 240.0
_SETTLE_SECONDS = 150.0
# Spacing of the end of the seeded past: the scrape interval of the profile.
_RECENT_INTERVAL = {"fast": "5s", "production": "15s"}
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
        self._phase = phase
        self._seed = str(seed)
        self._http = httpx.Client(timeout=10.0, trust_env=False)

    def start(self, say: Say) -> None:
        """Start everything in order and wait until the detector scores all signals.

        The past is written before the first scrape, and alerts are loaded when all else runs: a
        service that has not been started yet is no incident.
        """
        began = time.monotonic()

        def done(what: str) -> None:
            say(f"{time.monotonic() - began:6.1f} s  {what}")

        self._start_servers()
        done("Prometheus, Alertmanager, Pushgateway and the message sink run")
        self._train()
        done("the churn model is trained")
        self._write_past()
        done("four weeks of past are written")
        self._start_service()
        done("the churn service is under traffic and scraped")
        self._start_detector()
        done("the detector scores every signal")
        self._settle()
        done("the start of the service is over")
        self.layout.write_rules()
        self.reload()
        self.supervisor.wait_until("Prometheus to find Alertmanager", self._alerts_have_a_way, 60)
        done("alerts are on")

    def _start_servers(self) -> None:
        at = self.layout
        data, config = at.directory, at.directory / "config"
        self._start(
            "sink",
            *_simulator("sink"),
            f"--smtp-port={at.port('sink:2525')}",
            f"--http-port={at.port('sink:8090')}",
            f"--dir={data / 'messages'}",
        )
        pushgateway = at.addresses["pushgateway:9091"]
        self._start("pushgateway", program("pushgateway"), f"--web.listen-address={pushgateway}")
        self._start(
            "alertmanager",
            program("alertmanager"),
            f"--config.file={config / 'alertmanager.yml'}",
            f"--storage.path={data / 'alertmanager'}",
            f"--web.listen-address={at.addresses['alertmanager:9093']}",
            f"--web.external-url={at.url('alertmanager:9093')}/",
            # One Alertmanager gossips with nobody.
            "--cluster.listen-address=",
        )
        self._start(
            "prometheus",
            program("prometheus"),
            f"--config.file={config / 'prometheus.yml'}",
            f"--storage.tsdb.path={data / 'prometheus'}",
            # The default of 15 days would delete half of the seeded past.
            "--storage.tsdb.retention.time=60d",
            f"--web.listen-address={at.addresses['prometheus:9090']}",
            f"--web.external-url={at.url('prometheus:9090')}/",
            "--web.enable-lifecycle",
            "--web.enable-remote-write-receiver",
            # Serves the runbooks that the alerts link to.
            f"--web.console.templates={ROOT / 'rules' / 'runbooks'}",
        )
        self._wait("sink", f"{at.url('sink:8090')}/healthz")
        for name in ("pushgateway:9091", "alertmanager:9093", "prometheus:9090"):
            self._wait(name, f"{at.url(name)}/-/ready")

    def _train(self) -> None:
        at = self.layout
        command = _simulator("train")
        options = [f"--out={at.directory / 'model'}", f"--pushgateway={at.url('pushgateway:9091')}"]
        self._run("train", *command, *options, f"--seed={self._seed}")

    def _write_past(self) -> None:
        at = self.layout
        self._run(
            "seed",
            *_simulator("seed"),
            f"--url={at.url('prometheus:9090')}",
            f"--model={at.directory / 'model'}",
            f"--recent-interval={_RECENT_INTERVAL[at.profile.name]}",
            f"--phase={self._phase}",
            f"--seed={self._seed}",
        )

    def _start_service(self) -> None:
        at = self.layout
        self._start(
            "churn",
            *_simulator("serve"),
            f"--model={at.directory / 'model'}",
            f"--port={at.port('churn:8000')}",
            f"--control-port={at.port('churn:8001')}",
            f"--token-file={at.token_file}",
            f"--seed={self._seed}",
        )
        self._wait("churn", f"{at.url('churn:8000')}/readyz")
        self._start(
            "traffic",
            *_simulator("run"),
            f"--target={at.url('churn:8000')}",
            f"--port={at.port('traffic:8010')}",
            f"--control-port={at.port('traffic:8011')}",
            f"--token-file={at.token_file}",
            f"--phase={self._phase}",
            f"--seed={self._seed}",
        )
        self._wait("traffic", f"{at.url('traffic:8010')}/healthz")
        at.start_scraping()
        at.write_rules(SIGNAL_RULES)
        self.reload()

    def _start_detector(self) -> None:
        at = self.layout
        command = [_script("detector"), "run", f"--config={at.directory / 'config/detector.yml'}"]
        environment = {**_environment(), "DETECTOR_LISTEN": at.addresses["detector:9112"]}
        self.supervisor.start("detector", command, environment)
        self.supervisor.wait_for("detector", f"{at.url('detector:9112')}/readyz", _FIT_SECONDS)

    def _settle(self) -> None:
        """Wait until no signal is anomalous, at most as long as a start can be seen.

        A process that starts takes CPU and answers its first requests slowly; a rate window and the
        mean over five steps remember that.
        """
        deadline = time.monotonic() + _SETTLE_SECONDS
        watch = Watch(self.layout)
        while watch.look().anomalous() and time.monotonic() < deadline:
            self.supervisor.check()
            time.sleep(_WATCH_SECONDS)

    def reload(self) -> None:
        """Tell Prometheus to read its files again; SourceError when it refuses them."""
        answer = self._http.post(f"{self.layout.url('prometheus:9090')}/-/reload")
        if answer.status_code != httpx.codes.OK:
            raise SourceError(f"Prometheus refused the files: {answer.text.strip()}")

    def _alerts_have_a_way(self) -> bool:
        answer = self._http.get(f"{self.layout.url('prometheus:9090')}/api/v1/alertmanagers")
        return bool(answer.json()["data"]["activeAlertmanagers"])

    def _start(self, name: str, *command: str) -> None:
        self.supervisor.start(name, list(command), _environment())

    def _run(self, name: str, *command: str) -> None:
        self.supervisor.run(name, list(command), _environment())

    def _wait(self, name: str, url: str) -> None:
        self.supervisor.wait_for(name, url, _START_SECONDS)

    def addresses(self) -> str:
        """Return what a user wants to open, one line each."""
        at = self.layout
        lines = {
            "Prometheus": at.url("prometheus:9090"),
            "Alertmanager": at.url("alertmanager:9093"),
            "Pushgateway": at.url("pushgateway:9091"),
            "Churn service": f"{at.url('churn:8000')}/docs",
            "Detector": f"{at.url('detector:9112')}/metrics",
            "Messages": f"{at.url('sink:8090')}/messages",
            "Files and logs": str(at.directory),
        }
        return "\n".join(f"  {name:<15}{value}" for name, value in lines.items())

    def write_environment(self) -> Path:
        """Write a file to source, after which `simulator inject` finds this stack."""
        at = self.layout
        path = at.directory / "env"
        path.write_text(
            f"export SIMULATOR_CHURN_CONTROL={at.url('churn:8001')}\n"
            f"export SIMULATOR_TRAFFIC_CONTROL={at.url('traffic:8011')}\n"
            f"export SIMULATOR_TOKEN_FILE={at.token_file}\n",
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


def _simulator(command: str) -> list[str]:
    return [_script("simulator"), command]


def _script(name: str) -> str:
    """Return the path of a command of this project, beside the running interpreter."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise ConfigError(f"{path} is missing; run: make install")
    return str(path)


def _environment() -> dict[str, str]:
    """Return the environment of the programs: settings of the user's own detector stay out."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("DETECTOR_")}
    return {**own, "PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1,localhost"}
