"""Writes replayed scores to the server under a run label, each with its exact time, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np

from detector import access, names
from detector.backtest.run import Trace, shares_of
from detector.errors import ConfigError, DetectorError, SourceError
from detector.labels import output_labels
from detector.names import State
from detector.promql import quoted
from detector.remote_write import RemoteWriter
from detector.score import GONE
from detector.series import Int
from detector.settings import PrometheusSettings
from detector.write_request import STALE_MARKER, TimeSeries

RUN = "run"
PATH = "/api/v1/write"
FIELDS = {
    names.SCORE: "score",
    names.OBSERVED: "observed",
    names.EXPECTED: "expected",
    names.LOWER: "lower",
    names.UPPER: "upper",
    names.STATE: "state",
}
# The marker that ends a series stands so long after its last sample: rules that are evaluated
# now must not see the scores of a replay.
ENDS_AFTER_MS = 1
WINDOW_ADVICE = "set storage.tsdb.out_of_order_time_window longer than the replay reaches back"
ADVICE = {
    "too_old": f"Prometheus does not take samples so old; {WINDOW_ADVICE}",
    "out_of_order": f"Prometheus does not take samples older than its newest; {WINDOW_ADVICE}",
    "duplicate": "the server has other values at these times; name another run",
    "future": "they lie in the future of this machine; is its clock right?",
}


class WriteBack:
    """What a run has on the server, and what it still lacks.

    Parameters
    ----------
    settings : PrometheusSettings
    run : str
        Value of the label `run`.

    Raises
    ------
    ConfigError, SourceError
        When the server cannot be written to.
    """

    def __init__(self, settings: PrometheusSettings, run: str) -> None:
        self._run = run
        self._url = settings.url
        self._client = httpx.Client(
            base_url=settings.url,
            headers={"Accept-Encoding": "identity", **access.headers(settings)},
            auth=access.basic_auth(settings),
            verify=access.tls(settings) if settings.url.startswith("https") else True,
            timeout=settings.timeout,
        )
        self._writer = RemoteWriter(settings.url.rstrip("/") + PATH, self._client)
        self._writer.probe()
        self._known: bool | None = None
        self._failure: DetectorError | None = None
        self._differing = 0
        self._rejected: Counter[str] = Counter()
        self.written = 0
        self.there = 0

    def add(self, trace: Trace, stamps: Int | None) -> None:
        """Write the scores of some series, but not what the run already has.

        A failure is kept for `finish`, so that the replay goes on; nothing is written after it.
        """
        if self._failure is not None or not len(trace.times):
            return
        try:
            self._add(trace, stamps)
        except DetectorError as error:
            self._failure = error

    def _add(self, trace: Trace, stamps: Int | None) -> None:
        missing: list[TimeSeries] = []
        for s, key in enumerate(trace.labels):
            own = output_labels(key, trace.signal.name, trace.signal.kind)
            labels = {k: v for k, v in own.items() if v} | {RUN: self._run}
            times = trace.times if stamps is None else stamps[s]
            stored = self._stored(labels, times) if self._begun(trace) else {}
            wanted = list(_series(trace, s, times * 1000, labels))
            lacking = [_lacking(one, stored.get(_which(one.labels), {})) for one in wanted]
            if None in lacking:
                self._differing += 1
                continue
            new = [one for one in lacking if one is not None and len(one)]
            missing += new
            self.there += sum(_numbers(one) for one in wanted) - sum(_numbers(one) for one in new)
        done = self._writer.write(missing)
        self.written += sum(map(_numbers, missing)) - done.rejected.total()
        self._rejected += done.rejected

    def finish(self) -> None:
        """Raise what went wrong, as one error.

        Raises
        ------
        ConfigError
            When samples were refused, or the run has other values at the same times.
        SourceError
            When the server failed.
        """
        if self._failure is not None:
            raise self._failure
        if self._differing:
            raise ConfigError(
                f"--write-back {self._run}: the run has other scores of {self._differing} series "
                "(data or configuration changed since); they are left as they were: name another "
                "run"
            )
        if self._rejected:
            reason, count = self._rejected.most_common(1)[0]
            why = ADVICE.get(reason, f"of {reason}")
            raise ConfigError(
                f"--write-back {self._run}: {self._rejected.total()} samples were refused, "
                f"{count} of them because {why}"
            )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def said(self) -> str:
        """Return one line: what was written, and what was there already."""
        return (
            f"{self.written} samples written with {RUN}={quoted(self._run)}, "
            f"{self.there} were there already"
        )

    def _begun(self, trace: Trace) -> bool:
        """Return whether the run has any series in the range, asked once."""
        if self._known is None:
            span = f"{int(trace.times[-1] - trace.times[0]) + 3600}s"
            query = f"count(last_over_time({names.STATE}{{{RUN}={quoted(self._run)}}}[{span}]))"
            self._known = bool(self._query(query, int(trace.times[-1])))
        return self._known

    def _stored(
        self, labels: Mapping[str, str], times: Int
    ) -> dict[tuple[str, str], dict[int, float]]:
        """Return the samples that the run has of a series: by metric and channel, value by ms."""
        selector = ",".join(f"{k}={quoted(v)}" for k, v in sorted(labels.items()))
        span = f"{int(times[-1] - times[0]) + 1}s"
        query = f'{{__name__=~"{"|".join((*FIELDS, names.EVIDENCE))}",{selector}}}[{span}]'
        found = {}
        for one in self._query(query, int(times[-1])):
            metric = dict(one["metric"])
            which = _which(metric)
            own = {k: v for k, v in metric.items() if k not in ("__name__", names.CHANNEL)}
            # A selector also has the series with more labels.
            if own == labels:
                found[which] = {round(t * 1000): float(value) for t, value in one["values"]}
        return found

    def _query(self, query: str, at: int) -> list[Any]:
        where = f"{self._url}/api/v1/query"
        try:
            form = {"query": query, "time": str(at)}
            answer = self._client.post("/api/v1/query", data=form)
            body = answer.json()
            if body["status"] == "success":
                return list(body["data"]["result"])
            said = str(body["error"])
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
        except (ValueError, KeyError, TypeError):
            said = f"unexpected answer, HTTP {answer.status_code}"
        raise SourceError(f"{where}: {said}; what the run already has cannot be read")


def _series(trace: Trace, s: int, times_ms: Int, labels: Mapping[str, str]) -> list[TimeSeries]:
    """Return the metrics of a series, each run of samples ended by a staleness marker.

    Evidence is there while the state is anomalous, as live.
    """
    written = trace.state[s] != GONE
    rows = {
        (name, ""): np.where(written, getattr(trace, field)[s].astype(float), np.nan)
        for name, field in FIELDS.items()
    }
    shares = np.full((len(trace.channels), len(written)), np.nan)
    shares[:, trace.channel[s] >= 0] = shares_of(trace, [s]).T
    shares[:, trace.state[s] != State.ANOMALOUS] = np.nan
    rows |= {(names.EVIDENCE, name): row for name, row in zip(trace.channels, shares, strict=True)}
    found = []
    for (name, channel), values in rows.items():
        values[~np.isfinite(values)] = np.nan
        known = np.isfinite(values)
        if not known.any():
            continue
        # A series that ends is marked where its next sample would have been, as a scrape does.
        values[np.flatnonzero(known[:-1] & ~known[1:]) + 1] = STALE_MARKER
        times = times_ms
        if known[-1]:
            times = np.append(times_ms, times_ms[-1] + ENDS_AFTER_MS)
            values = np.append(values, STALE_MARKER)
        own = {names.CHANNEL: channel} if channel else {}
        found.append(TimeSeries({"__name__": name, **labels, **own}, times, values))
    return found


def _which(labels: Mapping[str, str]) -> tuple[str, str]:
    """Return the metric and the channel of a series."""
    return labels["__name__"], labels.get(names.CHANNEL, "")


def _lacking(one: TimeSeries, stored: Mapping[int, float]) -> TimeSeries | None:
    """Return what is not stored yet; None where something else is."""
    if not stored:
        return one
    pairs = [(t, v) for t, v in zip(one.timestamps_ms.tolist(), one.values.tolist(), strict=True)]
    if any(stored[t] != v for t, v in pairs if t in stored and v == v):
        return None
    new = np.array([t not in stored for t, _ in pairs])
    if not (new & np.isfinite(one.values)).any():
        return one[:0]
    return TimeSeries(one.labels, one.timestamps_ms[new], one.values[new])


def _numbers(one: TimeSeries) -> int:
    return int(np.isfinite(one.values).sum())
