"""Threads wait for room, and memory that is free goes back."""

from __future__ import annotations

import os
import platform
import threading
from pathlib import Path

import pytest

from detector import heap
from detector.allowance import Allowance


def test_no_more_is_held_than_there_is_room_for() -> None:
    room = Allowance(10)
    lock, held, most = threading.Lock(), 0, 0

    def hold(wanted: int) -> None:
        nonlocal held, most
        for _ in range(50):
            with room.hold(wanted):
                with lock:
                    held += min(wanted, 10)
                    most = max(most, held)
                with lock:
                    held -= min(wanted, 10)

    threads = [threading.Thread(target=hold, args=(wanted,)) for wanted in (1, 3, 4, 7, 10, 99)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert 0 < most <= 10


def test_room_is_left_by_those_who_fail() -> None:
    room = Allowance(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="no"), room.hold(5):
            raise ValueError("no")


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc",
    reason="memory is given back by glibc's malloc_trim, and this C library is not glibc",
)
def test_memory_is_given_back() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    # Pieces too small for pages of their own, and one kept at the end: the heap cannot shrink.
    pieces = [bytearray(60_000) for _ in range(2_000)]
    kept = pieces.pop()
    before = resident()
    del pieces
    heap.give_back()
    assert before - resident() > 80 << 20
    assert len(kept) == 60_000
