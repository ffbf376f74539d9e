"""Finds and runs the programs the tests drive; one that is missing is a failure, never a skip."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent
# Debian's names beside those of the projects themselves.
_OTHER_NAMES = {
    "alertmanager": "prometheus-alertmanager",
    "pushgateway": "prometheus-pushgateway",
    "chromium": "chromium-headless-shell",
    "node_exporter": "prometheus-node-exporter",
    "prometheus-alertmanager": "alertmanager",
    "prometheus-pushgateway": "pushgateway",
}


def tool(name: str) -> str:
    """Return the path of a program: from PATH, else from what `make` unpacked into .tools.

    Parameters
    ----------
    name : str
        As the project calls it, such as ``promtool`` or ``alertmanager``.
    """
    names = [name, *filter(None, [_OTHER_NAMES.get(name)])]
    unpacked = [ROOT / ".tools" / "bin", ROOT / ".tools" / "usr" / "bin"]
    for where in [None, *(str(directory) for directory in unpacked)]:
        for known in names:
            if found := shutil.which(known, path=where):
                return found
    raise FileNotFoundError(
        f"{' or '.join(names)} is neither on PATH nor in .tools; run `make test`, which fetches it"
    )


def run(name: str, *arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it printed and its exit code."""
    command = [tool(name), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(name: str, directory: Path, *flags: str) -> Iterator[httpx.Client]:
    """Run prometheus, alertmanager or pushgateway; yield a client of it, and end it afterwards.

    Parameters
    ----------
    name : str
        The program.
    directory : Path
        An empty one of the test; the log goes to ``<name>.log`` there.
    *flags : str
        Its command line, without the listen address: that is a free loopback port.
    """
    port = free_port()
    log = directory / f"{name}.log"
    command = [tool(name), *flags, f"--web.listen-address=127.0.0.1:{port}"]
    with log.open("w") as output, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 20
            while not _ready(client):
                assert process.poll() is None, log.read_text(encoding="utf-8")
                assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
                time.sleep(0.05)
            yield client
        finally:
            process.terminate()
            process.wait(20)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False
