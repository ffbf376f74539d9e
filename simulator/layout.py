"""Where one stack keeps its files, on which ports it listens, and its copies of the configuration.

The copies are made from the very files that docker-compose.yml mounts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from detector.errors import ConfigError
from simulator.control import control_token
from simulator.processes import PortReservations
from simulator.scaling import Places, Profile, relocate, render
from simulator.tools import ROOT

# Names and ports as docker-compose.yml has them; a native stack listens elsewhere.
COMPOSE_ADDRESSES = (
    "prometheus:9090",
    "alertmanager:9093",
    "pushgateway:9091",
    "churn:8000",
    "traffic:8010",
    "detector:9112",
    "notify:9114",
    "sink:8090",
    "sink:2525",
)
# Read by no file, only passed on the command line.
CONTROL_ADDRESSES = ("churn:8001", "traffic:8011")
# How links in alerts name Prometheus, whose port compose publishes.
PUBLISHED = {"localhost:9090": "prometheus:9090"}

# A link to the dashboard, and the label and template of each of its variables.
_DASHBOARD = re.compile(r"http://localhost:3000/d/[a-z-]+(?:[?&]var-\w+=\{\{.*?\}\})*")
_VARIABLE = re.compile(r"var-(\w+)=(\{\{.*?\}\})")

SIGNAL_RULES = "signals.rules.yml"
_RULES = ROOT / "rules"
_CONFIG = ROOT / "simulator" / "config"
_DATA = ("alertmanager", "messages", "model", "notify", "prometheus")
_TEXTS = ("config", "logs", "rules", "secrets")
# Says that a directory is ours to empty.
_MARK = "stack.lock"


@dataclass(frozen=True)
class Layout:
    """Directory and addresses of one stack.

    Parameters
    ----------
    directory : Path
        Absolute.
    addresses : dict
        Host and port by the name that compose uses.
    profile : Profile
    """

    directory: Path
    addresses: dict[str, str]
    profile: Profile

    @property
    def token_file(self) -> Path:
        """File with the token of fault injection."""
        return self.directory / "secrets" / "control_token"

    def url(self, name: str) -> str:
        """Return the URL of a listener, such as ``prometheus:9090``."""
        return f"http://{self.addresses[name]}"

    def port(self, name: str) -> str:
        """Return the port of a listener."""
        return self.addresses[name].rpartition(":")[2]

    def places(self) -> Places:
        """Return what has to be replaced in the shipped files."""
        published = {name: self.addresses[target] for name, target in PUBLISHED.items()}
        return Places(
            addresses={**self.addresses, **published},
            paths={
                "/etc/prometheus/rules/": f"{self.directory}/rules/",
                "/etc/alertmanager/templates/": f"{ROOT}/alertmanager/templates/",
                "/run/secrets/": f"{self.directory}/secrets/",
                "/var/lib/notify": f"{self.directory}/notify",
            },
        )

    def write_configuration(self) -> None:
        """Write all files but the rules; Prometheus' first configuration scrapes only itself."""
        configuration = {
            "prometheus.yml": _CONFIG / "prometheus.yml",
            "detector.yml": _CONFIG / "detector.yml",
            "alertmanager.yml": ROOT / "alertmanager" / "alertmanager.yml",
        }
        for name, source in configuration.items():
            (self.directory / "config" / name).write_text(self._rendered(source), encoding="utf-8")
        for source in sorted((_CONFIG / "sink").iterdir()):
            text = relocate(source.read_text(encoding="utf-8"), self.places())
            (self.directory / "secrets" / source.name).write_text(text, encoding="utf-8")
        control_token(self.token_file)
        whole = self.directory / "config" / "prometheus.yml"
        document: dict[str, Any] = yaml.safe_load(whole.read_text(encoding="utf-8"))
        bare = {key: document[key] for key in ("global", "storage")}
        bare["scrape_configs"] = [
            job for job in document["scrape_configs"] if job["job_name"] == "prometheus"
        ]
        whole.rename(self.directory / "config" / "prometheus.whole.yml")
        whole.write_text(yaml.safe_dump(bare), encoding="utf-8")

    def start_scraping(self) -> None:
        """Put Prometheus' whole configuration in the place of the first one."""
        directory = self.directory / "config"
        (directory / "prometheus.whole.yml").replace(directory / "prometheus.yml")

    def write_rules(self, *names: str) -> bool:
        """Write copies of rule files (default: all); returns whether any of them is new or changed.

        A file that is no YAML is copied as it is: Prometheus refuses it and says so.
        """
        changed = False
        for source in sorted(_RULES.glob("*.rules.yml")):
            if names and source.name not in names:
                continue
            try:
                text = self._rendered(source)
            except ConfigError:
                text = source.read_text(encoding="utf-8", errors="replace")
            copy = self.directory / "rules" / source.name
            if not copy.exists() or copy.read_text(encoding="utf-8") != text:
                copy.write_text(text, encoding="utf-8")
                changed = True
        return changed

    def remove_data(self) -> None:
        """Delete what only the running stack needed; configuration, logs and messages stay."""
        for name in _DATA:
            if name != "messages":
                shutil.rmtree(self.directory / name, ignore_errors=True)

    def _rendered(self, source: Path) -> str:
        try:
            text = source.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {source}: {error}") from error
        text = _as_graphs(text, self.url("prometheus:9090"))
        return render(text, self.profile, self.places(), str(source))


