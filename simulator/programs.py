"""The command line of every program of a native stack."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from detector.errors import ConfigError
from simulator.layout import Layout
from simulator.tools import ROOT, program

# Spacing of the end of the seeded past: the scrape interval of the profile.
_RECENT_INTERVAL = {"fast": "5s", "production": "15s"}
# Median delay of labels, age at which nearly all have arrived, and whose predictions are measured.
_LABEL_DELAY = {"fast": "10s", "production": "10m"}
_MATURITY = {"fast": "30s", "production": "30m"}
_PERFORMANCE_WINDOW = {"fast": "1m", "production": "1h"}
_PERFORMANCE_REFRESH = {"fast": "5s", "production": "1m"}


@dataclass(frozen=True)
class Chance:
    """What traffic, past and model are drawn from.

    Parameters
    ----------
    phase : float
        Seconds added to the clock before the traffic curve is read.
    seed : int
    """

    phase: float
    seed: int


def _sink(at: Layout, _: Chance) -> list[str]:
    return [
        *_own("simulator", "sink"),
        f"--smtp-port={at.port('sink:2525')}",
        f"--http-port={at.port('sink:8090')}",
        f"--dir={at.directory / 'messages'}",
    ]


def _pushgateway(at: Layout, _: Chance) -> list[str]:
    return [program("pushgateway"), f"--web.listen-address={at.addresses['pushgateway:9091']}"]


def _alertmanager(at: Layout, _: Chance) -> list[str]:
    return [
        program("alertmanager"),
        f"--config.file={at.directory / 'config' / 'alertmanager.yml'}",
        f"--storage.path={at.directory / 'alertmanager'}",
        f"--web.listen-address={at.addresses['alertmanager:9093']}",
        f"--web.external-url={at.url('alertmanager:9093')}/",
        # One Alertmanager gossips with nobody.
        "--cluster.listen-address=",
    ]


def _prometheus(at: Layout, _: Chance) -> list[str]:
    return [
        program("prometheus"),
        f"--config.file={at.directory / 'config' / 'prometheus.yml'}",
        f"--storage.tsdb.path={at.directory / 'prometheus'}",
        # The default of 15 days would delete half of the seeded past.
        "--storage.tsdb.retention.time=60d",
        f"--web.listen-address={at.addresses['prometheus:9090']}",
        f"--web.external-url={at.url('prometheus:9090')}/",
        "--web.enable-lifecycle",
        "--web.enable-remote-write-receiver",
        # Serves the runbooks that the alerts link to.
        f"--web.console.templates={ROOT / 'rules' / 'runbooks'}",
    ]


def _train(at: Layout, chance: Chance) -> list[str]:
    return [
        *_own("simulator", "train"),
        f"--out={at.directory / 'model'}",
        f"--pushgateway={at.url('pushgateway:9091')}",
        f"--seed={chance.seed}",
    ]


def _seed(at: Layout, chance: Chance) -> list[str]:
    return [
        *_own("simulator", "seed"),
        f"--url={at.url('prometheus:9090')}",
        f"--model={at.directory / 'model'}",
        f"--recent-interval={_RECENT_INTERVAL[at.profile.name]}",
        f"--label-maturity={_MATURITY[at.profile.name]}",
        f"--performance-window={_PERFORMANCE_WINDOW[at.profile.name]}",
        f"--phase={chance.phase}",
        f"--seed={chance.seed}",
    ]


def _churn(at: Layout, chance: Chance) -> list[str]:
    return [
        *_own("simulator", "serve"),
        f"--model={at.directory / 'model'}",
        f"--port={at.port('churn:8000')}",
        f"--control-port={at.port('churn:8001')}",
        f"--token-file={at.token_file}",
        f"--feedback-dir={at.directory / 'feedback'}",
        f"--label-maturity={_MATURITY[at.profile.name]}",
        f"--performance-window={_PERFORMANCE_WINDOW[at.profile.name]}",
        f"--performance-refresh={_PERFORMANCE_REFRESH[at.profile.name]}",
        f"--seed={chance.seed}",
    ]


def _traffic(at: Layout, chance: Chance) -> list[str]:
    return [
        *_own("simulator", "run"),
        f"--target={at.url('churn:8000')}",
        f"--label-delay={_LABEL_DELAY[at.profile.name]}",
        f"--port={at.port('traffic:8010')}",
        f"--control-port={at.port('traffic:8011')}",
        f"--token-file={at.token_file}",
        f"--phase={chance.phase}",
        f"--seed={chance.seed}",
    ]


def _detector(at: Layout, _: Chance) -> list[str]:
    return [*_own("detector", "run"), f"--config={at.directory / 'config' / 'detector.yml'}"]


def _notify(at: Layout, _: Chance) -> list[str]:
    return [*_own("detector", "notify"), f"--config={at.directory / 'config' / 'detector.yml'}"]


COMMANDS: dict[str, Callable[[Layout, Chance], list[str]]] = {
    "sink": _sink,
    "pushgateway": _pushgateway,
    "alertmanager": _alertmanager,
    "prometheus": _prometheus,
    "train": _train,
    "seed": _seed,
    "churn": _churn,
    "traffic": _traffic,
    "detector": _detector,
    "notify": _notify,
}


def environment(at: Layout) -> dict[str, str]:
    """Return the environment of the programs: settings of the user's own detector stay out."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("DETECTOR_")}
    return {
        **own,
        "DETECTOR_LISTEN": at.addresses["detector:9112"],
        "DETECTOR_NOTIFY__LISTEN": at.addresses["notify:9114"],
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def _own(name: str, command: str) -> list[str]:
    """Return a command of this project, installed beside the running interpreter."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise ConfigError(f"{path} is missing; run: make install")
    return [str(path), command]
