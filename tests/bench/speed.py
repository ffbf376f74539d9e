"""CPU and memory of the engine beside its peers on the same data, in one run.

    python tests/bench/speed.py [--sizes 100 1000 10000] [--huge] [--fits 100]

Peers: STL and MSTL of statsmodels and MSTL with ETS of augurs where something is fitted; both
Grafana strategies in numpy where samples are scored. CPU seconds of the whole process, medians of
several calls after one that is not counted. `--huge` adds 100,000 series (some gigabytes, minutes).
Everything goes through `Evaluation` and `replay`: no network, no files.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# Before numpy and the peers: one thread each, unless a row says two.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", RAYON_NUM_THREADS="1")

import numpy as np
from shared_bench import Detect, add_argument, open_bench
from table import show

from detector.models import seasonal
from detector.pipeline import Evaluation, replay
from detector.schedule import Schedule
from detector.score import prepare
from detector.series import SeriesMatrix

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scenarios import DAY, MINUTE, WEEK, signal, stacked, usual_traffic

SIGNAL = signal("traffic")
LIVE = Schedule(step=MINUTE, profile=300, history=28 * DAY, refit=DAY)
COARSE = Schedule(step=300, profile=300, history=28 * DAY, refit=DAY)
# Series of one signal; more series are more signals, as `max_series` has it by default.
CHUNK = 1_000
LIVE_STEPS = 7
HUGE = 100_000
WEEKS = (1, 2, 4, 6, 8)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_argument(parser)
    parser.add_argument("--fits", type=int, default=100, help="series for the cost of one")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--huge", action="store_true", help=f"{HUGE:,} series too")
    options = parser.parse_args()
    grafana = open_bench(options.bench).grafana
    sizes = [*options.sizes, *([HUGE] if options.huge else [])]

    cells = [growth(size, threads) for size in sizes for threads in (1, 2)]
    alone = [one for one in cells if one["threads"] == 1 and one["series"] <= 10_000]
    rows = [*fitting(options.fits), *replaying(grafana), *living(alone[-1])]
    show("Cost beside peers, CPU of one thread", ["what", "who", "cost", "unit", "x"], rows, 2)
    show(
        "State and history in memory",
        ["grids", "KiB a series"],
        [
            ["step 5m, profile 5m", kib_a_series(COARSE, options.fits)],
            ["step 1m, profile 5m", kib_a_series(LIVE, options.fits)],
        ],
    )
    show(
        f"Growth, in signals of at most {CHUNK:,} series (4 weeks at 5m; a live step of 1m)",
        ["series", "threads", "fit s", "fit CPU s", "step ms", "step CPU ms", "RSS MiB", "added"],
        [[one[key] for key in _GROWTH] for one in cells],
    )
    show(
        "Growth with the length of history",
        ["weeks", "fit CPU ms a series", "KiB a series"],
        [by_weeks(weeks, options.fits) for weeks in WEEKS],
    )
    return 0


_GROWTH = (
    "series",
    "threads",
    "fit_wall",
    "fit_cpu",
    "step_wall_ms",
    "step_cpu_ms",
    "rss_mib",
    "added_mib",
)


def made(series: int, start: int, end: int, step: int, seed: int = 7) -> SeriesMatrix:
    """Return traffic with 5 % white noise, 1 % of the samples missing."""
    rng = np.random.default_rng(seed)
    times = np.arange(start, end, step)
    rows = usual_traffic(times) * (1 + 0.05 * rng.standard_normal((series, len(times))))
    rows[rng.random(rows.shape) < 0.01] = np.nan
    return stacked(times, rows, step)


def cpu(work: Callable[[], object], runs: int = 5) -> float:
    """Return the median CPU seconds of one call, after one that is not counted."""
    work()
    spent = []
    for _ in range(runs):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def lead(series: int, schedule: Schedule, end: int) -> SeriesMatrix:
    """Return the steps before the last boundary that channels are calibrated on."""
    boundary = schedule.boundary(SIGNAL.name, end)
    return made(series, schedule.fold_start(boundary), boundary, schedule.step)


def fitted(history: SeriesMatrix, recent: SeriesMatrix, schedule: Schedule, end: int) -> Evaluation:
    """Return the evaluation at the last boundary before the history's end, ready to score."""
    evaluation = Evaluation(SIGNAL, schedule, schedule.boundary(SIGNAL.name, end), history)
    evaluation.advance(recent)
    return evaluation


