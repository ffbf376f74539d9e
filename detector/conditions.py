"""Evaluates the expressions of gates and masks, each once for all signals of a cycle."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from detector.errors import SourceError
from detector.masks import Answer
from detector.prometheus import Prometheus
from detector.series import Condition, SeriesMatrix

# Longer windows are those of a fit: they begin at a boundary that only their signal has.
SHARED_POINTS = 60

Question = tuple[str, int, int, int]


class Conditions:
    """The answers of one cycle; safe to share between threads.

    Parameters
    ----------
    source : Prometheus
    longest : int
        Answers on more points are not kept.
    """

    def __init__(self, source: Prometheus, longest: int = SHARED_POINTS) -> None:
        self._source = source
        self._longest = longest
        self._lock = threading.Lock()
        self._answers: dict[Question, Future[Answer]] = {}

    def forget(self) -> None:
        """Begin a new cycle: what is asked from now on is asked anew."""
        with self._lock:
            self._answers = {}

    def ask(self, condition: Condition, samples: SeriesMatrix) -> Answer:
        """Return where an expression is true on the times of some samples, by result.

        Raises
        ------
        SourceError
            Naming the setting that the expression comes from.
        """
        assert isinstance(condition.test, str)
        first, last = int(samples.times[0]), int(samples.times[-1])
        try:
            return self._answer((condition.test, first, last, samples.step))
        except SourceError as error:
            raise SourceError(f"{condition.setting}: {error}", reason=error.reason) from None

    def _answer(self, question: Question) -> Answer:
        _, first, last, step = question
        if (last - first) // step >= self._longest:
            return self._source.holds(*question)
        with self._lock:
            answer = self._answers.get(question)
            first_to_ask = answer is None
            if answer is None:
                answer = self._answers[question] = Future()
        if first_to_ask:
            try:
                answer.set_result(self._source.holds(*question))
            except BaseException as error:
                # Whoever waits for it fails alike.
                answer.set_exception(error)
        return answer.result()
