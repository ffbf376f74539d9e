"""What an absent sample counts as: by `up`, by siblings, and what that means for what is told."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from replays import replay as backtested
from replays import rows_of
from running import NOW, Running, past
from server import Server
from synthetic import DAY, grid, labels, matrix

from detector.absence import UNKNOWN, fill_zero
from detector.backtest.files import read_file
from detector.backtest.request import Request
from detector.backtest.zeros import with_zeros
from detector.names import State
from detector.score import GONE
from detector.series import Labels, SeriesMatrix
from detector.settings import Settings

A, B, OF_I = labels(job="a"), labels(job="b"), labels(job="a", instance="i")
OF_Z = labels(job="a", code="4")
NAN, HOUR = np.nan, 3600


def up(*states: int, job: str = "a", instance: str = "i") -> dict[Labels, np.ndarray]:
    return {labels(instance=instance, job=job): np.array(states, np.int8)}


def samples(**rows: list[float]) -> SeriesMatrix:
    """Series by name: `a` and `b` of a job, `i` of an instance of `a`, `x` of nothing at all."""
    keys = {
        "a": A,
        "b": B,
        "i": OF_I,
        "x": (),
        "y": labels(code="5"),
        "z": labels(code="4", job="a"),
    }
    times = grid(1, 300)[: len(next(iter(rows.values())))]
    return matrix(times, {keys[name]: np.array(row) for name, row in rows.items()})


def rows(filled: SeriesMatrix) -> dict[Labels, list[float]]:
    np.testing.assert_array_equal(filled.absent, np.isnan(filled.values))
    return {key: filled.values[s].tolist() for s, key in enumerate(filled.labels)}


def same(found: list[float], wanted: list[float]) -> bool:
    return np.array_equal(found, wanted, equal_nan=True)


def test_absence_is_zero_while_the_target_is_up() -> None:
    given = samples(i=[NAN, 1, NAN, NAN], b=[2, 2, 2, 2])
    # Before it was first seen, while up, while down: the sibling of another job says nothing.
    filled = rows(fill_zero(given, up(UNKNOWN, 1, 1, 0)))
    assert same(filled[OF_I], [NAN, 1, 0, NAN])
    assert np.isnan(given.values).sum() == 3


def test_a_series_by_job_is_zero_while_any_target_of_the_job_is_up() -> None:
    there = up(1, 0, 0, UNKNOWN) | up(0, 1, 0, UNKNOWN, instance="j") | up(1, 1, 1, 1, job="b")
    filled = rows(fill_zero(samples(a=[NAN] * 4), there))
    assert same(filled[A], [0, 0, NAN, NAN])


def test_siblings_count_only_where_up_does_not_know() -> None:
    given = samples(a=[NAN, NAN, NAN], z=[1, 1, 1], b=[NAN, 1, NAN])
    filled = rows(fill_zero(given, up(UNKNOWN, 0, 1)))
    assert same(filled[A], [0, NAN, 0])
    # A job that `up` does not know at all, and no sibling in it.
    assert same(filled[B], [NAN, 1, NAN])


def test_a_sibling_of_an_instance_is_of_that_instance() -> None:
    other = labels(job="a", instance="i", code="500")
    times = grid(1, 300)[:3]
    given = matrix(times, {OF_I: np.array([NAN] * 3), other: np.array([1, NAN, NAN]),
                           labels(job="a", instance="j"): np.ones(3)})  # fmt: skip
    assert same(rows(fill_zero(given, {}))[OF_I], [0, NAN, NAN])


def test_series_that_name_no_target_have_siblings_only() -> None:
    given = samples(x=[NAN, NAN, NAN], y=[NAN, 1, NAN], b=[NAN, NAN, 1])
    filled = rows(fill_zero(given, up(1, 1, 1)))
    assert same(filled[()], [NAN, 0, 0])
    assert same(filled[labels(code="5")], [NAN, 1, 0])


def test_a_nan_sample_is_never_zero() -> None:
    given = replace(samples(a=[NAN, NAN]), absent=np.array([[False, True]]))
    np.testing.assert_array_equal(fill_zero(given, up(1, 1)).values, [[NAN, 0.0]])


def naive(given: SeriesMatrix, presence: dict[Labels, np.ndarray], s: int, t: int) -> bool:
    """Whether the absence of one series at one time is a zero."""
    own = {(k, v) for k, v in given.labels[s] if k in ("job", "instance")}
    told = [p[t] for key, p in presence.items() if own and own <= set(key) and p[t] >= 0]
    if told:
        return 1 in told
    return any(not given.absent[r, t] for r, key in enumerate(given.labels) if own <= set(key))


LABELS = st.dictionaries(
    st.sampled_from(["job", "instance", "code"]), st.sampled_from(["x", "y"])
).map(lambda d: labels(**d))
TARGETS = st.builds(labels, job=st.sampled_from("xy"), instance=st.sampled_from("xyz"))


@given(st.lists(LABELS, unique=True, min_size=1), st.sets(TARGETS), st.randoms())
def test_each_time_is_decided_by_itself(keys: list[Labels], targets: set[Labels], random: Any):
    rng = np.random.default_rng(random.randrange(2**32))
    some = np.where(rng.random((len(keys), 6)) < 0.6, NAN, 1.0)
    given = matrix(grid(1, 300)[:6], dict(zip(keys, some, strict=True)))
    presence = {key: rng.integers(-1, 2, 6).astype(np.int8) for key in sorted(targets)}
    filled = fill_zero(given, presence)
    for s in range(len(given.labels)):
        for t in range(6):
            zero = given.absent[s, t] and naive(given, presence, s, t)
            assert (filled.values[s, t] == 0) == zero
    # So a live run, minute by minute, has the zeros of a replay of all of them.
    one = given.between(int(given.times[3]), int(given.times[4]))
    alone = fill_zero(one, {key: state[3:4] for key, state in presence.items()})
    np.testing.assert_array_equal(alone.values, filled.values[:, 3:4])


def configured(server: Server, **given: Any) -> dict[str, Any]:
    signal = {"name": "failing", "kind": "errors", "query": "failing"}
    return {
        "prometheus": {"url": server.url, "timeout": "5s"},
        "rules": {"enabled": False},
        "history": "7d",
        "signals": [signal],
        **given,
    }


def pods(server: Server) -> int:
    """Feed pods that fail now and then, all replaced every two days; return when they last were."""
    times = past()
    rng = np.random.default_rng(4)
    last = NOW - 2 * HOUR
    begins = [last - 4 * DAY, last - 2 * DAY, last, NOW + 1]
    for number, (begin, end) in enumerate(itertools.pairwise(begins)):
        alive = times[(times >= begin) & (times < end)]
        for pod in range(3):
            own = {"job": "web", "instance": f"pod-{number}-{pod}"}
            server.write("up", alive, 1.0, **own)
            server.write("failing", alive, rng.poisson(20, len(alive)) / 10, **own)
    return last


def running(given: dict[str, Any]) -> Running:
    own = {key: value for key, value in given.items() if key != "prometheus"}
    return Running(given["prometheus"]["url"], **own)


def states(live: Running) -> dict[str, int]:
    return {
        dict(own)["instance"]: int(value)
        for (name, own), value in live.metrics().items()
        if name == "anomaly_state"
    }


def test_the_replacement_of_pods_is_silent(server: Server) -> None:
    """Live and replayed, over a refit: what was not there yet has no past of zeros."""
    replaced = pods(server)
    given = configured(server)
    live = running(given)
    seen: dict[str, set[int]] = {}
    for at in range(replaced - 180, replaced + 1200, 60):
        live.cycle(at)
        for pod, state in states(live).items():
            seen.setdefault(pod, set()).add(state)
    assert {pod: seen[pod] for pod in seen if pod.startswith("pod-2")} == {
        f"pod-2-{pod}": {State.WARMING_UP} for pod in range(3)
    }
    # Those before them were scored as long as they lived.
    assert all(seen[f"pod-1-{pod}"] == {State.OK, State.NO_DATA} for pod in range(3))
    outcome = backtested(Settings.model_validate(given), Request(start=NOW - DAY))
    (one,) = outcome.judged
    assert not (one.trace.state == State.ANOMALOUS).any()
    assert (one.trace.state == State.OK).any()


def test_the_dead_take_no_place_of_the_living(server: Server) -> None:
    pods(server)
    fresh = np.arange(NOW - 1800, NOW + 1, 60)
    for pod in range(2):
        server.write("up", fresh, 1.0, job="web", instance=f"pod-new-{pod}")
        server.write("failing", fresh, 5.0, job="web", instance=f"pod-new-{pod}")
    given = configured(server, max_series=6)
    live = running(given)
    for at in (*range(NOW - 2400, NOW, 300), NOW):
        live.cycle(at)
    assert states(live).keys() == {"pod-2-0", "pod-2-1", "pod-2-2", "pod-new-0", "pod-new-1"}
    assert live.get("detector_series_dropped", reason="limit") == 0


@pytest.mark.parametrize("seen", [True, False])
def test_a_job_that_is_down_has_no_zeros(server: Server, seen: bool) -> None:
    """Also where another job's series is there; with `up` at 0, and with no `up` at all."""
    times = past()
    down = times > NOW - 2 * HOUR
    rng = np.random.default_rng(5)
    for job in "ab":
        gone = down if job == "a" else times < 0
        server.write("up", times if seen else times[~gone], np.where(gone, 0.0, 1.0) if seen
                     else 1.0, job=job, instance="i")  # fmt: skip
        server.write("failing", times[~gone], rng.poisson(30, (~gone).sum()) / 10, job=job)
    given = configured(server)
    live = running(given)
    live.cycle(NOW - HOUR - 600)
    assert live.get("anomaly_state", job="a") == State.NO_DATA
    assert live.get("anomaly_observed", job="a") is None
    live.cycle(NOW)
    assert live.get("anomaly_state", job="a") is None
    assert live.get("anomaly_state", job="b") == State.OK


