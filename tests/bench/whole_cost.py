"""Whole cost beside the Grafana rules: four Prometheus servers with the same series, in one run.

    python tests/bench/whole_cost.py [--series 2000] [--seconds 300] [--out whole_cost.json]

`none` only takes the samples in; `adaptive` and `robust` evaluate the rules of grafana_rules.py;
`detector` is read by `detector run` and scrapes its anomaly_* once a minute, with the shipped
alerting rules loaded. The detector pays for its own process and for what its server spends above
`none`. All servers get 28 days of past at one minute: older than two hours as a block (written by
remote write and taken as a snapshot), the rest into the head, the series the rules look back at
included; then one sample a series and minute. CPU from /proc over the window, memory its mean.
Takes about ten minutes and some gigabytes below `.run`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grafana_rules
import httpx
import numpy as np
import yaml
from cost_inputs import DAY, HOUR, MINUTE, SIGNALS, Inputs
from grafana_rules import INPUT
from shared_bench import ROOT
from table import show

from detector.errors import DetectorError
from detector.remote_write import RemoteWriter
from detector.write_request import TimeSeries
from simulator.processes import Child, Interrupted, PortReservations, Supervisor, interruptible
from simulator.tools import program

HEAD_SECONDS = 2 * HOUR
# Recorded samples end here: a group's first evaluation may lie up to a minute back.
RULES_LEAD = 2 * MINUTE
CHUNK_SECONDS = 6 * HOUR
# A head takes nothing that is an hour older than its newest sample.
SLICE_SECONDS = HOUR // 2
SERVERS = ("none", "detector", "adaptive", "robust")
TICK = os.sysconf("SC_CLK_TCK")
COMMON = {"global": {"evaluation_interval": "1m", "scrape_interval": "1m"}}


@dataclass
class Server:
    """One Prometheus: its address and its process."""

    name: str
    directory: Path
    port: int
    child: Child | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def configure(self, config: dict[str, Any]) -> None:
        """Write its configuration, which it reads at its start and when told to."""
        content = COMMON | {"rule_files": [f"{self.directory}/*.rules.yml"]} | config
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump(content), encoding="utf-8")

    def start(self, supervisor: Supervisor, *flags: str) -> None:
        """Start it on its own directory and wait until it is ready."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.configure({})
        command = [
            program("prometheus"),
            f"--config.file={self.directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            "--storage.tsdb.retention.time=90d",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-lifecycle",
            "--web.enable-remote-write-receiver",
            *flags,
        ]
        self.child = supervisor.start(self.name, command)
        supervisor.wait_for(self.name, f"{self.url}/-/ready", 60)

    def query(self, client: httpx.Client, expression: str) -> float:
        """Return the value of an instant query, 0 when it has none."""
        answer = client.get(f"{self.url}/api/v1/query", params={"query": expression}).json()
        found = answer["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=2_000)
    parser.add_argument("--seconds", type=int, default=300, help="the measured window")
    parser.add_argument("--warm-up", type=int, default=90, help="seconds before the window")
    parser.add_argument("--days", type=int, default=28, help="days of past, at least 8")
    parser.add_argument("--dir", type=Path, default=ROOT / ".run", help="its folder `cost` is ours")
    parser.add_argument("--out", type=Path, help="JSON with the figures")
    options = parser.parse_args()
    directory = options.dir.resolve() / "cost"
    shutil.rmtree(directory, ignore_errors=True)
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
        # Logs and configurations stay, gigabytes of samples do not.
        for samples in (directory / "block", *directory.glob("*/data")):
            shutil.rmtree(samples, ignore_errors=True)
    report(figures)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return int(bool(figures["problems"]))


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
        self.inputs = Inputs(options.series)
        self.client = httpx.Client(timeout=120, trust_env=False)
        self.ports = ports
        self.servers = {name: Server(name, directory / name, ports.reserve()) for name in SERVERS}
        self.fed = 0
        self.began = time.monotonic()

    def run(self) -> dict[str, Any]:
        """Seed, start, warm up, measure."""
        split = int(time.time()) // MINUTE * MINUTE - HEAD_SECONDS
        block = self._seed(split)
        self._say("the past is written")
        listen = f"127.0.0.1:{self.ports.reserve()}"
        for server in self.servers.values():
            (server.directory / "data").mkdir(parents=True)
            shutil.copytree(block, server.directory / "data" / block.name, copy_function=os.link)
            server.start(self.supervisor)
        self._write_head(split)
        # Not before: a scrape is a sample of now, beside which the past would be too old.
        self.servers["detector"].configure(_scraping(listen))
        self._load_rules()
        self._say("four servers run, rules are on")
        start_up, detector = self._start_detector(listen)
        self._say("the detector is ready")
        self._wait(self.options.warm_up)
        window = self._measure(detector)
        self._say("measured")
        return self._figures(window, start_up, listen)

    def _seed(self, split: int) -> Path:
        """Write the past before `split` to a server of its own; return it as one block."""
        server = Server("seed", self.directory / "seed", self.ports.reserve())
        # One block for all: the head is not compacted while it is written.
        whole = ["--storage.tsdb.min-block-duration=90d", "--storage.tsdb.max-block-duration=90d"]
        server.start(self.supervisor, *whole, "--web.enable-admin-api")
        writer = RemoteWriter(f"{server.url}/api/v1/write", self.client)
        first = split - self.options.days * DAY
        for start in range(first, split, CHUNK_SECONDS):
            times = np.arange(start, min(start + CHUNK_SECONDS, split), MINUTE)
            written = writer.write(list(self._samples(times, split + HEAD_SECONDS)))
            assert not written.rejected, written.rejected
            self.supervisor.check()
        answer = self.client.post(f"{server.url}/api/v1/admin/tsdb/snapshot").json()
        snapshot = server.directory / "data" / "snapshots" / answer["data"]["name"]
        (block,) = (path for path in snapshot.iterdir() if path.is_dir())
        kept = self.directory / "block" / block.name
        shutil.copytree(block, kept, copy_function=os.link)
        self.supervisor.stop()
        shutil.rmtree(server.directory)
        return kept

    def _samples(self, times: np.ndarray, now: int) -> Iterator[TimeSeries]:
        """Yield inputs, and recorded series where rules will look back at them from `now`."""
        values = self.inputs.values(times)
        yield from self._of(INPUT, times, values)
        for name, past in grafana_rules.recorded().items():
            keep = times % past.every == 0
            keep &= np.any(
                [(times >= now - a) & (times <= now - b) for a, b in past.windows]
                or [np.zeros(len(times), bool)],
                axis=0,
            )
            if keep.any():
                yield from self._recorded(name, past, times[keep], values[:, keep])

    def _recorded(
        self, name: str, past: grafana_rules.Recorded, times: np.ndarray, values: np.ndarray
    ) -> Iterator[TimeSeries]:
        rows = self.inputs.bursty if past.bursty_only else self.inputs.series
        yield from self._of(name, times, past.like(values[:rows]))

    def _of(self, name: str, times: np.ndarray, values: np.ndarray) -> Iterator[TimeSeries]:
        milliseconds = times * 1000
        for i, row in enumerate(values):
            yield TimeSeries(self.inputs.labels(name, i), milliseconds, row)

    def _write_head(self, split: int) -> None:
        """Write what is younger than the block: inputs everywhere, recorded series to their own."""
        now = int(time.time()) // MINUTE * MINUTE
        for start in range(split, now + MINUTE, SLICE_SECONDS):
            times = np.arange(start, min(start + SLICE_SECONDS, now + MINUTE), MINUTE)
            values = self.inputs.values(times)
            for name, server in self.servers.items():
                series = list(self._of(INPUT, times, values))
                for metric, past in grafana_rules.recorded().items():
                    if metric.startswith(name):
                        keep = (times % past.every == 0) & (times <= now - RULES_LEAD)
                        series += self._recorded(metric, past, times[keep], values[:, keep])
                self._write(server, series)
        self.fed = now

    def _write(self, server: Server, series: list[TimeSeries]) -> None:
        written = RemoteWriter(f"{server.url}/api/v1/write", self.client).write(series)
        assert not written.rejected, (server.name, written.rejected)

    def _feed(self) -> None:
        """Write the minutes that have passed since the last call to every server."""
        now = int(time.time()) // MINUTE * MINUTE
        if now <= self.fed:
            return
        times = np.arange(self.fed + MINUTE, now + MINUTE, MINUTE)
        series = list(self._of(INPUT, times, self.inputs.values(times)))
        for server in self.servers.values():
            self._write(server, series)
        self.fed = now

    def _load_rules(self) -> None:
        contents = {
            "adaptive": yaml.safe_dump(grafana_rules.adaptive(), width=1000),
            "robust": yaml.safe_dump(grafana_rules.robust(), width=1000),
            "detector": (ROOT / "rules" / "anomaly.rules.yml").read_text(encoding="utf-8"),
        }
        for name, content in contents.items():
            server = self.servers[name]
            (server.directory / f"{name}.rules.yml").write_text(content, encoding="utf-8")
            answer = self.client.post(f"{server.url}/-/reload")
            assert answer.is_success, answer.text

    def _start_detector(self, listen: str) -> tuple[dict[str, float], Child]:
        """Start the detector; return what reading and fitting the past cost, and its process."""
        config = self.directory / "detector.yml"
        signals = [
            {
                "name": f"bench_{i}",
                "kind": "traffic",
                "query": f'{INPUT}{{anomaly_name="bench_{i}"}}',
            }
            for i in range(SIGNALS)
        ]
        content = {
            "prometheus": {"url": self.servers["detector"].url},
            "listen": listen,
            "history": f"{self.options.days}d",
            "signals": signals,
            "max_series": max(self.options.series, 1),
        }
        config.write_text(yaml.safe_dump(content), encoding="utf-8")
        command = [str(Path(sys.executable).with_name("detector")), "run", f"--config={config}"]
        before = {name: self._cpu(name) for name in ("none", "detector")}
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DETECTOR_")}
        detector = self.supervisor.start("detector run", command, environment)
        self._until_ready(listen)
        spent = {name: self._cpu(name) - before[name] for name in before}
        return {
            "detector": cpu_seconds(detector.process.pid),
            "prometheus": spent["detector"] - spent["none"],
        }, detector

    def _until_ready(self, listen: str) -> None:
        """Wait for the first scores of every signal, and feed meanwhile."""

        def ready() -> bool:
            self._feed()
            try:
                return self.client.get(f"http://{listen}/readyz", timeout=5).is_success
            except httpx.HTTPError:
                return False

        self.supervisor.wait_until("the detector's first scores", ready, 900, pause=1.0)

    def _wait(self, seconds: float) -> None:
        """Let time pass; minutes are fed, and a program that ends is noticed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._feed()
            self.supervisor.check()
            time.sleep(min(1.0, max(deadline - time.monotonic(), 0)))

    def _measure(self, detector: Child) -> dict[str, dict[str, float]]:
        """Return CPU seconds and mean resident MiB of every process over the window."""
        pids = {name: self._pid(name) for name in SERVERS} | {"process": detector.process.pid}
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        rss: dict[str, list[float]] = {name: [] for name in pids}
        began = time.monotonic()
        while (left := began + self.options.seconds - time.monotonic()) > 0:
            self._wait(min(10.0, left))
            for name, pid in pids.items():
                rss[name].append(resident_mib(pid))
        return {
            name: {
                "cpu_seconds": cpu_seconds(pid) - before[name],
                "rss_mib": statistics.fmean(rss[name]),
            }
            for name, pid in pids.items()
        }

    def _figures(
        self, window: dict[str, dict[str, float]], start_up: dict[str, float], listen: str
    ) -> dict[str, Any]:
        count = self.options.series
        per = 1000 / count / (self.options.seconds / MINUTE)
        none = window["none"]

        def above(name: str) -> dict[str, float]:
            return {
                # Ticks of 10 ms carry no more digits.
                "cpu_ms": round(per * (window[name]["cpu_seconds"] - none["cpu_seconds"]), 4),
                "rss_mib": window[name]["rss_mib"] - none["rss_mib"],
            }

        own = {
            "cpu_ms": per * window["process"]["cpu_seconds"],
            "rss_mib": window["process"]["rss_mib"],
        }
        # Once a day everything is read and fitted again; the start of the process is in it.
        refit = {"cpu_ms": 1000 * sum(start_up.values()) / count / (DAY / MINUTE), "rss_mib": 0.0}
        parts = {
            "detector: its process": own,
            "detector: its Prometheus": above("detector"),
            "detector: a refit a day": refit,
        }
        whole = {key: sum(part[key] for part in parts.values()) for key in ("cpu_ms", "rss_mib")}
        return {
            "series": count,
            "seconds": self.options.seconds,
            "days": self.options.days,
            "none": {"cpu_ms": per * none["cpu_seconds"], "rss_mib": none["rss_mib"]},
            "rows": {
                "detector, whole": whole,
                **parts,
                "Grafana adaptive rules": above("adaptive"),
                "Grafana robust rules": above("robust"),
            },
            "window": window,
            "start_up_cpu_seconds": start_up,
            "problems": self._problems(listen),
        }

    def _problems(self, listen: str) -> list[str]:
        """Return why the figures must not be believed."""
        count, problems = self.options.series, []
        wanted = {
            "none": (f"count({INPUT})", count),
            "detector": ("count(anomaly_score)", count),
            "adaptive": ("count(adaptive:upper)", count),
            "robust": ("count(robust:upper)", count),
        }
        for name, (expression, number) in wanted.items():
            found = self.servers[name].query(self.client, expression)
            if found != number:
                problems.append(f"{name}: {expression} is {found:.0f}, not {number}")
        for name, expression, least in (
            ("adaptive", "min(count_over_time(adaptive:std_1h:large[26h]))", 1540),
            ("robust", "min(count_over_time(robust:deviation[24h]))", 1420),
        ):
            found = self.servers[name].query(self.client, expression)
            if found < least:
                problems.append(f"{name}: {expression} is {found:.0f}: its window is not full")
        for name in SERVERS:
            for metric in ("rule_group_iterations_missed_total", "rule_evaluation_failures_total"):
                if bad := self._sum(f"{self.servers[name].url}/metrics", f"prometheus_{metric}"):
                    problems.append(f"{name}: {metric} is {bad:.0f}")
        if bad := self._sum(f"http://{listen}/metrics", "detector_signal_failures_total"):
            problems.append(f"detector: {bad:.0f} evaluations failed")
        return problems

    def _sum(self, url: str, metric: str) -> float:
        lines = self.client.get(url).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(metric))

    def _pid(self, name: str) -> int:
        child = self.servers[name].child
        assert child is not None
        return child.process.pid

    def _cpu(self, name: str) -> float:
        return cpu_seconds(self._pid(name))

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self.began:6.0f} s  {what}", file=sys.stderr, flush=True)


def report(figures: dict[str, Any]) -> None:
    """Print the table, and what is wrong with it."""
    rows = figures["rows"]
    whole = rows["detector, whole"]["cpu_ms"]
    show(
        f"Whole cost of {figures['series']:,} series at one-minute steps, {figures['seconds']} s, "
        "above a Prometheus that only takes them in",
        ["", "CPU-ms a series and minute", "x", "RSS MiB", "KiB a series"],
        [
            [
                name,
                one["cpu_ms"],
                one["cpu_ms"] / whole,
                one["rss_mib"] or None,
                1024 * one["rss_mib"] / figures["series"] or None,
            ]
            for name, one in rows.items()
        ],
    )
    none, start = figures["none"], figures["start_up_cpu_seconds"]
    print(
        f"none: {none['cpu_ms']:.3f} CPU-ms a series and minute, {none['rss_mib']:.0f} MiB; "
        f"reading and fitting {figures['days']} days once: detector {start['detector']:.1f} s, "
        f"Prometheus {start['prometheus']:.1f} s of CPU"
    )
    for problem in figures["problems"]:
        print(f"error: {problem}")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time a process has used, all threads, in ticks of 10 ms."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICK


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _scraping(listen: str) -> dict[str, Any]:
    """Return the job that the README tells users to add."""
    job = {
        "job_name": "detector",
        "honor_labels": True,
        "static_configs": [{"targets": [listen]}],
    }
    return {"scrape_configs": [job]}


if __name__ == "__main__":
    sys.exit(main())
