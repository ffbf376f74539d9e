"""The one path from samples to scores, live and replayed.

Determinism: a fit is a pure function of the samples in [boundary - history, boundary); boundaries
are absolute in time (staggered per signal by its name), and the state at t is a fold of the
samples from ``boundary - lead`` on. So a live run, a replay and a restart give the same rows
wherever they start. Nothing here reads a clock: time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from detector import levels, score
from detector.channels import Normal, State
from detector.episodes import settle, suspect
from detector.lesson import lesson, local_times, taught
from detector.matrices import extended, held, stacked
from detector.models import registry
from detector.models.baseline import Baseline
from detector.schedule import Schedule
from detector.series import Int, Labels, Scores, SeriesMatrix, Signal, empty_matrix
from detector.underway import under_way

# The fold starts this many steps before the boundary, so that an episode in course goes on.
LEAD_STEPS = 60
HOUR = 3600


class Evaluation:
    """One signal between two refit boundaries: its fit and the state of its fold.

    Parameters
    ----------
    signal : Signal
    schedule : Schedule
    boundary : int
        Unix seconds of the fit.
    history : SeriesMatrix
        Samples on the profile grid; those outside [boundary - history, boundary) are ignored, and
        infinite ones are NaN, here as in `advance`.

    Raises
    ------
    ValueError
        When two rows have the same labels.
    """

    def __init__(
        self, signal: Signal, schedule: Schedule, boundary: int, history: SeriesMatrix
    ) -> None:
        self.signal = signal
        self.schedule = schedule
        self.boundary = boundary
        self.next_time = schedule.fold_start(boundary)
        history.check_unique()
        known = history.between(boundary - schedule.history, boundary).bounded()
        labels = (known.labels[s] for s in np.flatnonzero(~known.absent.all(axis=1)))
        first, _ = schedule.history_times(boundary)
        self._history = extended(known.aligned(tuple(sorted(labels))), first, boundary)
        self._labels = self._history.labels
        self._begun = False

    def _begin(self, recent: SeriesMatrix) -> None:
        history = self._history
        self._history = empty_matrix(history.step)
        self._begun = True
        self.baseline, self.normal, self.state = self._fitted(history, recent)

    def _fitted(
        self, history: SeriesMatrix, recent: SeriesMatrix
    ) -> tuple[Baseline, Normal, State]:
        """Fit to the history, calibrate on the steps up to the boundary, and fold the last ones."""
        zone = self.signal.policy.timezone
        past = lesson(history, zone)
        baseline = registry.fit(self.signal.model, past)
        steps = taught(recent)
        local = local_times(recent.times, zone, past.step)
        # An incident that goes on is not the past yet: it would widen the band, and end by that.
        going_on = under_way(past, baseline)
        normal, state = score.prepare(baseline, past, steps, local, self.signal.policy, going_on)
        # What was expected of the history has served its purpose, and is the largest part.
        baseline = replace(baseline, expected=np.empty((len(baseline.labels), 0)))
        state.silent[:] = self._silence(history)
        lead = recent.between(self.boundary - LEAD_STEPS * self.schedule.step, self.boundary)
        # The begin of an episode in course may be out of sight.
        suspect(state)
        self._fold(baseline, normal, state, lead)
        settle(state, going_on * past.step // HOUR)
        return baseline, normal, state

    def _silence(self, history: SeriesMatrix) -> Int:
        """Steps since the last sample before the lead, int64[S].

        A series that has long been gone stays gone across a refit; one that never was there is
        gone too. Its last sample may lie up to a profile slot after the last one on the grid.
        """
        begin = self.boundary - LEAD_STEPS * self.schedule.step
        before = int(np.searchsorted(history.times, begin))
        newest_first = ~history.absent[:, :before][:, ::-1]
        last = np.zeros(len(history.labels), np.int64)
        if before:
            at = before - 1 - newest_first.argmax(axis=1)
            last = np.where(newest_first.any(axis=1), history.times[at], 0)
        silent: Int = np.maximum(begin - history.step - last, 0) // self.schedule.step
        return silent

    def _fold(
        self,
        baseline: Baseline,
        normal: Normal,
        state: State,
        window: SeriesMatrix,
    ) -> Scores:
        zone = self.signal.policy.timezone
        local = local_times(window.times, zone, baseline.profile)
        return score.advance(
            baseline,
            normal,
            state,
            window,
            local,
            self.boundary,
            self.signal.policy,
        )

    @property
    def labels(self) -> tuple[Labels, ...]:
        """The series this evaluation knows, those without history included."""
        return self.baseline.labels if self._begun else self._labels

    @property
    def living(self) -> int:
        """How many of its series have not been absent for so long that they are gone."""
        patience = score.patience(self.signal.policy, self.schedule.step)
        silent = self.state.silent if self._begun else self._silence(self._history)
        return int((silent <= patience).sum())

    @property
    def changed(self) -> tuple[Labels, ...]:
        """Series whose change has lasted so long that it is the normal level, while told of."""
        changed = levels.learnt(self.state) if self._begun else np.zeros(0, bool)
        return tuple(self.baseline.labels[s] for s in np.flatnonzero(changed))

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
        first, _ = self.schedule.history_times(self.boundary)
        added = extended(past.aligned(new), first, self.boundary)
        if not self._begun:
            self._history = stacked(self._history, added)
            self._labels += new
            return
        steps = held(added, self.schedule.step).between(
            self.schedule.fold_start(self.boundary), self.boundary
        )
        baseline, normal, state = self._fitted(added, steps)
        self.baseline = replace(
            self.baseline, labels=self.labels + new, **_joined(vars(self.baseline), vars(baseline))
        )
        self.normal = Normal(**_joined(self.normal._asdict(), normal._asdict()))
        self.state = State(**_joined(self.state._asdict(), state._asdict()))

    def advance(self, window: SeriesMatrix) -> Scores:
        """Score the next steps.

        Parameters
        ----------
        window : SeriesMatrix
            Samples on the step grid that start at `next_time`; the first window reaches the
            boundary at least. Series that are missing from it are absent; series not admitted
            before warm up from here on.

        Returns
        -------
        Scores
            One row per series in the order of `labels`; steps before the boundary are left out.
        """
        if len(window.times) and window.times[0] != self.next_time:
            raise ValueError(f"window starts at {window.times[0]}, expected {self.next_time}")
        self.admit(window.labels)
        aligned = window.aligned(self.labels).bounded()
        if not self._begun:
            reached = window.times[-1] if len(window.times) else self.next_time
            if reached < self.boundary - self.schedule.step:
                raise ValueError(f"the first window must reach {self.boundary}")
            self._begin(aligned.between(self.next_time, self.boundary))
        if len(window.times):
            self.next_time = int(window.times[-1]) + self.schedule.step
        window = aligned.between(self.boundary, self.next_time)
        return self._fold(self.baseline, self.normal, self.state, window)


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
    boundary = schedule.boundary(signal.name, start)
    first, _ = schedule.history_times(boundary)
    # Once for all, so that the history of each boundary is a view.
    profile_grid = extended(samples.every(schedule.profile).between(first, end), first, end)
    while boundary < end:
        evaluation = Evaluation(signal, schedule, boundary, profile_grid)
        upto = min(evaluation.due, end)
        window = extended(samples.between(evaluation.next_time, upto), evaluation.next_time, upto)
        seen = (window.labels[s] for s in np.flatnonzero(~window.absent.all(axis=1)))
        evaluation.admit(tuple(key for key in seen if key not in evaluation.labels))
        scores = _from(evaluation.advance(window.aligned(evaluation.labels)), start)
        if len(scores.times):
            yield scores
        boundary = evaluation.due


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


def _joined(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays of `old`, each followed by that of `new`."""
    return {
        name: np.concatenate([value, new[name]])
        for name, value in old.items()
        if isinstance(value, np.ndarray)
    }
