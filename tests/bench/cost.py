"""Cost of the engine per series and sample, beside two peers on the same data in the same run.

    python tests/bench/cost.py [--series 20]

Peers are what one would write with pandas: a rolling median and MAD over a day, and the mean and
standard deviation of the same slot of the week. CPU seconds of one thread, median of the runs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from detector import score
from detector.models import seasonal
from detector.series import Policy, SeriesMatrix

PROFILE = 300
POINTS = 28 * 86400 // PROFILE


def data(series: int) -> SeriesMatrix:
    """Four weeks at five minutes: day and week season, 5 % noise, 1 % missing."""
    rng = np.random.default_rng(7)
    times = 1_760_486_400 + np.arange(POINTS) * PROFILE
    day = 1 + 0.5 * np.sin(2 * np.pi * (times % 86400) / 86400)
    week = np.where(times // 86400 % 7 < 2, 0.7, 1.0)
    values = day * week * (1 + 0.05 * rng.normal(size=(series, POINTS)))
    absent = rng.random(values.shape) < 0.01
    values[absent] = np.nan
    labels = tuple((("i", f"{i:06}"),) for i in range(series))
    return SeriesMatrix(labels, times, values, absent, PROFILE)


def rolling_mad(matrix: SeriesMatrix) -> None:
    """A day's rolling median and median absolute deviation."""
    for x in matrix.values:
        s = pd.Series(x)
        middle = s.rolling(288, min_periods=12).median()
        (s - middle).abs().rolling(288, min_periods=12).median()


def slot_z(matrix: SeriesMatrix) -> None:
    """Mean and standard deviation of each slot of the week."""
    slot = matrix.times // PROFILE % 2016
    for x in matrix.values:
        grouped = pd.Series(x).groupby(slot)
        (x - grouped.transform("mean")) / grouped.transform("std")


def cpu(work: Callable[[], object], runs: int = 5) -> float:
    """Median CPU seconds of one call, after one that is not counted."""
    work()
    spent = []
    for _ in range(runs):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=20)
    count = parser.parse_args().series
    matrix = data(count)
    fit_seconds = cpu(lambda: seasonal.fit(matrix))
    baseline, z = seasonal.fit(matrix)
    calibration = score.calibrate(baseline, z)

    def fold() -> None:
        score.advance(baseline, calibration, score.start(baseline), matrix, Policy())

    fold_seconds = cpu(fold)
    state = score.start(baseline)
    one = matrix.between(int(matrix.times[0]), int(matrix.times[1]))
    step_seconds = cpu(lambda: score.advance(baseline, calibration, state, one, Policy()), 20)
    size = (
        sum(
            v.nbytes
            for part in (baseline, calibration, state)
            for v in vars(part).values()
            if isinstance(v, np.ndarray)
        )
        / count
    )
    rows = [
        ("fit, 4 weeks at 5 min", fit_seconds, count),
        ("score and learn, 4 weeks at 5 min", fold_seconds, count),
        ("peer: pandas rolling median + MAD", cpu(lambda: rolling_mad(matrix)), count),
        ("peer: pandas slot mean + std", cpu(lambda: slot_z(matrix)), count),
    ]
    print(f"{count} series x {POINTS} samples, CPU time of one thread")
    print(f"{'':36} {'ms/series':>10} {'us/sample':>10} {'x fold':>8}")
    for name, seconds, n in rows:
        print(
            f"{name:36} {1e3 * seconds / n:10.2f} {1e6 * seconds / n / POINTS:10.2f} "
            f"{seconds / fold_seconds:8.1f}"
        )
    print(f"one live step: {1e6 * step_seconds / count:.1f} us/series")
    print(f"state: {size / 1024:.1f} KiB/series")


if __name__ == "__main__":
    main()
