"""What `detector check` and `detector signals` find out, as data."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from detector import access, limits
from detector.absence_check import check_absence
from detector.condition_check import check_conditions, check_excluded_alerts
from detector.conditions import Conditions
from detector.coverage import open_series
from detector.discovery import Discovery, discover
from detector.errors import DetectorError
from detector.explanation import SeriesModel, explain
from detector.finding import Finding
from detector.group_check import check_groups
from detector.prometheus import Prometheus, Reading, rules_source
from detector.series import Group, SeriesMatrix, Signal
from detector.settings import Settings


@dataclass(frozen=True)
class Check:
    """All findings, the settings in force and the signals found."""

    settings: Settings
    findings: tuple[Finding, ...]
    signals: tuple[Signal, ...] = ()
    exit_code: int = 0
    groups: tuple[Group, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, without the values of headers: they may be secrets."""
        settings = self.settings.model_dump(mode="json", by_alias=True)
        settings["prometheus"]["headers"] = dict.fromkeys(self.settings.prometheus.headers, "***")
        return {
            "settings": settings,
            "findings": [asdict(f) for f in self.findings],
            "signals": [s.name for s in self.signals],
            "groups": [g.name for g in self.groups],
            "ok": self.exit_code == 0,
        }


@dataclass(frozen=True)
class SignalRow:
    """One signal as the server knows it now."""

    name: str
    kind: str
    source: str
    series: int
    oldest: float | None
    samples: int
    queries: tuple[str, ...] = field(default=())
    error: str = ""
    gate: str = ""
    model: str = ""
    models: tuple[SeriesModel, ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; `oldest` is unix seconds, `models` only when asked for."""
        plain = asdict(self)
        return plain if self.models is not None else {k: plain[k] for k in plain if k != "models"}


def check(settings: Settings, now: float | None = None) -> Check:
    """Contact the server, find the signals, and evaluate each once."""
    source = Prometheus(settings.prometheus)
    try:
        source.ready()
    except DetectorError as error:
        finding = Finding("error", "prometheus", str(error))
        return Check(settings, (finding,), exit_code=error.exit_code)
    findings = [Finding("ok", "prometheus", f"{settings.prometheus.url} answers queries")]
    findings += _targets(settings)
    try:
        rules = rules_source(source, settings.prometheus, settings.rules.url)
        found = discover(settings, rules.rules)
    except DetectorError as error:
        findings.append(Finding("error", "rules", str(error)))
        return Check(settings, tuple(findings), exit_code=error.exit_code)
    findings += [Finding("warning", "rules", text) for text in found.warnings]
    if not found.signals:
        findings.append(
            Finding(
                "error",
                "rules",
                "no signal found; give a recording rule the label anomaly_name, or add signals: "
                "to the configuration",
            )
        )
    findings += check_excluded_alerts(rules, settings)
    moment = int(time.time() if now is None else now) // settings.step * settings.step
    newest: dict[str, SeriesMatrix] = {}
    for signal in found.signals.values():
        try:
            reading = source.read(
                signal.queries, moment, moment, settings.step, settings.max_series
            )
            zero = signal.policy.missing == "zero"
            untold = check_absence(source, signal, reading.matrix, settings) if zero else []
        except DetectorError as error:
            findings.append(Finding("error", f"signal {signal.name}", str(error)))
            newest[signal.name] = SeriesMatrix(
                (), np.array([moment]), np.empty((0, 1)), np.empty((0, 1), bool), settings.step
            )
            continue
        if reading.matrix.labels or not zero:
            findings.append(_probe(signal, reading, settings))
        findings += untold
        findings += _beyond(signal, reading.matrix, settings)
        newest[signal.name] = reading.matrix
    findings += check_conditions(source, found.signals.values(), newest, settings)
    findings += check_groups(found.groups, newest)
    # An alert that is ours is known by its rule and by what it has left behind.
    findings = list(dict.fromkeys(findings))
    failed = any(f.level == "error" for f in findings)
    signals = tuple(found.signals.values())
    return Check(settings, tuple(findings), signals, int(failed), found.groups)


def _targets(settings: Settings) -> list[Finding]:
    """Look at the scrape targets for the detector itself; its own client knows this call."""
    # The library has no quiet failure: servers other than Prometheus have no targets API.
    from prometheus_api_client import PrometheusConnect
    from prometheus_api_client.exceptions import PrometheusApiClientException
    from requests.exceptions import RequestException

    server = settings.prometheus
    # The library is not given passwords and certificates; a refusal would be no finding.
    if server.username or server.ca_file or server.cert_file:
        return []
    try:
        client = PrometheusConnect(
            url=server.url, headers=access.headers(server), timeout=server.timeout
        )
        active = client.get_targets(state="active")["activeTargets"]
    except (PrometheusApiClientException, RequestException, KeyError, TypeError, ValueError):
        return [Finding("warning", "targets", "the server does not list its scrape targets")]
    port = settings.listen.rpartition(":")[2]
    scraped = [t for t in active if t.get("scrapeUrl", "").rpartition("/")[0].endswith(f":{port}")]
    if scraped:
        return [Finding("ok", "targets", f"scrapes this detector: {scraped[0]['scrapeUrl']}")]
    return [
        Finding(
            "warning",
            "targets",
            f"no scrape target on port {port}; scores written to {settings.listen} will not reach "
            "this server until it scrapes them (honor_labels: true)",
        )
    ]


def _probe(signal: Signal, reading: Reading, settings: Settings) -> Finding:
    subject = f"signal {signal.name}"
    count = len(reading.matrix.labels)
    if reading.over_limit:
        return Finding(
            "warning",
            subject,
            f"{count + reading.over_limit} series, {reading.over_limit} over max_series "
            f"({settings.max_series}) are left out; aggregate the query or raise the limit",
        )
    if reading.duplicates:
        return Finding(
            "warning",
            subject,
            f"{reading.duplicates} label sets are given by more than one rule; the first wins",
        )
    if count == 0:
        return Finding("warning", subject, "no series now; is the metric's name right?")
    return Finding("ok", subject, f"{signal.kind}, {count} series")


def _beyond(signal: Signal, newest: SeriesMatrix, settings: Settings) -> list[Finding]:
    """Return a warning when samples are outside the signal's limits."""
    beyond = limits.outside(newest.values, signal.policy)
    if not beyond.any():
        return []
    text = (
        f"{int(beyond.any(axis=1).sum())} of {len(newest.labels)} series are now outside "
        f"{limits.described(signal, settings)} (such as {newest.values[beyond][0]:g})"
    )
    return [Finding("warning", f"signal {signal.name}", text)]


def signals(
    settings: Settings, now: float | None = None, explained: bool = False
) -> list[SignalRow]:
    """Read each signal's history on the profile grid and say how far back it goes.

    Parameters
    ----------
    explained : bool
        Say for each series which model it has, and why; it reads the history a second time, as
        of the last refit, and lets ``auto`` choose again.

    Raises
    ------
    SourceError
        When the server or its rules cannot be read at all.
    """
    source = Prometheus(settings.prometheus)
    rules = rules_source(source, settings.prometheus, settings.rules.url)
    found: Discovery = discover(settings, rules.rules)
    end = int(time.time() if now is None else now) // settings.profile * settings.profile
    asked = Conditions(source)
    return [
        _row(source, asked, signal, end, settings, explained) for signal in found.signals.values()
    ]


def _row(
    source: Prometheus,
    asked: Conditions,
    signal: Signal,
    end: int,
    settings: Settings,
    explained: bool,
) -> SignalRow:
    queries = tuple(q for q, _ in signal.queries)
    row = SignalRow(
        signal.name, signal.kind, signal.source, 0, None, 0, queries, model=signal.model
    )
    try:
        matrix = source.read(
            signal.queries, end - settings.history, end, settings.profile, settings.max_series
        ).matrix
        known = np.isfinite(matrix.values)
        living = tuple(
            key for key, there in zip(matrix.labels, ~matrix.absent[:, -1], strict=True) if there
        )
        newest = matrix.between(end, end + 1).aligned(living)
        gate = open_series(signal, newest, asked.ask)
        models = explain(source, asked, signal, end, settings) if explained else None
    except DetectorError as error:
        return replace(row, error=str(error))
    seen = matrix.times[known.any(axis=0)]
    return replace(
        row,
        series=int(known.any(axis=1).sum()),
        oldest=float(seen[0]) if len(seen) else None,
        samples=int(known.sum()),
        gate="" if gate is None else f"open {gate} of {len(living)}",
        models=models,
    )
