"""From states to figures: alerts, pages, incidents found, requirements, budgets, VUS-PR."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from detector.backtest.alerting import Firing
from detector.backtest.budget import choose, parse_budget
from detector.backtest.document import VERSION, document
from detector.backtest.gate import failures, parse_requirement
from detector.backtest.grouping import Inhibition, Page, Route, pages
from detector.backtest.judging import judge
from detector.backtest.ranking import vus_pr
from detector.backtest.results import FIGURES, WEEK, Results, results
from detector.backtest.run import Trace
from detector.backtest.summary import rows
from detector.backtest.truth import Incident
from detector.errors import ConfigError
from detector.series import Labels, Signal

SHARED = Path(__file__).resolve().parents[2] / "shared" / "bench"


def trace(states: Sequence[Sequence[int]], kind: str = "traffic", step: int = 60) -> Trace:
    state = np.array(states, np.int8)
    score = np.where(state == 1, 1.5, 0.1)
    labels = tuple((("job", name),) for name in "abcdef"[: len(state)])
    times = np.arange(state.shape[1]) * step
    channel = np.where(state == 1, 0, -1).astype(np.int8)
    return Trace(
        Signal("rps", kind, ()), labels, times, score, score, score, score, score, state, channel
    )


def judged(states: Sequence[Sequence[int]], incidents: Sequence[Incident] = ()) -> Results:
    one = judge(trace(states), incidents, 60, 30)
    return results([one], incidents, 0, len(states[0]) * 60)


def row(length: int, *runs: tuple[int, int]) -> list[int]:
    states = [0] * length
    for a, b in runs:
        states[a:b] = [1] * (b - a)
    return states


def test_found_late_missed_and_false() -> None:
    incidents = [Incident(6000, 7200), Incident(12000, 12600)]
    found = judged([row(400, (103, 115), (300, 310), (350, 351))], incidents)
    assert found.delays == (3 * 60 + 120 + 60, None)
    assert [one.incidents for one in found.alerts] == [(0,), ()]
    figures = found.figures
    assert (figures["incidents"], figures["found"], figures["missed"]) == (2, 1, 1)
    assert (figures["recall"], figures["precision"], figures["f1"]) == (0.5, 0.5, 0.5)
    assert figures["delay_median_seconds"] == 360
    assert figures["false_alerts_per_week"] == pytest.approx(WEEK / (400 * 60))
    assert figures["pages"] == 2
    assert figures["false_pages_per_week"] == figures["false_alerts_per_week"]
    assert tuple(figures) == FIGURES


def test_an_alert_that_is_always_on_finds_nothing() -> None:
    found = judged([row(400, (0, 400))], [Incident(12000, 12600)])
    assert found.delays == (None,)
    assert found.figures["precision"] == 0
    assert found.figures["time_in_alert_ratio"] == pytest.approx(398 / 400)


def test_series_that_warm_up_throughout_have_no_rates() -> None:
    """Silence of what was never scored is no quiet week."""
    warming, half, absent = [2] * 400, [2] * 200 + [0] * 200, [3] * 400
    one = judge(trace([warming, half, absent, [2] * 200 + [3] * 200]), [], 60, 30)
    assert one.unscored == 2
    assert results([one], [], 0, 24_000).figures["pages_per_week"] == 0
    never = judged([warming, warming])
    for name in FIGURES:
        if "per_week" in name or name == "time_in_alert_ratio":
            assert never.figures[name] is None, name
    assert rows(never)[0][8:11] == ("-", "-", "-")
    (said,) = failures([parse_requirement("pages_per_week<=2")], never.figures)
    assert "pages_per_week is undefined" in said


def test_a_rightful_alert_also_finds_what_begins_meanwhile() -> None:
    found = judged([row(400, (100, 200))], [Incident(6000, 9000), Incident(9600, 10200)])
    assert found.delays == (180, 0)


def test_without_incidents_nothing_is_defined_but_the_noise() -> None:
    figures = judged([row(400, (100, 200))]).figures
    assert figures["recall"] is figures["precision"] is figures["f1"] is None
    assert figures["false_alerts"] == 1


def test_an_incident_of_another_signal_is_not_missed_here() -> None:
    incidents = [Incident(6000, 7200, "latency")]
    assert judged([row(400)], incidents).figures["incidents"] == 0


A: Labels = (("alertname", "X"), ("instance", "1"), ("job", "a"))
B: Labels = (("alertname", "X"), ("instance", "2"), ("job", "a"))
ROUTE = Route(("alertname", "job"), 30, 300, 3600)


def moments(found: list[Page]) -> list[tuple[int, int, bool]]:
    return [(page.time, len(page.alerts), page.repeated) for page in found]


def test_alerts_of_a_group_are_one_page() -> None:
    found = pages({A: [Firing(0, 1000)], B: [Firing(20, 1000)]}, ROUTE)
    assert moments(found) == [(30, 2, False)]


def test_a_late_one_waits_for_the_interval() -> None:
    assert moments(pages({A: [Firing(0, 1000)], B: [Firing(40, 1000)]}, ROUTE)) == [
        (30, 1, False),
        (330, 2, False),
    ]


def test_one_over_before_the_wait_pages_nobody() -> None:
    assert pages({A: [Firing(0, 30)]}, ROUTE) == []


def test_reminders_come_after_the_repeat_interval() -> None:
    times = moments(pages({A: [Firing(0, 9000)]}, ROUTE))
    # The first flush more than an hour after the last message.
    assert times == [(30, 1, False), (3930, 1, True), (7830, 1, True)]


def test_what_ended_and_begins_anew_is_told_anew() -> None:
    found = pages({A: [Firing(0, 100), Firing(5000, 6000)]}, ROUTE)
    assert moments(found) == [(30, 1, False), (5030, 1, False)]


def test_other_alerts_mute() -> None:
    down = {(("alertname", "Down"), ("job", "a")): [Firing(0, 200)]}
    muted = [Inhibition(down, ("job",))]
    assert moments(pages({A: [Firing(0, 1000)]}, ROUTE, muted)) == [(330, 1, False)]
    other = [Inhibition({(("job", "b"),): [Firing(0, 200)]}, ("job",))]
    assert moments(pages({A: [Firing(0, 1000)]}, ROUTE, other)) == [(30, 1, False)]


def test_requirements() -> None:
    figures = dict.fromkeys(FIGURES, 0.5) | {"recall": None}
    met, broken, undefined = map(
        parse_requirement, ("precision >= 0.5", "pages_per_week<0.5", "recall>=0.1")
    )
    assert failures([met], figures) == []
    assert failures([broken], figures) == ["pages_per_week is 0.5, required < 0.5"]
    assert "recall is undefined" in failures([undefined], figures)[0]


@pytest.mark.parametrize("text", ["recall", "recall=1", "recall>=", "luck>=1", "recall>=1e", ""])
def test_what_is_no_requirement(text: str) -> None:
    with pytest.raises(ConfigError, match="--require"):
        parse_requirement(text)


@pytest.mark.parametrize("text", ["two", "2", "2 pages", "2 pages/fortnight", "/week"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(ConfigError, match="--budget"):
        parse_budget(text)


def test_the_budget_chooses_on_one_part_and_confirms_on_the_rest() -> None:
    noise = {0.5: (1, 0), 1.0: (2, 4), 2.0: (9, 9)}

    def replay(sensitivity: float) -> tuple[Results, Results]:
        halves = []
        for count in noise[sensitivity]:
            figures = dict.fromkeys(FIGURES, 0.0) | {
                "pages_per_week": float(count),
                "recall": sensitivity / 2,
            }
            halves.append(Results(0, 1, (), (), (), (), figures, {}))
        return halves[0], halves[1]

    choice = choose(2.0, replay, tuple(noise))
    assert choice.chosen is not None
    assert choice.chosen.sensitivity == 1.0
    assert "NOT confirmed on the rest with 4.00 (3 replays" in choice.verdict
    nothing = choose(0.5, replay, tuple(noise))
    assert nothing.chosen is None
    assert "no sensitivity keeps" in nothing.verdict


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        ((None, None), "no sensitivity can be chosen: on the first 60% of the range every series"),
        ((1.0, None), "sensitivity 1 keeps to 2 pages a week; NOT confirmed, nothing was scored"),
    ],
)
def test_what_was_never_scored_keeps_to_no_budget(
    pages: tuple[float | None, float | None], said: str
) -> None:
    def replay(_: float) -> tuple[Results, Results]:
        first, rest = (
            Results(0, 1, (), (), (), (), dict.fromkeys(FIGURES) | {"pages_per_week": count}, {})
            for count in pages
        )
        return first, rest

    choice = choose(2.0, replay, (1.0,))
    assert choice.verdict.startswith(said)
    assert (choice.chosen is None) == (pages[0] is None)
    assert choice.rows[0][2:5:2] == ("-" if pages[0] is None else "1.00", "-")


def test_the_report_has_its_documented_shape() -> None:
    incidents = [Incident(6000, 7200, note="<b>|</b>")]
    one = judge(trace([row(5000, (103, 115)), row(5000)]), incidents, 60, 30)
    found = results([one], incidents, 0, 5000 * 60)
    made = document(found, [one], 60, {"rps": [(0, 1.5)]}, {"complete": True})
    read = json.loads(json.dumps(made, allow_nan=False))
    assert read["version"] == VERSION
    described = (Path(__file__).parents[1] / "docs" / "report.md").read_text(encoding="utf-8")
    for part in (read, *(read[name][0] for name in ("signals", "incidents", "alerts", "pages"))):
        assert [key for key in part if f"`{key}`" not in described] == []
    curve = read["series"][0]
    assert [key for key in curve if f"`{key}`" not in described] == []
    assert [name for name in FIGURES if f"`{name}`" not in described] == []
    assert len(curve["times"]) == len(curve["score"]) == len(curve["firing"]) <= 2000
    # The peak of each bucket stays.
    assert max(curve["score"]) == 1.5
    assert sum(curve["firing"]) > 0
    assert curve["bucket"] == 180


def naive(label: np.ndarray, score: np.ndarray, window: int) -> float:
    sys.path.insert(0, str(SHARED))
    try:
        import score as scorer
    finally:
        sys.path.remove(str(SHARED))
    return float(scorer.vus_pr(label, score, window))


@pytest.mark.skipif(
    not (SHARED / "score.py").exists(), reason=f"the open bench's score.py is not in {SHARED}"
)
@examples(50)
@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([0.0, 0.2, 0.5, 1.0, 3.0])),
        min_size=5,
        max_size=300,
    ),
    st.integers(0, 30),
)
def test_vus_pr_is_that_of_the_open_bench(pairs: list[tuple[bool, float]], window: int) -> None:
    label, score = (np.array(column) for column in zip(*pairs, strict=True))
    ours = vus_pr(label, score, window)
    if not label.any():
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(naive(label, score, window))


def test_vus_pr_of_a_perfect_and_a_blind_score() -> None:
    label = np.zeros(1000, bool)
    label[500:520] = True
    assert vus_pr(label, label.astype(float), 0) == pytest.approx(1.0)
    assert vus_pr(label, np.full(1000, np.nan), 0) == pytest.approx(0.02)