def with_ratios(what: str, unit: str, costs: dict[str, float]) -> Iterator[list[Any]]:
    """Yield a row for each cost; the first is ours, the others are so many times as dear."""
    ours = next(iter(costs.values()))
    for i, (who, cost) in enumerate(costs.items()):
        yield ["" if i else what, who, cost, unit, cost / ours]


def fitting(series: int) -> Iterator[list[Any]]:
    """One fit, four weeks at five minutes."""
    import augurs
    from statsmodels.tsa.seasonal import MSTL, STL

    history = made(series, WEEK - 29 * DAY, WEEK, 300)
    whole = usual_traffic(history.times[-8064:])
    one = whole * (1 + 0.05 * np.random.default_rng(1).standard_normal(8064))
    jumps = {"seasonal_jump": 28, "trend_jump": 28, "low_pass_jump": 28}
    peers: dict[str, Callable[[], object]] = {
        "statsmodels STL, a day, jumps of a tenth": lambda: STL(one, 288, **jumps).fit(),
        "statsmodels MSTL, day and week, the same": lambda: MSTL(
            one, periods=(288, 2016), stl_kwargs=jumps
        ).fit(),
        "augurs MSTL, day and week, with ETS": lambda: augurs.MSTL.ets([288, 2016]).fit(one),
    }
    recent = lead(series, COARSE, WEEK)
    past = history.between(WEEK - 28 * DAY, WEEK)
    baseline = seasonal.fit(past)
    alone = cpu(lambda: seasonal.fit(past)) / series
    steps = recent.between(WEEK - 28 * DAY, WEEK)
    calibrated = cpu(lambda: prepare(baseline, past, steps, steps.times, SIGNAL.policy)) / series
    ours = cpu(lambda: fitted(history, recent, COARSE, WEEK)) / series
    costs = {
        "detector, a refit: fit, calibration, fold of the last 60 steps": 1e3 * ours,
        "of it fit and calibration": 1e3 * (alone + calibrated),
        "of it the fit alone": 1e3 * alone,
    }
    costs |= {who: 1e3 * cpu(work, 3) for who, work in peers.items()}
    yield from with_ratios("fit, 4 weeks at 5m", "ms a series", costs)


def replaying(grafana: dict[str, Detect]) -> Iterator[list[Any]]:
    """Stored samples scored, with the daily fits in it."""
    for name, schedule in (("1m", LIVE), ("5m", COARSE)):
        samples = made(4, WEEK - 28 * DAY, WEEK, schedule.step)
        total = samples.values.size

        def ours(samples: SeriesMatrix = samples, schedule: Schedule = schedule) -> None:
            for _ in replay(SIGNAL, schedule, samples, int(samples.times[0]), WEEK):
                pass

        costs = {"detector": 1e6 * cpu(ours, 3) / total}
        for who, detect in grafana.items():

            def theirs(detect: Detect = detect, samples: SeriesMatrix = samples) -> None:
                for row in samples.values:
                    detect(samples.times, row)

            costs[f"Grafana {who}, numpy"] = 1e6 * cpu(theirs, 3) / total
        yield from with_ratios(f"replay, 4 weeks at {name}", "us a sample", costs)


def living(cell: dict[str, Any]) -> Iterator[list[Any]]:
    """One live step: every series scored and learnt from."""
    count = cell["series"]
    day, more = np.full((CHUNK, 1441), 1.0), np.full((CHUNK, 1561), 1.0)
    rng = np.random.default_rng(3)
    day += rng.standard_normal(day.shape)
    more += rng.standard_normal(more.shape)
    costs = {
        "detector": cell["step_cpu_ms"],
        "Grafana adaptive, numpy": 1e3 * cpu(lambda: adaptive_step(more)) * count / CHUNK,
        "Grafana robust, numpy": 1e3 * cpu(lambda: robust_step(day)) * count / CHUNK,
    }
    yield from with_ratios(f"live step, {count:,} series", "ms", costs)


def adaptive_step(samples: np.ndarray) -> None:
    """The work of Grafana's adaptive rules in one minute on [S, 26 h]: two hours, one 26 h mean."""
    hour = samples[:, -61:]
    np.nanmean(hour, axis=1)
    np.nanstd(hour, axis=1)
    np.nanmean(samples, axis=1)


def robust_step(samples: np.ndarray) -> None:
    """The work of Grafana's robust rules in one minute on [S, 24 h]: three medians."""
    np.nanmedian(samples, axis=1)
    np.nanmedian(samples, axis=1)
    np.nanmedian(samples[:, -61:], axis=1)