def test_the_first_errors_of_a_pod_that_has_long_been_up_are_told(server: Server) -> None:
    """By instance, by job, and of a job that `up` does not know but a sibling does."""
    times = past()
    broken = times[times > NOW - 600]
    server.write("up", times, 1.0, job="web", instance="i")
    server.write("failing", broken, 2.0, job="web", instance="i", code="503")
    server.write("failing", broken, 2.0, job="web", code="503")
    rng = np.random.default_rng(6)
    server.write("failing", times, rng.poisson(20, len(times)) / 100, job="pushed", code="500")
    server.write("failing", broken, 2.0, job="pushed", code="503")
    # What OpenTelemetry sends has no `up`.
    server.write("target_info", times, 1.0, job="sent", instance="uuid")
    server.write("failing", broken, 2.0, job="sent", code="503")
    # Nobody knows where this one was.
    server.write("failing", broken, 2.0, job="alone", code="503")
    given = configured(server)
    live = running(given)
    for at in (NOW - 720, NOW - 540, NOW):
        live.cycle(at)
    assert live.get("anomaly_state", job="web", instance="i") == State.ANOMALOUS
    assert live.get("anomaly_state", job="web", instance="") == State.ANOMALOUS
    assert live.get("anomaly_state", job="pushed", code="503") == State.ANOMALOUS
    assert live.get("anomaly_state", job="pushed", code="500") == State.OK
    assert live.get("anomaly_state", job="sent") == State.ANOMALOUS
    assert live.get("anomaly_state", job="alone") == State.WARMING_UP
    (one,) = backtested(Settings.model_validate(given), Request(start=NOW - 1800)).judged
    told = {dict(key).get("job", ""): False for key in one.trace.labels}
    for (key, _), row in rows_of(one.trace).items():
        told[dict(key)["job"]] |= row[-1] == State.ANOMALOUS
    assert told == {"web": True, "pushed": True, "sent": True, "alone": False}
    assert (one.trace.state[:, 0] == GONE).sum() == 5


