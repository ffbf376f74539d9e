"""Which signals each fault raises: seeded pasts of the churn service through the live path.

Each replay simulates the service's metrics for over two weeks (`simulator.past`: the service's own
measures, windows and distances over drawn customers), lets every fault act once at full size for
half an hour, in random order and at random minutes, and scores the shipped signals with the shipped
policies as `detector` would. A signal counts as raised when its state is 1 for as long as its
alert waits. The row "none" is as many quiet stretches of the same length, the day before.

Nothing runs in real time and nothing is read from a network; the same seeds give the same table.

Run: .venv/bin/python tests/bench/confusion.py [--seeds 20] [--days 14] [--jobs 2]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from rule_values import STEP, VALUES, Samples

from detector.configuration import load
from detector.discovery import discover
from detector.durations import parse_duration
from detector.names import State
from detector.pipeline import replay
from detector.schedule import Schedule
from detector.series import SeriesMatrix, Signal
from simulator.calibrate import Measurement
from simulator.churn import artefact
from simulator.churn.train import train
from simulator.episodes import Episode
from simulator.faults import FAULTS
from simulator.history import make_past
from simulator.plan import Plan
from simulator.timeline import SIDE_EFFECTS

ROOT = Path(__file__).parents[2]
DAY, HOUR = 86_400, 3600
# A Monday; the past begins there.
MONDAY = 1_767_571_200
# What serving cost on the machine this was written on; only its level depends on it.
COST = Measurement(0.01, 0.0016, 0.002, 0.001, 220e6)
NONE = "none"
# The signals a fault is made for; what else it may move is in SIDE_EFFECTS.
OWN = {
    "traffic_zero": {"churn_traffic"},
    "traffic_drop": {"churn_traffic"},
    "traffic_surge": {"churn_traffic"},
    "latency": {"churn_latency_p50", "churn_latency_p99"},
    "errors": {"churn_error_ratio"},
    "feature_drift": {"churn_feature_drift"},
    "missing_values": {"churn_feature_missing"},
    "concept_drift": {"churn_performance", "churn_performance_loss"},
}
# Room for each fault, in which nothing else happens.
SLOT, FAULT_SECONDS = 4 * HOUR, 1800.0
# Maturity and window of the service's defaults, in which a fault is still seen, and five minutes.
MATURITY, WINDOW = 1800.0, 3600.0
SEEN_SECONDS = FAULT_SECONDS + MATURITY + WINDOW + 300.0

Stretch = tuple[str, float]


def signals() -> dict[str, tuple[Signal, int]]:
    """Return the shipped signals and the steps for which their alerts wait."""
    text = (ROOT / "simulator/config/detector.yml").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "detector.yml"
        content = yaml.safe_load(text)
        content["rules"] = {"files": [str(ROOT / "rules/signals.rules.yml")]}
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        found = discover(load(path), list).signals
    assert set(found) == set(VALUES), set(found) ^ set(VALUES)
    alerts = yaml.safe_load((ROOT / "rules/anomaly.rules.yml").read_text(encoding="utf-8"))
    waits = {
        rule["expr"]: parse_duration(rule["for"])
        for group in alerts["groups"]
        for rule in group["rules"]
        if "for" in rule
    }
    out = {}
    for name, signal in found.items():
        (wait,) = (
            w for expr, w in waits.items() if expr == f'anomaly_state{{kind="{signal.kind}"}} == 1'
        )
        out[name] = (signal, int(wait // STEP))
    return out


def made(seed: int, days: int, model: Path) -> tuple[Samples, list[Stretch]]:
    """Simulate one past; return its samples and the stretches to be judged."""
    layout, pools, rest = np.random.default_rng(seed).spawn(3)
    quiet = MONDAY + days * DAY
    begin = quiet + len(FAULTS) * SLOT
    stretches: list[Stretch] = [(NONE, quiet + i * SLOT) for i in range(len(FAULTS))]
    episodes = []
    for i, number in enumerate(layout.permutation(len(FAULTS))):
        fault = list(FAULTS.values())[number]
        start = begin + i * SLOT + STEP * int(layout.integers(0, 60))
        episodes.append(Episode(fault.name, fault.default_size, start, start + FAULT_SECONDS))
        stretches.append((fault.name, start))
    times = np.arange(MONDAY, begin + len(FAULTS) * SLOT, STEP, dtype=np.float64)
    plan = Plan(tuple(np.array_split(times, len(times) // 1440)), tuple(episodes))
    past = make_past(artefact.load(model), plan, COST, 0.0, 24.0, pools, rest, MATURITY, WINDOW)
    samples = Samples()
    for chunk in plan.chunks:
        samples.add(chunk, ((s.labels, s.values) for s in past.samples(chunk)))
    return samples, stretches


def scored(signal: Signal, matrix: SeriesMatrix, start: float) -> tuple[np.ndarray, ...]:
    """Return times, highest score and longest run of state 1 up to each step, over all series."""
    schedule = Schedule(step=STEP, profile=300, history=28 * DAY, refit=DAY)
    end = int(matrix.times[-1]) + STEP
    parts = list(replay(signal, schedule, matrix, int(start), end))
    times = np.concatenate([part.times for part in parts])
    highest, runs, run = [], [], np.zeros(0)
    for part in parts:
        with np.errstate(all="ignore"):
            highest.append(np.fmax.reduce(part.score, axis=0, initial=0.0))
        run = np.zeros(len(part.labels)) if len(run) != len(part.labels) else run
        for t in range(len(part.times)):
            run = np.where(part.state[:, t] == State.ANOMALOUS, run + 1, 0)
            runs.append(run.max(initial=0))
    return times, np.concatenate(highest), np.array(runs)


def one_replay(seed: int, days: int, model: Path) -> list[tuple[str, str, float, bool]]:
    """Return (fault, signal, highest score, raised) of one seed."""
    samples, stretches = made(seed, days, model)
    out = []
    for name, (signal, patience) in signals().items():
        matrix = samples.matrix(VALUES[name](samples))
        times, highest, runs = scored(signal, matrix, stretches[0][1] - HOUR)
        for fault, start in stretches:
            inside = (times >= start) & (times < start + SEEN_SECONDS)
            # An alert waits until its condition has held for the time it is given.
            raised = bool((runs[inside] > patience).any())
            out.append((fault, name, float(highest[inside].max()), raised))
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    began = time.monotonic()
    found: dict[tuple[str, str], list[tuple[float, bool]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory)
        train(out=model, data=None, rows=20_000, seed=7, pushgateway=None)
        with ProcessPoolExecutor(options.jobs) as pool:
            run = partial(one_replay, days=options.days, model=model)
            for part in pool.map(run, range(options.seeds)):
                for fault, signal, score, raised in part:
                    found[fault, signal].append((score, raised))
    rows = [*FAULTS, NONE]
    names = list(VALUES)
    print(f"{options.seeds} replays in {time.monotonic() - began:.0f} s")
    for number, name in enumerate(names):
        print(f"  {chr(65 + number)} {name}")
    print(
        "\nreplays in which the alert fires, of 100; * own signal, (n) side effect that is stated"
    )
    _print(rows, names, lambda cell: 100 * statistics.mean(raised for _, raised in cell), found)
    print("\nmedian of the highest score, in hundredths")
    _print(rows, names, lambda cell: 100 * statistics.median(score for score, _ in cell), found)
    return _verdict(rows, names, found)


def _print(rows, names, of, found) -> None:  # noqa: ANN001
    print(f"{'':<16}" + "".join(f"{chr(65 + i):>7}" for i in range(len(names))))
    for fault in rows:
        cells = []
        for name in names:
            text = f"{of(found[fault, name]):.0f}"
            if name in OWN.get(fault, ()):
                text = f"{text}*"
            elif name in SIDE_EFFECTS.get(fault, ()):
                text = f"({text})"
            cells.append(f"{text:>7}")
        print(f"{fault:<16}" + "".join(cells))


def _verdict(rows, names, found) -> int:  # noqa: ANN001
    """Say where a fault misses its own signals or raises others more often than chance does."""
    bad = []
    for fault in rows[:-1]:
        for name in names:
            share = statistics.mean(raised for _, raised in found[fault, name])
            quiet = statistics.mean(raised for _, raised in found[NONE, name])
            if name in OWN[fault] and share < 1.0:
                bad.append(f"{fault} raises its own {name} in {share:.0%} only")
            elif name not in OWN[fault] | SIDE_EFFECTS[fault] and share > quiet + 0.05:
                bad.append(f"{fault} raises {name} in {share:.0%}, {quiet:.0%} without a fault")
    print("\n" + ("\n".join(bad) or "each fault raises its own signals and none it has no part in"))
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
