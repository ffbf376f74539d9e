"""Memory and CPU of reading a long past: `detector run` and its Prometheus, from idle to steady.

    python tests/bench/reading.py [--series 1000] [--signals 1] [--out reading.json]

One Prometheus serves four weeks at one minute from a block. `read` calls the client alone, on the
profile grid and on a week of steps, in a process of its own; `run` is the command with all series
in the given number of signals, beside the same on one series. The detector's peak is VmHWM, that
of Prometheus its anonymous memory above the start, looked at 50 times a second: the samples' file
is mapped. CPU is that of the process and what Prometheus spent meanwhile. `--keep` leaves the
samples, and takes over those of an earlier run that reach far enough. Takes three minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml
from cost_inputs import DAY, HOUR, MINUTE, SIGNALS, Inputs
from shared_bench import ROOT
from table import show
from whole_cost import CHUNK_SECONDS, Server, cpu_seconds, resident_mib

from detector.errors import DetectorError
from detector.remote_write import RemoteWriter
from detector.write_request import TimeSeries
from simulator.processes import Interrupted, PortReservations, Supervisor, interruptible

METRIC = "bench:requests:rate5m"
# Samples reach into the future, so that nothing has to be fed while a detector runs.
AHEAD_SECONDS = 4 * HOUR
GRIDS = {"28 d at 5 min": (28 * DAY, 300), "7 d at 1 min": (7 * DAY, 60)}
CALL = """
import json, sys, time
from detector.prometheus import Prometheus
from detector.settings import PrometheusSettings
def peak():
    lines = open('/proc/self/status').read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith('VmHWM'))