def test_a_saved_answer_has_the_zeros_of_the_server(server: Server, tmp_path: Path) -> None:
    """The first 503 ever: told by the server, and by a file of the same series."""
    times = np.arange(NOW - 9 * DAY, NOW + 1, 300)
    rng = np.random.default_rng(7)
    server.write("up", times, 1.0, job="web", instance="i")
    server.write("failing", times, rng.poisson(5, len(times)) / 100, job="web", code="500")
    broken = times[(times >= NOW - 3 * HOUR) & (times < NOW - 2 * HOUR)]
    server.write("failing", broken, 0.5, job="web", code="503")
    server.write("failing", broken, 0.5, job="alone", code="503")
    given = configured(server, step="5m", history="28d")
    span = {"query": "failing", "start": NOW - 9 * DAY, "end": NOW, "step": 300}
    path = tmp_path / "failing.json"
    path.write_text(httpx.get(f"{server.url}/api/v1/query_range", params=span).text)
    asked = Request(start=NOW - DAY)
    served = backtested(Settings.model_validate(given), asked)
    of_file = Settings(history="28d", step="5m")
    asked = replace(asked, files=(path,), kind="errors", step=300)
    filed = backtested(of_file, asked)
    (one,), (other,) = served.judged, filed.judged
    np.testing.assert_array_equal(one.trace.state, other.trace.state)
    np.testing.assert_array_equal(one.trace.score, other.trace.score)
    told = (other.trace.state == State.ANOMALOUS).any(axis=1)
    assert [dict(other.trace.labels[s])["job"] for s in np.flatnonzero(told)] == ["web"]
    (note,) = (note for note in filed.notes if "missing: zero" in note)
    assert note.startswith("failing: missing: zero: not in force for 1 of 3 series of a file")
    assert not any("missing: zero" in note for note in served.notes)


@pytest.mark.parametrize(("offset", "zeros"), [(0, 2), (7, 0)])
def test_samples_of_different_seconds_are_no_siblings(
    tmp_path: Path, offset: int, zeros: int
) -> None:
    lines = [f'bad{{code="1"}} 1 {t}' for t in range(60, 600, 60)]
    lines += [
        f'bad{{code="2"}} 1 {t + offset}' for t in (*range(60, 240, 60), *range(360, 600, 60))
    ]
    path = tmp_path / "bad.om"
    path.write_text("\n".join(["# TYPE bad gauge", *lines, "# EOF\n"]))
    filled, notes = with_zeros("bad", read_file(path, 60)["bad"])
    assert (filled.values == 0).sum() == zeros
    assert len(notes) == (offset > 0)


def test_an_empty_cell_is_a_zero_where_another_column_has_a_number(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("timestamp,a,b\n60,1,\n120,1,nan\n180,,2\n240,,\n300,1,1\n")
    filled, notes = with_zeros("bad", read_file(path, 60)["bad"])
    wanted = [[1, 1, 0, NAN, 1], [0, NAN, 2, NAN, 1]]
    np.testing.assert_array_equal(filled.values, wanted)
    assert notes == []
