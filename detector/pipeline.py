"""The one path from samples to scores, live and replayed.

Determinism: a fit is a pure function of the samples in [boundary - history, boundary); boundaries
are absolute in time (staggered per signal by its name), and the state at t is a fold of the
samples from ``boundary - lead`` on. So a live run, a replay and a restart give the same rows
wherever they start. Nothing here reads a clock: time is an argument.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from detector import names, score
from detector.errors import ConfigError
from detector.models import seasonal
from detector.series import Labels, Scores, SeriesMatrix, Signal, empty_matrix

DAY = seasonal.DAY
# The fold starts this many steps before the boundary, so that an episode in course goes on.
LEAD_STEPS = 60

T = TypeVar("T", seasonal.Baseline, score.Calibration, score.FoldState)


@dataclass(frozen=True)
class Schedule:
    """The grids of time, all in seconds.

    Parameters
    ----------
    step : int
        Scoring cadence.
    profile : int
        Grid of seasonal slots and of the history; a multiple of `step` that divides a day.
    history : int
        How far back a fit looks; a multiple of `profile`.
    refit : int
        Distance of two fits; a multiple of `profile`.

    Raises
    ------
    ConfigError
        When the grids do not fit together.
    """

    step: int
    profile: int
    history: int
    refit: int

    def __post_init__(self) -> None:
        if self.step < 1:
            raise ConfigError("step must be at least 1s")
        if self.profile % self.step or DAY % self.profile:
            raise ConfigError(
                f"profile ({self.profile}s) must be a multiple of step ({self.step}s) and "
                "divide a day; try step 1m with profile 5m"
            )
        for name in ("history", "refit"):
            value = getattr(self, name)
            if value < self.profile or value % self.profile:
                raise ConfigError(
                    f"{name} ({value}s) must be a positive multiple of profile ({self.profile}s)"
                )

    def boundary(self, signal: str, now: int) -> int:
        """Return the last refit boundary of a signal at or before `now`."""
        cells = self.refit // self.profile
        digest = hashlib.sha256(signal.encode()).digest()
        offset = int.from_bytes(digest[:8], "big") % cells * self.profile
        return (now - offset) // self.refit * self.refit + offset

    def history_times(self, boundary: int) -> tuple[int, int]:
        """Return first and last profile time of the history of a boundary, both included."""
        first = -(-(boundary - self.history) // self.profile) * self.profile
        return first, boundary - self.profile

    def fold_start(self, boundary: int) -> int:
        """Return the first step time of the fold that belongs to a boundary."""
        return boundary - LEAD_STEPS * self.step


class Evaluation:
    """One signal between two refit boundaries: its fit and the state of its fold.

    Parameters
    ----------
    signal : Signal
    schedule : Schedule
    boundary : int
        Unix seconds of the fit.
    history : SeriesMatrix
        Samples on the profile grid; those outside [boundary - history, boundary) are ignored.
    """

    def __init__(
        self, signal: Signal, schedule: Schedule, boundary: int, history: SeriesMatrix
    ) -> None:
        self.signal = signal
        self.schedule = schedule
        self.boundary = boundary
        self.next_time = schedule.fold_start(boundary)
        known = history.between(boundary - schedule.history, boundary)
        labels = (known.labels[s] for s in np.flatnonzero(~known.absent.all(axis=1)))
        self._fit(known.aligned(tuple(sorted(labels))))

    def _fit(self, known: SeriesMatrix) -> None:
        first, _ = self.schedule.history_times(self.boundary)
        history = _extended(known, first, self.boundary)
        untaught = history.marked(names.Mask.UNTAUGHT)
        lesson = replace(history, values=np.where(untaught, np.nan, history.values))
        self.baseline, z = seasonal.fit(lesson)
        self.calibration = score.calibrate(self.baseline, z)
        self.state = score.start(self.baseline)
        # A series that has long been gone stays gone across a refit; one that never was there is
        # gone too. Its last sample may lie up to a profile slot after the last one on the grid.
        begin = self.schedule.fold_start(self.boundary)
        there = ~history.absent & (history.times < begin)
        last = np.where(there, history.times, 0).max(axis=1, initial=0)
        self.state.silent = np.maximum(begin - history.step - last, 0) // self.schedule.step

    @property
    def labels(self) -> tuple[Labels, ...]:
        """The series this evaluation knows, those without history included."""
        return self.baseline.labels

    @property
    def living(self) -> int:
        """How many of its series have not been absent for so long that they are gone."""
        patience = score.patience(self.signal.policy, self.schedule.step)
        return int((self.state.silent <= patience).sum())

    @property
    def due(self) -> int:
        """Time of the boundary at which this evaluation has to be replaced."""
        return self.boundary + self.schedule.refit

    def admit(self, labels: tuple[Labels, ...], history: SeriesMatrix | None = None) -> None:
        """Take in series that appeared after the boundary, before their first sample is scored.

        Parameters
        ----------
        labels : tuple of Labels
            Label sets not known yet; known ones are ignored.
        history : SeriesMatrix, optional
            What is known of their past on the profile grid (absence that counts as zero).
            Without it they warm up until the next boundary.
        """
        new = tuple(sorted(set(labels) - set(self.labels)))
        if not new:
            return
        past = (history or empty_matrix(self.schedule.profile)).between(
            self.boundary - self.schedule.history, self.boundary
        )
        old = self.baseline, self.calibration, self.state
        self._fit(past.aligned(new))
        self.baseline = _stack(old[0], self.baseline, labels=old[0].labels + new)
        self.calibration = _stack(old[1], self.calibration)
        self.state = _stack(old[2], self.state)

    def advance(self, window: SeriesMatrix) -> Scores:
        """Score the next steps.

        Parameters
        ----------
        window : SeriesMatrix
            Samples on the step grid that start at `next_time`. Series that are missing from it
            are absent; series not admitted before warm up from here on.

        Returns
        -------
        Scores
            One row per series in the order of `labels`; steps before the boundary are left out.
        """
        if len(window.times) and window.times[0] != self.next_time:
            raise ValueError(f"window starts at {window.times[0]}, expected {self.next_time}")
        self.admit(window.labels)
        scores = score.advance(
            self.baseline,
            self.calibration,
            self.state,
            window.aligned(self.labels),
            self.signal.policy,
        )
        if len(window.times):
            self.next_time = int(window.times[-1]) + self.schedule.step
        return _from(scores, self.boundary)


def replay(
    signal: Signal, schedule: Schedule, samples: SeriesMatrix, start: int, end: int
) -> Iterator[Scores]:
    """Score stored samples exactly as a live run would have, one refit period at a time.

    Parameters
    ----------
    signal : Signal
    schedule : Schedule
    samples : SeriesMatrix
        Samples on the step grid, including the history before `start` as far as it exists.
    start, end : int
        Unix seconds; steps in [start, end) are scored.

    Yields
    ------
    Scores
        For one period between two boundaries each; periods without steps are skipped. Nothing
        after a step's time has an influence on it.
    """
    profile_grid = samples.every(schedule.profile)
    boundary = schedule.boundary(signal.name, start)
    while boundary < end:
        evaluation = Evaluation(signal, schedule, boundary, profile_grid)
        upto = min(evaluation.due, end)
        window = _extended(samples.between(evaluation.next_time, upto), evaluation.next_time, upto)
        seen = (window.labels[s] for s in np.flatnonzero(~window.absent.all(axis=1)))
        evaluation.admit(tuple(key for key in seen if key not in evaluation.labels))
        scores = _from(evaluation.advance(window.aligned(evaluation.labels)), start)
        if len(scores.times):
            yield scores
        boundary = evaluation.due


def fill_zero(samples: SeriesMatrix, presence: Mapping[Labels, np.ndarray]) -> SeriesMatrix:
    """Turn absence into zero where the job, or a sibling series, was there.

    Parameters
    ----------
    samples : SeriesMatrix
        [S, T] samples of a signal whose policy is ``missing="zero"``.
    presence : mapping from Labels to bool[T]
        Where `up` was 1, keyed by its (instance, job) labels; empty when unknown.

    Returns
    -------
    SeriesMatrix
        A sample that is present but NaN stays NaN: a ratio of nothing to nothing is no zero.
    """
    sibling = ~samples.absent.all(axis=0) if samples.labels else np.zeros(len(samples.times), bool)
    values, absent = samples.values.copy(), samples.absent.copy()
    for s, key in enumerate(samples.labels):
        identity = {(k, v) for k, v in key if k in ("job", "instance")}
        there = sibling.copy()
        for target, up in presence.items():
            if identity and identity <= set(target):
                there |= up
        fill = samples.absent[s] & there
        values[s, fill] = 0.0
        absent[s, fill] = False
    return replace(samples, values=values, absent=absent)


def _from(scores: Scores, start: int) -> Scores:
    """Return the steps at or after `start`."""
    a = int(np.searchsorted(scores.times, start))
    return replace(
        scores,
        times=scores.times[a:],
        **{
            name: getattr(scores, name)[:, a:]
            for name in ("observed", "expected", "lower", "upper", "score", "evidence", "state")
        },
    )


def _extended(window: SeriesMatrix, first: int, end: int) -> SeriesMatrix:
    """Return `window` on the full grid first..end, absent where there was no column."""
    times = np.arange(first, end, window.step)
    values = np.full((len(window.labels), len(times)), np.nan)
    absent = np.ones(values.shape, bool)
    at = (window.times - first) // window.step
    values[:, at] = window.values
    absent[:, at] = window.absent
    mask = None
    if window.mask is not None:
        mask = np.zeros(values.shape, np.uint8)
        mask[:, at] = window.mask
    return replace(window, times=times, values=values, absent=absent, mask=mask)


def _stack(old: T, new: T, **given: Any) -> T:
    """Return a dataclass whose arrays are those of `old` followed by those of `new`."""
    merged: dict[str, Any] = {
        name: np.concatenate([value, getattr(new, name)])
        for name, value in vars(old).items()
        if isinstance(value, np.ndarray)
    }
    return replace(old, **merged, **given)
