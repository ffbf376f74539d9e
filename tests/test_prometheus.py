"""The client against a real server, and against servers that misbehave."""

from __future__ import annotations

import math
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from server import Server
from synthetic import MONDAY, labels
from tools import free_port

from detector import spans
from detector.absence import UNKNOWN
from detector.errors import ConfigError, SourceError
from detector.prometheus import Prometheus, Reading, rules_source
from detector.settings import PrometheusSettings

T = MONDAY
# The NaN that ends a series in Prometheus.
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
GRID = np.arange(T, T + 600, 60)


def client(server: Server, **settings: Any) -> Prometheus:
    return Prometheus(PrometheusSettings(url=server.url, **settings))


def read(
    source: Prometheus, *queries: str, limit: int = 100, end: int = T + 540, step: int = 60
) -> Reading:
    return source.read(tuple((query, ()) for query in queries), T, end, step, limit)


def test_samples_stand_on_the_grid_and_holes_are_absent(server: Server) -> None:
    values = np.arange(10.0)
    server.write("m", GRID[[0, 1, 5]], values[[0, 1, 5]], job="a")
    server.write("m", GRID, values, job="b", zone='ü "quoted" \\ \n line')
    reading = read(client(server), "m")
    assert reading.matrix.labels == (
        labels(job="a"),
        labels(job="b", zone='ü "quoted" \\ \n line'),
    )
    assert reading.matrix.times.tolist() == GRID.tolist()
    np.testing.assert_array_equal(reading.matrix.values[1], values)
    assert np.flatnonzero(~reading.matrix.absent[0]).tolist() == [0, 1, 5]
    assert reading.samples == 13


def test_nan_and_inf_are_present_but_no_information(server: Server) -> None:
    server.write("m", GRID[:5], np.array([1.0, math.nan, math.inf, -math.inf, 1e300]))
    reading = read(client(server), "m")
    np.testing.assert_array_equal(reading.matrix.values[0, :5], [1.0, *[math.nan] * 3, 1e300])
    assert reading.matrix.absent[0].tolist() == [False] * 5 + [True] * 5


def spans_of(monkeypatch: pytest.MonkeyPatch, points: int) -> None:
    """Make every span have so many points."""
    monkeypatch.setattr(spans, "FIRST_POINTS", points)
    monkeypatch.setattr(spans, "MAX_POINTS", points)


@pytest.mark.parametrize("points", [1, 3, 9])
def test_spans_are_joined_without_a_seam(
    server: Server, monkeypatch: pytest.MonkeyPatch, points: int
) -> None:
    values = np.arange(10.0)
    server.write("m", GRID, values, job="all")
    server.write("m", GRID[[0, 2, 6, 9]], values[[0, 2, 6, 9]], job="holes")
    # Only the oldest span has it, and it comes first by name.
    server.write("m", GRID[:1], 7.0, job="a")
    server.write("m", GRID[:6], [1.0, math.nan, math.inf, STALE, STALE, 2.0], job="odd")
    server.write("n", GRID, 9.0, job="holes")
    whole = read(client(server), "m", "n")
    spans_of(monkeypatch, points)
    cut = read(client(server), "m", "n")
    assert cut.matrix.labels == whole.matrix.labels
    np.testing.assert_array_equal(cut.matrix.values, whole.matrix.values)
    np.testing.assert_array_equal(cut.matrix.absent, whole.matrix.absent)
    assert (cut.samples, cut.duplicates) == (whole.samples, whole.duplicates) == (25, 1)
    rows = dict(zip(whole.matrix.labels, whole.matrix.values, strict=True))
    assert rows[labels(job="all")].tolist() == values.tolist()
    assert rows[labels(job="holes")].tolist() == [0, 9, 2, 9, 9, 9, 6, 9, 9, 9]
    odd = whole.matrix.labels.index(labels(job="odd"))
    # A stale marker ends a series: absent, where a NaN sample is present.
    assert np.flatnonzero(~whole.matrix.absent[odd]).tolist() == [0, 1, 2, 5]


