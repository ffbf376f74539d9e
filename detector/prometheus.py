"""Reads samples and rules from a server that speaks Prometheus' HTTP API.

Range reads ask for no compression: on a local network gzip costs the server three to six times
the transfer (measured; see DECISIONS.md 10). They are cut into spans below the server's limit of
11,000 points, and a span the server finds too large is halved.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import orjson

from detector import access
from detector.errors import SourceError
from detector.series import Bool, Labels, SeriesMatrix, label_set, result_labels
from detector.settings import PrometheusSettings

# Prometheus refuses more than 11,000 points a series; a margin for servers that count otherwise.
MAX_POINTS = 10_000
# A span of so few points is not halved further.
MIN_POINTS = 100
# Results of a condition are not limited: one left out would open what is closed.
NO_LIMIT = 1_000_000_000

Sampled = tuple[dict[str, str], list[Any]]


@dataclass
class Reading:
    """Samples of a union of queries, and what had to be left out.

    `duplicates` counts label sets that a later query gave again, `over_limit` series beyond the
    limit, `histograms` native histograms (they have no single value).
    """

    matrix: SeriesMatrix
    samples: int = 0
    duplicates: int = 0
    over_limit: int = 0
    histograms: int = 0


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

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def ready(self) -> None:
        """Ask for one trivial query; raise SourceError when the server cannot answer it."""
        if self._post("/api/v1/query", {"query": "1"}).get("status") != "success":
            raise SourceError(
                f"{self.url}/api/v1/query: unexpected answer; {self._advice}", reason="bad_response"
            )

    def rules(self) -> list[dict[str, Any]]:
        """Return the recording rules the server has loaded, as its rules API describes them."""
        return self._rules("record")

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerting rules the server has loaded, as its rules API describes them."""
        return self._rules("alert")

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
        times = np.arange(start, end + 1, step, dtype=np.int64)
        rows: dict[Labels, tuple[np.ndarray, np.ndarray]] = {}
        reading = Reading(SeriesMatrix((), times, *_blank(0, len(times)), step))
        owners: dict[Labels, tuple[int, Labels]] = {}
        duplicates: set[Labels] = set()
        for number, (query, rule_labels) in enumerate(queries):
            for first, last in _spans(start, end, step):
                for metric, pairs in self._range(query, first, last, step):
                    reading.histograms += not pairs
                    key = result_labels(metric, rule_labels)
                    # Also two series of one query: they may differ in nothing but their name.
                    owner = (number, label_set(metric))
                    if owners.setdefault(key, owner) != owner:
                        duplicates.add(key)
                    row = rows.setdefault(key, _blank(len(times)))
                    reading.samples += _place(pairs, row, start, step)
        reading.duplicates = len(duplicates)
        preferred = frozenset(keep)
        kept = sorted(sorted(rows, key=lambda key: (key not in preferred, key))[:limit])
        reading.over_limit = len(rows) - len(kept)
        reading.matrix = SeriesMatrix(
            tuple(kept),
            times,
            np.array([rows[key][0] for key in kept]).reshape(len(kept), len(times)),
            np.array([rows[key][1] for key in kept], bool).reshape(len(kept), len(times)),
            step,
        )
        return reading

    def presence(self, start: int, end: int, step: int) -> dict[Labels, Bool]:
        """Return where each scrape target was up, bool[T] by its (instance, job) labels."""
        return self.holds("count by (job, instance) (up == 1)", start, end, step)

    def holds(self, query: str, start: int, end: int, step: int) -> dict[Labels, Bool]:
        """Return where an expression is true on a grid, bool[T] by the labels of its results.

        As with an alert's expression any sample is true, NaN included, and absence is not; but a
        zero is false, so that comparisons with and without ``bool`` mean the same.

        Raises
        ------
        SourceError
        """
        matrix = self.read(((query, ()),), start, end, step, limit=NO_LIMIT).matrix
        return dict(zip(matrix.labels, ~matrix.absent & (matrix.values != 0), strict=True))

    @property
    def _advice(self) -> str:
        return f"does {self._setting} lead to a Prometheus?"

    def _rules(self, kind: str) -> list[dict[str, Any]]:
        body = self._get("/api/v1/rules", {"type": kind})
        try:
            found = [rule for group in body["data"]["groups"] for rule in group["rules"]]
            return [{**rule, "name": str(rule["name"]), "query": rule["query"]} for rule in found]
        except (KeyError, TypeError):
            raise SourceError(
                f"{self.url}/api/v1/rules: unexpected answer; use rules.files if this server has "
                "no rules",
                reason="bad_response",
            ) from None

    def _range(self, query: str, start: int, end: int, step: int) -> list[Sampled]:
        """Return the labels and (time, text) pairs of each series of one span."""
        form = {"query": query, "start": str(start), "end": str(end), "step": str(step)}
        try:
            body = self._post("/api/v1/query_range", form)
        except SourceError as error:
            points = (end - start) // step + 1
            if error.reason not in ("too_large", "execution", "timeout") or points <= MIN_POINTS:
                raise
            middle = start + points // 2 * step
            return self._range(query, start, middle - step, step) + self._range(
                query, middle, end, step
            )
        data = body.get("data")
        if not isinstance(data, dict) or data.get("resultType") != "matrix":
            raise SourceError(
                f"{self.url}: {_short(query)} gives no series; write an instant vector",
                reason="bad_query",
            )
        try:
            # A native histogram has no values.
            return [
                (dict(found["metric"]), list(found.get("values", []))) for found in data["result"]
            ]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise SourceError(
                f"{self.url}: unexpected answer to {_short(query)}; {self._advice}",
                reason="bad_response",
            ) from None

    def _get(self, path: str, params: dict[str, str]) -> dict[str, Any]:
        return self._send("GET", path, params=params)

    def _post(self, path: str, form: dict[str, str]) -> dict[str, Any]:
        return self._send("POST", path, data=form)

    def _send(self, method: str, path: str, **content: dict[str, str]) -> dict[str, Any]:
        try:
            body = self._answer(method, path, **content)
        except SourceError as error:
            self._observe(error.reason)
            raise
        self._observe("ok")
        return body

    def _answer(self, method: str, path: str, **content: dict[str, str]) -> dict[str, Any]:
        where = f"{self.url}{path}"
        try:
            response = self._client.request(method, path, **content)  # type: ignore[arg-type]
        except httpx.TimeoutException:
            raise SourceError(
                f"{where}: no answer in time; raise prometheus.timeout or lighten the query",
                reason="timeout",
            ) from None
        except httpx.HTTPError as error:
            raise SourceError(
                f"{where}: cannot be reached ({error}); is {self._setting} right?"
            ) from None
        try:
            body = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            body = None
        if response.status_code == 200 and isinstance(body, dict):
            return body
        said = str(body.get("error", "")) if isinstance(body, dict) else ""
        query = content.get("data", {}).get("query", "")
        raise _refusal(where, response.status_code, said, query, self._advice)