def make_layout(directory: Path, profile: Profile, ports: PortReservations) -> Layout:
    """Lay out a claimed directory; what an earlier stack left in it is deleted.

    Raises
    ------
    ConfigError
        When the project's files are not there.
    """
    if not _RULES.is_dir():
        raise ConfigError("the example stack runs from a checkout of the project; clone it first")
    for name in (*_DATA, *_TEXTS):
        shutil.rmtree(directory / name, ignore_errors=True)
        (directory / name).mkdir(mode=0o700 if name == "secrets" else 0o755)
    addresses = {
        name: f"127.0.0.1:{ports.reserve()}" for name in (*COMPOSE_ADDRESSES, *CONTROL_ADDRESSES)
    }
    layout = Layout(directory, addresses, profile)
    layout.write_configuration()
    return layout


def _as_graphs(text: str, prometheus: str) -> str:
    """Return rules with graphs of Prometheus for Grafana's dashboard, which is not served here."""

    def graph(link: re.Match[str]) -> str:
        matchers = "".join(
            quote(f',{label}="') + template + quote('"')
            for label, template in _VARIABLE.findall(link[0])
        )
        expression = quote('{__name__=~"anomaly_(observed|expected|lower|upper)"')
        expression = f"{expression}{matchers}{quote('}')}" if matchers else "anomaly_score"
        return f"{prometheus}/graph?g0.expr={expression}&g0.tab=0&g0.range_input=1h"

    return _DASHBOARD.sub(graph, text)


@contextlib.contextmanager
def claimed(directory: Path) -> Iterator[Path]:
    """Make a directory ours, and only ours, inside the block; yields its absolute path.

    Raises
    ------
    ConfigError
        When a stack runs in it, it holds something else, or it cannot be made.
    """
    directory = directory.resolve()
    mark = directory / _MARK
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not mark.exists() and any(directory.iterdir()):
            raise ConfigError(
                f"{directory} holds something else; name an empty directory with --dir"
            )
        opened = mark.open("a+")
    except OSError as error:
        raise ConfigError(f"--dir {directory}: cannot be used ({error.strerror})") from None
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"a stack is running in {directory}; stop it first") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield directory


def owner(directory: Path) -> int | None:
    """Return the process id of the stack that runs in a directory, None when there is none."""
    try:
        with (directory / _MARK).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read())
    except (FileNotFoundError, ValueError):
        pass
    return None
