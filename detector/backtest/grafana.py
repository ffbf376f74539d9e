"""The two strategies of grafana/promql-anomaly-detection, on the samples a replay has.

Written from the formulas of its rules at commit 738e34e (2026-02-09); s is the sample, only where
it is above 0. A band is the union of its members; one that has no value is left out::

    adaptive: m = mean_1h(s), d = std_1h(s), level = s
      short   m -/+ 2 mean_26h(d where d > m / 2)      margin  m -/+ m / 2
      day     m -/+ 2 d, both 23h30m ago               week    both 167h30m ago
    robust:   M = median_24h(s), level = median_1h(s)
      short   M -/+ 2 median_24h(|s - M|)              margin  M -/+ M / 2
      day     u = median_1h(s) 23h45m ago, u -/+ 2 median_1h(|s 23h45m ago - u|); week 167h45m

The alert fires after 5 minutes outside. Day and week are evaluated each 5 minutes and held for 10.
A range has both its ends, as in Prometheus 2.x. tests/test_grafana_rival.py holds this to promtool.
"""

from __future__ import annotations

from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.backtest.alerting import Rule, evaluated
from detector.backtest.duel import Watched, watched_firings
from detector.backtest.run import SHARD, part_of
from detector.backtest.scores_file import EVERY
from detector.series import Float, SeriesMatrix

if TYPE_CHECKING:
    import pandas as pd

HOUR = 3600
# The oldest sample with a say: a week and the windows behind it.
REACH = 9 * 24 * HOUR
SEASONAL, HELD = 300, 600
PATIENCE = Rule(300, 0)


def grafana_alerts(
    strategy: str, signal: str, samples: SeriesMatrix, start: int, end: int, executor: Executor
) -> list[Watched]:
    """Return the alerts of a strategy for the series of a signal in [start, end).

    Parameters
    ----------
    strategy : str
        adaptive or robust.
    signal : str
        Its name.
    samples : SeriesMatrix
        [S, T] on the step grid, nine days before `start` included where they exist.
    start, end : int
        Unix seconds.
    executor : Executor
    """
    near = samples.between(start - REACH, end)
    shards = [part_of(near, a, a + SHARD) for a in range(0, len(near.labels), SHARD)]
    tasks = [executor.submit(_alerts, strategy, signal, one, start) for one in shards]
    return [one for task in tasks for one in task.result()]


def band(strategy: str, samples: SeriesMatrix) -> tuple[Float, Float, Float]:
    """Return level, lower and upper bound, float64[S, T] each; NaN where there is none."""
    import pandas as pd

    known = np.where(samples.absent | ~(samples.values > 0), np.nan, samples.values)
    s = pd.DataFrame(known.T, index=samples.times)
    made = _adaptive if strategy == "adaptive" else _robust
    level, members = made(s, samples.step)
    upper = np.fmax.reduce([high.to_numpy() for _, high in members])
    lower = np.fmax(np.fmin.reduce([low.to_numpy() for low, _ in members]), 0.0)
    lower[np.isnan(upper)] = np.nan
    return level.to_numpy().T, lower.T, upper.T


def _alerts(strategy: str, signal: str, samples: SeriesMatrix, start: int) -> list[Watched]:
    level, lower, upper = band(strategy, samples)
    outside = (level > upper) | (level < lower)
    first = int(np.searchsorted(samples.times, start))
    identity = {"alertname": f"Anomaly_{strategy}", "signal": signal}
    found = []
    for s, key in enumerate(samples.labels):
        if outside[s, first:].any():
            seen = evaluated(samples.times[first:], outside[s, first:], samples.step, EVERY)
            found += watched_firings(signal, key, identity, *seen, PATIENCE)
    return found


def _adaptive(s: pd.DataFrame, step: int) -> tuple[pd.DataFrame, list[Any]]:
    mean = _over(s, HOUR, step).mean()
    spread = _over(s, HOUR, step).std(ddof=0)
    large = _over(spread.where(spread > 0.5 * mean), 26 * HOUR, step).mean()
    members: list[Any] = [_around(mean, 2 * large), _around(mean, 0.5 * mean)]
    for ago in (84_600, 603_000):
        past = _ago(mean, ago), _ago(spread, ago)
        members.append(tuple(_held(one, step) for one in _around(past[0], 2 * past[1])))
    return s, members


def _robust(s: pd.DataFrame, step: int) -> tuple[pd.DataFrame, list[Any]]:
    middle = _over(s, 24 * HOUR, step).median()
    deviation = _over((s - middle).abs(), 24 * HOUR, step).median()
    hour = _over(s, HOUR, step).median()
    members: list[Any] = [_around(middle, 2 * deviation), _around(middle, 0.5 * middle)]
    for ago in (85_500, 603_900):
        # A range that ends between two samples still has those within it.
        then = _ago(hour, ago)
        off = _seasonal((_ago(s, ago) - then).abs(), step)
        spread = _over(off, HOUR, max(SEASONAL, step)).median().reindex(s.index)
        members.append(tuple(_held(one, step) for one in _around(then, 2 * spread)))
    return hour, members


def _over(x: pd.DataFrame, window: int, step: int) -> Any:
    return x.rolling(window // step + 1, min_periods=1)


def _around(middle: pd.DataFrame, half: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return middle - half, middle + half


def _ago(x: pd.DataFrame, seconds: int) -> pd.DataFrame:
    """Return what was recorded so long ago; a rule without a result marks its series as ended."""
    step = int(x.index[1] - x.index[0]) if len(x.index) > 1 else seconds
    return x.shift(-(-seconds // step))


def _seasonal(x: pd.DataFrame, step: int) -> pd.DataFrame:
    """Return the times at which the rules of day and week are evaluated."""
    return x[x.index % max(SEASONAL, step) == 0]


def _held(x: pd.DataFrame, step: int) -> pd.DataFrame:
    return _seasonal(x, step).reindex(x.index).ffill(limit=max(HELD // step, 1))