def test_the_limit_is_that_of_all_spans_together(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, name in enumerate("hgfedcba"):
        server.write("m", GRID[9 - i], float(i), job=name)
    server.write("m", GRID, 1.0, job="z")
    spans_of(monkeypatch, 2)
    for limit, keep, kept in ((3, "", "abc"), (3, "z", "abz"), (2, "gh", "gh"), (9, "", None)):
        preferred = [labels(job=name) for name in keep]
        reading = client(server).read((("m", ()),), T, T + 540, 60, limit, preferred)
        names = "".join(dict(key)["job"] for key in reading.matrix.labels)
        assert names == (kept or "abcdefghz")
        assert reading.over_limit == 9 - len(names)
        present = dict(zip(names, ~reading.matrix.absent, strict=True))
        assert "a" not in names or np.flatnonzero(present["a"]).tolist() == [2]


def test_a_long_past_takes_the_memory_of_its_matrix(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = np.arange(T, T + 5_000 * 60, 60)
    for i in range(40):
        server.write("m", times, times % 3607 + i / 7, instance=f"{i:02}")
    source = client(server)
    read(source, "m")
    monkeypatch.setattr(spans, "ANSWER_BYTES", 1 << 18)
    tracemalloc.start()
    reading = read(source, "m", end=int(times[-1]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reading.samples == 200_000
    assert not reading.matrix.absent.any()
    np.testing.assert_array_equal(reading.matrix.values[7], times % 3607 + 1.0)
    # As text it was 6 MB, as objects 30.
    size = reading.matrix.values.nbytes + reading.matrix.absent.nbytes
    assert peak < size + (4 << 20)


def test_more_points_than_the_server_allows(server: Server) -> None:
    server.write("m", GRID, 1.0)
    reading = read(client(server), "m", end=T + 25_000 * 60)
    assert reading.matrix.values.shape == (1, 25_001)
    assert reading.samples == 10


def test_a_span_the_server_finds_too_large_is_halved(server: Server) -> None:
    """vector matching that fails for one moment is not curable, but is reported, not looped."""
    server.write("a", GRID, 1.0, x="1")
    server.write("a", GRID[9:], 1.0, x="2")
    with pytest.raises(SourceError) as caught:
        read(client(server), "a * on() a", end=T + 1000 * 60)
    assert caught.value.reason == "execution"
    assert caught.value.exit_code == 3


def test_a_bad_query_is_reported_with_the_servers_words(server: Server) -> None:
    with pytest.raises(SourceError, match="parse error") as caught:
        read(client(server), "sum(")
    assert caught.value.reason == "bad_query"
    assert "\n" not in str(caught.value)


def test_no_result_is_no_series(server: Server) -> None:
    reading = read(client(server), "nothing_of_this_name")
    assert reading.matrix.values.shape == (0, 10)
    assert reading.samples == 0


def test_a_label_set_given_twice_is_the_first_ones(server: Server) -> None:
    server.write("m", GRID[:5], 1.0, job="a")
    server.write("n", GRID, 2.0, job="a")
    server.write("n", GRID, 3.0, job="b")
    for queries in (("m", "n"), ('{__name__=~"m|n"}',)):
        reading = read(client(server), *queries)
        assert reading.duplicates == 1
        assert reading.matrix.labels == (labels(job="a"), labels(job="b"))
        # The second has a say only where the first has nothing, whatever span is read.
        assert reading.matrix.values[0].tolist() == [1.0] * 5 + [2.0] * 5


def test_labels_that_are_written_alike_are_one_series(server: Server) -> None:
    server.write("m", GRID, 1.0, kind="x")
    server.write("m", GRID, 2.0, exported_kind="x")
    reading = read(client(server), "m")
    assert reading.matrix.labels == (labels(exported_kind="x"),)
    assert reading.duplicates == 1


def test_rule_labels_override(server: Server) -> None:
    server.write("m", GRID, 1.0, job="a", team="x")
    rule = (("anomaly_name", "s"), ("team", "y"))
    reading = client(server).read((("m", rule),), T, T, 60, 10)
    assert reading.matrix.labels == (labels(job="a", team="y"),)


def test_the_first_by_name_stay_within_the_limit(server: Server) -> None:
    for name in "dbca":
        server.write("m", GRID, 1.0, job=name)
    reading = read(client(server), "m", limit=2)
    assert reading.matrix.labels == (labels(job="a"), labels(job="b"))
    assert reading.over_limit == 2
    kept = client(server).read((("m", ()),), T, T, 60, 2, keep=(labels(job="c"),))
    assert kept.matrix.labels == (labels(job="a"), labels(job="c"))


def test_presence_is_what_up_says(server: Server) -> None:
    server.write("up", GRID[1:9], np.array([1, 0, 0, 1, 1, 1, 1, 1.0]), job="a", instance="i")
    ((key, state),) = client(server).presence(T, T + 540, 60).items()
    assert key == labels(job="a", instance="i")
    assert state.tolist() == [UNKNOWN, 1, 0, 0, 1, 1, 1, 1, 1, UNKNOWN]
    # A scraped target that says who it is, as with OpenTelemetry, is still down; one that only
    # sends is up while it does.
    server.write("target_info", GRID, 1.0, job="a", instance="i", sdk="x")
    server.write("target_info", GRID[5:], 1.0, job="b", instance="j")
    found = client(server).presence(T, T + 540, 60)
    assert found[labels(job="a", instance="i")].tolist() == [1, 1, 0, 0, 1, 1, 1, 1, 1, 1]
    assert found[labels(job="b", instance="j")].tolist() == [UNKNOWN] * 5 + [1] * 5


def test_rules_are_listed_with_labels(server: Server) -> None:
    server.set_rules({"record": "r:x", "expr": "up > 0", "labels": {"anomaly_name": "a"}})
    (rule,) = client(server).rules()
    assert (rule["name"], rule["query"], rule["type"]) == ("r:x", "up > 0", "recording")
    assert rule["labels"] == {"anomaly_name": "a"}


Answer = Callable[[httpx.Request], httpx.Response]


def fake(answer: Answer, **settings: Any) -> tuple[Prometheus, list[str]]:
    seen: list[str] = []
    source = Prometheus(
        PrometheusSettings(url="http://prometheus.invalid", **settings),
        seen.append,
        httpx.MockTransport(answer),
    )
    return source, seen


def answered(status: int, body: Any) -> Answer:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return lambda request: httpx.Response(status, content=content)


GOOD = {"status": "success", "data": {"resultType": "matrix", "result": []}}


def of(result: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"<html>hello</html>", "bad_response"),
        (200, b"", "bad_response"),
        (200, [1, 2], "bad_response"),
        (200, {"status": "success"}, "bad_query"),
        (200, of([{}]), "bad_response"),
        (200, of([1]), "bad_response"),
        (200, of(None), "bad_response"),
        (200, of([{"metric": {}, "values": [[T]]}]), "bad_response"),
        (200, of([{"metric": {}, "values": [[T, "abc"]]}]), "bad_response"),
        (200, of([{"metric": {}, "values": 5}]), "bad_response"),
        (200, of([{"metric": {"a": 1}, "values": []}]), "bad_response"),
        (200, of([{"metric": [], "values": []}]), "bad_response"),
        (
            200,
            b'{"data":{"resultType":"matrix","result":[{"metric":{"a":"\xff"}}]}}',
            "bad_response",
        ),
        (200, {"data": {"resultType": "vector", "result": []}}, "bad_query"),
        (301, b"", "bad_response"),
        (401, b"no", "refused"),
        (403, {"error": "no"}, "refused"),
        (404, b"404 page not found", "bad_response"),
        (500, {"error": "oops"}, "bad_response"),
        (503, b"starting", "timeout"),
        (400, {"error": "parse error"}, "bad_query"),
        (400, {"error": 5}, "bad_query"),
        (422, {"error": "query processing would load too many samples"}, "execution"),
    ],
)
def test_a_server_that_misbehaves(status: int, body: Any, reason: str) -> None:
    source, seen = fake(answered(status, body))
    with pytest.raises(SourceError) as caught:
        read(source, "up")
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)
    assert len(seen) == 1
    if reason == "bad_response" and "sample" not in str(caught.value):
        assert "does prometheus.url lead to a Prometheus?" in str(caught.value)
    with pytest.raises(SourceError):
        source.rules()


@pytest.mark.parametrize("body", [{"hello": "world"}, {"status": "error"}])
def test_another_servers_json_is_not_ready(body: dict[str, Any]) -> None:
    source, _ = fake(answered(200, body))
    with pytest.raises(SourceError, match=r"does prometheus\.url lead to a Prometheus\?"):
        source.ready()
    fake(answered(200, GOOD))[0].ready()


def test_another_server_for_rules_is_blamed_by_its_own_setting() -> None:
    settings = PrometheusSettings(url="http://prometheus.invalid")
    source = Prometheus(settings)
    rules = rules_source(source, settings, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(SourceError, match=r"is rules\.url right\?"):
        rules.rules()
    assert rules_source(source, settings, settings.url) is source


@pytest.mark.parametrize(
    "groups", [None, 1, [1], [{}], [{"rules": [1]}], [{"rules": [{"name": "x"}]}]]
)
def test_rules_of_another_shape(groups: Any) -> None:
    source, _ = fake(answered(200, {"data": {"groups": groups}}))
    with pytest.raises(SourceError, match=r"rules\.files"):
        source.rules()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx.ConnectError("refused"), "unreachable"),
        (httpx.ReadTimeout("slow"), "timeout"),
        (httpx.RemoteProtocolError("half an answer"), "unreachable"),
    ],
)
def test_a_connection_that_fails(error: Exception, reason: str) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    source, seen = fake(fail)
    with pytest.raises(SourceError) as caught:
        read(source, "up")
    assert caught.value.reason == reason
    assert seen == [reason]


