"""Each compiled routine against its naive twin."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector import kernels

quick = settings(max_examples=60, deadline=None)

NUMBERS = st.one_of(
    st.floats(-1e3, 1e3),
    st.sampled_from([0.0, -0.0, 1.0, 1.0, math.nan, math.nan, 1e300, -1e300, 5e-324, 1e15]),
)
SERIES = st.lists(NUMBERS, max_size=60) | st.builds(
    lambda value, n: [value] * n, NUMBERS, st.integers(0, 60)
)


def same(fast: np.ndarray, slow: list[float]) -> None:
    np.testing.assert_allclose(fast, np.array(slow, float), rtol=1e-12, atol=0)


@quick
@given(
    x=SERIES,
    period=st.integers(1, 12),
    offset=st.integers(0, 11),
    half=st.integers(0, 3),
    least=st.integers(1, 4),
)
def test_slot_medians(x: list[float], period: int, offset: int, half: int, least: int) -> None:
    first = offset % period
    profile, left_out = kernels.slot_medians(np.array(x, float), first, period, half, least)
    slow_profile, slow_left_out = naive.slot_medians(x, first, period, half, least)
    same(profile, slow_profile)
    same(left_out, slow_left_out)


def test_slot_medians_leave_the_own_cycle_out() -> None:
    x = np.array([1.0, 10.0, 2.0, 20.0, 30.0, 900.0])
    profile, left_out = kernels.slot_medians(x, 0, 2, 0, 2)
    assert profile.tolist() == [2.0, 20.0]
    assert left_out.tolist() == [16.0, 460.0, 15.5, 455.0, 1.5, 15.0]


@quick
@given(x=SERIES, window=st.integers(1, 20), least=st.integers(1, 6))
def test_trailing_median(x: list[float], window: int, least: int) -> None:
    before = np.array(x, float)
    fast = kernels.trailing_median(before, window, least)
    same(fast, naive.trailing_median(x, window, least))
    np.testing.assert_array_equal(before, np.array(x, float))


@quick
@given(
    z=st.floats(-100, 100) | st.sampled_from([math.nan, 0.0, 50.0]),
    q95=st.floats(0, 4),
    decade=st.floats(0.2, 4),
    trust=st.floats(0, 1),
)
def test_tail_evidence(z: float, q95: float, decade: float, trust: float) -> None:
    fast = kernels.tail_evidence(z, q95, decade, trust, 1.8)
    assert fast == pytest.approx(naive.tail_evidence(z, q95, decade, trust, 1.8), abs=1e-5)
    assert 0.0 <= fast <= kernels.EVIDENCE_LIMIT
    assert kernels.tail_evidence(z + 1.0, q95, decade, trust, 1.8) >= fast


PROFILE, DAY_SLOTS = 4, 6
WEEK_SLOTS = 7 * DAY_SLOTS


@st.composite
def folds(draw: st.DrawFn) -> dict[str, object]:
    # Drawn by one seed: Hypothesis' own lists of this size take most of a second each.
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    step = draw(st.sampled_from([1, 2, 4]))
    count = draw(st.sampled_from([0, 1, 7, 60]))
    holes = draw(st.sampled_from([0.0, 0.2, 1.0]))
    jump = draw(st.sampled_from([0.0, 30.0, 1e15]))
    first = draw(st.integers(0, 400)) * step
    weights = draw(st.sampled_from([(1, 0, 0), (0.2, 0.5, 0.3), (0, 1, 0), (0, 0, 1), (0, 0, 0)]))
    up, down = draw(st.sampled_from([(True, True), (True, False), (False, True)]))

    def many(n: int, holes: float = 0.1) -> list[float]:
        some = rng.choice([0.0, 1.0, 10.0]) * rng.standard_normal(n)
        some[rng.random(n) < holes] = math.nan
        return some.tolist()

    values = np.array(many(count, holes))
    values[count // 2 : count // 2 + 9] += jump
    return {
        "values": values.tolist(),
        "times": [first + i * step for i in range(count)],
        "step": step,
        "day": many(DAY_SLOTS),
        "week": many(WEEK_SLOTS),
        "weight": list(weights),
        "scale": draw(st.sampled_from([0.5, 3.0, 30.0])),
        "tails": [(rng.uniform(0.5, 3), rng.uniform(0.2, 2)) for _ in range(2)],
        "trust": draw(st.floats(0, 1)),
        "band": (rng.uniform(0, 50), draw(st.sampled_from([5.0, math.inf]))),
        "up": up,
        "down": down,
        "min_abs": draw(st.sampled_from([0.0, 5.0])),
        "min_rel": draw(st.sampled_from([0.0, 0.5])),
        "low": draw(st.sampled_from([-math.inf, 0.0, -10.0])),
        "high": draw(st.sampled_from([math.inf, 60.0])),
        "ring": [many(DAY_SLOTS) for _ in range(3)],
        "level": many(3),
    }


PRIOR, EDGE, LEAVE = 1.8, 3.5, 0.65
OUTPUTS = ("expected", "lower", "upper", "score", "spike", "anomalous")


class Run:
    """The compiled fold with its state, callable in pieces."""

    def __init__(self, case: dict[str, object]) -> None:
        self.case = case
        self.ring = np.array(case["ring"], float)
        self.level = np.array(case["level"], float)
        self.recent, self.flags = np.zeros(5), np.zeros(2, np.int64)

    def __call__(self, a: int, b: int) -> np.ndarray:
        case = self.case
        values = np.array(case["values"], float)[a:b]
        out = [np.full(b - a, np.nan) for _ in range(4)]
        evidence, anomalous = np.full((b - a, 2), np.nan), np.zeros(b - a, np.int64)
        kernels.fold(
            values,
            np.array(case["times"], np.int64)[a:b],
            case["step"],
            PROFILE,
            np.array(case["day"], float),
            np.array(case["week"], float),
            np.array(case["weight"], float),
            case["scale"],
            np.array(case["tails"]),
            case["trust"],
            PRIOR,
            EDGE,
            np.array(case["band"]),
            np.array([case["up"], case["down"]], np.int64),
            np.array([case["min_abs"], case["min_rel"]]),
            np.array([case["low"], case["high"]]),
            LEAVE,
            self.ring,
            self.level,
            self.recent,
            self.flags,
            *out,
            evidence,
            anomalous,
        )
        return np.array([*out, evidence[:, 0], anomalous])


@settings(max_examples=150, deadline=None)
@given(case=folds())
def test_fold(case: dict[str, object]) -> None:
    fast = Run(case)(0, len(case["values"]))
    given = {k: v for k, v in case.items() if k != "step"}
    rows = naive.fold(**given, profile=PROFILE, prior=PRIOR, edge=EDGE, leave=LEAVE)
    slow = np.array([[row[name] for row in rows] for name in OUTPUTS]).reshape(6, -1)
    # A score within rounding of a threshold may fall on either side of it.
    score = slow[3][np.isfinite(slow[3])]
    for threshold in (1.0, LEAVE):
        if (np.abs(score - threshold) < 1e-5).any():
            return
    np.testing.assert_allclose(fast, slow, rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(case=folds(), cuts=st.lists(st.integers(0, 60), max_size=5))
def test_fold_in_pieces_gives_identical_rows(case: dict[str, object], cuts: list[int]) -> None:
    count = len(case["values"])
    whole = Run(case)(0, count)
    at = [0, *sorted(cut for cut in cuts if cut <= count), count]
    run = Run(case)
    pieces = [run(a, b) for a, b in zip(at, at[1:], strict=False)]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)