def rules_source(source: Prometheus, settings: PrometheusSettings, url: str | None) -> Prometheus:
    """Return the client for rules: `source` itself unless they live at another address."""
    if url is None or url == settings.url:
        return source
    return Prometheus(settings.model_copy(update={"url": url}), setting="rules.url")


def _refusal(where: str, status: int, said: str, query: str, advice: str) -> SourceError:
    """Return the error for an answer that is no result."""
    about = f"{_short(query)}: " if query else ""
    if status in (401, 403):
        return SourceError(
            f"{where}: access refused (HTTP {status}); check the credentials in prometheus:",
            reason="refused",
        )
    if status == 400 and "exceeded maximum resolution" in said:
        return SourceError(f"{where}: {about}{said}", reason="too_large")
    if status == 400:
        return SourceError(f"{where}: {about}{said or 'bad request'}", reason="bad_query")
    if status == 422:
        return SourceError(f"{where}: {about}{said}", reason="execution")
    if status in (503, 504):
        return SourceError(f"{where}: {about}{said or 'overloaded'}", reason="timeout")
    return SourceError(
        f"{where}: unexpected answer {' '.join(f'HTTP {status} {said}'.split())}; {advice}",
        reason="bad_response",
    )


def _blank(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(shape, np.nan), np.ones(shape, bool)


def _spans(start: int, end: int, step: int) -> list[tuple[int, int]]:
    """Cut a grid into spans of at most `MAX_POINTS` points, both ends included."""
    width = MAX_POINTS * step
    return [(a, min(a + width - step, end)) for a in range(start, end + 1, width)]


def _place(pairs: list[Any], row: tuple[np.ndarray, np.ndarray], start: int, step: int) -> int:
    """Write (time, text) pairs where a row has none yet; return how many were written."""
    if not pairs:
        return 0
    try:
        times = np.array([pair[0] for pair in pairs], float)
        values = np.array([pair[1] for pair in pairs], dtype=str).astype(float)
    except (IndexError, TypeError, ValueError):
        raise SourceError("a sample is no pair of time and number", reason="bad_response") from None
    at = np.rint((times - start) / step).astype(int)
    inside = (at >= 0) & (at < len(row[0]))
    inside[inside] &= row[1][at[inside]]
    row[0][at[inside]] = np.where(np.isfinite(values), values, np.nan)[inside]
    row[1][at[inside]] = False
    return int(inside.sum())


def _short(query: str) -> str:
    line = " ".join(query.split())
    return line if len(line) <= 80 else line[:77] + "..."
