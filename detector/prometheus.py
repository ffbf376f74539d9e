"""Reads samples and rules from a server that speaks Prometheus' HTTP API.

Range reads ask for no compression: on a local network gzip costs the server three to six times
the transfer (measured; see DECISIONS.md 10).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import httpx
import numpy as np

from detector import access, promql, spans
from detector.absence import Presence, up_or_down
from detector.errors import SourceError
from detector.gathering import Gathering
from detector.gathering import Reading as Reading
from detector.labels import label_set
from detector.range_answer import MALFORMED, Sampled, decode_series
from detector.refusals import as_json, refusal, shortened
from detector.series import Bool, Labels
from detector.settings import PrometheusSettings
from detector.spans import Spans

# Results of a condition are not limited: one left out would open what is closed.
NO_LIMIT = 1_000_000_000
# What OpenTelemetry sends is not scraped: it is up for as long as it says who it is.
TARGETS = "max by (job, instance) (up) or max by (job, instance) (target_info)"

T = TypeVar("T")
Content = dict[str, dict[str, str]]


class Prometheus:
    """A client with a connection pool; safe to share between threads.

    Parameters
    ----------
    settings : PrometheusSettings
    observe : callable, optional
        Called after each query with its outcome (``ok`` or a `SourceError.reason`).
    transport : httpx.BaseTransport, optional
        Another transport, for tests.
    setting : str
        Where the address comes from, for messages.

    Raises
    ------
    ConfigError
        When a credential or certificate file cannot be read.
    """

    def __init__(
        self,
        settings: PrometheusSettings,
        observe: Callable[[str], None] = lambda outcome: None,
        transport: httpx.BaseTransport | None = None,
        setting: str = "prometheus.url",
    ) -> None:
        self.url = settings.url
        self._setting = setting
        self._observe = observe
        self._client = httpx.Client(
            base_url=settings.url,
            headers={"Accept-Encoding": "identity", **access.headers(settings)},
            auth=access.basic_auth(settings),
            verify=access.tls(settings) if settings.url.startswith("https") else True,
            timeout=httpx.Timeout(settings.timeout, connect=min(5.0, settings.timeout)),
            transport=transport,
        )
        self._spans = Spans(self._range)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def ready(self) -> None:
        """Ask for one trivial query; raise SourceError when the server cannot answer it."""
        if (
            self._object("POST", "/api/v1/query", {"data": {"query": "1"}}).get("status")
            != "success"
        ):
            raise SourceError(
                f"{self.url}/api/v1/query: unexpected answer; {self._advice}", reason="bad_response"
            )

    def rules(self) -> list[dict[str, Any]]:
        """Return the recording rules the server has loaded, as its rules API describes them."""
        return self._rules("record")

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerting rules the server has loaded, as its rules API describes them."""
        return self._rules("alert")

    def metrics(self, start: int, end: int) -> frozenset[str]:
        """Return the names of all metrics the server has samples of in a time.

        Raises
        ------
        SourceError
        """
        path = "/api/v1/label/__name__/values"
        body = self._object("GET", path, {"params": {"start": str(start), "end": str(end)}})
        found = body.get("data")
        if not isinstance(found, list):
            raise SourceError(
                f"{self.url}{path}: unexpected answer; {self._advice}", reason="bad_response"
            )
        return frozenset(map(str, found))

    def read(
        self,
        queries: tuple[tuple[str, Labels], ...],
        start: int,
        end: int,
        step: int,
        limit: int,
        keep: Collection[Labels] = (),
    ) -> Reading:
        """Evaluate the union of queries on a grid.

        Parameters
        ----------
        queries : tuple of (str, Labels)
            Expressions and the labels that override those of their results.
        start, end, step : int
            Unix seconds; `start` and `end` are multiples of `step`, both included.
        limit : int
            Most series kept; the first by name stay, the others are counted.
        keep : collection of Labels
            Series that stay before all others.

        Returns
        -------
        Reading
            Inf counts as NaN: present, but no information. Where a label set is given more than
            once the first one that has a sample wins, time by time, as with PromQL's `or`.

        Raises
        ------
        SourceError
        """
        gathering = Gathering(np.arange(start, end + 1, step, dtype=np.int64), step, limit, keep)
        for number, (query, rule_labels) in enumerate(queries):
            for series in self._spans.answers(query, start, end, step):
                gathering.add(number, rule_labels, series)
                # Before the next one is asked for.
                del series
        return gathering.reading()

    def vector(self, query: str, time: float) -> list[tuple[Labels, float]]:
        """Return the series of an instant query, as the server names them, and their values.

        Raises
        ------
        SourceError
        """
        form = {"query": query, "time": f"{time:.3f}"}
        body = self._object("POST", "/api/v1/query", {"data": form})
        try:
            found = body["data"]["result"]
            return [(label_set(one["metric"]), float(one["value"][1])) for one in found]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise SourceError(
                f"{self.url}: unexpected answer to {shortened(query)}; {self._advice}",
                reason="bad_response",
            ) from None

    def presence(self, start: int, end: int, step: int) -> Presence:
        """Return what `up` says of each target, by its (instance, job) labels."""
        return up_or_down(self.read(((TARGETS, ()),), start, end, step, limit=NO_LIMIT).matrix)

    def holds(self, query: str, start: int, end: int, step: int) -> dict[Labels, Bool]:
        """Return where an expression is true on a grid, bool[T] by the labels of its results.

        As with an alert's expression any sample is true, NaN included, and absence is not; but
        where no comparison decides (see `promql.filters`), a zero is false: that of a gauge, or
        of a comparison with ``bool``.

        Raises
        ------
        SourceError
        """
        matrix = self.read(((query, ()),), start, end, step, limit=NO_LIMIT).matrix
        true = ~matrix.absent
        if not promql.filters(query):
            true &= matrix.values != 0
        return dict(zip(matrix.labels, true, strict=True))

    @property
    def _advice(self) -> str:
        return f"does {self._setting} lead to a Prometheus?"

    def _rules(self, kind: str) -> list[dict[str, Any]]:
        body = self._object("GET", "/api/v1/rules", {"params": {"type": kind}})
        try:
            found = [rule for group in body["data"]["groups"] for rule in group["rules"]]
            return [{**rule, "name": str(rule["name"]), "query": rule["query"]} for rule in found]
        except (KeyError, TypeError):
            raise SourceError(
                f"{self.url}/api/v1/rules: unexpected answer; use rules.files if this server has "
                "no rules",
                reason="bad_response",
            ) from None

    def _range(self, query: str, start: int, end: int, step: int) -> tuple[Sequence[Sampled], int]:
        """Return the series of one span, and the size of the answer in bytes."""
        form = {"query": query, "start": str(start), "end": str(end), "step": str(step)}
        halved = (end - start) // step >= spans.MIN_POINTS
        return self._send(
            "POST",
            "/api/v1/query_range",
            {"data": form},
            lambda answer: (self._series(query, answer), len(answer)),
            spans.MOST_BYTES if halved else None,
        )

    def _series(self, query: str, answer: bytearray) -> Sequence[Sampled]:
        """Return the series of an answer."""
        try:
            return decode_series(answer)
        except MALFORMED:
            body = as_json(answer)
        data = body.get("data") if isinstance(body, dict) else {"resultType": "matrix"}
        if not isinstance(data, dict) or data.get("resultType") != "matrix":
            raise SourceError(
                f"{self.url}: {shortened(query)} gives no series; write an instant vector",
                reason="bad_query",
            )
        raise SourceError(
            f"{self.url}: unexpected answer to {shortened(query)}; {self._advice}",
            reason="bad_response",
        )

    def _object(self, method: str, path: str, content: Content) -> dict[str, Any]:
        """Return an answer that is an object."""

        def read(answer: bytearray) -> dict[str, Any]:
            body = as_json(answer)
            if isinstance(body, dict):
                return body
            raise refusal(f"{self.url}{path}", 200, "", "", self._advice)

        return self._send(method, path, content, read)

    def _send(
        self,
        method: str,
        path: str,
        content: Content,
        read: Callable[[bytearray], T],
        most: int | None = None,
    ) -> T:
        """Return what `read` makes of an answer, and count the outcome."""
        try:
            result = read(self._answer(method, path, content, most))
        except SourceError as error:
            self._observe(error.reason)
            raise
        self._observe("ok")
        return result

    def _answer(self, method: str, path: str, content: Content, most: int | None) -> bytearray:
        """Return what a good answer holds, as long as it is not more than `most` bytes."""
        where = f"{self.url}{path}"
        query = content.get("data", {}).get("query", "")
        body = bytearray()
        try:
            with self._client.stream(method, path, **content) as response:  # type: ignore[arg-type]
                for part in response.iter_bytes():
                    body += part
                    if most is not None and len(body) > most:
                        raise SourceError(
                            f"{where}: {shortened(query)}: more than {most >> 20} MiB; "
                            "aggregate it",
                            reason="too_large",
                        )
        except httpx.TimeoutException:
            raise SourceError(
                f"{where}: no answer in time; raise prometheus.timeout or lighten the query",
                reason="timeout",
            ) from None
        except httpx.HTTPError as error:
            raise SourceError(
                f"{where}: cannot be reached ({error}); is {self._setting} right?"
            ) from None
        if response.status_code == 200:
            return body
        problem = as_json(body)
        said = str(problem.get("error", "")) if isinstance(problem, dict) else ""
        raise refusal(where, response.status_code, said, query, self._advice)


def rules_source(source: Prometheus, settings: PrometheusSettings, url: str | None) -> Prometheus:
    """Return the client for rules: `source` itself unless they live at another address."""
    if url is None or url == settings.url:
        return source
    return Prometheus(settings.model_copy(update={"url": url}), setting="rules.url")
