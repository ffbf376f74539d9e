"""Stored series on the step grid, each sample with the time it really had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detector.durations import format_duration
from detector.errors import ConfigError
from detector.series import Float, Int, Labels, SeriesMatrix

# About 19 years of minutes; a mistyped timestamp would otherwise take all memory.
MOST_STEPS = 10_000_000


@dataclass(frozen=True)
class Recording:
    """Stored series of one signal.

    Parameters
    ----------
    samples : SeriesMatrix
        [S, T] on the step grid: each sample stands at the first grid time not before it.
    stamps : int64[S, T]
        The sample's own time; the grid time where there is none.
    replaced : int
        Samples that a later one in the same step replaced.
    spacing : int
        Seconds between samples as the file has them (the median); 0 when there is one only.
    """

    samples: SeriesMatrix
    stamps: Int
    replaced: int
    spacing: int = 0

    @property
    def born(self) -> dict[Labels, int]:
        """Step of each series' first sample."""
        first = self.samples.times[(~self.samples.absent).argmax(axis=1)]
        return dict(zip(self.samples.labels, map(int, first), strict=True))

    def remarks(self, name: str) -> list[str]:
        """Return what is odd about these series, of a signal with this name, a line each."""
        step, spacing = (format_duration(s) for s in (self.samples.step, self.spacing))
        found = []
        if self.replaced:
            told = f"{self.replaced} samples of {name} replaced by a later one of the same step"
            finer = 0 < self.spacing < self.samples.step
            found.append(told + (f"; use --step {spacing} to keep them" if finer else ""))
        if not np.isfinite(self.samples.values).any():
            found.append(f"no value of {name} is a number")
        if self.spacing >= 2 * self.samples.step:
            found.append(
                f"samples are {spacing} apart, the step is {step}: most steps have no data; "
                f"use --step {spacing}"
            )
        return found


def placed(where: str, step: int, series: Mapping[Labels, tuple[Int, Float]]) -> Recording:
    """Lay series on the step grid.

    Parameters
    ----------
    where : str
        The file, for messages.
    step : int
        Seconds of the grid.
    series : mapping from Labels to (int64[N], float64[N])
        Times in unix seconds, in any order, and values; NaN is a sample without information.

    Raises
    ------
    ConfigError
        When there are no samples, or their times cannot be meant.
    """
    known = {key: pair for key, pair in sorted(series.items()) if len(pair[0])}
    if not known:
        raise ConfigError(f"{where}: no samples")
    if max(int(np.abs(times).max()) for times, _ in known.values()) > 1e11:
        raise ConfigError(f"{where}: timestamps must be unix seconds, not milliseconds")
    lowest = min(int(times.min()) for times, _ in known.values())
    highest = max(int(times.max()) for times, _ in known.values())
    first, last = -(-lowest // step), -(-highest // step)
    if last - first >= MOST_STEPS:
        raise ConfigError(
            f"{where}: timestamps span {format_duration(float(highest - lowest))}, more than "
            f"{MOST_STEPS} steps; is one of them wrong?"
        )
    grid = np.arange(first, last + 1) * step
    values = np.full((len(known), len(grid)), np.nan)
    absent = np.ones(values.shape, bool)
    stamps = np.tile(grid, (len(known), 1))
    for s, (times, numbers) in enumerate(known.values()):
        order = np.argsort(times, kind="stable")
        ordered = times[order]
        at = -(-ordered // step) - first
        values[s, at], absent[s, at], stamps[s, at] = numbers[order], False, ordered
    count = sum(len(times) for times, _ in known.values())
    gaps = [int(np.median(np.diff(np.unique(t)))) for t, _ in known.values() if len(t) > 1]
    samples = SeriesMatrix(tuple(known), grid, values, absent, step)
    spacing = int(np.median([g for g in gaps if g] or [0]))
    return Recording(samples, stamps, count - int((~absent).sum()), spacing)
