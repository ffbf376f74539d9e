"""Writes samples to Prometheus by remote write, and keeps bad ones from losing the good ones.

Prometheus stores what it should refuse (bad names, samples of the future, which then block every
present write) and refuses a whole request for one bad sample, some of them with a 500 that no retry
will cure. So everything is checked before it is sent, and a refused request is halved until the
bad samples stand alone.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import cramjam
import httpx

from detector.errors import ConfigError, SourceError
from detector.write_request import TimeSeries, checked, encode

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
        good = [kept for one in series if len(kept := checked(one, last_ms, written.rejected))]
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
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
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
