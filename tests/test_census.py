"""How many series of a job are usually there: against a plain twin, and what is missed when."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from synthetic import DAY, MONDAY, grid, labels, matrix

from detector.census import Census
from detector.names import Mask
from detector.series import Labels, SeriesMatrix

HOUR = 3600
STEP = 300
NAN = np.nan


def naive_usual(
    history: SeriesMatrix, boundary: int, zone: str, job: str
) -> dict[tuple[int, int], int]:
    """Return by (day of the week, hour of it) how many series of a job are usually there."""
    clock = ZoneInfo(zone or "UTC")
    rows = [s for s, key in enumerate(history.labels) if dict(key).get("job", "") == job]
    # Hours of the grid: a change of the clocks begins another one.
    slot = max(HOUR, history.step)
    hours: list[list[int]] = []
    last = None
    for t, time in enumerate(history.times.tolist()):
        local = datetime.fromtimestamp(time, clock)
        offset = local.utcoffset()
        assert offset is not None
        moved = int(offset.total_seconds()) // history.step * history.step
        part = (time + moved) // slot
        if part != last:
            hours.append([])
        hours[-1].append(t)
        last = part
    there = [0] * len(history.times)
    for s in rows:
        for hour in hours:
            known = [t for t in hour if not history.absent[s, t]]
            numbers = [t for t in hour if history.values[s, t] == history.values[s, t] != 0]
            if numbers and 2 * len(numbers) >= len(known):
                for t in known:
                    there[t] += 1
    worst: dict[tuple[int, int], int] = {}
    seen = False
    for t, time in enumerate(history.times.tolist()):
        count = there[t]
        seen = seen or count > 0
        untaught = history.mask is not None and any(history.mask[s, t] & 1 for s in rows)
        if not seen or untaught:
            continue
        local = datetime.fromtimestamp(time, clock)
        at = local.toordinal(), local.hour
        worst[at] = min(worst.get(at, count), count)
    end = datetime.fromtimestamp(boundary, clock)
    last = end.toordinal() * 24 + end.hour
    usual: dict[tuple[int, int], int] = {}
    for weekday in range(7):
        for hour in range(24):
            ago = {
                last - (day * 24 + h): n
                for (day, h), n in worst.items()
                if h == hour and day * 24 + h < last
            }
            days = sorted(n for far, n in ago.items() if far <= 7 * 24)
            same = {last - far: n for far, n in ago.items() if far <= 4 * 7 * 24}
            weeks = sorted(n for at, n in same.items() if (at // 24 - 1) % 7 == weekday)
            lows = [some[(len(some) - 1) // 2] for some in (days, weeks) if some]
            if lows:
                usual[weekday, hour] = min(lows)
    return usual


@st.composite
def histories(draw: st.DrawFn) -> tuple[SeriesMatrix, str]:
    days = draw(st.sampled_from([1.3, 3, 9, 20, 31]))
    step = draw(st.sampled_from([900, 1800, 7200]))
    zone = draw(st.sampled_from(["", "Europe/Berlin", "Asia/Kolkata"]))
    zone = "" if step == 7200 else zone
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    # The clocks of Berlin are set back on the 26th of October.
    times = grid(days, step, MONDAY + draw(st.integers(0, 7)) * DAY)
    rows: dict[Labels, np.ndarray] = {}
    for i in range(draw(st.integers(1, 6))):
        key = labels(job=draw(st.sampled_from("ab")), pod=str(i)) if i else labels(pod="0")
        here = (times // HOUR % 24 < draw(st.integers(8, 30))) & (rng.random(len(times)) > 0.02)
        here &= times >= times[0] + draw(st.sampled_from([0, 0, 1, 5])) * DAY
        rows[key] = np.where(
            here, rng.random(len(times)) > draw(st.sampled_from([0.0, 0.3, 0.5])), NAN
        )
    made = matrix(times, rows)
    if draw(st.booleans()):
        mask = np.zeros(made.values.shape, np.uint8)
        mask[rng.integers(len(rows)), rng.random(len(times)) < 0.3] = Mask.UNTAUGHT
        made = SeriesMatrix(made.labels, made.times, made.values, made.absent, step, mask)
    return made, zone


@examples(100)
@given(histories())
def test_usual_is_what_the_plain_twin_says(case: tuple[SeriesMatrix, str]) -> None:
    history, zone = case
    boundary = int(history.times[-1]) + history.step
    census = Census(history, boundary, zone)
    now = np.arange(boundary, boundary + 7 * DAY, 2 * HOUR if history.step > HOUR else HOUR)
    clock = ZoneInfo(zone or "UTC")
    told = census.at(history.aligned(()), history).usual
    assert told.shape == (len(census.labels), len(history.times))
    nothing = SeriesMatrix((), now, np.empty((0, len(now))), np.empty((0, len(now)), bool), HOUR)
    found = census.at(nothing, nothing)
    assert (found.present == 0).all()
    for j, job in enumerate(census.labels):
        expected = naive_usual(history, boundary, zone, dict(job).get("job", ""))
        for t, time in enumerate(now.tolist()):
            local = datetime.fromtimestamp(time, clock)
            due = expected.get((local.weekday(), local.hour), NAN)
            np.testing.assert_equal(found.usual[j, t], due)


def ratio(samples: SeriesMatrix, now: int) -> float:
    """Return the share of the usual series that is there at a time, learnt from what is before."""
    newest = samples.between(now, now + STEP)
    found = Census(samples.between(0, now), now, "").at(newest, newest)
    return float(found.present[0, 0] / found.usual[0, 0])


def test_pods_that_are_replaced_are_not_missed() -> None:
    times = grid(9, STEP)
    # Three pods, all of them replaced every day.
    rows = {
        labels(job="web", pod=f"{day}-{i}"): np.where(times // DAY - MONDAY // DAY == day, 1.0, NAN)
        for day in range(9)
        for i in range(3)
    }
    assert ratio(matrix(times, rows), MONDAY + 8 * DAY) == 1.0


def test_a_metric_that_vanishes_is_missed_until_half_of_a_week_is_without_it() -> None:
    times = grid(20, STEP)
    gone = MONDAY + 14 * DAY
    samples = matrix(times, {labels(job="web"): np.where(times < gone, 1.0, NAN)})
    assert ratio(samples, gone - HOUR) == 1.0
    for now in range(gone, gone + 3 * DAY + DAY // 2, 6 * HOUR):
        assert ratio(samples, now) == 0.0
    after = Census(samples.between(0, gone + 5 * DAY), gone + 5 * DAY, "")
    later = samples.between(gone + 5 * DAY, gone + 6 * DAY)
    assert after.at(later, later).usual.max() == 0


@pytest.mark.parametrize("weeks", [2, 4])
def test_what_rests_at_weekends_is_not_missed_there(weeks: int) -> None:
    times = grid(7 * weeks + 5.5, STEP)
    weekend = (times // DAY - MONDAY // DAY) % 7 >= 5
    rows = {labels(job="batch"): np.where(weekend, NAN, 1.0)}
    now = MONDAY + (7 * weeks + 5) * DAY
    samples = matrix(times, rows)
    census = Census(samples.between(0, now), now, "")
    saturday, friday = samples.between(now, now + DAY), samples.between(now - DAY, now)
    assert census.at(saturday, saturday).usual.max() == 0
    # On the Friday before it is.
    earlier = census.at(friday, friday)
    assert (earlier.usual == 1).all()
    assert (earlier.present == 1).all()


def test_a_series_that_says_nothing_is_there_and_of_a_muted_job_none_is_missed() -> None:
    times = grid(3, STEP)
    keys = [labels(job="a", i="0"), *(labels(job=job, i=i) for job in "bc" for i in "012")]
    samples = matrix(times, {key: np.ones(len(times)) for key in keys})
    census = Census(samples, MONDAY + 3 * DAY, "")
    now = np.array([MONDAY + 3 * DAY])
    # A sample that is NaN, a job muted of which a pod is new, a job whose gate is closed.
    there = [key == keys[0] for key in keys]
    read = SeriesMatrix(
        (keys[0], labels(job="b", i="new")), now, np.full((2, 1), NAN), np.zeros((2, 1), bool), STEP
    )
    closed = int(Mask.UNTAUGHT | Mask.MUTED | Mask.GATED)
    mask = [int(Mask.MUTED) * (dict(key)["job"] == "b") for key in keys]
    mask = [closed if dict(key)["job"] == "c" else m for key, m in zip(keys, mask, strict=True)]
    absent = ~np.array(there)[:, None]
    marks = np.array(mask, np.uint8)[:, None]
    known = SeriesMatrix(tuple(keys), now, np.full((7, 1), NAN), absent, STEP, marks)
    found = census.at(read, known)
    assert found.labels == (labels(job="a"), labels(job="b"), labels(job="c"))
    assert found.present.tolist() == [[1], [3], [0]]
    assert found.usual.tolist() == [[1.0], [3.0], [3.0]]


def test_a_zero_now_and_then_does_not_make_a_series_one_of_zeros() -> None:
    times = grid(15, STEP)
    now = MONDAY + 14 * DAY
    chance = np.random.default_rng(2).random((10, len(times)))
    rows = {
        labels(job="a", pod=str(i)): np.where((i > 2) & (times >= now), NAN, chance[i] > 0.2)
        for i in range(10)
    }
    assert ratio(matrix(times, rows), now) == 0.3


def test_counters_that_come_with_their_first_event_are_not_missed() -> None:
    times = grid(15, STEP)
    now = MONDAY + 14 * DAY
    rng = np.random.default_rng(1)
    rows = {labels(job="web", handler="busy"): np.ones(len(times))}
    for i in range(5):
        # Seldom called, and after a restart not there before the first call.
        seldom = np.where(rng.random(len(times)) < 0.2, 0.01, 0.0)
        rows[labels(job="web", handler=str(i))] = np.where(times < now, seldom, NAN)
    assert ratio(matrix(times, rows), now) == 1.0


def test_jobs_without_a_past_are_left_out() -> None:
    times = grid(2, STEP)
    census = Census(matrix(times, {labels(job="old"): np.ones(len(times))}), MONDAY + 2 * DAY, "")
    later = matrix(
        grid(0.01, STEP, MONDAY + 2 * DAY), {labels(job="new"): np.ones(3)[: len(grid(0.01, STEP))]}
    )
    found = census.at(later, later)
    assert found.labels == (labels(job="old"),)
    assert (found.present == 0).all()
    empty = Census(matrix(times, {}), MONDAY + 2 * DAY, "")
    assert empty.labels == ()
    assert empty.at(later, later).present.shape == (0, len(later.times))
