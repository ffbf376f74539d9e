"""What a fit of each model costs, and how its forecast compares with its own past residuals."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from synthetic import grid, labels, matrix, traffic
from table import show

from detector.models import forest, registry
from detector.models.univariate import slots, trailing_level
from detector.series import Float

DAY = 288


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=6, help="series of each history")
    series = parser.parse_args().series
    univariate = [name for name, model in registry.MODELS.items() if not model.joint]
    rows = []
    for days in (3, 15, 28):
        for noise in (0.0, 0.95):
            costs, ratios, errors = zip(
                *(_measured(m, days, noise, series) for m in univariate), strict=True
            )
            rows.append(
                [f"{days} days, noise {'lasts' if noise else 'white'}", "fit, CPU ms", *costs]
            )
            rows.append(["", "error ahead / past residual", *ratios])
            rows.append(["", "error ahead, % of the mean", *errors])
    show("one series at five minutes; a week ahead", ["history", "", *univariate], rows, words=2)
    z = np.random.default_rng(0).standard_normal((3, 28 * DAY))
    fit = _cpu(lambda: forest.fit(z, DAY))
    trees = forest.fit(z, DAY)
    assert trees is not None
    step = _cpu(lambda: trees.score(z[:, : forest.LEAD + 1]))
    show("forest, three signals", ["fit, CPU ms", "a step, CPU ms"], [[fit, step]], words=0)


def _measured(model: str, days: int, memory: float, series: int) -> tuple[float, float, float]:
    """Return cost of a fit, forecast error against past residual, forecast error in percent."""
    found = []
    for seed in range(series):
        times = grid(days + 7, 300)
        x = traffic(times, noise=0.0) * (1 + 0.05 * _noise(len(times), memory, seed))
        history = matrix(times[: days * DAY], {labels(job="a"): x[: days * DAY]})
        base = registry.fit(model, history)
        season = base.table[0][slots(int(times[0]) // 300, len(times), DAY)]
        ahead = np.abs(x - season - trailing_level(x - season, DAY)[0])[days * DAY :]
        past = np.abs(x[: days * DAY] - base.expected[0])
        ratio = np.median(ahead) / np.nanmedian(past)
        cost = _cpu(lambda history=history: registry.fit(model, history), 1)
        found.append((cost, ratio, 100 * ahead.mean() / x.mean()))
    cost, ratio, error = np.mean(found, axis=0)
    return float(cost), float(ratio), float(error)


def _noise(count: int, memory: float, seed: int) -> Float:
    noise = np.random.default_rng(seed).standard_normal(count)
    if memory:
        for t in range(1, count):
            noise[t] = memory * noise[t - 1] + np.sqrt(1 - memory**2) * noise[t]
    return noise


def _cpu(work: Callable[[], object], runs: int = 3) -> float:
    spent = []
    for _ in range(runs):
        began = time.process_time()
        work()
        spent.append(1000 * (time.process_time() - began))
    return float(np.median(spent))


if __name__ == "__main__":
    main()
