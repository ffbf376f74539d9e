"""Our pages held to those of a real Alertmanager that is given the same alerts."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from tools import serving

from detector.backtest.alerting import Firing
from detector.backtest.grouping import Route, pages
from detector.labels import label_set
from detector.series import Labels

# Flushes of a group come at 1, 4, 7 ... seconds after its first alert; every change stands in the
# middle between two of them.
ROUTE = Route(("alertname", "job"), group_wait=1, group_interval=3, repeat_interval=8)
A = label_set({"alertname": "A", "job": "a", "series": "1"})
B = label_set({"alertname": "A", "job": "a", "series": "2"})
OTHER = label_set({"alertname": "A", "job": "b", "series": "1"})
SHORT = label_set({"alertname": "A", "job": "c", "series": "1"})
# Seconds since the begin; A goes on, B joins, ends and comes again, SHORT is over before the wait.
PLAN: dict[Labels, list[tuple[float, float]]] = {
    A: [(0.0, 17.5)],
    B: [(2.5, 5.5), (8.5, 17.5)],
    OTHER: [(2.5, 17.5)],
    SHORT: [(2.5, 2.9)],
}
END = 18.5
# Grouping counts whole seconds; ours run a hundred times as long.
SCALE = 100


class Hook(BaseHTTPRequestHandler):
    messages: list[dict[str, Any]]

    def do_POST(self) -> None:
        self.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *parts: object) -> None:
        pass


def told(messages: list[dict[str, Any]]) -> dict[str, list[tuple[list[str], bool]]]:
    """Return by job what each page named as firing, and whether it was a reminder."""
    found: dict[str, list[tuple[list[str], bool]]] = {}
    last: dict[str, set[str]] = {}
    for one in messages:
        job = one["groupLabels"]["job"]
        on = {a["labels"]["series"] for a in one["alerts"] if a["status"] == "firing"}
        ended = last.get(job, set()) - on
        if on - last.get(job, set()):
            found.setdefault(job, []).append((sorted(on), False))
        elif on and not ended:
            found.setdefault(job, []).append((sorted(on), True))
        last[job] = on
    return found


def test_alertmanager_pages_the_same(tmp_path: Path) -> None:
    messages: list[dict[str, Any]] = []
    handler = type("Own", (Hook,), {"messages": messages})
    hook = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    route = {
        "receiver": "hook",
        "group_by": list(ROUTE.group_by),
        "group_wait": f"{ROUTE.group_wait}s",
        "group_interval": f"{ROUTE.group_interval}s",
        "repeat_interval": f"{ROUTE.repeat_interval}s",
    }
    url = f"http://127.0.0.1:{hook.server_port}/"
    receiver = {"name": "hook", "webhook_configs": [{"url": url, "send_resolved": True}]}
    path = tmp_path / "alertmanager.yml"
    path.write_text(yaml.safe_dump({"route": route, "receivers": [receiver]}), encoding="utf-8")
    flags = [f"--config.file={path}", f"--storage.path={tmp_path / 'am'}"]
    flags += ["--cluster.listen-address="]
    changes = sorted(
        (at, labels, end)
        for labels, spells in PLAN.items()
        for begin, end in spells
        for at in (begin, end)
    )
    try:
        with serving("alertmanager", tmp_path, *flags) as client:
            zero = time.time()
            for at, labels, end in changes:
                time.sleep(max(zero + at - time.time(), 0))
                alert = {
                    "labels": dict(labels),
                    "startsAt": _iso(time.time() if at < end else zero + at - 0.2),
                    "endsAt": _iso(zero + 3600 if at < end else time.time()),
                }
                assert client.post("/api/v2/alerts", json=[alert]).status_code == 200
            time.sleep(max(zero + END - time.time(), 0))
    finally:
        hook.shutdown()
    firings = {
        labels: [Firing(round(a * SCALE), round(b * SCALE)) for a, b in spells]
        for labels, spells in PLAN.items()
    }
    scaled = Route(ROUTE.group_by, 1 * SCALE, 3 * SCALE, 8 * SCALE)
    ours: dict[str, list[tuple[list[str], bool]]] = {}
    for page in pages(firings, scaled):
        named = sorted(dict(labels)["series"] for labels, _ in page.alerts)
        ours.setdefault(dict(page.group)["job"], []).append((named, page.repeated))
    assert told(messages) == ours
    # Every kind of page is there: new, joined, come again, reminded; and the short one is not.
    assert [repeated for _, repeated in ours["a"]] == [False, False, False]
    assert any(repeated for _, repeated in ours["b"])
    assert "c" not in ours


def _iso(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
