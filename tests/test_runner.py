"""One signal: how it is read and scored leaves no trace in its scores."""

from __future__ import annotations

import numpy as np
import pytest
from running import NOW, Running, past
from server import Server
from synthetic import traffic

from detector import runner, spans


def test_pieces_leave_no_trace(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    times = past()
    values = traffic(times)
    values[-30:-10] *= 3
    server.write("rps", times, values, job="a")
    # New since the last fit, and a hole, of a job that has been up all the time: both are zeros.
    server.write("up", times, 1.0, job="new", instance="i")
    recent = times[times > NOW - 3600]
    server.write("rps", np.delete(recent, slice(5, 9)), 5.0, job="new")
    given = {"signals": [{"name": "web", "kind": "errors", "query": "rps"}]}

    def scores() -> dict[str, float]:
        one = Running(server.url, rules={"enabled": False}, **given).cycle()
        assert one.get("detector_fits_total") == 1
        found = one.metrics()
        return {str(k): v for k, v in found.items() if k[0].startswith("anomaly_")}

    whole = scores()
    assert len(whole) > 8
    monkeypatch.setattr(runner, "MOST_STEPS", 7)
    monkeypatch.setattr(spans, "ANSWER_BYTES", 3_000)
    assert scores() == whole
