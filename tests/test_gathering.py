"""Answers in pieces give the matrix that one answer gives, in no more memory than it takes."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import MONDAY, labels

from detector import gathering
from detector.errors import SourceError
from detector.gathering import Gathering, Reading
from detector.labels import label_set, result_labels
from detector.range_answer import NO_VALUES, Sampled
from detector.series import Labels

STEP, COUNT = 60, 8
TIMES = MONDAY + STEP * np.arange(COUNT)
# A few names, so that label sets meet: also those that differ in the metric's name only, and
# those that are written alike.
METRICS = st.fixed_dictionaries(
    {},
    optional={
        "__name__": st.sampled_from("mn"),
        "job": st.sampled_from(["a", "b", "c", ""]),
        "kind": st.just("x"),
        "exported_kind": st.just("x"),
    },
)
SAMPLES = st.dictionaries(st.integers(0, COUNT - 1), st.sampled_from([0.0, 1.5, math.nan]))
SERIES = st.dictionaries(METRICS.map(label_set), SAMPLES, max_size=6)
RULE: Labels = (("anomaly_name", "s"), ("team", "y"))

Result = Mapping[Labels, Mapping[int, float]]


def sampled(metric: Labels, samples: Mapping[int, float]) -> Sampled:
    values = [[int(TIMES[t]), str(samples[t])] for t in sorted(samples)]
    return Sampled(
        msgspec.Raw(msgspec.json.encode(dict(metric))),
        msgspec.Raw(msgspec.json.encode(values)) if values else NO_VALUES,
    )


def between(result: Result, first: int, end: int) -> list[Sampled]:
    """Return the answer for some times: the series that have samples then."""
    cut = {key: {t: v for t, v in own.items() if first <= t < end} for key, own in result.items()}
    return [sampled(key, own) for key, own in sorted(cut.items()) if own]


def gather(
    results: Sequence[Result], cuts: Sequence[int], limit: int, keep: Sequence[Labels] = ()
) -> Reading:
    """Gather the answers between cuts, the newest first."""
    made = Gathering(TIMES, STEP, limit, keep)
    edges = sorted({0, COUNT, *cuts})
    for number, result in enumerate(results):
        for first, end in reversed(list(zip(edges, edges[1:], strict=False))):
            made.add(number, RULE, between(result, first, end))
    return made.reading()


def naive(results: Sequence[Result], limit: int, keep: Sequence[Labels] = ()) -> Reading:
    """Do the same with one dictionary and no limit until the end."""
    rows: dict[Labels, dict[int, float]] = {}
    owners: dict[Labels, set[tuple[int, Labels]]] = {}
    for number, result in enumerate(results):
        for metric, samples in sorted(result.items()):
            if samples:
                key = result_labels(dict(metric), RULE)
                owners.setdefault(key, set()).add((number, metric))
                rows[key] = {**samples, **rows.get(key, {})}
    first = sorted(rows, key=lambda key: (key not in keep, key))[:limit]
    reading = gather([], [], limit)
    matrix = reading.matrix
    kept = tuple(sorted(first))
    values = [[rows[key].get(t, math.nan) for t in range(COUNT)] for key in kept]
    absent = [[t not in rows[key] for t in range(COUNT)] for key in kept]
    reading.matrix = type(matrix)(
        kept,
        TIMES,
        np.array(values, float).reshape(-1, COUNT),
        np.array(absent, bool).reshape(-1, COUNT),
        STEP,
    )
    reading.duplicates = sum(len(own) > 1 for own in owners.values())
    reading.over_limit = len(rows) - len(kept)
    return reading


def same(mine: Reading, other: Reading) -> None:
    assert mine.matrix.labels == other.matrix.labels
    np.testing.assert_array_equal(mine.matrix.values, other.matrix.values)
    np.testing.assert_array_equal(mine.matrix.absent, other.matrix.absent)
    assert (mine.duplicates, mine.over_limit) == (other.duplicates, other.over_limit)


@given(
    st.lists(SERIES, max_size=2),
    st.lists(st.integers(1, COUNT - 1)),
    st.integers(1, 8),
    st.lists(METRICS.map(lambda metric: result_labels(metric, RULE)), max_size=2),
)
def test_pieces_give_what_the_whole_gives(
    results: list[Result], cuts: list[int], limit: int, keep: list[Labels]
) -> None:
    whole = naive(results, limit, keep)
    same(gather(results, [], limit, keep), whole)
    same(gather(results, cuts, limit, keep), whole)


def test_batches_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    result = {
        labels(job=f"{i:02}"): {int(t): float(rng.random()) for t in rng.permutation(COUNT)[:5]}
        for i in range(30)
    }
    whole = gather([result], [], 100)
    assert whole.samples == 150
    monkeypatch.setattr(gathering, "BATCH", 4)
    monkeypatch.setattr(gathering, "SORTED_COLUMNS", 3)
    same(gather([dict(reversed(result.items()))], [3, 5], 100), whole)


def test_series_that_come_late_find_their_place() -> None:
    """Older answers come later: a series that is gone is seen last, and sorts first."""
    made = Gathering(TIMES, STEP, 10)
    made.add(0, (), [sampled(labels(job="z"), {6: 6.0, 7: 7.0})])
    made.add(0, (), [sampled(labels(job="a"), {0: 1.0}), sampled(labels(job="z"), {5: 5.0})])
    reading = made.reading()
    assert reading.matrix.labels == (labels(job="a"), labels(job="z"))
    assert np.flatnonzero(~reading.matrix.absent[0]).tolist() == [0]
    assert reading.matrix.values[1, 5:].tolist() == [5.0, 6.0, 7.0]
    assert reading.samples == 4


def test_samples_off_the_grid_are_left_out() -> None:
    made = Gathering(TIMES, STEP, 10)
    values = [[int(TIMES[0]) - 60, "1"], [int(TIMES[1]) + 0.001, "2"], [int(TIMES[-1]) + 60, "3"]]
    made.add(0, (), [Sampled(msgspec.Raw(b"{}"), msgspec.Raw(msgspec.json.encode(values)))])
    reading = made.reading()
    assert np.flatnonzero(~reading.matrix.absent[0]).tolist() == [1]
    assert reading.samples == 1


def test_a_histogram_in_many_answers_is_one() -> None:
    made = Gathering(TIMES, STEP, 10)
    for _ in range(3):
        made.add(0, (), [Sampled(msgspec.Raw(b'{"job":"a"}'))])
    reading = made.reading()
    assert reading.histograms == 1
    assert reading.matrix.absent.tolist() == [[True] * COUNT]


@pytest.mark.parametrize("metric", [b"[]", b'{"a":1}', b'{"a":"\xff"}', b"null"])
def test_labels_that_are_none(metric: bytes) -> None:
    with pytest.raises(SourceError, match="labels") as caught:
        Gathering(TIMES, STEP, 10).add(0, (), [Sampled(msgspec.Raw(metric))])
    assert caught.value.reason == "bad_response"


def test_series_beyond_the_limit_take_no_memory() -> None:
    times = MONDAY + STEP * np.arange(10_000)
    made = Gathering(times, STEP, limit=5)
    values = msgspec.Raw(msgspec.json.encode([[MONDAY, "1"]]))
    tracemalloc.start()
    # Each comes before all that came so far.
    for name in range(2_000, 0, -1):
        metric = msgspec.Raw(msgspec.json.encode({"job": f"{name:04}"}))
        made.add(0, (), [Sampled(metric, values)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    reading = made.reading()
    assert [dict(key)["job"] for key in reading.matrix.labels] == [f"{i:04}" for i in range(1, 6)]
    assert reading.over_limit == 1_995
    # Rows of all would be 180 MB; label sets are known of all.
    assert peak < 6 << 20