def growth(series: int, threads: int) -> dict[str, Any]:
    """Fit and score this many series, in a process of its own so that memory is its own too."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        cell = pool.submit(_growth_cell, series, threads).result()
    seconds = cell["fit_wall"]
    print(f"{series:,} series fitted on {threads} threads: {seconds:.1f} s", file=sys.stderr)
    return cell


def _growth_cell(series: int, threads: int) -> dict[str, Any]:
    # At least two signals: a thread takes a signal at a time.
    chunk = min(CHUNK, -(-series // 2))
    sizes = [min(chunk, series - first) for first in range(0, series, chunk)]
    # Two histories serve all signals: made data would cost more memory than the engine.
    histories = [made(max(sizes), WEEK - 29 * DAY, WEEK, 300, seed) for seed in (1, 2)]
    boundary = LIVE.boundary(SIGNAL.name, WEEK)
    recent = lead(max(sizes), LIVE, WEEK)
    fitted(_first(histories[0], 2), _first(recent, 2), LIVE, WEEK)
    before = resident_mib()

    def fit(number: int) -> Evaluation:
        size = sizes[number]
        return fitted(_first(histories[number % 2], size), _first(recent, size), LIVE, WEEK)

    with ThreadPoolExecutor(threads) as pool:
        (evaluations, fit_wall, fit_cpu) = _timed(lambda: list(pool.map(fit, range(len(sizes)))))
        # Some steps that are not counted.
        first = made(max(sizes), boundary, boundary + 5 * MINUTE, MINUTE)
        list(pool.map(lambda one: one.advance(_first(first, len(one.labels))), evaluations))
        walls, spent = [], []
        for i in range(LIVE_STEPS):
            now = boundary + (5 + i) * MINUTE
            column = made(max(sizes), now, now + MINUTE, MINUTE, seed=i)
            columns = [_first(column, size) for size in sizes]

            def step(columns: list[SeriesMatrix] = columns) -> None:
                list(pool.map(Evaluation.advance, evaluations, columns))

            _, wall, used = _timed(step)
            walls.append(wall)
            spent.append(used)
    after = resident_mib()
    return {
        "series": series,
        "threads": threads,
        "fit_wall": fit_wall,
        "fit_cpu": fit_cpu,
        "step_wall_ms": 1e3 * statistics.median(walls),
        "step_cpu_ms": 1e3 * statistics.median(spent),
        "rss_mib": after,
        "added_mib": after - before,
    }


def _timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the result, wall seconds and CPU seconds of one call."""
    wall, used = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - used


def _first(matrix: SeriesMatrix, series: int) -> SeriesMatrix:
    """Return the first rows of a matrix."""
    return SeriesMatrix(
        matrix.labels[:series],
        matrix.times,
        matrix.values[:series],
        matrix.absent[:series],
        matrix.step,
    )


def by_weeks(weeks: int, series: int) -> list[Any]:
    """Return a row: weeks of history, cost of a fit, memory."""
    schedule = Schedule(step=MINUTE, profile=300, history=weeks * 7 * DAY, refit=DAY)
    history = made(series, WEEK - (7 * weeks + 1) * DAY, WEEK, 300)
    recent = lead(series, schedule, WEEK)
    milliseconds = 1e3 * cpu(lambda: fitted(history, recent, schedule, WEEK), 3) / series
    return [weeks, milliseconds, kib_a_series(schedule, series)]


def kib_a_series(schedule: Schedule, series: int) -> float:
    """Return what an evaluation holds in arrays after some live steps."""
    history = made(series, WEEK - schedule.history - DAY, WEEK, schedule.profile)
    evaluation = fitted(history, lead(series, schedule, WEEK), schedule, WEEK)
    evaluation.advance(made(series, evaluation.next_time, WEEK, schedule.step))
    return sum(one.nbytes for one in arrays(evaluation)) / 1024 / series


def arrays(root: object) -> list[np.ndarray]:
    """Return every array reachable from an object, each buffer once."""
    found: dict[int, np.ndarray] = {}
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, np.ndarray):
            # A view keeps the whole of what it looks at.
            while isinstance(one.base, np.ndarray):
                one = one.base
            found[id(one)] = one
        elif isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, (list, tuple, set)):
            waiting.extend(one)
        elif is_dataclass(one) and not isinstance(one, type):
            waiting.extend(getattr(one, field.name) for field in fields(one))
        elif type(one).__module__.startswith("detector"):
            waiting.extend(vars(one).values() if hasattr(one, "__dict__") else ())
            slots = getattr(type(one), "__slots__", ())
            waiting.extend(getattr(one, name) for name in slots if hasattr(one, name))
    return list(found.values())


def resident_mib() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    sys.exit(main())
