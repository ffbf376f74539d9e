"""Simulates what the metrics of the churn service and its traffic would have read in the past."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detector.write_request import TimeSeries
from simulator.calibrate import Measurement
from simulator.churn import featurestore
from simulator.churn.distances import statistics_from_counts
from simulator.churn.floors import make_floors
from simulator.churn.metrics import DURATION_BUCKETS, PREDICT_PATH, SCORE_BUCKETS
from simulator.churn.quality import CHECKS, RANGE, UNSEEN
from simulator.churn.reference import Reference
from simulator.churn.window import WINDOW_SIZE
from simulator.curve import requests_per_second
from simulator.episodes import Episode, sizes_at
from simulator.faults import FAULTS, traffic_factor
from simulator.past_outcomes import PastOutcomes
from simulator.past_totals import Totals
from simulator.pools import Pool
from simulator.traffic import OUTCOMES
from simulator.windows import SlidingCounts

CHURN = {"job": "churn", "instance": "churn-0"}
TRAFFIC = {"job": "traffic", "instance": "traffic-0"}

# A process is never equally fast for weeks: what a request costs wanders by some per cent with
# other work on the machine, over hours and over a minute (neighbouring twenty-second means of the
# real service differed by 5 %); its memory wanders by less.
_CPU_SPREAD, _CPU_MINUTE_SPREAD, _MEMORY_SPREAD = 0.06, 0.05, 0.01
_HOURS_SECONDS, _MINUTE_SECONDS = 2 * 3600.0, 60.0
# Resolution of the two figures in Linux: a clock tick and a page.
_CPU_TICK_SECONDS, _PAGE_BYTES = 0.01, 4096

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


class Past:
    """The example's metrics along the past, made chunk by chunk in order of time.

    Parameters
    ----------
    start : float
        Unix second at which counters are zero.
    end : float
        Unix second at which cost and memory are those of the measurement, which is of that time.
    reference : Reference
        Of the model; fixes features and bins.
    version : str
        Of the model.
    pools : sequence of Pool
        The first is everyday life; `episode_pools` names others.
    episodes : sequence of Episode
        Faults of the past.
    episode_pools : mapping of Episode to int
        The pool whose customers come during an episode that changes customers.
    measurement : Measurement
        What serving costs.
    phase, peak : float
        Of `simulator.curve.requests_per_second`.
    maturity_seconds, window_seconds : float
        Of the service's performance.
    rng : numpy.random.Generator
        All randomness; the same state gives the same samples.
    """

    def __init__(
        self,
        *,
        start: float,
        end: float,
        reference: Reference,
        version: str,
        pools: Sequence[Pool],
        episodes: Sequence[Episode],
        episode_pools: Mapping[Episode, int],
        measurement: Measurement,
        phase: float,
        peak: float,
        maturity_seconds: float,
        window_seconds: float,
        rng: np.random.Generator,
    ):
        self._reference, self._floors = reference, make_floors(reference)
        self._version = version
        self._episodes = list(episodes)
        self._episode_pools = episode_pools
        self._measurement = measurement
        self._phase, self._peak = phase, peak
        self._rng = rng
        self._last = start
        self._totals = Totals()
        self._end = end
        self._wander = {"cpu": 0.0, "cpu minute": 0.0, "memory": 0.0}
        self._codes = np.concatenate([pool.codes for pool in pools])
        self._scores = np.concatenate([pool.scores for pool in pools])
        self._churns = np.concatenate([pool.churns for pool in pools])
        self._never_seen = {
            check: np.concatenate([pool.never_seen[check] for pool in pools])
            for check in (UNSEEN, RANGE)
        }
        self._score_bins = np.searchsorted(SCORE_BUCKETS, self._scores, side="left")
        sizes = [len(pool.scores) for pool in pools]
        self._pool_starts, self._pool_sizes = np.cumsum([0, *sizes])[:-1], np.array(sizes)
        most_bins = max(feature.bins for feature in reference.features)
        self._window = SlidingCounts(WINDOW_SIZE, len(reference.features), most_bins + 1)
        # The service did not start at that very moment: its window is full.
        everyday = rng.integers(0, sizes[0], WINDOW_SIZE, dtype=np.int32)
        self._window.advance(self._codes, everyday, np.array([WINDOW_SIZE]))
        self._outcomes = PastOutcomes(
            start=start,
            scores=self._scores,
            churned=np.concatenate([pool.churned for pool in pools]),
            everyday=sizes[0],
            maturity_seconds=maturity_seconds,
            window_seconds=window_seconds,
            rng=rng,
        )
        self._outcomes.begin(lambda times: requests_per_second(times, phase, peak))

    def samples(self, times: Floats) -> list[TimeSeries]:
        """Return all series at the given moments, which follow those of the last call.

        Parameters
        ----------
        times : ndarray of float64, shape (T,)
            Unix seconds, ascending and evenly spaced.
        """
        seconds = np.diff(times, prepend=self._last)
        middle = times - seconds / 2
        sizes = {fault: sizes_at(self._episodes, fault, middle) for fault in FAULTS}
        factor = traffic_factor(
            sizes["traffic_zero"], sizes["traffic_drop"], sizes["traffic_surge"]
        )
        rate = requests_per_second(middle, self._phase, self._peak) * factor
        requests = self._rng.poisson(rate * seconds)
        chance = [featurestore.error_probability(size) for size in sizes["errors"].tolist()]
        failed = self._rng.binomial(requests, chance)
        times_ms = np.round(times * 1000).astype(np.int64)
        self._last = float(times[-1])
        return [
            TimeSeries(labels, times_ms, np.asarray(values, np.float64))
            for part in (
                self._requests(requests, failed, rate, sizes["latency"]),
                self._predictions(requests - failed, middle, times, sizes["concept_drift"]),
                self._process(times, requests, seconds),
                self._traffic(times, requests, failed),
                self._truth(times),
            )
            for labels, values in part
        ]

    def _requests(
        self, requests: Counts, failed: Counts, rate: Floats, added: Floats
    ) -> Iterator[tuple[dict[str, str], Floats]]:
        """Golden signals: statuses, durations, requests in flight, and the feature store."""
        cost = self._measurement
        interval = np.repeat(np.arange(len(requests)), requests)
        lookup = featurestore.draw_seconds(self._rng, len(interval)) + added[interval]
        lookup += self._rng.uniform(0.0, 2 * cost.wake_late_seconds, len(interval))
        # Work that is always done, and waiting that varies.
        overhead = cost.overhead_seconds * self._rng.uniform(0.5, 1.5, len(interval))
        duration = lookup + overhead
        handler = {**CHURN, "handler": PREDICT_PATH, "method": "POST"}
        for status, count in (("200", requests - failed), ("422", 0 * failed), ("503", failed)):
            yield self._totals.counter("http_requests_total", {**handler, "status": status}, count)
        yield from self._totals.histogram(
            "http_request_duration_seconds",
            handler,
            DURATION_BUCKETS,
            np.searchsorted(DURATION_BUCKETS, duration, side="left"),
            duration,
            interval,
            len(requests),
        )
        # Little's law; with Poisson arrivals and no queue the number is itself Poisson.
        mean_lookup = featurestore.MEDIAN_SECONDS * math.exp(featurestore.SIGMA**2 / 2)
        mean_duration = mean_lookup + cost.wake_late_seconds + added + cost.overhead_seconds
        in_flight = self._rng.poisson(rate * mean_duration)
        yield {"__name__": "http_requests_in_flight", **CHURN}, in_flight.astype(np.float64)
        for outcome, count in (("ok", requests - failed), ("error", failed)):
            yield self._totals.counter(
                "feature_store_requests_total", {**CHURN, "outcome": outcome}, count
            )
        name = "feature_store_request_duration_seconds"
        total = np.bincount(interval, weights=lookup, minlength=len(requests))
        yield self._totals.counter(f"{name}_sum", CHURN, total)
        yield self._totals.counter(f"{name}_count", CHURN, requests)

    def _predictions(
        self, answered: Counts, middle: Floats, times: Floats, turned: Floats
    ) -> Iterator[tuple[dict[str, str], Floats]]:
        """Classes and scores of the answered requests, and the windows they pass through."""
        pool = np.zeros(len(answered), np.int64)
        for episode, index in self._episode_pools.items():
            pool[(middle >= episode.start) & (middle < episode.end)] = index
        interval = np.repeat(np.arange(len(answered)), answered)
        customers = self._pool_starts[pool][interval] + self._rng.integers(
            0, self._pool_sizes[pool][interval]
        )
        churning = np.bincount(interval, weights=self._churns[customers], minlength=len(answered))
        for name, count in (("churn", churning), ("stay", answered - churning)):
            yield self._totals.counter("churn_predictions_total", {**CHURN, "class": name}, count)
        yield from self._totals.histogram(
            "churn_score",
            CHURN,
            SCORE_BUCKETS,
            self._score_bins[customers],
            self._scores[customers],
            interval,
            len(answered),
        )
        yield self._totals.counter("churn_quality_checked_total", CHURN, answered)
        for check in CHECKS:
            weights = self._never_seen.get(check, np.zeros(len(self._scores)))[customers]
            count = np.bincount(interval, weights=weights, minlength=len(answered))
            yield self._totals.counter(
                "churn_quality_violations_total", {**CHURN, "check": check}, count
            )
        counts = self._window.advance(self._codes, customers.astype(np.int32), answered)
        for column, feature in enumerate(self._reference.features):
            known = counts[:, column, : feature.bins]
            labels = {**CHURN, "feature": feature.name}
            watched = {**labels, "statistic": feature.statistic}
            drift = statistics_from_counts(feature, known)
            yield {"__name__": "churn_feature_drift", **watched}, drift
            _, floor = self._floors.at(feature.name, feature.statistic, known.sum(axis=1))
            of = {**watched, "window": "count"}
            yield {"__name__": "churn_feature_distance_floor", **of}, floor
            missing = counts[:, column, -1] / WINDOW_SIZE
            yield {"__name__": "churn_feature_missing_ratio", **labels}, missing
        full = np.full(len(answered), float(WINDOW_SIZE))
        yield {"__name__": "churn_drift_window_predictions", **CHURN}, full
        yield {"__name__": "churn_drift_window_size", **CHURN}, full
        info = {"version": self._version, "reference": self._reference.id}
        yield {"__name__": "churn_model_info", **CHURN, **info}, full / full
        for name, extra, values in self._outcomes.series(times, customers, interval, turned):
            yield {"__name__": name, **CHURN, **extra}, values

    def _process(
        self, times: Floats, requests: Counts, seconds: Floats
    ) -> Iterator[tuple[dict[str, str], Floats]]:
        """CPU and memory of the service, from the measurement on this machine."""
        cost = self._measurement
        away = np.clip((self._end - times) / _HOURS_SECONDS, 0.0, 1.0)
        pace = _CPU_SPREAD * away * self._wandering("cpu", seconds, _HOURS_SECONDS)
        pace += _CPU_MINUTE_SPREAD * self._wandering("cpu minute", seconds, _MINUTE_SECONDS)
        work = cost.idle_cpu_ratio * seconds + cost.request_cpu_seconds * requests
        labels, total = self._totals.counter(
            "process_cpu_seconds_total", CHURN, work * np.exp(pace)
        )
        yield labels, np.floor(total / _CPU_TICK_SECONDS) * _CPU_TICK_SECONDS
        size = _MEMORY_SPREAD * away * self._wandering("memory", seconds, _HOURS_SECONDS)
        memory = cost.resident_bytes * np.exp(size)
        yield (
            {"__name__": "process_resident_memory_bytes", **CHURN},
            np.rint(memory / _PAGE_BYTES) * float(_PAGE_BYTES),
        )

    def _traffic(
        self, times: Floats, requests: Counts, failed: Counts
    ) -> Iterator[tuple[dict[str, str], Floats]]:
        """What the traffic process counts."""
        counts = {"ok": requests - failed, "error": failed}
        for outcome in OUTCOMES:
            count = counts.get(outcome, 0 * failed)
            yield self._totals.counter(
                "traffic_requests_sent_total", {**TRAFFIC, "outcome": outcome}, count
            )
        curve = requests_per_second(times, self._phase, self._peak)
        yield {"__name__": "traffic_target_requests_per_second", **TRAFFIC}, curve

    def _truth(self, times: Floats) -> Iterator[tuple[dict[str, str], Floats]]:
        """Which fault was active, and that both processes were up."""
        for name, fault in FAULTS.items():
            target = CHURN if fault.process == "churn" else TRAFFIC
            active = np.where(sizes_at(self._episodes, name, times) > 0, 1.0, 0.0)
            yield {"__name__": "simulator_fault_active", **target, "fault": name}, active
        for target in (CHURN, TRAFFIC):
            yield {"__name__": "up", **target}, np.ones(len(times))

    def _wandering(self, name: str, seconds: Floats, memory_seconds: float) -> Floats:
        """Return a first-order autoregression of unit variance at the ends of the intervals."""
        kept = np.exp(-seconds / memory_seconds)
        shocks = np.sqrt(1.0 - kept**2) * self._rng.standard_normal(len(seconds))
        level = self._wander[name]
        out = np.empty(len(seconds))
        for i in range(len(seconds)):
            level = level * kept[i] + shocks[i]
            out[i] = level
        self._wander[name] = float(level)
        return out
