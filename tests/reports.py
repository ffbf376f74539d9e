"""Made backtests: random episodes, gaps and incidents, as a document and its packed scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from synthetic import MONDAY

from detector.backtest.document import document
from detector.backtest.duel import Duel, alike, duel
from detector.backtest.duel_table import duels_document
from detector.backtest.grouping import Inhibition
from detector.backtest.judging import Judged, judge
from detector.backtest.packed import Strip, packed, strips
from detector.backtest.page import page
from detector.backtest.results import Results, results
from detector.backtest.run import Trace
from detector.backtest.truth import Incident
from detector.labels import label_set
from detector.names import State
from detector.series import Labels, Signal
from detector.settings import KIND_POLICIES

STEP = 60
HOSTILE = (
    '<img src=x onerror="document.title=1">',
    "</script><script>document.title = 1</script>",
    "\"'`${document.title=1}&amp;<!--",
    "two\nlines\u2028and\u202ebackwards\x00",
    "🧨 emoji ünïcode",
    "<b>" * 3_400,
    "__proto__",
)


@dataclass(frozen=True)
class Made:
    """A judged replay, and what the page is made of."""

    found: Results
    judged: list[Judged]
    document: dict[str, Any]
    scores: dict[str, Any]

    @property
    def html(self) -> str:
        return page(self.document, self.scores)


ABOUT: dict[str, Any] = {
    "complete": True,
    "notes": [],
    "timing": {},
    "required": [],
    "failed": [],
    "budget": None,
    "duels": [],
}
BUDGET: dict[str, Any] = {
    "pages_per_week": 60.0,
    "chosen": 0.7,
    "trials": [
        {"sensitivity": factor, "recall": [recall, rest], "pages_per_week": [pages, 1.2 * pages],
         "seconds": 3.0}
        for factor, recall, rest, pages in (
            (0.35, 0.2, None, 10.0), (0.7, 0.6, 0.5, 40.0), (1.0, 0.6, 0.5, 90.0),
            (2.0, 0.9, 1.0, 400.0),
        )
    ],
}  # fmt: skip


def made(
    seed: int,
    series: int = 3,
    steps: int = 2_000,
    incidents: int = 6,
    hostile: bool = False,
    inhibitions: Sequence[Inhibition] = (),
) -> Made:
    """Return a backtest of three signals with `series` series each.

    Scores are those of a fold without memory: episodes begin above 1 and end below 0.65, after
    five calm steps, or at a gap; echoes of them are capped at 0.99.
    """
    rng = np.random.default_rng(seed)
    times = MONDAY + STEP * np.arange(steps)
    names = ("rps", "seconds", "failing")
    kinds = ("traffic", "latency", "drift")
    if hostile:
        names = (HOSTILE[1], HOSTILE[6], HOSTILE[4])
    truth = tuple(
        Incident(
            int(begin),
            int(begin) + int(rng.integers(1, 60)) * STEP,
            str(rng.choice(["", names[0]])),
            label_set({"job": HOSTILE[i % 7] if hostile else "ab"[i % 2]}) if i % 3 == 0 else (),
            HOSTILE[i % 7] if hostile else f"fault {i}",
        )
        for i, begin in enumerate(np.sort(rng.choice(times, incidents, replace=False)))
    )
    judged = []
    for name, kind in zip(names, kinds, strict=True):
        signal = Signal(name, kind, (), KIND_POLICIES[kind])
        jobs = HOSTILE if hostile else ("a", "b", "c")
        keys: tuple[Labels, ...] = tuple(
            label_set({"job": jobs[s % len(jobs)], "instance": str(s)}) for s in range(series)
        )
        judged.append(
            judge(_trace(signal, keys, times, truth, rng), truth, STEP, 30.0, ranked=False)
        )
    found = results(judged, truth, int(times[0]), int(times[-1]) + STEP, inhibitions=inhibitions)
    return Made(
        found,
        judged,
        json.loads(json.dumps(document(found, judged, STEP, {}, ABOUT))),
        packed(found, judged, kept_of(judged), STEP, 60, inhibitions=inhibitions),
    )


def with_duel(case: Made, **about: Any) -> tuple[Made, Duel]:
    """Return the backtest beside one of other sensitivity, which stands for a rival."""
    fought = duel(case.found, alike("other <b>.yml", rescored(case, 0.7)))
    more = {"duels": duels_document([fought]), **about}
    return replace(case, document=json.loads(json.dumps({**case.document, **more}))), fought


def kept_of(judged: list[Judged]) -> list[Strip]:
    return [strip for one in judged for strip in strips(one.trace)]


def rescored(case: Made, factor: float, inhibitions: Sequence[Inhibition] = ()) -> Results:
    """Return what the slider should show: the rule of assets/replay.js, step by step."""
    moved = []
    for one in case.judged:
        state = one.trace.state.copy()
        for s in range(len(state)):
            state[s] = _again(one.trace, s, factor)
        moved.append(
            judge(replace(one.trace, state=state), case.found.incidents, STEP, 30.0, ranked=False)
        )
    span = case.found.start, case.found.end
    return results(moved, case.found.incidents, *span, inhibitions=inhibitions)


def _again(trace: Trace, s: int, factor: float) -> np.ndarray:
    state = np.where(trace.state[s] == State.ANOMALOUS, State.OK, trace.state[s])
    inside, quiet, loud = False, 0, 0
    for t, score in enumerate(trace.score[s]):
        if np.isnan(score):
            continue
        capped = score == 0.99
        value = 0.99 if capped else score * factor
        was = t > 0 and trace.state[s, t - 1] == State.ANOMALOUS
        ended = was and trace.state[s, t] != State.ANOMALOUS and score >= 0.65
        centre, value_now = trace.expected[s, t], trace.observed[s, t]
        low, high = (centre + 0.65 * (end[s, t] - centre) for end in (trace.lower, trace.upper))
        normal = low <= value_now <= high
        quiet = quiet + 1 if capped or normal else 0
        loud += not (capped or normal)
        over = value < 0.65 or ended or quiet >= 5 or quiet > loud
        if not inside and value > 1 and not capped:
            inside, quiet, loud = True, 0, 1
        elif inside:
            inside = not over
        if inside:
            state[t] = State.ANOMALOUS
    return state


def _trace(
    signal: Signal,
    keys: tuple[Labels, ...],
    times: np.ndarray,
    truth: tuple[Incident, ...],
    rng: np.random.Generator,
) -> Trace:
    shape = len(keys), len(times)
    score = np.abs(rng.normal(0.2, 0.12, shape))
    state = np.zeros(shape, np.int8)
    expected = 10 + 4 * np.sin(times / 86_400 * 2 * np.pi) + np.zeros(shape)
    for s, key in enumerate(keys):
        starts = [one.start for one in truth if one.concerns(signal.name, key)]
        starts += rng.choice(times, 4).tolist()
        for start in starts:
            if rng.random() < 0.3:
                continue
            a = int(np.searchsorted(times, start + int(rng.integers(0, 5)) * STEP))
            length = int(rng.integers(1, 40))
            score[s, a : a + length] = np.round(
                rng.uniform(0.5, 2.5, score[s, a : a + length].shape), 3
            )
        gap = int(rng.integers(0, shape[1] - 30))
        score[s, gap : gap + 20] = np.nan
        state[s, gap : gap + 20] = State.NO_DATA
        inside, calm = False, 0
        for t in range(shape[1]):
            value = score[s, t]
            if np.isnan(value):
                continue
            calm = calm + 1 if value < 0.8 else 0
            inside = not (value < 0.65 or calm >= 5) if inside else value > 1
            if not inside and rng.random() < 0.02:
                score[s, t] = 0.99
            state[s, t] = State.ANOMALOUS if inside else State.OK
    observed = np.where(np.isnan(score), np.nan, expected + 2 * np.nan_to_num(score))
    return Trace(
        signal, keys, times, observed, expected, expected - 2, expected + 2, score, state,
        np.where(state == State.ANOMALOUS, 0, -1).astype(np.int8),
    )  # fmt: skip
