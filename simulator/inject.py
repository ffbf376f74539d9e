"""Switches a fault in the running simulator on or off: the `simulator inject` command."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from detector.durations import format_duration, parse_duration
from detector.errors import ConfigError, SourceError
from simulator.control import read_token
from simulator.faults import FAULTS, Fault, checked_size, fault_named
from simulator.urls import http_url

_TIMEOUT_SECONDS = 5.0


def inject(
    *,
    fault: str,
    duration: str,
    size: float | None,
    churn_control: str,
    traffic_control: str,
    token_file: Path,
    stop: bool = False,
) -> str:
    """Start (or stop) a fault in the process where it acts and return a line that says so.

    Raises
    ------
    ConfigError
        When fault, size, duration or address make no sense, or the token is wrong.
    SourceError
        When the process cannot be reached.
    """
    wanted = fault_named(fault)
    option, given, port = {
        "churn": ("--churn-control", churn_control, 8001),
        "traffic": ("--traffic-control", traffic_control, 8011),
    }[wanted.process]
    url = http_url(option, given, port)
    headers = {"Authorization": f"Bearer {read_token(token_file)}"}
    if stop:
        answer = _call("DELETE", f"{url}/faults/{wanted.name}", wanted, headers=headers)
        return f"{wanted.name}: {'stopped' if answer.get('was_active') else 'was not active'}"
    seconds = parse_duration(duration)
    body = {"fault": wanted.name, "size": checked_size(wanted, size), "seconds": seconds}
    answer = _call("POST", f"{url}/faults", wanted, headers=headers, json=body)
    until = datetime.fromtimestamp(float(answer["until"]), UTC).strftime("%H:%M:%S")
    return (
        f"{wanted.name} at size {answer['size']:g} ({wanted.effect}) "
        f"for {format_duration(seconds)}, until {until} UTC"
    )


def describe_faults() -> str:
    """Return a table of the faults: name, full size, where it acts and what its size means."""
    rows = [
        f"  {fault.name:<15}{fault.default_size:<7g}{fault.process:<9}{fault.effect}"
        for fault in FAULTS.values()
    ]
    return "\n".join([f"  {'fault':<15}{'size':<7}{'in':<9}what the size means", *rows])


def _call(method: str, url: str, fault: Fault, **request: Any) -> dict[str, Any]:
    try:
        response = httpx.request(method, url, timeout=_TIMEOUT_SECONDS, trust_env=False, **request)
    except httpx.HTTPError as error:
        raise SourceError(
            f"cannot reach the {fault.process} process at {url} ({error or type(error).__name__}); "
            f"is the simulator running, and is --{fault.process}-control its control port?"
        ) from error
    if response.status_code == 401:
        raise ConfigError(
            f"the {fault.process} process refused the token; "
            "give the --token-file it was started with"
        )
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not (response.is_success or "error" in answer):
        raise SourceError(
            f"{url} answered {response.status_code} and is no control port of the simulator"
        )
    if not response.is_success:
        raise ConfigError(f"the {fault.process} process refused: {answer['error']}")
    return answer
