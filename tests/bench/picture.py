"""Draws observed values, band and anomalies of some signals from a running stack's Prometheus.

    python tests/bench/picture.py --url URL --out docs/demo.png [--minutes 20] [SIGNAL ...]

A signal with several series is given as ``name:label=value``. Times with an injected fault are
shaded, steps in state 1 are red, firing alerts are a bar on top.
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from detector import names
from detector.prometheus import Prometheus
from detector.settings import PrometheusSettings

mpl.use("Agg")
import matplotlib.dates as mdates
from matplotlib import pyplot as plt

STEP = 5
# Signal, and the faults that are shaded behind it.
SIGNALS = {
    "churn_traffic": "traffic_.*",
    "churn_latency_p99": "latency",
    "churn_error_ratio": "errors",
    "churn_feature_drift:feature=MONTANT": "feature_drift",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--until", type=float, help="unix seconds; now if left out")
    parser.add_argument("signals", nargs="*", default=list(SIGNALS))
    options = parser.parse_args()
    source = Prometheus(PrometheusSettings(url=options.url))
    end = int(options.until or time.time()) // STEP * STEP
    start = end - int(options.minutes * 60)

    def read(query: str) -> tuple[np.ndarray, np.ndarray]:
        matrix = source.read(((query, ()),), start, end, STEP, limit=1).matrix
        values = matrix.values[0] if matrix.labels else np.full(len(matrix.times), np.nan)
        return matrix.times, values

    figure, axes = plt.subplots(
        len(options.signals), 1, figsize=(11, 2.2 * len(options.signals)), sharex=True
    )
    for axis, signal in zip(np.atleast_1d(axes), options.signals, strict=True):
        draw(axis, signal, read)
    figure.tight_layout()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out, dpi=110)
    print(options.out)


def draw(axis: Any, signal: str, read: Any) -> None:
    """Draw one series."""
    name, _, label = signal.partition(":")
    own = [f"signal='{name}'"] + [f"{k}='{v}'" for k, _, v in [label.partition("=")] if k]
    pick = "{" + ",".join(own) + "}"
    columns = {
        name: read(f"max({name}{pick})")
        for name in (names.OBSERVED, names.EXPECTED, names.LOWER, names.UPPER, names.STATE)
    }
    times = [datetime.fromtimestamp(int(t), UTC) for t in columns[names.OBSERVED][0]]
    observed, expected, lower, upper, state = (values for _, values in columns.values())
    axis.fill_between(times, lower, upper, color="tab:blue", alpha=0.15, lw=0, label="normal")
    axis.plot(times, expected, "--", color="tab:blue", lw=1, label="expected")
    axis.plot(times, observed, color="0.2", lw=1.2, label="observed")
    red = np.where(state == names.State.ANOMALOUS, observed, np.nan)
    axis.plot(times, red, ".", color="tab:red", ms=4, label="anomalous")
    _, fault = read(f"max(simulator_fault_active{{fault=~'{SIGNALS.get(signal, '.*')}'}})")
    axis.fill_between(
        times, 0, 1, where=fault > 0, transform=axis.get_xaxis_transform(), color="0.5", alpha=0.15
    )
    _, firing = read("max(ALERTS{alertstate='firing'," + pick[1:] + ")")
    axis.fill_between(
        times, 0.96, 1, where=firing > 0, transform=axis.get_xaxis_transform(), color="tab:red"
    )
    axis.set_title(signal, loc="left", fontsize=9)
    axis.margins(x=0)
    axis.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))
    axis.legend(loc="upper right", ncols=4, fontsize=7, frameon=False)


if __name__ == "__main__":
    main()
