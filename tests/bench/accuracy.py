"""Accuracy on the open bench: the product's own code path beside peers, in one run and one table.

    python tests/bench/accuracy.py [--sets nab synth] [--jobs 2] [--out accuracy.json]
    python tests/bench/accuracy.py --sets all --causal 5      # only: does the past stay as it was?

Sets, scorer and peers are those of the bench itself (its README says what each column means); the
product is `detector backtest` in process, checked against the command on `--check` series a set.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

# Before numpy: one thread a process, as the peers' times suppose.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np
import product
from shared_bench import SharedBench, add_argument, open_bench
from table import show

SETS = ("nab", "kpi", "synth", "synth_dirty", "synth_clean")
PEERS = ("grafana_adaptive", "grafana_robust", "holt_winters")
# Where the last minutes tell more than the season, a plain autoregression is the peer to beat.
MORE_PEERS = {"kpi": ("ar_ols",)}
OURS = "product:detect"
COLUMNS = {
    "vus": "VUS-PR",
    "P": "P",
    "R": "R",
    "F1": "F1",
    "F1_best": "F1_best",
    "R_budget": "R_budget",
    "R_fast": "R_fast",
    "fp_week": "false/week",
    "nab_notify": "nab_notify",
    "ms_per_1k": "us/sample",
    "errors": "errors",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_argument(parser)
    parser.add_argument("--sets", nargs="+", default=["nab", "synth"], choices=[*SETS, "all"])
    parser.add_argument("--peers", nargs="*", help="names in peers.py, or module:function")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--limit", type=int, help="series a set, evenly chosen")
    parser.add_argument("--check", type=int, default=1, help="series a set to run as a command too")
    parser.add_argument("--causal", type=int, default=0, help="only cut this many series a set")
    parser.add_argument("--out", type=Path, help="JSON with every figure")
    options = parser.parse_args()
    bench = open_bench(options.bench)
    sets = SETS if "all" in options.sets else options.sets
    if options.causal:
        return _leaks(bench, sets, options.causal)

    differing = sum(_differing(bench, name, options.check) for name in sets)
    results: dict[str, dict[str, Any]] = {}
    rows = []
    for name in sets:
        peers = (*PEERS, *MORE_PEERS.get(name, ())) if options.peers is None else options.peers
        for detector in (OURS, *peers):
            figures = _evaluate(bench, name, detector, options.jobs, options.limit)
            results.setdefault(name, {})[_label(detector)] = figures
            first = f"{name}, {figures['series']} series" if detector == OURS else ""
            rows.append([first, _label(detector), *_cells(figures)])
            if options.out:
                options.out.write_text(json.dumps(results, indent=1), encoding="utf-8")
    show(
        "Accuracy on the open bench, one default for all (false alerts a series-week)",
        ["set", "detector", *COLUMNS.values()],
        rows,
        words=2,
    )
    return int(differing > 0)


def _evaluate(
    bench: SharedBench, name: str, detector: str, jobs: int, limit: int | None
) -> dict[str, Any]:
    began = time.perf_counter()
    figures, _ = bench.run.evaluate(detector, bench.load.NAB_DIR, name, jobs=jobs, limit=limit)
    seconds = time.perf_counter() - began
    print(f"{name}: {_label(detector)} took {seconds:.0f} s", file=sys.stderr, flush=True)
    if figures["errors"]:
        print(f"{name}: {_label(detector)}: {figures['first_error']}", file=sys.stderr)
    return dict(figures)


def _cells(figures: dict[str, Any]) -> list[float | None]:
    """Return a row's figures; those of events stay empty where a set has no event."""
    empty = () if figures["events"] else ("P", "R", "F1", "R_fast")
    return [None if key in empty else figures.get(key) for key in COLUMNS]


def _label(detector: str) -> str:
    return "detector" if detector == OURS else detector


def _differing(bench: SharedBench, name: str, count: int) -> int:
    """Return on how many series of a set the command and the product in process differ."""
    series = bench.load.load(name)
    command = bench.run.external(f"{Path(sys.executable).with_name('detector')} {product.COMMAND}")
    chosen = np.linspace(0, len(series) - 1, count).astype(int)
    different = 0
    for i in chosen:
        one = series[i]
        there = command(one.ts, one.value)
        here = product.detect(one.ts, one.value)
        same = np.allclose(here["score"], there["score"], rtol=1e-6, atol=1e-9)
        same &= np.array_equal(here["alert"], there["alert"])
        if not same:
            different += 1
            print(f"error: {name}/{one.name}: `detector backtest` gives other scores", flush=True)
    if len(chosen) and not different:
        print(f"{name}: `detector backtest` gives the same on {len(chosen)} series", flush=True)
    return different


def _leaks(bench: SharedBench, sets: tuple[str, ...] | list[str], count: int) -> int:
    """Cut series short and print how many past scores change; none may."""
    rng = np.random.default_rng(0)
    rows = []
    for name in sets:
        series = bench.load.load(name)
        for i in rng.choice(len(series), min(count, len(series)), replace=False):
            changed, cut = bench.run.check_causal(product.detect, series[i], rng)
            rows.append([name, series[i].name, cut, changed])
    title = "Past scores that change when the series is cut"
    show(title, ["set", "series", "past", "changed"], rows, words=2)
    return int(any(changed for *_, changed in rows))


if __name__ == "__main__":
    sys.exit(main())
