"""Keeps one group up to date: refits at boundaries, judges what its members' scores say."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from detector import groups
from detector.conditions import Conditions
from detector.export import FRESH_STEPS, Published
from detector.lesson import taught
from detector.models import registry
from detector.models.baseline import Baseline
from detector.past import read_past
from detector.prometheus import Prometheus
from detector.runner import log_changes
from detector.schedule import Schedule
from detector.series import Float, Group, Labels, Signal


class GroupRunner:
    """Keeps one group up to date.

    A refit reads the members' histories of its own boundary and judges them in UTC: the members'
    own time zones need not agree.
    """

    def __init__(
        self,
        group: Group,
        members: Mapping[str, Signal],
        grid: Schedule,
        source: Prometheus,
        conditions: Conditions,
        max_series: int,
    ) -> None:
        self.group = group
        self.members = {name: members[name] for name in group.signals}
        self.newest: Published | None = None
        self._policies = {name: signal.policy for name, signal in self.members.items()}
        self._signal = Signal(group.name, "other", ())
        self._grid = grid
        self._source = source
        self._conditions = conditions
        self._max_series = max_series
        self._fitted: groups.GroupFit | None = None
        self._boundary = 0
        self._anomalous: set[Labels] = set()

    def catch_up(self, until: int, newest: Mapping[str, Published]) -> None:
        """Judge the steps up to `until` that the members' newest scores know of.

        Raises
        ------
        SourceError
            When a refit cannot read the past; the last fit stays, the next call tries again.
        """
        if self.newest is not None and until < self.newest.time - FRESH_STEPS * self._grid.step:
            # The clock was set back: waiting for it is no answer.
            self.newest = None
        known = {name: newest[name] for name in self.members if name in newest}
        boundary = self._grid.boundary(self.group.name, until)
        if self._fitted is None or boundary != self._boundary:
            self._fitted = self._fit(boundary)
            self._boundary = boundary
        seen = [p.scores.times for p in known.values()]
        times = np.unique(np.concatenate(seen)) if seen else np.empty(0, np.int64)
        last = 0 if self.newest is None else self.newest.time
        times = times[(times > last) & (times <= until)]
        if not len(times):
            return
        # A step that no member has a score for keeps its place: windows count steps.
        begin = int(times[0]) if last == 0 else last + self._grid.step
        times = np.arange(begin, int(times[-1]) + 1, self._grid.step)
        scores = groups.advance(
            self._fitted,
            times,
            {name: published.scores for name, published in known.items()},
            self._policies,
        )
        self.newest = Published(self._signal, scores, int(times[-1]), self.group.signals)
        self._anomalous = log_changes(
            self.group.name, self._anomalous, scores.labels, scores.state[:, -1]
        )

    def _fit(self, boundary: int) -> groups.GroupFit:
        histories: dict[str, Float] = {}
        baselines: dict[str, Baseline] = {}
        for name, signal in self.members.items():
            history = taught(
                read_past(
                    self._source, self._conditions, signal, self._grid, boundary, self._max_series
                )
            )
            if history.labels:
                histories[name] = history.values
                baselines[name] = registry.fit(signal.model, history)
        every = self._grid.profile // self._grid.step
        return groups.fit(self.group, every, histories, baselines, self._policies, self._fitted)
