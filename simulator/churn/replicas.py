"""Adds up the windows of the service's replicas: the `simulator drift` command."""

from __future__ import annotations

import time
from typing import Any

import httpx
import orjson

from detector.errors import ConfigError, SourceError
from simulator.churn.drift import Drift, describe
from simulator.churn.drift_routes import STATE_PATH
from simulator.churn.floors import LEVEL, make_floors
from simulator.churn.monitor import assess_state
from simulator.churn.reference import Reference
from simulator.churn.window import WindowState, merge
from simulator.urls import http_url

_TIMEOUT_SECONDS = 10.0


def drift_report(urls: list[str], window: str, as_json: bool) -> str:
    """Return how the predictions of all replicas together differ from the training data.

    Parameters
    ----------
    urls : list of str
        Each replica once.
    window : "count" or "time"
    as_json : bool
        One JSON object instead of a table.

    Raises
    ------
    ConfigError
        When the replicas serve different models or an argument makes no sense.
    SourceError
        When one does not answer.
    """
    if window not in ("count", "time"):
        raise ConfigError(f"--window {window} must be count or time")
    replicas = [http_url("URL", url, 8000) for url in urls]
    if len(set(replicas)) < len(replicas):
        raise ConfigError("a replica is named twice; its predictions would count twice")
    answers = [_fetch(url + STATE_PATH) for url in replicas]
    state = merge([WindowState.from_json(answer["state"]) for answer in answers])
    reference = Reference.from_json(answers[0]["columns"])
    drift = assess_state(reference, make_floors(reference), state, time.time())[window]
    if as_json:
        head = {"replicas": len(urls), "reference": reference.id, "window": window}
        body = {"predictions": drift.predictions, "columns": describe(drift)}
        return orjson.dumps(head | body, option=orjson.OPT_INDENT_2).decode()
    return _table(drift, len(urls), window)


def _table(drift: Drift, replicas: int, window: str) -> str:
    several = "" if replicas == 1 else "s"
    head = f"{drift.predictions} predictions of {replicas} replica{several}, window by {window}"
    if not drift.features:
        return f"{head}: too few to say anything"
    lines = [
        f"{head}: {drift.drifted} of {len(drift.features)} features have drifted",
        f"{'column':<16}{'known':>7}  {'statistic':<12}{'value':>8}{f'{LEVEL:.0%} floor':>11}"
        f"{'PSI':>8}{'JS':>8}{'KS p':>10}",
    ]
    for one, plain in zip((*drift.features, *drift.outputs), describe(drift), strict=True):
        if not one.values:
            lines.append(f"{one.column.name:<16}{plain['known']:>7}  too few values")
            continue
        own = one.column.statistic
        p_value = "" if plain["ks_p_value"] is None else f"{plain['ks_p_value']:.2g}"
        lines.append(
            f"{one.column.name:<16}{plain['known']:>7}  {own:<12}{one.values[own]:>8.3f}"
            f"{one.floors[own]:>11.3f}{one.values['psi']:>8.3f}"
            f"{one.values['jensen_shannon']:>8.3f}{p_value:>10}{'  drifted' * one.drifted}"
        )
    return "\n".join(lines)


def _fetch(url: str) -> Any:
    try:
        answer = httpx.get(url, timeout=_TIMEOUT_SECONDS, trust_env=False)
    except httpx.HTTPError as error:
        raise SourceError(f"cannot reach {url} ({error or type(error).__name__})") from error
    try:
        content = orjson.loads(answer.content)
    except ValueError:
        content = None
    if not answer.is_success or not isinstance(content, dict) or "state" not in content:
        raise SourceError(f"{url} answered {answer.status_code} and is no churn service")
    return content
