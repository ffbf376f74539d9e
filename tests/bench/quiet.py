"""Replays every signal a Prometheus server knows over its past and counts episodes.

    python tests/bench/quiet.py --config detector.yml [--days 28] [--step 1m]

The past is read with the detector's own client and goes through the same pipeline as a live run.
Where the server has `simulator_fault_active`, episodes that overlap a fault (or the hour after
it) are counted apart. Prints one line a series that had an episode, then false episodes per
series-week; exit code 1 when that is above --limit.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from detector.absence import fill_zero
from detector.configuration import load
from detector.discovery import discover
from detector.durations import parse_duration
from detector.names import State
from detector.pipeline import replay
from detector.prometheus import Prometheus, rules_source
from detector.schedule import Schedule
from detector.score import GONE

RECOVERY_SECONDS = 3600


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--days", type=float, default=28)
    parser.add_argument("--step", default="1m")
    parser.add_argument("--until", type=float, help="unix seconds; now if left out")
    parser.add_argument("--limit", type=float, default=0.1)
    options = parser.parse_args()
    settings = load(options.config)
    step = int(parse_duration(options.step))
    grid = Schedule(step, settings.profile, settings.history, settings.refit)
    source = Prometheus(settings.prometheus)
    rules = rules_source(source, settings.prometheus, settings.rules.url)
    end = int(options.until or time.time()) // step * step
    start = end - int(options.days * 86400)
    faults = source.read(
        (("max(simulator_fault_active)", ()),), start, end, step, limit=1
    ).matrix.aligned(((),))
    faulty = faults.values[0] > 0
    faulty = np.convolve(faulty, np.ones(RECOVERY_SECONDS // step + 1))[: len(faulty)] > 0

    episodes = explained = 0
    weeks = 0.0
    read_seconds = replay_seconds = 0.0
    samples = 0
    for signal in discover(settings, rules.rules).signals.values():
        began = time.perf_counter()
        matrix = source.read(signal.queries, start, end, step, settings.max_series).matrix
        if signal.policy.missing == "zero":
            matrix = fill_zero(matrix, source.presence(start, end, step))
        read_seconds += time.perf_counter() - began
        samples += int(np.isfinite(matrix.values).sum())
        began = time.perf_counter()
        seen: dict[object, list[tuple[int, float]]] = {}
        present: dict[object, int] = {}
        on: dict[object, bool] = {}
        for scores in replay(signal, grid, matrix, start, end):
            for s, key in enumerate(scores.labels):
                present[key] = present.get(key, 0) + int((scores.state[s] != GONE).sum())
                for t in np.flatnonzero(scores.state[s] == State.ANOMALOUS):
                    before = scores.state[s, t - 1] if t else State(on.get(key, False))
                    if before != State.ANOMALOUS:
                        seen.setdefault(key, []).append((int(scores.times[t]), scores.score[s, t]))
                on[key] = bool(scores.state[s, -1] == State.ANOMALOUS)
        replay_seconds += time.perf_counter() - began
        weeks += sum(present.values()) * step / (7 * 86400)
        for key, found in sorted(seen.items(), key=str):
            false = [(t, v) for t, v in found if not faulty[(t - start) // step]]
            explained += len(found) - len(false)
            episodes += len(false)
            for t, value in false:
                day = (t - start) / 86400
                print(f"{signal.name} {dict(key)} day {day:.2f} score {value:.2f}")
    rate = episodes / weeks if weeks else float("nan")
    print(
        f"{episodes} false episodes, {explained} during faults, {weeks:.1f} series-weeks: "
        f"{rate:.3f} false episodes per series-week"
    )
    print(
        f"{samples} samples: read {read_seconds:.1f} s, replayed {replay_seconds:.1f} s "
        f"({1e6 * replay_seconds / max(samples, 1):.1f} us a sample, fits included)"
    )
    return int(not rate <= options.limit)


if __name__ == "__main__":
    sys.exit(main())
