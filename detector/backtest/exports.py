"""Decodes what Prometheus and its tools export: OpenMetrics text and range API answers."""

from __future__ import annotations

import numpy as np
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from detector.errors import ConfigError
from detector.labels import label_set
from detector.range_answer import MALFORMED, decode_any, decode_labels, decode_samples
from detector.range_answer import decode_series as decode_answer
from detector.series import Float, Int, Labels

# By metric name (empty where there is none), by labels: times and values.
Exported = dict[str, dict[Labels, tuple[Int, Float]]]


def read_openmetrics(where: str, content: bytes) -> Exported:
    """Decode OpenMetrics text; every sample must have a timestamp, and the last line is `# EOF`.

    Raises
    ------
    ConfigError
        When it is cut off, is no such text, or has samples without timestamps.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: no OpenMetrics text: it is not UTF-8") from None
    if not text.rstrip().endswith("# EOF"):
        raise ConfigError(f"{where}: cut off: OpenMetrics text ends with a line # EOF")
    found: dict[str, dict[Labels, tuple[list[float], list[float]]]] = {}
    try:
        # The library has no types here.
        for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
            for sample in family.samples:
                if sample.timestamp is None:
                    raise ConfigError(
                        f"{where}: {sample.name} has a sample without timestamp; write it behind "
                        "the value, in seconds"
                    )
                rows = found.setdefault(sample.name, {})
                times, values = rows.setdefault(label_set(sample.labels), ([], []))
                times.append(float(sample.timestamp))
                values.append(float(sample.value))
    # The library raises whatever its own assumptions lead to.
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{where}: no OpenMetrics text: {said}") from None
    if not found:
        raise ConfigError(f"{where}: no samples; there must be some before # EOF")
    return {
        name: {
            key: _arrays(where, np.array(times), np.array(values))
            for key, (times, values) in rows.items()
        }
        for name, rows in found.items()
    }


def read_answer(where: str, content: bytes) -> Exported:
    """Decode an answer of `/api/v1/query_range` as the server gave it.

    Raises
    ------
    ConfigError
        When it is cut off, an error, or an answer of another kind.
    """
    try:
        series = decode_answer(content)
    except MALFORMED:
        raise ConfigError(f"{where}: {_what_it_is(content)}") from None
    found: Exported = {}
    for one in series:
        try:
            labels = decode_labels(bytes(one.metric))
            numbers = np.array(decode_samples(one.values)).reshape(-1, 2)
        except MALFORMED:
            raise ConfigError(f"{where}: a sample is no pair of time and number") from None
        name = labels.pop("__name__", "")
        rows = found.setdefault(name, {})
        if label_set(labels) in rows:
            raise ConfigError(f"{where}: two series have the same labels {labels}")
        rows[label_set(labels)] = _arrays(where, numbers[:, 0], numbers[:, 1])
    if not found:
        raise ConfigError(f"{where}: no samples; was there data in that range?")
    return found


def _what_it_is(content: bytes) -> str:
    """Return what is wrong with what is no range answer."""
    try:
        body = decode_any(content)
    except MALFORMED as error:
        return f"no JSON, or cut off: {str(error).splitlines()[0]}"
    if isinstance(body, dict) and body.get("status") == "error":
        return f"the answer is an error: {body.get('error')}"
    return "no answer of the range API (/api/v1/query_range, resultType matrix)"


def _arrays(where: str, times: Float, values: Float) -> tuple[Int, Float]:
    if len(times) and (not np.isfinite(times).all() or np.abs(times).max() > 1e11):
        raise ConfigError(f"{where}: timestamps must be unix seconds, not milliseconds")
    return np.floor(times).astype(np.int64), np.where(np.isfinite(values), values, np.nan)
