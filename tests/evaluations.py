"""One series from its boundary on, fed step by step with deviations from what is expected."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from synthetic import DAY, grid, labels, matrix

from detector.channels import Normal, State
from detector.pipeline import Evaluation
from detector.policy import Policy
from detector.schedule import Schedule
from detector.series import Float, Scores, SeriesMatrix, Signal

A = labels(job="a")
MINUTES = Schedule(60, 300, 14 * DAY, DAY)
COARSE = Schedule(300, 300, 14 * DAY, DAY)


class Line:
    """An evaluation of one series at its boundary.

    Parameters
    ----------
    x : float64[T]
        Its past, `days` on the step grid; the last boundary within ends it.
    """

    def __init__(
        self, x: Float, schedule: Schedule = COARSE, policy: Policy | None = None, days: float = 17
    ) -> None:
        times = grid(days, schedule.step)
        signal = Signal("line", "other", (), policy or Policy())
        self.boundary = schedule.boundary(signal.name, int(times[-1]) + schedule.step)
        samples = matrix(times, {A: x})
        self.step = schedule.step
        self.evaluation = Evaluation(
            signal, schedule, self.boundary, samples.every(schedule.profile)
        )
        first = self.evaluation.next_time
        self.evaluation.advance(on_grid(samples, first, self.boundary))

    @property
    def normal(self) -> Normal:
        return self.evaluation.normal

    @property
    def state(self) -> State:
        return self.evaluation.state

    def copy(self) -> Line:
        return copy.deepcopy(self)

    def window(self, values: Sequence[float], mask: int | None = None) -> SeriesMatrix:
        """Return the next steps; NaN is a sample that says nothing."""
        times = self.evaluation.next_time + self.step * np.arange(len(values))
        row = np.array(values, float)[None, :]
        marked = None if mask is None else np.full(row.shape, mask, np.uint8)
        return SeriesMatrix((A,), times, row, np.zeros(row.shape, bool), self.step, marked)

    def feed(self, values: Sequence[float], mask: int | None = None) -> Scores:
        return self.evaluation.advance(self.window(values, mask))

    def ahead(self) -> tuple[float, float, float]:
        """Return expected value, lower and upper bound of the next step; nothing moves."""
        said = self.copy().feed([np.nan])
        return tuple(float(row[0, 0]) for row in (said.expected, said.lower, said.upper))

    def deviate(self, sizes: Sequence[float]) -> Scores:
        """Feed deviations: 1 is the upper bound of the band, -1 the lower one."""
        parts = []
        for size in sizes:
            expected, lower, upper = self.ahead()
            edge = upper - expected if size > 0 else expected - lower
            parts.append(self.feed([expected + (size * edge if size else 0.0)]))
        return glued(parts)

    def calm(self, count: int, factor: float = 1.0) -> Scores:
        """Feed steps as wide as usual around what is expected, or a multiple of all that."""
        usual = max(np.exp(self.normal.spread[0, 0]) - 1e-3, 0.0) * self.normal.scale[0]
        parts = []
        for i in range(count):
            step = 0.5 * usual if i % 2 else -0.5 * usual
            parts.append(self.feed([factor * (self.ahead()[0] + step)]))
        return glued(parts)


def on_grid(samples: SeriesMatrix, first: int, end: int) -> SeriesMatrix:
    """Return every step from first to end, absent where there is no column."""
    times = np.arange(first, end, samples.step)
    known = samples.between(first, end)
    at = np.searchsorted(times, known.times)
    values = np.full((len(samples.labels), len(times)), np.nan)
    values[:, at] = known.values
    absent = np.ones(values.shape, bool)
    absent[:, at] = known.absent
    return replace(known, times=times, values=values, absent=absent)


def glued(parts: Sequence[Scores]) -> Scores:
    """Return windows that follow on each other as one."""
    names = ("observed", "expected", "lower", "upper", "score", "evidence", "state")
    return Scores(
        labels=parts[0].labels,
        times=np.concatenate([part.times for part in parts]),
        **{name: np.concatenate([getattr(p, name) for p in parts], axis=1) for name in names},
    )


def states(said: Scores) -> list[int]:
    return said.state[0].tolist()
