"""What a backtest from a real Prometheus costs: reading, replay, memory, growth; beside STL.

Run: .venv/bin/python tests/bench/backtest.py [--series 10 100 1000] [--days 28] [--history 28]

Series of 5 minutes with a daily and weekly season are written to a Prometheus of its own, then
`detector backtest` runs over the last --days, with --history days before them, as a process whose
peak memory the system tells. STL of statsmodels is timed on a few of these series in the same run;
for the walk through the past it would be fitted at each refit (daily), which is extrapolated.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from server import HEADERS, Server

from detector.write_request import TimeSeries, encode

STEP, DAY = 300, 86_400
END = 1_760_000_000 // DAY * DAY
STL_SERIES = 3
# Samples a request.
REQUEST = 200_000


def values(times: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    day, week = 2 * np.pi * times / DAY, 2 * np.pi * times / (7 * DAY)
    noise = 0.05 * rng.standard_normal(len(times))
    return 100 * (1 + 0.4 * np.sin(day + seed) + 0.1 * np.sin(week)) * np.exp(noise)


def write(server: Server, series: int, times: np.ndarray) -> float:
    """Store all series; return the seconds it took."""
    began = time.perf_counter()
    a_request = max(REQUEST // len(times), 1)
    for first in range(0, series, a_request):
        batch = [
            TimeSeries(
                {"__name__": f"bench_{series}", "instance": f"i{s:05d}", "job": "bench"},
                times * 1000,
                values(times, s),
            )
            for s in range(first, min(first + a_request, series))
        ]
        answer = server._client.post("/api/v1/write", content=encode(batch), headers=HEADERS)
        assert answer.status_code == 204, answer.text
    return time.perf_counter() - began


def backtest(server: Server, folder: Path, series: int, days: int, history: int) -> dict[str, Any]:
    """Run the command; return seconds, samples, MiB at its peak, and CPU seconds of the server."""
    settings = {
        "prometheus": {"url": server.url, "timeout": "60s"},
        "rules": {"enabled": False},
        "step": "5m",
        "history": f"{history}d",
        "max_series": series + 1,
        "signals": [{"name": "load", "kind": "traffic", "query": f"bench_{series}"}],
    }
    (folder / "detector.yml").write_text(json.dumps(settings), encoding="utf-8")
    command = [Path(sys.executable).parent / "detector", "backtest", "-c", folder / "detector.yml"]
    command += ["--from", str(END - days * DAY), "--to", str(END - STEP)]
    command += ["--report", folder / "report.json"]
    before = server_cpu(server)
    began = time.perf_counter()
    process = subprocess.Popen([str(one) for one in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    took = time.perf_counter() - began
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return {
        **report["timing"],
        "series": report["signals"][0]["series"],
        "seconds": took,
        "cpu": usage.ru_utime + usage.ru_stime,
        "server_cpu": server_cpu(server) - before,
        "rss": usage.ru_maxrss / 1024,
    }


def server_cpu(server: Server) -> float:
    assert server._process is not None
    fields = Path(f"/proc/{server._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stl_seconds(times: np.ndarray) -> float:
    """Return the CPU seconds of one STL fit of a series, the median of a few."""
    from statsmodels.tsa.seasonal import STL

    took = []
    for s in range(STL_SERIES):
        x = values(times, s)
        began = time.process_time()
        STL(x, period=DAY // STEP, robust=False).fit()
        took.append(time.process_time() - began)
    return float(np.median(took))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--history", type=int, default=28)
    given = parser.parse_args()
    length = (given.days + given.history + 1) * DAY
    times = np.arange(END - length, END, STEP, dtype=np.int64)
    one = stl_seconds(times[: given.history * DAY // STEP])
    print(
        f"STL, one fit of {given.history} days of 5 minutes: {one:.2f} CPU s ({STL_SERIES} series)"
    )
    head = "series  samples  read s  replay s  samples/s read  replay  all s  cpu s  server cpu s  "
    print(head + "peak MiB  STL, extrapolated")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Server(folder).start()
        try:
            for series in given.series:
                written = write(server, series, times)
                print(f"# {series * len(times)} samples written in {written:.0f} s", flush=True)
                # What is replayed was compiled before: the first run of a machine is another.
                r = backtest(server, folder, series, given.days, given.history)
                read = series * len(times) / r["read_seconds"]
                replay = r["samples"] / r["replay_seconds"]
                print(
                    f"{series:6d} {r['samples'] / 1e6:7.2f}M {r['read_seconds']:7.1f} "
                    f"{r['replay_seconds']:9.1f} {read:15,.0f} {replay:9,.0f} {r['seconds']:6.1f} "
                    f"{r['cpu']:6.1f} {r['server_cpu']:13.1f} {r['rss']:9.0f}  "
                    f"{one * series * given.days:.0f} CPU s",
                    flush=True,
                )
        finally:
            server.stop()


if __name__ == "__main__":
    main()
