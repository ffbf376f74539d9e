"""Writes samples to Prometheus by remote write 1.0: encodes, validates, sends, isolates bad ones.

Prometheus stores what it should refuse (bad names, samples of the future, which then block every
present write) and refuses a whole request for one bad sample, some of them with a 500 that no retry
will cure. So everything is checked before it is sent, and a refused request is halved until the
bad samples stand alone.

Protocol: https://prometheus.io/docs/specs/prw/remote_write_spec/ (version 1.0).
"""

from __future__ import annotations

import re
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import cramjam
import httpx
import numpy as np
from numpy.typing import NDArray

from detector.errors import ConfigError, SourceError

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

# Answers to single bad samples, by what Prometheus 2.42 writes into the body, and our reason.
_BAD_SAMPLE_REASONS = {
    "too old sample": "too_old",
    "out of bounds": "too_old",
    "out of order": "out_of_order",
    "duplicate sample": "duplicate",
    "too far in the future": "future",
}
_RETRY_WAITS_SECONDS = (0.5, 1.0, 2.0)
# Requests one refused request may cause; what is then still unproved is given up as a whole.
_MOST_HALVINGS = 256


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


@dataclass
class Written:
    """What became of the samples of a write: how many were stored, and why others were not."""

    samples: int = 0
    requests: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


class RemoteWriter:
    """Sends samples to one remote-write endpoint.

    Parameters
    ----------
    url : str
        The endpoint, such as ``http://localhost:9090/api/v1/write``.
    client : httpx.Client
        Brings authentication, TLS and timeouts; it is not closed here.
    most_samples : int
        Samples a request.
    clock, sleep : callable
        Unix seconds, and waiting between retries.
    """

    def __init__(
        self,
        url: str,
        client: httpx.Client,
        *,
        most_samples: int = 40_000,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.url = url
        self._client = client
        self._most_samples = most_samples
        self._clock = clock
        self._sleep = sleep

    def write(self, series: Sequence[TimeSeries]) -> Written:
        """Send samples and report how many were stored.

        Bad series and samples (names, timestamps, what the server refuses) are counted by reason
        and do not keep the others from being stored.

        Raises
        ------
        SourceError
            When the server cannot be reached or fails, also after retries.
        ConfigError
            When there is no remote-write receiver at the URL, or it refuses the credentials.
        """
        written = Written()
        last_ms = int(self._clock() * 1000)
        good = [kept for one in series if len(kept := _checked(one, last_ms, written.rejected))]
        for batch in _batches(good, self._most_samples):
            self._send(batch, written, halvings=[_MOST_HALVINGS])
        return written

    def probe(self) -> None:
        """Raise what `write` would raise when no samples can be written; sends an empty request."""
        self._post(bytes(cramjam.snappy.compress_raw(b"")))

    def _send(self, batch: list[TimeSeries], written: Written, halvings: list[int]) -> None:
        response = self._post(encode(batch))
        written.requests += 1
        count = sum(map(len, batch))
        if response.is_success:
            written.samples += count
            return
        reason = _refusal(response)
        if count == 1 or halvings[0] <= 0:
            written.rejected[reason] += count
            return
        halvings[0] -= 1
        for half in _halves(batch):
            self._send(half, written, halvings)

    def _post(self, body: bytes) -> httpx.Response:
        """Return an answer that says something about the samples; wait and retry the others."""
        headers = {
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        problem = ""
        for wait in (*_RETRY_WAITS_SECONDS, None):
            try:
                response = self._client.post(self.url, content=body, headers=headers)
            except httpx.InvalidURL as error:
                raise ConfigError(f"remote-write URL {self.url!r} is no URL: {error}") from error
            except httpx.HTTPError as error:
                problem = str(error) or type(error).__name__
            else:
                if response.is_success or _about_samples(response):
                    return response
                if response.status_code < 500 and response.status_code != 429:
                    raise ConfigError(_refused(self.url, response))
                problem = f"it answered {response.status_code}: {_first_line(response)}"
            if wait is not None:
                self._sleep(wait)
        raise SourceError(f"cannot write to {self.url}: {problem}; is the server up and healthy?")


def encode(series: Sequence[TimeSeries]) -> bytes:
    """Return a remote-write request body: a snappy-compressed protobuf ``WriteRequest``.

    The series must be valid (`RemoteWriter.write` checks them): names, and timestamps from 1971 to
    2109.
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


def _checked(one: TimeSeries, last_ms: int, rejected: Counter[str]) -> TimeSeries:
    """Return the samples that may be sent; count the others by reason."""
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


def _batches(series: Sequence[TimeSeries], most: int) -> Iterator[list[TimeSeries]]:
    """Yield lists of at most `most` samples; a longer series is cut."""
    batch: list[TimeSeries] = []
    room = most
    for one in series:
        start = 0
        while start < len(one):
            part = one[start : start + room]
            batch.append(part)
            start += len(part)
            room -= len(part)
            if room == 0:
                yield batch
                batch, room = [], most
    if batch:
        yield batch


def _halves(batch: list[TimeSeries]) -> tuple[list[TimeSeries], list[TimeSeries]]:
    if len(batch) > 1:
        middle = len(batch) // 2
        return batch[:middle], batch[middle:]
    middle = len(batch[0]) // 2
    return [batch[0][:middle]], [batch[0][middle:]]


def _about_samples(response: httpx.Response) -> bool:
    """Return whether the answer is about samples: then halving helps and waiting does not."""
    known = any(text in response.text for text in _BAD_SAMPLE_REASONS)
    return response.status_code in (400, 413, 422) or (response.status_code == 500 and known)


def _refusal(response: httpx.Response) -> str:
    for text, reason in _BAD_SAMPLE_REASONS.items():
        if text in response.text:
            return reason
    return "too_large" if response.status_code == 413 else "refused"


def _refused(url: str, response: httpx.Response) -> str:
    if response.status_code in (404, 405):
        return (
            f"no remote-write receiver at {url}; "
            "start Prometheus with --web.enable-remote-write-receiver"
        )
    if response.status_code in (401, 403):
        return f"{url} refused the credentials ({response.status_code}); check them"
    return f"{url} answered {response.status_code}: {_first_line(response)}; check the URL"


def _first_line(response: httpx.Response) -> str:
    return response.text.strip().partition("\n")[0][:200] or "(no text)"