url, query, start, end, step, limit = sys.argv[1:]
source = Prometheus(PrometheusSettings(url=url))
source.read(((query, ()),), int(end), int(end), int(step), int(limit))
idle, cpu, began = peak(), time.process_time(), time.monotonic()
reading = source.read(((query, ()),), int(start), int(end), int(step), int(limit))
print(json.dumps({'samples': reading.samples, 'cpu': time.process_time() - cpu,
    'peak_mib': peak() - idle, 'seconds': time.monotonic() - began}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=1_000)
    parser.add_argument("--signals", type=int, choices=(1, SIGNALS), default=1)
    parser.add_argument("--steady", type=int, default=70, help="seconds from ready to steady")
    parser.add_argument("--dir", type=Path, default=ROOT / ".run", help="its folder `read` is ours")
    parser.add_argument("--keep", action="store_true", help="keep and take over the samples")
    parser.add_argument("--only", choices=("read", "run"))
    parser.add_argument("--out", type=Path, help="JSON with the figures")
    options = parser.parse_args()
    directory = options.dir.resolve() / "read"
    ports = PortReservations()
    try:
        with interruptible(), Supervisor(directory / "logs") as supervisor:
            figures = Run(options, directory, supervisor, ports).run()
    except DetectorError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except Interrupted:
        return 130
    finally:
        ports.close()
        if not options.keep:
            shutil.rmtree(directory / "data", ignore_errors=True)
    report(figures)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 0


class Run:
    """One measurement from the past to the figures."""

    def __init__(
        self,
        options: argparse.Namespace,
        directory: Path,
        supervisor: Supervisor,
        ports: PortReservations,
    ) -> None:
        self.options = options
        self.directory = directory
        self.supervisor = supervisor
        self.ports = ports
        self.inputs = Inputs(options.series)
        self.client = httpx.Client(timeout=120, trust_env=False)
        self.began = time.monotonic()

    def run(self) -> dict[str, Any]:
        """Seed, read, run."""
        data = self.directory / "data"
        wanted = {"series": self.options.series, "until": time.time() + HOUR}
        seeded = self.directory / "data" / "seeded.json"
        known = json.loads(seeded.read_text()) if seeded.exists() else {}
        if known.get("series") != wanted["series"] or known["until"] < wanted["until"]:
            shutil.rmtree(data, ignore_errors=True)
            until = self._seed(data)
            seeded.write_text(json.dumps(wanted | {"until": until}), encoding="utf-8")
            self._say("the past is written")
        figures: dict[str, Any] = {"series": self.options.series, "signals": self.options.signals}
        if self.options.only != "run":
            figures["read"] = {name: self._read(name) for name in GRIDS}
        if self.options.only != "read":
            one = f'{METRIC}{{n="0"}}'
            # The first may have to compile, which takes memory of its own.
            self._detector(one, 1, 0)
            figures["idle"] = self._detector(one, 1, 10)
            figures["run"] = self._detector(METRIC, self.options.signals, self.options.steady)
        return figures

    def _seed(self, data: Path) -> int:
        """Write the past as one block; return until when it reaches."""
        server = self._server("seed", self.directory / "seed")
        whole = ["--storage.tsdb.min-block-duration=90d", "--storage.tsdb.max-block-duration=90d"]
        server.start(self.supervisor, {}, *whole, "--web.enable-admin-api")
        writer = RemoteWriter(
            f"{server.url}/api/v1/write", self.client, clock=lambda: time.time() + 2 * AHEAD_SECONDS
        )
        until = int(time.time() + AHEAD_SECONDS) // MINUTE * MINUTE
        for start in range(until - 29 * DAY, until, CHUNK_SECONDS):
            times = np.arange(start, min(start + CHUNK_SECONDS, until), MINUTE)
            rows = enumerate(self.inputs.values(times))
            written = writer.write(
                [TimeSeries(self._labels(i), times * 1000, row) for i, row in rows]
            )
            assert not written.rejected, written.rejected
            self.supervisor.check()
        answer = self.client.post(f"{server.url}/api/v1/admin/tsdb/snapshot").json()
        snapshot = server.directory / "data" / "snapshots" / answer["data"]["name"]
        shutil.copytree(snapshot, data, copy_function=os.link)
        self.supervisor.stop()
        shutil.rmtree(server.directory)
        return until

    def _labels(self, i: int) -> dict[str, str]:
        return {**self.inputs.labels(METRIC, i), "n": str(i), "part": str(i % SIGNALS)}

    def _server(self, name: str, directory: Path) -> Server:
        shutil.rmtree(directory, ignore_errors=True)
        return Server(name, directory, self.ports.reserve())

    def _fresh(self) -> Server:
        """Return a server that has answered nothing yet."""
        server = self._server("served", self.directory / "served")
        server.directory.mkdir(parents=True)
        shutil.copytree(self.directory / "data", server.directory / "data", copy_function=os.link)
        server.start(self.supervisor, {})
        return server

    def _read(self, grid: str) -> dict[str, float]:
        """Read all series on one grid in a process of its own."""
        span, step = GRIDS[grid]
        end = int(time.time()) // step * step
        server = self._fresh()
        pid = _pid(server)
        spent = cpu_seconds(pid)
        watched = Watched(pid)
        arguments = [server.url, METRIC, end - span + step, end, step, self.options.series]
        command = [sys.executable, "-c", CALL, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout)
        found["prometheus_cpu"] = cpu_seconds(pid) - spent
        found["prometheus_peak_mib"] = watched.peak()
        self.supervisor.stop()
        self._say(f"read {grid}: {found}")
        return found

    def _detector(self, query: str, signals: int, steady: int) -> dict[str, float]:
        """Run the command on a server of its own; return its memory, and the server's."""
        server, listen = self._fresh(), f"127.0.0.1:{self.ports.reserve()}"
        parts = [f'{METRIC}{{part="{i}"}}' for i in range(signals)] if signals > 1 else [query]
        content = {
            "prometheus": {"url": server.url, "timeout": "2m"},
            "listen": listen,
            "signals": [
                {"name": f"bench_{i}", "kind": "traffic", "query": part}
                for i, part in enumerate(parts)
            ],
            "max_series": self.options.series,
        }
        config = self.directory / "detector.yml"
        config.write_text(yaml.safe_dump(content), encoding="utf-8")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DETECTOR_")}
        start = "from detector.cli import main; main()"
        command = [sys.executable, "-c", start, "run", f"--config={config}"]
        pid = _pid(server)
        spent, watched = cpu_seconds(pid), Watched(pid)
        began = time.monotonic()
        detector = self.supervisor.start("detector run", command, environment)
        own = detector.process.pid

        def ready() -> bool:
            try:
                return self.client.get(f"http://{listen}/readyz", timeout=5).is_success
            except httpx.HTTPError:
                return False

        self.supervisor.wait_until("the detector's first scores", ready, 900, pause=0.2)
        found = {
            "seconds": time.monotonic() - began,
            "cpu": cpu_seconds(own),
            "peak_mib": _mib(own, "VmHWM"),
            "ready_mib": resident_mib(own),
            "prometheus_cpu": cpu_seconds(pid) - spent,
            "prometheus_peak_mib": watched.peak(),
        }
        time.sleep(steady)
        self.supervisor.check()
        text = self.client.get(f"http://{listen}/metrics").text
        samples = re.search(r"^detector_samples_read_total (\S+)", text, re.MULTILINE)
        assert samples is not None
        found |= {"steady_mib": resident_mib(own), "samples": float(samples[1])}
        self.supervisor.stop()
        self._say(f"run {query}: {found}")
        return found

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self.began:6.0f} s  {what}", file=sys.stderr, flush=True)