class Series:
    """A server with one kind of answer: `count` series, a sample at each step; notes its spans.

    A span of more than `most` points is refused as `refuse` says.
    """

    def __init__(self, count: int = 1, most: int = 100_000, refuse: Any = None) -> None:
        self.count, self.most, self.refuse = count, most, refuse
        self.spans: list[tuple[int, int]] = []
        self.refused = 0
        self.largest = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        form = dict(httpx.QueryParams(request.content.decode()))
        start, end, step = (int(form[name]) for name in ("start", "end", "step"))
        if (end - start) // step + 1 > self.most:
            self.refused += 1
            if isinstance(self.refuse, Exception):
                raise self.refuse
            status, content = self.refuse
            return httpx.Response(status, content=content)
        self.spans.append((start, end))
        pairs = [[t, str(t)] for t in range(start, end + 1, step)]
        found = [{"metric": {"job": f"{i}"}, "values": pairs} for i in range(self.count)]
        response = httpx.Response(200, json=of(found))
        self.largest = max(self.largest, len(response.content))
        return response

    def covers(self, start: int, end: int, step: int) -> bool:
        """Return whether each step was answered exactly once."""
        steps = [t for a, b in self.spans for t in range(a, b + 1, step)]
        return sorted(steps) == list(range(start, end + 1, step))


