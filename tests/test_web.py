"""The HTTP interface: three paths, and an address that is taken."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest

from detector.errors import ConfigError
from detector.web import serve


class Site:
    def __init__(self) -> None:
        self.ready = False
        self.server = serve("127.0.0.1:0", lambda: b"some_metric 1.0\n", lambda: self.ready)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.server.server_port}")


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_metrics(site: Site) -> None:
    answer = site.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "some_metric 1.0" in answer.text


def test_health_is_not_readiness(site: Site) -> None:
    assert site.client.get("/healthz").status_code == 200
    assert site.client.get("/readyz").status_code == 503
    site.ready = True
    assert site.client.get("/readyz").status_code == 200


def test_other_paths(site: Site) -> None:
    assert "/metrics" in site.client.get("/").text
    for path in ("/nothing", "/metrics/../etc/passwd", "/%00"):
        assert site.client.get(path).status_code == 404


def test_it_listens_where_it_was_told_only(site: Site) -> None:
    assert site.server.server_address[0] == "127.0.0.1"


def test_an_address_that_cannot_be_bound_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for listen in (f"127.0.0.1:{port}", "127.0.0.1:99999", "no.such.host.invalid:0"):
            with pytest.raises(ConfigError, match="choose another address") as caught:
                serve(listen, bytes, lambda: True)
            assert listen in str(caught.value)
            assert "\n" not in str(caught.value)
