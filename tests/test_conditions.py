"""Expressions of gates and masks: what is true, asked once a cycle, and failures by name."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from server import Server
from synthetic import MONDAY, labels, matrix

from detector.conditions import SHARED_POINTS, Conditions
from detector.errors import SourceError
from detector.names import Mask
from detector.prometheus import Prometheus
from detector.series import Condition, Labels, SeriesMatrix
from detector.settings import PrometheusSettings

NOW = MONDAY


def window(points: int = 1) -> SeriesMatrix:
    times = np.arange(NOW, NOW + 60 * points, 60)
    return matrix(times, {labels(job="a"): np.ones(points)})


def condition(query: str) -> Condition:
    return Condition("masks.train.0", Mask.UNTAUGHT, query)


def test_a_sample_is_true_unless_it_is_zero(server: Server) -> None:
    values = np.array([0.0, -0.0, 1.0, -2.0, np.nan, np.inf])
    server.write("m", np.arange(NOW, NOW + 360, 60), values, job="a")
    source = Prometheus(PrometheusSettings(url=server.url))
    true = [False, False, True, True, True, True, False]
    found = source.holds("m", NOW, NOW + 360, 60)
    assert {key: where.tolist() for key, where in found.items()} == {labels(job="a"): true}
    # A comparison means the same with and without bool.
    for query in ("m > 0", "m > bool 0"):
        (where,) = source.holds(query, NOW, NOW + 360, 60).values()
        assert where.tolist() == [False, False, True, False, False, True, False]
    # Nor does what it compares with matter, or that the value it passes on is a zero.
    for query in ("m == 0", "m == bool 0", "(m <= 0) and on (job) m == 0", 'm{job!="b"} == bool 0'):
        (where,) = source.holds(query, NOW, NOW + 360, 60).values()
        assert where.tolist() == [True, True, False, False, False, False, False]
    assert source.holds("vector(1)", NOW, NOW, 60).keys() == {()}
    assert source.holds("nothing", NOW, NOW, 60) == {}


class Counting(Prometheus):
    """A source that counts its questions, and answers once it is let."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__(PrometheusSettings())
        self.asked: list[str] = []
        self.let = threading.Event()
        self._fails = fails

    def holds(self, query: str, start: int, end: int, step: int) -> dict[Labels, np.ndarray]:
        self.asked.append(query)
        self.let.wait(10)
        if self._fails:
            raise SourceError("parse error", reason="bad_query")
        return {(): np.ones((end - start) // step + 1, bool)}


def test_signals_of_one_cycle_ask_once() -> None:
    source = Counting()
    conditions = Conditions(source)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(conditions.ask, condition("x"), window()) for _ in range(4)]
        source.let.set()
        assert [answer.result()[()].tolist() for answer in answers] == [[True]] * 4
    assert source.asked == ["x"]
    conditions.ask(condition("y"), window())
    conditions.ask(condition("x"), window(2))
    assert source.asked == ["x", "y", "x"]
    conditions.forget()
    conditions.ask(condition("x"), window())
    assert len(source.asked) == 4


def test_long_windows_are_not_kept() -> None:
    source = Counting()
    source.let.set()
    conditions = Conditions(source)
    for points, questions in ((SHARED_POINTS, 1), (SHARED_POINTS + 1, 2)):
        source.asked.clear()
        for _ in range(2):
            conditions.ask(condition("x"), window(points))
        assert len(source.asked) == questions


def test_a_failure_names_the_setting_and_is_everybodys() -> None:
    source = Counting(fails=True)
    source.let.set()
    conditions = Conditions(source)
    for _ in range(2):
        with pytest.raises(SourceError, match=r"^masks\.train\.0: parse error$") as caught:
            conditions.ask(condition("x"), window())
        assert caught.value.reason == "bad_query"
    assert source.asked == ["x"]
