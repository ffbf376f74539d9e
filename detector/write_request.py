"""Checks samples and encodes them as a remote-write request: snappy-compressed protobuf.

Format: https://prometheus.io/docs/specs/prw/remote_write_spec/ (version 1.0). The protobuf is
coded by hand, because every sample has the same eighteen bytes' shape and numpy writes all at once.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cramjam
import numpy as np
from numpy.typing import NDArray

# What Prometheus stores to say "this series ended": a NaN with these very bits.
STALE_MARKER: float = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]

_STALE_BITS = np.uint64(0x7FF0000000000002)
_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

# Milliseconds whose varint has six bytes (1971 to 2109), so that every sample has 18 bytes.
_FIRST_MS, _LAST_MS = 1 << 35, (1 << 42) - 1
_SAMPLE = np.dtype([("head", "u1", 3), ("value", "<f8"), ("tag", "u1"), ("time", "u1", 6)])
# Field 2 (samples), 16 bytes; in it field 1 (value, a double) and field 2 (timestamp, a varint).
_SAMPLE_HEAD, _TIME_TAG = (0x12, 16, 0x09), 0x10
_VARINT_SHIFTS = np.arange(0, 42, 7, dtype=np.uint64)


@dataclass(frozen=True)
class TimeSeries:
    """Samples of one series.

    Parameters
    ----------
    labels : mapping of str to str
        With ``__name__``; empty values count as absent.
    timestamps_ms : ndarray of int64, shape (T,)
        Unix milliseconds, strictly increasing.
    values : ndarray of float64, shape (T,)
        NaN is no sample and is not sent, except `STALE_MARKER`.
    """

    labels: Mapping[str, str]
    timestamps_ms: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.timestamps_ms)

    def __getitem__(self, part: slice) -> TimeSeries:
        return TimeSeries(self.labels, self.timestamps_ms[part], self.values[part])


def encode(series: Sequence[TimeSeries]) -> bytes:
    """Return a remote-write request body: a snappy-compressed protobuf ``WriteRequest``.

    At least one series, all of them as `checked` returns them.
    """
    times = np.concatenate([one.timestamps_ms for one in series]).astype(np.uint64)
    samples = np.empty(len(times), _SAMPLE)
    samples["head"] = _SAMPLE_HEAD
    samples["value"] = np.concatenate([one.values for one in series])
    samples["tag"] = _TIME_TAG
    # A varint: seven bits a byte from the lowest up, the eighth bit set on all but the last byte.
    samples["time"] = (times[:, None] >> _VARINT_SHIFTS) & np.uint64(0x7F)
    samples["time"][:, :-1] |= 0x80
    raw = samples.view(np.uint8).data
    parts: list[bytes | memoryview] = []
    start = 0
    for one in series:
        end = start + len(one) * _SAMPLE.itemsize
        labels = _encoded_labels(one.labels)
        parts += (b"\x0a", _varint(len(labels) + end - start), labels, raw[start:end])
        start = end
    return bytes(cramjam.snappy.compress_raw(b"".join(parts)))


def _encoded_labels(labels: Mapping[str, str]) -> bytes:
    out = b""
    for name, value in sorted(labels.items()):
        if value:
            pair = _field(0x0A, name.encode()) + _field(0x12, value.encode())
            out += _field(0x0A, pair)
    return out


def _field(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def checked(one: TimeSeries, last_ms: int, rejected: Counter[str]) -> TimeSeries:
    """Return the samples that may be sent, and count the others by reason.

    Parameters
    ----------
    one : TimeSeries
        As given by the caller.
    last_ms : int
        Unix milliseconds after which a sample is of the future.
    rejected : Counter of str
        Gets ``metric_name``, ``label_name``, ``label_value``, ``shape``, ``future``, ``timestamp``
        and ``out_of_order``.
    """
    reason = _label_problem(one.labels)
    if reason is None and one.timestamps_ms.shape != one.values.shape:
        reason = "shape"
    if reason is not None:
        rejected[reason] += len(one)
        return one[:0]
    times = one.timestamps_ms
    values = np.asarray(one.values, np.float64)
    reasons = {
        "future": times > last_ms,
        "timestamp": (times < _FIRST_MS) | (times > _LAST_MS),
        "nan": np.isnan(values) & (values.view(np.uint64) != _STALE_BITS),
    }
    bad = np.zeros(len(times), bool)
    for name, where in reasons.items():
        fresh = where & ~bad
        bad |= fresh
        if name != "nan" and fresh.any():
            rejected[name] += int(fresh.sum())
    times, values = (times[~bad], values[~bad]) if bad.any() else (times, values)
    # A sample not later than all before it would cost its whole request.
    highest = np.maximum.accumulate(times) if len(times) else times
    late = np.concatenate([[False], times[1:] <= highest[:-1]]) if len(times) else bad[:0]
    if late.any():
        rejected["out_of_order"] += int(late.sum())
        times, values = times[~late], values[~late]
    return TimeSeries(one.labels, times, values)


def _label_problem(labels: Mapping[str, str]) -> str | None:
    if not _METRIC_NAME.fullmatch(labels.get("__name__", "")):
        return "metric_name"
    for name, value in labels.items():
        if not _LABEL_NAME.fullmatch(name):
            return "label_name"
        try:
            value.encode()
        except (UnicodeEncodeError, AttributeError):
            return "label_value"
    return None
