"""What a running stack said live, against `detector backtest` of the same steps.

Looks at the detector's /metrics and at Prometheus' ALERTS of a stack that runs with its own times
(`simulator up --profile production --dir DIR`), break something meanwhile (`simulator inject`),
replays the same steps from the same Prometheus, and compares scores row for row and alerts
stretch for stretch. An alert is evaluated up to a minute after its step, and one that fires when
the looking begins is not known to the replay. The fast profile scales `for`, which a replay does
not: its alerts differ.

Run: .venv/bin/python tests/bench/live_hour.py DIR [--minutes 60]
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

FIELDS = ("observed", "expected", "lower", "upper", "score", "state")
EVALUATED = "detector_signal_evaluated_timestamp_seconds"
# Seconds between looks; two that agree are a row, as one may meet a step half published.
LOOK_SECONDS = 1.0
Series = tuple[tuple[str, str], ...]
Rows = dict[tuple[int, str, Series], dict[str, float]]
# First and last minute of each stretch of firing, by signal and series.
Stretches = dict[tuple[str, Series], list[tuple[int, int]]]


def own(labels: dict[str, str]) -> Series:
    """Return the labels that tell a series apart, in order."""
    aside = {"signal", "kind", "__name__", "alertname", "alertstate", "severity", "category"}
    return tuple(sorted((k, v) for k, v in labels.items() if v and k not in aside))


def look(metrics: str) -> Rows:
    """Return the newest row of each series that is exposed now."""
    text = httpx.get(metrics, trust_env=False, timeout=20).text
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    at = {s.labels["signal"]: int(s.value) for s in samples if s.name == EVALUATED}
    rows: Rows = {}
    for s in samples:
        field = s.name.removeprefix("anomaly_")
        if field != s.name and field in FIELDS:
            signal = s.labels["signal"]
            rows.setdefault((at[signal], signal, own(s.labels)), {})[field] = s.value
    return rows


def watched(metrics: str, minutes: float) -> Rows:
    """Look on for some minutes; the first step may have begun before."""
    rows: Rows = {}
    before: Rows = {}
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        now = look(metrics)
        if now == before:
            rows |= now
        before = now
        time.sleep(LOOK_SECONDS)
    return rows


def replayed(config: Path, first: int, last: int) -> tuple[Rows, Stretches]:
    """Return rows and stretches of firing of a replay."""
    rows: Rows = {}
    firing: dict[tuple[str, Series], list[int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scores.csv"
        command = [str(Path(sys.executable).parent / "detector"), "backtest", "-c", str(config)]
        command += ["--from", str(first), "--to", str(last), "--scores", str(out)]
        subprocess.run(command, check=True, capture_output=True)
        with open(out, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                series = own(dict(re.findall(r'(\w+)="([^"]*)"', row["series"])))
                at = int(row["timestamp"])
                rows[at, row["signal"], series] = {n: float(row[n]) for n in FIELDS if row[n]}
                if row["firing"] == "1":
                    firing.setdefault((row["signal"], series), []).append(at)
    return rows, {key: stretches(times) for key, times in firing.items()}


def fired(url: str, first: int, last: int) -> Stretches:
    """Return what Prometheus says fired, minute by minute."""
    query = 'ALERTS{alertstate="firing", category="anomaly", signal!=""}'
    given = {"query": query, "start": first, "end": last, "step": 60}
    answer = httpx.get(f"{url}/api/v1/query_range", params=given, trust_env=False).json()
    return {
        (s["metric"]["signal"], own(s["metric"])): stretches([int(t) for t, _ in s["values"]])
        for s in answer["data"]["result"]
    }


def stretches(times: list[int]) -> list[tuple[int, int]]:
    """Return the first and last of each run of neighbouring minutes."""
    found: list[tuple[int, int]] = []
    for at in times:
        if found and at - found[-1][1] <= 60:
            found[-1] = (found[-1][0], at)
        else:
            found.append((at, at))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("stack", type=Path, help="DIR of `simulator up --dir DIR`")
    parser.add_argument("--minutes", type=float, default=60.0)
    given = parser.parse_args()
    config = given.stack / "config" / "detector.yml"
    if not config.is_file():
        parser.error(f"{config}: no such file; start a stack with simulator up --dir DIR")
    url = yaml.safe_load(config.read_text())["prometheus"]["url"]
    jobs = yaml.safe_load((given.stack / "config" / "prometheus.yml").read_text())["scrape_configs"]
    (target,) = (
        job["static_configs"][0]["targets"][0] for job in jobs if job["job_name"] == "detector"
    )
    live = watched(f"http://{target}/metrics", given.minutes)
    if not live:
        parser.error(f"nothing was scored in {given.minutes:g} minutes")
    steps = sorted({at for at, _, _ in live})
    rows, said = replayed(config, steps[0], steps[-1])
    same = sum(rows.get(key) == row for key, row in live.items())
    names = {(signal, series) for _, signal, series in live}
    print(f"{len(steps)} steps, {len(names)} series: {same} of {len(live)} rows are equal")
    for key, row in [item for item in live.items() if rows.get(item[0]) != item[1]][:10]:
        print("  differs", key, row, rows.get(key))
    seen = fired(url, steps[0], steps[-1] + 120)
    for key in sorted(seen.keys() | said.keys()):
        print(key[0], dict(key[1]))
        for name, found in (("live", seen.get(key, [])), ("replay", said.get(key, []))):
            times = ", ".join(
                f"{time.strftime('%H:%M:%S', time.gmtime(a))} for {b - a} s" for a, b in found
            )
            print(f"  {name:7}{times or 'nothing'}")


if __name__ == "__main__":
    main()
