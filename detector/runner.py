"""Keeps one signal up to date: reads what is new, refits at boundaries, scores."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from detector import heap
from detector.absence import fill_zero
from detector.allowance import Allowance
from detector.census import Attendance, Census
from detector.conditions import Conditions
from detector.export import FRESH_STEPS, Published
from detector.masks import masked
from detector.names import State
from detector.pipeline import Evaluation
from detector.prometheus import Prometheus, Reading
from detector.schedule import Schedule
from detector.series import Labels, Scores, SeriesMatrix, Signal
from detector.telemetry import Telemetry

log = logging.getLogger("detector")

# Samples of the past that all signals may hold at one time while they are fitted; a sample takes
# about 9 bytes, and as much again while it is worked on.
HISTORIES = Allowance(10_000_000)
# Steps scored at one time: their scores take about 130 bytes each.
MOST_STEPS = 120
# Of longer steps one without samples is no absence yet.
LONG_STEP = 300


class SignalRunner:
    """Keeps one signal up to date: its evaluation and its newest scores."""

    def __init__(
        self,
        signal: Signal,
        grid: Schedule,
        source: Prometheus,
        conditions: Conditions,
        telemetry: Telemetry,
        max_series: int,
    ) -> None:
        self.signal = signal
        self.newest: Published | None = None
        # Series left out of the newest window, by reason.
        self.dropped: dict[str, int] = {}
        self._grid = grid
        self._source = source
        self._conditions = conditions
        self._telemetry = telemetry
        self._max_series = max_series
        self._evaluation: Evaluation | None = None
        self._census: Census | None = None
        self._anomalous: set[Labels] = set()
        self._changed: set[Labels] = set()

    def catch_up(self, until: int) -> None:
        """Evaluate all steps up to `until` that have not been evaluated yet, in order.

        Raises
        ------
        SourceError
            When the samples cannot be read; nothing is lost, the next call catches up.
        """
        evaluation = self._evaluation
        refitted = evaluation is not None and until >= evaluation.due
        if evaluation is None or refitted or self._set_back(evaluation, until):
            window = self._begin(until)
        elif until < evaluation.next_time:
            return
        else:
            window = self._read_window(evaluation.next_time, until, evaluation.labels)
        evaluation = self._evaluation
        assert evaluation is not None
        # Of series beyond the limit nobody knows whether they are there.
        read = None if self.dropped["limit"] else window
        self._admit(evaluation, window)
        window = self._complete(window, evaluation.labels)
        for start in range(int(window.times[0]), until + 1, MOST_STEPS * self._grid.step):
            end = start + MOST_STEPS * self._grid.step
            scores = evaluation.advance(window.between(start, end))
        before = self.newest
        attendance = self._attendance(read, window, until)
        self.newest = Published(self.signal, scores, until, attendance=attendance)
        self._log(scores, evaluation.changed, before if refitted else None)

    def _attendance(
        self, read: SeriesMatrix | None, window: SeriesMatrix, until: int
    ) -> Attendance | None:
        """Count what was read of the last step, or two of them where one alone fills patience."""
        if self._census is None or read is None:
            return None
        since = until - (self._grid.step if self._grid.step > LONG_STEP else 0)
        return self._census.at(read.between(since, until + 1), window.between(since, until + 1))

    def _begin(self, until: int) -> SeriesMatrix:
        """Fit at the last boundary before `until`; return the window to be scored from there on.

        The window is read first: series that live now have their place before those of which
        only the past knows.
        """
        boundary = self._grid.boundary(self.signal.name, until)
        window = self._read_window(boundary, until, ())
        recent_times = self._grid.fold_start(boundary), boundary - self._grid.step
        history_times = self._grid.history_times(boundary)
        points = (recent_times[1] - recent_times[0]) // self._grid.step + (
            history_times[1] - history_times[0]
        ) // self._grid.profile
        with (
            HISTORIES.hold(points * max(len(window.labels), 1)),
            self._telemetry.fit_time.time(),
        ):
            recent = self._read(*recent_times, self._grid.step, window.labels).matrix
            found = self._read(*history_times, self._grid.profile, recent.labels).matrix
            history = self._complete(found, found.labels)
            evaluation = Evaluation(self.signal, self._grid, boundary, history)
            census = None
            if self.signal.policy.missing != "ignore":
                known = replace(found, mask=history.mask)
                census = Census(known, boundary, self.signal.policy.timezone)
            # It has what it needs of it.
            del found, history
            self._admit(evaluation, recent)
            evaluation.advance(self._complete(recent, evaluation.labels))
            del recent
            heap.give_back()
        self._evaluation, self._census = evaluation, census
        self._telemetry.fits.inc()
        return window

    def _log(self, scores: Scores, changed: tuple[Labels, ...], before: Published | None) -> None:
        """Log what began, ended and changed for good; `before` is what held before a new fit."""
        anomalous = log_changes(
            self.signal.name, self._anomalous, scores.labels, scores.state[:, -1]
        )
        new = {*changed} - self._changed
        if before is not None:
            # A fit that knows of a change ends its episode as well.
            ended = self._anomalous - anomalous
            new |= {key for key in ended if expected_now(key, before.scores, scores)}
        log_change_points(self.signal.name, new, scores)
        self._anomalous, self._changed = anomalous, {*changed}

    def _set_back(self, evaluation: Evaluation, until: int) -> bool:
        """Return whether the clock was set back so far that waiting for it is no answer."""
        return until < evaluation.next_time - (FRESH_STEPS + 1) * self._grid.step

    def _read(self, start: int, end: int, step: int, keep: tuple[Labels, ...]) -> Reading:
        reading = self._source.read(
            self.signal.queries, start, end, step, self._max_series, keep=keep
        )
        self._telemetry.samples.inc(reading.samples)
        return reading

    def _read_window(self, start: int, end: int, keep: tuple[Labels, ...]) -> SeriesMatrix:
        """Read steps to be scored, and note what had to be left out of them."""
        reading = self._read(start, end, self._grid.step, keep)
        self.dropped = {
            "limit": reading.over_limit,
            "duplicate": reading.duplicates,
            "histogram": reading.histograms,
        }
        return reading.matrix

    def _complete(self, matrix: SeriesMatrix, known: tuple[Labels, ...]) -> SeriesMatrix:
        """Return rows for the known series, with the zeros that absence counts as and the mask."""
        matrix = matrix.aligned(known)
        if self.signal.policy.missing == "zero" and matrix.values.size:
            start, end = int(matrix.times[0]), int(matrix.times[-1])
            matrix = fill_zero(matrix, self._source.presence(start, end, matrix.step))
        return masked(matrix, self.signal.conditions, self._conditions.ask)

    def _admit(self, evaluation: Evaluation, window: SeriesMatrix) -> None:
        """Let series that appeared since the boundary in, with zeros as past where those count.

        Series that are gone take no place from them.
        """
        known = frozenset(evaluation.labels)
        new = tuple(key for key in window.labels if key not in known)
        if not new:
            return
        room = max(self._max_series - evaluation.living, 0)
        past = None
        if new[:room] and self.signal.policy.missing == "zero":
            first, last = self._grid.history_times(evaluation.boundary)
            siblings = self._read(first, last, self._grid.profile, evaluation.labels).matrix
            both = tuple(sorted({*siblings.labels, *new[:room]}))
            past = self._complete(siblings, both).aligned(new[:room])
        evaluation.admit(new[:room], past)
        self.dropped["limit"] += len(new[room:])


def log_changes(
    signal: str, anomalous: set[Labels], labels: tuple[Labels, ...], states: np.ndarray
) -> set[Labels]:
    """Log which series have begun and ended to be anomalous; return those that are, int8[S]."""
    now = {labels[s] for s in np.flatnonzero(states == int(State.ANOMALOUS))}
    for verb, keys in (("began", now - anomalous), ("ended", anomalous - now)):
        for key in sorted(keys):
            log.info("anomaly %s signal=%s labels=%s", verb, signal, dict(key))
    return now


def expected_now(key: Labels, before: Scores, after: Scores) -> bool:
    """Whether the newest sample of a series is expected, and was not by what held before."""
    if key not in after.labels:
        return False
    s, r = after.labels.index(key), before.labels.index(key)
    seen, due = after.observed[s, -1], after.expected[s, -1]
    return bool(abs(seen - due) < 0.5 * abs(seen - before.expected[r, -1]))


def log_change_points(signal: str, changed: set[Labels], scores: Scores) -> None:
    """Log the series whose new level is the normal one from now on."""
    for key in sorted(changed):
        s = scores.labels.index(key)
        log.info(
            "change point signal=%s labels=%s: normal is %.4g here from now on, observed %.4g",
            signal, dict(key), scores.expected[s, -1], scores.observed[s, -1],
        )  # fmt: skip
