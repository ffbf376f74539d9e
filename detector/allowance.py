"""Keeps threads from holding more of something at one time than there is room for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Allowance:
    """Room for a number of things, shared by threads; who finds none waits for others to leave.

    Parameters
    ----------
    most : int
        Things held at one time. Who wants more than that has all of it, alone.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most
        self._change = threading.Condition()

    @contextmanager
    def hold(self, wanted: int) -> Iterator[None]:
        """Wait for room for so many things, and hold it."""
        share = min(wanted, self._most)
        with self._change:
            self._change.wait_for(lambda: self._left >= share)
            self._left -= share
        try:
            yield
        finally:
            with self._change:
                self._left += share
                self._change.notify_all()
