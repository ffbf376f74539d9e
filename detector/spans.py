"""Cuts a range read into spans whose answers are small, made from the size of the answers before.

So neither side ever holds a long past as text (DECISIONS.md 23); a span the server finds too large
is halved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from detector.errors import SourceError
from detector.range_answer import Sampled

# Prometheus refuses more than 11,000 points a series; a margin for servers that count otherwise.
MAX_POINTS = 10_000
# A span of so few points is not halved further.
MIN_POINTS = 100
# A first answer has few points: nothing is known yet of how many series there are.
FIRST_POINTS = 10
# A span has at most so many times the points of the one before.
GROWTH = 10
# Spans are made for answers of this size, about a quarter of a million samples: larger ones save no
# time, on either side.
ANSWER_BYTES = 8 << 20
# An answer that turns out this large is broken off, and its span halved.
MOST_BYTES = 8 * ANSWER_BYTES
# Reasons of failures that a shorter span can cure.
HALVED = ("too_large", "execution", "timeout")

# Asks for a query from start to end at a step: the series, and the size of the answer in bytes.
Ask = Callable[[str, int, int, int], tuple[Sequence[Sampled], int]]


class Spans:
    """What the answers to each query weigh, for spans that fit; safe to share between threads.

    Parameters
    ----------
    ask : callable
        Reads one span.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        # What a point in time weighed at most in the answers to each query, in the last long read
        # and since.
        self.bytes_a_point: dict[str, float] = {}

    def answers(self, query: str, start: int, end: int, step: int) -> Iterator[Sequence[Sampled]]:
        """Yield the answers of one span after another, the newest first.

        A span is made from the size of the last answer, the first one from the heaviest so far.
        The newest comes first because the past of a server often begins with nothing.

        Raises
        ------
        SourceError
            When a span fails and no shorter one can cure it.
        """
        most, last = MAX_POINTS, end
        known = self.bytes_a_point.get(query)
        points = FIRST_POINTS if known is None else _fitting(known)
        heaviest = known if known is not None and (end - start) // step < FIRST_POINTS else 0.0
        while last >= start:
            points = min(points, most, (last - start) // step + 1)
            first = last - (points - 1) * step
            try:
                series, size = self._ask(query, first, last, step)
            except SourceError as error:
                if error.reason not in HALVED or points <= MIN_POINTS:
                    raise
                most = points = points // 2
                continue
            heaviest = self.bytes_a_point[query] = max(heaviest, size / points)
            points = min(_fitting(size / points), GROWTH * points)
            last = first - step
            yield series
            # Nothing of it is left when the next one comes.
            del series


def _fitting(bytes_a_point: float) -> int:
    """Return how many points make an answer of the size that is wanted."""
    return max(int(ANSWER_BYTES / max(bytes_a_point, 1)), 1)
