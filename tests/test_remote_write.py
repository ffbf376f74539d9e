"""Remote write: bytes that an independent decoder reads back, and bad samples kept apart."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import cramjam
import httpx
import numpy as np
import pytest

from detector.errors import ConfigError, SourceError
from detector.remote_write import RemoteWriter
from detector.write_request import STALE_MARKER, TimeSeries, encode

NOW = 1_800_000_000.0
NOW_MS = int(NOW * 1000)
URL = "http://prometheus.invalid/api/v1/write"


def series(
    name: str = "m",
    times: list[int] | None = None,
    values: list[float] | None = None,
    **labels: str,
) -> TimeSeries:
    times = [NOW_MS - 2000, NOW_MS - 1000] if times is None else times
    values = [float(i) for i in range(len(times))] if values is None else values
    return TimeSeries(
        {"__name__": name, **labels}, np.array(times, np.int64), np.array(values, np.float64)
    )


def decode(body: bytes) -> list[tuple[dict[str, str], list[tuple[int, float]]]]:
    """Read a request with a plain protobuf reader that shares nothing with the encoder."""
    out = []
    for tag, content in fields(bytes(cramjam.snappy.decompress_raw(body))):
        assert tag == 1
        labels: dict[str, str] = {}
        samples = []
        for inner, part in fields(content):
            parts = dict(fields(part))
            if inner == 1:
                labels[parts[1].decode()] = parts[2].decode()
            else:
                samples.append((parts[2], parts[1]))
        out.append((labels, samples))
    return out


def fields(data: bytes) -> list[tuple[int, bytes | int | float]]:
    out: list[tuple[int, bytes | int | float]] = []
    at = 0

    def varint() -> int:
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while at < len(data):
        key = varint()
        number, kind = key >> 3, key & 7
        if kind == 0:
            out.append((number, varint()))
        elif kind == 1:
            out.append((number, struct.unpack_from("<d", data, at)[0]))
            at += 8
        else:
            size = varint()
            out.append((number, data[at : at + size]))
            at += size
    return out


class FakePrometheus:
    """Stores samples; refuses a whole request when `judge` finds something to say about one."""

    def __init__(self, judge: Callable[[str, int], tuple[int, str] | None] | None = None):
        self.stored: dict[tuple[tuple[str, str], ...], list[tuple[int, float]]] = {}
        self.requests: list[int] = []
        self._judge = judge or (lambda name, time_ms: None)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["content-encoding"] == "snappy"
        assert request.headers["x-prometheus-remote-write-version"] == "0.1.0"
        decoded = decode(request.content)
        self.requests.append(sum(len(samples) for _, samples in decoded))
        for labels, samples in decoded:
            for time_ms, _ in samples:
                if answer := self._judge(labels["__name__"], time_ms):
                    return httpx.Response(answer[0], text=answer[1])
        for labels, samples in decoded:
            self.stored.setdefault(tuple(labels.items()), []).extend(samples)
        return httpx.Response(204)

    def samples(self) -> int:
        return sum(map(len, self.stored.values()))


def writer(
    server: Callable[[httpx.Request], httpx.Response],
    sleeps: list[float] | None = None,
    **options: int,
) -> RemoteWriter:
    return RemoteWriter(
        URL,
        httpx.Client(transport=httpx.MockTransport(server)),
        clock=lambda: NOW,
        sleep=(sleeps if sleeps is not None else []).append,
        **options,
    )


def test_an_independent_decoder_reads_what_was_encoded() -> None:
    values = [0.0, -1.5, 1e300, math.inf, 5e-324]
    times = [1 << 35, NOW_MS - 3, NOW_MS - 2, NOW_MS - 1, (1 << 42) - 1]
    long_value = "é" * 300
    decoded = decode(
        encode([series("a:b", times, values, zone=long_value, empty="", job="x"), series("second")])
    )
    assert decoded[0] == (
        {"__name__": "a:b", "job": "x", "zone": long_value},
        list(zip(times, values, strict=True)),
    )
    assert list(decoded[0][0]) == ["__name__", "job", "zone"]
    assert decoded[1] == ({"__name__": "second"}, [(NOW_MS - 2000, 0.0), (NOW_MS - 1000, 1.0)])


def test_stale_marker_keeps_its_bits_and_other_nan_is_no_sample() -> None:
    server = FakePrometheus()
    one = series(times=[NOW_MS - 3, NOW_MS - 2, NOW_MS - 1], values=[1.0, math.nan, STALE_MARKER])
    written = writer(server).write([one])
    assert written.samples == 2
    assert not written.rejected
    (stored,) = server.stored.values()
    assert [time_ms for time_ms, _ in stored] == [NOW_MS - 3, NOW_MS - 1]
    assert struct.pack("<d", stored[1][1]) == struct.pack("<Q", 0x7FF0000000000002)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (series("bad name"), "metric_name"),
        (series(""), "metric_name"),
        (series("ünicode"), "metric_name"),
        (TimeSeries({"job": "x"}, np.array([NOW_MS]), np.array([1.0])), "metric_name"),
        (series(**{"bad-label": "x"}), "label_name"),
        (series(**{"a:b": "x"}), "label_name"),
        (series(job="\ud800"), "label_value"),
        (TimeSeries({"__name__": "m"}, np.array([NOW_MS]), np.array([1.0, 2.0])), "shape"),
        (series(times=[NOW_MS + 1, NOW_MS + 60_000]), "future"),
        (series(times=[0, 5]), "timestamp"),
        (series(times=[-1, int(NOW)]), "timestamp"),
    ],
)
def test_what_prometheus_should_refuse_is_never_sent(bad: TimeSeries, reason: str) -> None:
    server = FakePrometheus()
    written = writer(server).write([series("good"), bad])
    assert written.samples == 2
    assert written.rejected == {reason: len(bad)}
    assert list(server.stored) == [(("__name__", "good"),)]


def test_only_the_bad_samples_of_a_series_are_dropped() -> None:
    server = FakePrometheus()
    times = [NOW_MS - 50, NOW_MS - 40, NOW_MS - 45, NOW_MS - 40, NOW_MS - 30, NOW_MS + 5]
    written = writer(server).write([series(times=times)])
    assert written.rejected == {"out_of_order": 2, "future": 1}
    (stored,) = server.stored.values()
    assert stored == [(NOW_MS - 50, 0.0), (NOW_MS - 40, 1.0), (NOW_MS - 30, 4.0)]


def test_nothing_to_send_sends_nothing() -> None:
    server = FakePrometheus()
    assert writer(server).write([]).requests == 0
    assert writer(server).write([series(times=[]), series(times=[NOW_MS + 9])]).requests == 0
    assert server.requests == []


def test_requests_are_bounded_and_long_series_cut_in_order() -> None:
    server = FakePrometheus()
    times = list(range(NOW_MS - 25, NOW_MS))
    written = writer(server, most_samples=10).write([series("a", times), series("b", times[:7])])
    assert server.requests == [10, 10, 10, 2]
    assert written.samples == 32
    assert server.stored[(("__name__", "a"),)] == list(
        zip(times, map(float, range(25)), strict=True)
    )


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        (400, "duplicate sample for timestamp", "duplicate"),
        (400, "out of bounds", "too_old"),
        (400, "something new", "refused"),
        (500, "too old sample", "too_old"),
        (413, "body too large", "too_large"),
    ],
)
def test_one_bad_sample_does_not_lose_the_others(status: int, text: str, reason: str) -> None:
    bad = ("b", NOW_MS - 13)
    server = FakePrometheus(lambda *sample: (status, text) if sample == bad else None)
    sleeps: list[float] = []
    times = list(range(NOW_MS - 100, NOW_MS))
    written = writer(server, sleeps).write([series(name, times) for name in "abc"])
    assert written.samples == server.samples() == 299
    assert written.rejected == {reason: 1}
    assert written.requests < 30
    assert sleeps == []


def test_a_request_that_is_all_bad_is_given_up_after_a_bounded_number_of_requests() -> None:
    server = FakePrometheus(lambda name, _: (500, "too old sample") if name == "old" else None)
    times = list(range(NOW_MS - 5000, NOW_MS))
    written = writer(server).write([series("old", times)])
    assert written.samples == 0
    assert written.rejected == {"too_old": 5000}
    assert written.requests < 600


def test_a_failing_server_is_retried_a_few_times_only() -> None:
    answers = iter([httpx.Response(503, text="starting"), httpx.Response(429), httpx.Response(204)])
    sleeps: list[float] = []
    assert writer(lambda _: next(answers), sleeps).write([series()]).samples == 2
    assert sleeps == [0.5, 1.0]

    def fail(_: httpx.Request) -> httpx.Response:
        return httpx.Response(500, text="disk full")

    sleeps.clear()
    with pytest.raises(SourceError, match="disk full"):
        writer(fail, sleeps).write([series()])
    assert sleeps == [0.5, 1.0, 2.0]


def test_an_unreachable_server_is_one_line() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with pytest.raises(SourceError, match="connection refused; is the server up"):
        writer(refuse).write([series()])


@pytest.mark.parametrize(
    ("status", "advice"),
    [(404, "--web.enable-remote-write-receiver"), (401, "credentials"), (301, "check the URL")],
)
def test_a_wrong_endpoint_is_not_retried(status: int, advice: str) -> None:
    sleeps: list[float] = []
    with pytest.raises(ConfigError, match=advice):
        writer(lambda _: httpx.Response(status), sleeps).write([series()])
    assert sleeps == []
