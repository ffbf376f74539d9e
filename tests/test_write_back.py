"""Scores written back to a real Prometheus: exact times, once, and why where it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import Result, one_line
from replays import HOUR, command, replay, rows_of, seeded, settings_for
from running import NOW
from server import CONFIG, Server

from detector.backtest.command import Outcome
from detector.backtest.write_back import FIELDS, WriteBack
from detector.errors import ConfigError
from detector.labels import label_set
from detector.names import State


def written(server: Server, run: str, **given: object) -> tuple[Outcome, WriteBack]:
    settings = settings_for(server, **given)
    back = WriteBack(settings.prometheus, run)
    outcome = replay(settings, sink=back.add)
    back.close()
    return outcome, back


def evidence_of(outcome: Outcome) -> dict[tuple[str, object, int], float]:
    """Return the shares of each channel, at the steps that are anomalous."""
    found: dict[tuple[str, object, int], float] = {}
    for trace in (one.trace for one in outcome.judged):
        told = np.argwhere(trace.state == State.ANOMALOUS)
        assert len(told) == len(trace.shares)
        for (s, t), shares in zip(told, trace.shares, strict=True):
            assert np.nansum(shares) == pytest.approx(1.0)
            for channel, share in zip(trace.channels, shares, strict=True):
                own = {**dict(trace.labels[s]), "signal": trace.signal.name, "channel": channel}
                if np.isfinite(share):
                    found["anomaly_evidence", label_set(own), int(trace.times[t])] = float(share)
    return found


def stored(server: Server, run: str) -> dict[tuple[str, object, int], float]:
    found = {}
    for one in server.query(f'{{run="{run}"}}[3h]', NOW + HOUR / 2):
        own = {k: v for k, v in one["metric"].items() if k not in ("__name__", "run", "kind")}
        for t, value in one["values"]:
            assert t == int(t)
            found[one["metric"]["__name__"], label_set(own), int(t)] = float(value)
    return found


def test_the_scores_stand_at_their_own_times_once(server: Server) -> None:
    seeded(server)
    outcome, back = written(server, "first")
    back.finish()
    expected = {
        (metric, label_set({**dict(key), "signal": one.trace.signal.name}), t): row[at]
        for one in outcome.judged
        for (key, t), row in rows_of(one.trace).items()
        for metric, at in zip(FIELDS, (4, 0, 1, 2, 3, 5), strict=True)
        if np.isfinite(row[at])
    } | evidence_of(outcome)
    before = stored(server, "first")
    assert before == expected
    assert evidence_of(outcome)
    assert back.written == len(expected)
    # Nothing is seen after the end: a rule evaluated now does not fire on a replay.
    assert server.query('anomaly_state{run="first"}', NOW + 1) == []
    assert server.query('anomaly_state{run="first"}', NOW) != []
    _, again = written(server, "first")
    again.finish()
    assert (again.written, again.there) == (0, len(expected))
    assert stored(server, "first") == before
    # Other scores are not mixed into the run; another run takes them.
    policies = {"traffic": {"sensitivity": 2.0}}
    _, other = written(server, "first", policies=policies)
    with pytest.raises(ConfigError, match="other scores of 2 series.*name another run"):
        other.finish()
    assert stored(server, "first") == before
    _, other = written(server, "second", policies=policies)
    other.finish()
    assert len(stored(server, "second")) > 0


def test_a_run_that_was_cut_off_is_completed(server: Server) -> None:
    seeded(server)
    settings = settings_for(server)
    whole, _ = written(server, "whole")
    back = WriteBack(settings.prometheus, "part")
    (first, *_) = [one.trace for one in whole.judged]
    half = len(first.times) // 2
    cut = {
        name: getattr(first, name)[:, :half]
        for name in ("observed", "expected", "lower", "upper", "score", "state", "channel")
    }
    told = np.argwhere(first.channel >= 0)[:, 1] < half
    back.add(replace(first, times=first.times[:half], shares=first.shares[told], **cut), None)
    back.finish()
    back.close()
    _, rest = written(server, "part")
    rest.finish()
    assert rest.there > 0
    assert rest.written > 0
    assert stored(server, "part") == stored(server, "whole")


def test_a_server_without_a_window_for_old_samples_says_so(tmp_path: Path) -> None:
    server = Server(tmp_path)
    path = tmp_path / "prometheus.yml"
    text = CONFIG.format(directory=tmp_path, scrape="[]")
    path.write_text(
        "\n".join(line for line in text.splitlines() if "out_of_order" not in line),
        encoding="utf-8",
    )
    server.start()
    try:
        times = np.arange(NOW - 9 * 86_400, NOW + 1, 300)
        for job in "ab":
            server.write("rps", times, 100.0 + np.arange(len(times)) % 7, job=job)
        # A newer sample: what lies far before it is too old now.
        server.write("clock", np.array([NOW + 40 * 86_400]), 1.0)
        _, back = written(server, "late")
        with pytest.raises(ConfigError, match="refused.*out_of_order_time_window"):
            back.finish()
    finally:
        server.stop()


def test_the_command(
    detector: Callable[..., Result], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded(server)
    monkeypatch.chdir(tmp_path)
    given = command(tmp_path, server.url)
    code, _, err = detector(*given, "--write-back", "tuned")
    assert code == 0, err
    assert 'samples written with run="tuned", 0 were there already' in err
    code, _, err = detector(*given, "--write-back", "tuned")
    assert code == 0, err
    assert '0 samples written with run="tuned"' in err
    server.stop()
    code, _, err = detector(*given, "--write-back", "tuned")
    assert code == 3
    assert "cannot write to" in one_line(err)