class Watched:
    """The most anonymous memory a process has, above that at the start."""

    def __init__(self, pid: int) -> None:
        self._most = self._first = _mib(pid, "RssAnon")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(pid,), daemon=True)
        self._thread.start()

    def peak(self) -> float:
        """Stop watching; return MiB."""
        self._done.set()
        self._thread.join()
        return self._most - self._first

    def _watch(self, pid: int) -> None:
        while not self._done.wait(0.02):
            self._most = max(self._most, _mib(pid, "RssAnon"))


def report(figures: dict[str, Any]) -> None:
    """Print the tables."""
    count = figures["series"]
    if "read" in figures:
        show(
            f"Reading {count:,} series with the client alone",
            ["", "M samples", "CPU-us a sample", "its Prometheus", "peak KiB a series",
             "its Prometheus", "seconds"],
            [
                [
                    name,
                    one["samples"] / 1e6,
                    1e6 * one["cpu"] / one["samples"],
                    1e6 * one["prometheus_cpu"] / one["samples"],
                    1024 * one["peak_mib"] / count,
                    1024 * one["prometheus_peak_mib"] / count,
                    one["seconds"],
                ]
                for name, one in figures["read"].items()
            ],
        )  # fmt: skip
    if "run" in figures:
        idle, run = figures["idle"], figures["run"]
        show(
            f"detector run, {count:,} series in {figures['signals']} signal(s), and one series",
            ["", "one series", "all", "KiB a series"],
            [
                [name, idle[key], run[key], 1024 * (run[key] - idle[key]) / count]
                for name, key in (
                    ("peak MiB", "peak_mib"),
                    ("MiB when ready", "ready_mib"),
                    ("MiB when steady", "steady_mib"),
                    ("its Prometheus, peak MiB", "prometheus_peak_mib"),
                )
            ]
            + [
                [name, idle[key], run[key], None]
                for name, key in (
                    ("CPU-s until ready", "cpu"),
                    ("its Prometheus, CPU-s", "prometheus_cpu"),
                    ("seconds until ready", "seconds"),
                )
            ],
        )


def _pid(server: Server) -> int:
    assert server.child is not None
    return server.child.process.pid


def _mib(pid: int, name: str) -> float:
    """Return a figure of a process's memory."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
