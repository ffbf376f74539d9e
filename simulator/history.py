"""Writes weeks of past of the example's metrics into Prometheus: the `simulator seed` command."""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from detector.durations import format_duration, parse_duration
from detector.errors import ConfigError
from detector.remote_write import RemoteWriter, Written
from simulator import population
from simulator.calibrate import Measurement, measure
from simulator.churn import artefact
from simulator.episodes import Episode
from simulator.faults import FaultBoard, faults_of
from simulator.past import Past
from simulator.plan import Plan, plan
from simulator.pools import make_pool
from simulator.traffic import customer_requests
from simulator.urls import http_url

# Customers of everyday life, and as many of each fault that changes them: those of a small pool
# would lean to one side all the time, which is a drift of its own.
_POOL_ROWS = 20_000
# Chunks made ahead of the writer; more would only take memory.
_MOST_WAITING = 2
_WRITE_TIMEOUT_SECONDS = 60.0


def seed(
    *,
    url: str,
    model: Path,
    weeks: float,
    interval: str,
    recent: str,
    recent_interval: str,
    phase: float,
    peak_rps: float,
    random_seed: int,
    faults: bool,
    until: float | None,
    label_maturity: str,
    performance_window: str,
) -> None:
    """Measure the service, simulate its past and write it to Prometheus.

    Parameters
    ----------
    url : str
        Prometheus with its remote-write receiver on and an out-of-order window over the past.
    model : Path
        Directory written by `simulator train`.
    weeks : float
        Length of the past.
    interval, recent_interval : str
        Spacing of the samples, and of those in the last `recent`.
    phase, peak_rps : float
        Of `simulator.curve.requests_per_second`, as for the live traffic.
    random_seed : int
        Same seed, options, model, measurement and `until`: same samples.
    faults : bool
        Spread one or two labelled faults over each day.
    until : float or None
        Unix second at which live metrics begin; the past ends one interval before. None is the
        moment at which writing ends.
    label_maturity, performance_window : str
        As the service's own.

    Raises
    ------
    ConfigError
        When options contradict each other or Prometheus is not set up to take a past.
    SourceError
        When Prometheus or the service cannot be used.
    """
    began = time.time()
    steps = (parse_duration(interval), parse_duration(recent), parse_duration(recent_interval))
    if until is not None and until > began:
        raise ConfigError("--until is in the future; samples of the future block Prometheus")
    base = http_url("--url", url, 9090)
    rng = np.random.default_rng(random_seed)
    fault_rng, pool_rng, past_rng, body_rng = rng.spawn(4)
    moment = began if until is None else until
    made = plan(moment, weeks, *steps, fault_rng if faults else None)
    loaded = artefact.load(model)
    with httpx.Client(timeout=_WRITE_TIMEOUT_SECONDS, trust_env=False) as client:
        writer = RemoteWriter(f"{base}/api/v1/write", client)
        writer.probe()
        check_retention(client, base, moment - made.start)
        typer.echo("measuring what a request costs the churn service here ...", err=True)
        requests = customer_requests(body_rng, FaultBoard(faults_of("traffic")))
        cost = measure(model, peak_rps, requests)
        window = parse_duration(label_maturity), parse_duration(performance_window)
        past = make_past(loaded, made, cost, phase, peak_rps, pool_rng, past_rng, *window)
        write_past(writer, past, made, steps[2] if until is None else None)


def make_past(
    loaded: artefact.Artefact,
    made: Plan,
    cost: Measurement,
    phase: float,
    peak_rps: float,
    pool_rng: np.random.Generator,
    past_rng: np.random.Generator,
    maturity_seconds: float,
    window_seconds: float,
) -> Past:
    """Return the simulation of the planned past for a model."""
    pools = [make_pool(loaded, population.labelled_stream(pool_rng), _POOL_ROWS)]
    episode_pools: dict[Episode, int] = {}
    for episode in made.episodes:
        change = {
            "feature_drift": population.feature_drift,
            "missing_values": population.missing_values,
        }.get(episode.fault)
        if change is not None:
            customers = (
                (change(pool_rng, customer, episode.size), churned)
                for customer, churned in population.labelled_stream(pool_rng)
            )
            episode_pools[episode] = len(pools)
            pools.append(make_pool(loaded, customers, _POOL_ROWS))
    return Past(
        start=made.start - (made.chunks[0][1] - made.chunks[0][0]),
        end=made.end,
        reference=loaded.reference,
        version=loaded.version,
        pools=pools,
        episodes=made.episodes,
        episode_pools=episode_pools,
        measurement=cost,
        phase=phase,
        peak=peak_rps,
        maturity_seconds=maturity_seconds,
        window_seconds=window_seconds,
        rng=past_rng,
    )


def write_past(writer: RemoteWriter, past: Past, made: Plan, recent_interval: float | None) -> None:
    """Simulate chunk by chunk while the one before is being written, and say how it goes."""
    began = time.monotonic()
    written = Written()
    with ThreadPoolExecutor(1) as pool, _progress(made.steps) as advance:
        waiting: collections.deque[tuple[Future[Written], int]] = collections.deque()

        def finish_one() -> None:
            future, steps = waiting.popleft()
            _add(written, future.result())
            advance(steps)

        for times in made.chunks:
            waiting.append((pool.submit(writer.write, past.samples(times)), len(times)))
            if len(waiting) > _MOST_WAITING:
                finish_one()
        while waiting:
            finish_one()
        if recent_interval is not None:
            # What has passed since the plan was made.
            tail = np.arange(made.end, time.time() - recent_interval, recent_interval)[1:]
            if len(tail):
                _add(written, writer.write(past.samples(tail)))
                made = replace(made, chunks=(*made.chunks, tail))
    seconds = time.monotonic() - began
    first, last = (
        datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")
        for moment in (made.start, made.end)
    )
    typer.echo(
        f"{written.samples:,} samples from {first} to {last} UTC in {seconds:.1f} s "
        f"({written.samples / seconds:,.0f}/s), {len(made.episodes)} faults among them"
    )


def _add(total: Written, part: Written) -> None:
    total.samples += part.samples
    total.requests += part.requests
    if part.rejected:
        reasons = ", ".join(f"{count} {reason}" for reason, count in part.rejected.items())
        raise ConfigError(
            f"Prometheus refused samples ({reasons}); seed before the first scrape, into an empty "
            "Prometheus with storage.tsdb.out_of_order_time_window: 32d"
        )


@contextlib.contextmanager
def _progress(steps: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told of finished steps: a bar on a terminal, else plain lines."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("writing the past", total=steps)
            yield lambda finished: bar.advance(task, finished)
        return
    done = 0

    def say(finished: int) -> None:
        nonlocal done
        before, done = done, done + finished
        if done * 4 // steps > before * 4 // steps:
            typer.echo(f"writing the past: {100 * done // steps} %", err=True)

    yield say


def check_retention(client: httpx.Client, base: str, seconds: float) -> None:
    """ConfigError when Prometheus would delete at once what is written; unknown is fine."""
    try:
        answer = client.get(f"{base}/api/v1/status/runtimeinfo")
        kept = parse_duration(answer.json()["data"]["storageRetention"].split(" or ")[0])
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError, ConfigError):
        return
    if kept < seconds:
        raise ConfigError(
            f"Prometheus keeps {format_duration(kept)}, less than this past; "
            "start it with --storage.tsdb.retention.time=60d"
        )
