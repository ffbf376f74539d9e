"""Judging shard by shard gives what judging all at once gives; progress on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from dataclasses import replace

import numpy as np
from test_judging import row, trace

from detector.backtest.document import document
from detector.backtest.foremost import Foremost
from detector.backtest.judging import joined, judge
from detector.backtest.results import results
from detector.backtest.run import picked
from detector.backtest.truth import Incident

LENGTH = 3000
STATES = [
    row(LENGTH, *((100 * i + 7 * s, 100 * i + 7 * s + 20) for i in range(s))) for s in range(6)
]


def test_shards_give_what_the_whole_gives() -> None:
    incidents = [Incident(60 * 100, 60 * 130)]
    whole = trace(STATES)
    scores = np.random.default_rng(1).random(whole.score.shape) + whole.score
    whole = replace(whole, score=scores)
    once = judge(whole, incidents, 60, 30)
    for most, size in ((None, 2), (6, 1), (3, 2), (1, 6)):
        shown, parts = Foremost(most, room=0), []
        for a in range(0, 6, size):
            part = picked(whole, range(a, a + size))
            parts.append(judge(part, incidents, 60, 30))
            shown.add(0, a, part, parts[-1].alerts)
        one = joined(parts, shown.of(0, picked(whole, [])))
        assert one.alerts == once.alerts
        assert one.labels == whole.labels
        assert one.ranking == once.ranking
        assert len(one.trace.labels) == (most or 6)
        all_at_once = results([once], incidents, 0, LENGTH * 60)
        in_parts = results([one], incidents, 0, LENGTH * 60)
        assert in_parts.figures == all_at_once.figures
        drawn = document(in_parts, [one], 60, {}, {})["series"]
        wanted = document(all_at_once, [once], 60, {}, {})["series"]
        assert drawn == wanted[: most or 6]


def test_all_are_kept_while_there_is_room() -> None:
    whole = trace(STATES)
    for room, kept in ((6 * LENGTH, 6), (6 * LENGTH - 1, 2)):
        shown = Foremost(2, room)
        shown.add(0, 0, whole, [])
        assert len(shown.of(0, whole).labels) == kept
        assert shown.dropped == (kept == 2)


def test_a_bar_on_a_terminal_and_lines_elsewhere() -> None:
    code = (
        "from detector.backtest.telling import telling\n"
        "with telling(False) as (say, progress):\n"
        "    progress('rps', 3, 12)\n"
        "    say('rps: 12 series')\n"
        "with telling(True) as (say, progress):\n"
        "    say('never')\n"
    )
    plain = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert plain.stderr == "rps: 12 series\n"
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    subprocess.run([sys.executable, "-c", code], stderr=theirs, timeout=60, check=True, env=env)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:
        # A terminal that is closed on the other side.
        pass
    os.close(ours)
    text = shown.decode()
    assert "rps: 12 series" in text
    assert "series" in text.replace("rps: 12 series", "")
    assert "never" not in text