@pytest.mark.parametrize(
    "refuse",
    [
        (422, b'{"error": "query processing would load too many samples"}'),
        (400, b'{"error": "exceeded maximum resolution of 11,000 points"}'),
        (503, b"overloaded"),
        httpx.ReadTimeout("slow"),
    ],
)
def test_a_large_span_is_halved_until_the_server_is_content(refuse: Any) -> None:
    answer = Series(most=700, refuse=refuse)
    source, seen = fake(answer)
    reading = read(source, "up", end=T + 4999 * 60)
    assert reading.samples == 5000
    assert not reading.matrix.absent.any()
    assert reading.duplicates == 0
    assert answer.covers(T, T + 4999 * 60, 60)
    # What is too large once is not tried again.
    assert answer.refused == 1
    assert len(seen) == len(answer.spans) + 1


def test_what_a_short_span_cannot_cure_is_reported() -> None:
    answer = Series(most=60, refuse=(422, b'{"error": "too many samples"}'))
    source, _ = fake(answer)
    with pytest.raises(SourceError, match="too many samples") as caught:
        read(source, "up", end=T + 4999 * 60)
    assert caught.value.reason == "execution"


@pytest.mark.parametrize("count", [1, 7, 300])
@pytest.mark.parametrize("points", [1, 9, 10, 11, 110, 111, 2_345])
def test_spans_are_made_for_answers_of_one_size(
    monkeypatch: pytest.MonkeyPatch, count: int, points: int
) -> None:
    size = 300_000
    monkeypatch.setattr(spans, "ANSWER_BYTES", size)
    answer = Series(count)
    source, _ = fake(answer)
    last = T + (points - 1) * 60
    assert read(source, "up", end=last, limit=1_000).samples == count * points
    assert answer.covers(T, last, 60)
    assert answer.largest < 1.2 * size
    # What has been learnt of it is remembered.
    first, answer.spans = len(answer.spans), []
    assert read(source, "up", end=last, limit=1_000).samples == count * points
    assert answer.covers(T, last, 60)
    assert len(answer.spans) <= first
    assert answer.largest < 1.2 * size


def test_an_answer_that_turns_out_too_large_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "MOST_BYTES", 1 << 20)
    answer = Series(count=100)
    source, seen = fake(answer)
    # Nothing is known yet of these series.
    source._spans.bytes_a_point["up"] = 1.0
    reading = read(source, "up", end=T + 1999 * 60)
    assert reading.samples == 200_000
    assert not reading.matrix.absent.any()
    assert seen.count("too_large") == 3
    # The few points of a step to be scored are read whatever they weigh.
    monkeypatch.setattr(spans, "MOST_BYTES", 10)
    assert read(source, "up").samples == 1_000


def test_a_past_that_begins_with_nothing_is_read_like_any_other(
    monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setattr(spans, "ANSWER_BYTES", 2_000)
    server.write("m", GRID, 1.0, job="a")
    reading = read(client(server), "m", end=T + 3_000 * 60)
    assert reading.samples == 10
    early = client(server).read((("m", ()),), T - 3_000 * 60, T + 540, 60, 10)
    assert early.samples == 10
    assert np.flatnonzero(~early.matrix.absent[0]).tolist() == list(range(3_000, 3_010))


def test_a_native_histogram_is_counted_and_says_nothing() -> None:
    result = [{"metric": {"job": "a"}, "histograms": [[T, {"count": "1"}]]}]
    reading = read(fake(answered(200, of(result)))[0], "up")
    assert reading.histograms == 1
    assert reading.matrix.absent.all()


def test_what_is_sent(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    (tmp_path / "password").write_text("s3cret\n")
    requests: list[httpx.Request] = []

    def keep(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=GOOD)

    read(fake(keep, bearer_token_file=tmp_path / "token", headers={"X-Scope-OrgID": "t"})[0], "up")
    read(fake(keep, username="u", password_file=tmp_path / "password")[0], "up")
    bearer, basic = requests
    assert bearer.headers["accept-encoding"] == "identity"
    assert bearer.headers["authorization"] == "Bearer abc"
    assert bearer.headers["x-scope-orgid"] == "t"
    assert basic.headers["authorization"].startswith("Basic ")
    assert bearer.method == "POST"


@pytest.mark.parametrize(
    "settings",
    [
        {"bearer_token_file": "/nowhere/token"},
        {"username": "u"},
        {"username": "u", "password_file": "/nowhere/password"},
        {"url": "https://x", "ca_file": "/nowhere/ca.pem"},
    ],
)
def test_credentials_that_cannot_be_read_are_one_line(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="prometheus"):
        Prometheus(PrometheusSettings(**settings))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"hunter2\nhunter2", "bearer_token_file"),
        (b"hunter2\x00", "bearer_token_file"),
        ("hunter2\u00e9".encode(), "bearer_token_file"),
        (b"hunter2\xff", "bearer_token_file"),
    ],
)
def test_a_token_that_is_no_token(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Prometheus(PrometheusSettings(bearer_token_file=tmp_path / "token"))
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["", " hunter2", "hunter2 ", "hunter2\nX: y", "hunter2\u00e9"])
def test_a_header_that_cannot_be_sent(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^prometheus\.headers\.X-Scope-OrgID: ") as caught:
        Prometheus(PrometheusSettings(headers={"X-Scope-OrgID": value}))
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "X Y", "X:hunter2", "hunter2\n", "hunter2\u00e9"])
def test_a_header_name_that_is_none(name: str) -> None:
    with pytest.raises(ConfigError, match="name of header 2") as caught:
        Prometheus(PrometheusSettings(headers={"X-Scope-OrgID": "t", name: "v"}))
    assert "hunter2" not in str(caught.value)


def test_a_password_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"hunter2\xff")
    with pytest.raises(ConfigError, match="password_file") as caught:
        Prometheus(PrometheusSettings(username="u", password_file=tmp_path / "password"))
    assert "hunter2" not in str(caught.value)


def test_token_and_user_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("abc")
    secret = tmp_path / "secret"
    with pytest.raises(ConfigError, match="bearer_token_file and username"):
        Prometheus(PrometheusSettings(username="u", password_file=secret, bearer_token_file=secret))
