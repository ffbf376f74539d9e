"""What watching its predictions costs the churn service: requests a second, p99, CPU, scrapes.

Both services, with and without monitoring, run in turn on one core and are driven from the other
one over keep-alive connections; look-ups in the feature store are instant, so that the time is the
service's own. Both store predictions in SQLite. Printed are medians of the rounds. --minutes
drives one service at a constant rate instead, reports what became of each customer after a few
seconds, and prints its memory.

Run: .venv/bin/python tests/bench/churn_load.py [--rounds 5] [--seconds 5] [--minutes 60]
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import orjson
import uvicorn

from simulator.churn import artefact
from simulator.churn.app import create_app
from simulator.churn.featurestore import FeatureStore
from simulator.churn.feedback.loop import Feedback
from simulator.churn.feedback.settings import FeedbackSettings, default_database
from simulator.churn.monitor import Monitor
from simulator.churn.quality import Tally
from simulator.churn.served import Served
from simulator.churn.train import train
from simulator.faults import FaultBoard, faults_of
from simulator.population import customer_stream

CONNECTIONS = 16
STEADY_RATE = 100.0
SERVICE_CORE, CLIENT_CORE = 0, 1
ROWS = 20_000
LABELS_AFTER_SECONDS = 5


class InstantStore(FeatureStore):
    """A feature store that needs no time and never fails."""

    async def look_up(self) -> None:
        await asyncio.sleep(0)


def serve(model: Path, monitored: bool) -> None:
    os.sched_setaffinity(0, {SERVICE_CORE})
    board = FaultBoard(faults_of("churn"))
    served = Served(lambda: artefact.load(model), monitored)
    store = InstantStore(np.random.default_rng(1), board.size)
    place = Path(tempfile.mkdtemp(dir=model))
    times = {"maturity_seconds": 30.0, "window_seconds": 60.0, "refresh_seconds": 5.0}
    feedback = Feedback(FeedbackSettings(place, default_database(place), **times))
    app = create_app(served, store, board, feedback)
    config = uvicorn.Config(app, port=0, log_level="warning", access_log=False)
    server = uvicorn.Server(config)

    async def run() -> None:
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await task

    with feedback:
        asyncio.run(run())


@contextlib.contextmanager
def service(model: Path, monitored: bool) -> Iterator[tuple[int, int]]:
    """Yield port and process id."""
    command = [sys.executable, __file__, "--serve", str(model), "--monitored", str(int(monitored))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
    finally:
        process.terminate()
        process.wait()


class Client:
    """Keep-alive connections that send one customer a request."""

    def __init__(self, port: int, bodies: list[bytes]):
        self._port = port
        self._requests = itertools.cycle(
            b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            for body in bodies
        )
        self.seconds: list[float] = []
        # Answers whose customers' fate has not been reported.
        self.answers: list[bytes] = []

    async def send(
        self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], began: float
    ) -> None:
        reader, writer = connection
        writer.write(next(self._requests))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.answers.append(await reader.readexactly(length))
        self.seconds.append(time.perf_counter() - began)

    async def saturate(self, seconds: float) -> float:
        """Send the next request as soon as one is answered; return requests a second."""
        end = time.perf_counter() + seconds
        self.seconds.clear()
        self.answers.clear()

        async def drive() -> None:
            connection = await asyncio.open_connection("127.0.0.1", self._port)
            while (now := time.perf_counter()) < end:
                await self.send(connection, now)
            connection[1].close()

        started = time.perf_counter()
        await asyncio.gather(*(drive() for _ in range(CONNECTIONS)))
        return len(self.seconds) / (time.perf_counter() - started)

    async def steady(self, rate: float, seconds: float) -> None:
        """Send at a constant rate, however long the answers take; scrape and label each second."""
        free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        for _ in range(4 * CONNECTIONS):
            free.put_nowait(await asyncio.open_connection("127.0.0.1", self._port))
        self.seconds.clear()
        tasks = set()

        async def one(moment: float) -> None:
            connection = await free.get()
            await self.send(connection, moment)
            free.put_nowait(connection)

        labelled: collections.deque[list[bytes]] = collections.deque()

        async def label(client: httpx.AsyncClient) -> None:
            labelled.append(self.answers)
            self.answers = []
            if len(labelled) > LABELS_AFTER_SECONDS and (answers := labelled.popleft()):
                made = [orjson.loads(answer)["predictions"][0] for answer in answers]
                rows = [
                    {"prediction_id": one["prediction_id"], "churned": one["class"] == "churn"}
                    for one in made
                ]
                url = f"http://127.0.0.1:{self._port}/v1/actuals"
                answer = await client.post(url, content=orjson.dumps({"actuals": rows}))
                assert answer.json()["accepted"] == len(rows)

        async with httpx.AsyncClient(trust_env=False, timeout=30.0) as scraper:
            began = time.perf_counter()
            for i in range(int(rate * seconds)):
                moment = began + i / rate
                await asyncio.sleep(max(moment - time.perf_counter(), 0.0))
                task = asyncio.create_task(one(moment))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                if i % int(rate) == 0:
                    scrape = scraper.get(f"http://127.0.0.1:{self._port}/metrics")
                    for other in (asyncio.create_task(scrape), asyncio.create_task(label(scraper))):
                        tasks.add(other)
                        other.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)
        while not free.empty():
            free.get_nowait()[1].close()


def cpu_seconds(pid: int) -> float:
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measured(model: Path, bodies: list[bytes], monitored: bool, seconds: float) -> dict[str, float]:
    with service(model, monitored) as (port, pid):
        client = Client(port, bodies)
        asyncio.run(client.saturate(2.0))
        cpu = cpu_seconds(pid)
        found = {"requests/s": asyncio.run(client.saturate(seconds))}
        found["CPU us/request"] = 1e6 * (cpu_seconds(pid) - cpu) / len(client.seconds)
        found["p99 ms, saturated"] = 1e3 * float(np.quantile(client.seconds, 0.99))
        asyncio.run(client.steady(STEADY_RATE, seconds))
        found[f"p50 ms, {STEADY_RATE:.0f}/s"] = 1e3 * float(np.quantile(client.seconds, 0.5))
        found[f"p99 ms, {STEADY_RATE:.0f}/s"] = 1e3 * float(np.quantile(client.seconds, 0.99))
        scrapes = []
        with httpx.Client(trust_env=False, base_url=f"http://127.0.0.1:{port}") as scraper:
            for _ in range(20):
                started = time.perf_counter()
                text = scraper.get("/metrics").text
                scrapes.append(1e3 * (time.perf_counter() - started))
        found["scrape ms"] = statistics.median(scrapes)
        found["/metrics KiB"] = len(text.encode()) / 1024
        found["series"] = sum(not line.startswith("#") for line in text.splitlines())
        found["resident MiB"] = resident_mib(pid)
    return found


def monitoring_cost(model: Path, customers: list[dict[str, object]]) -> float:
    """Return microseconds a prediction, in this process, one customer a call."""
    found = []
    for _ in range(5):
        monitor = Monitor(artefact.load(model).reference, Tally())
        started = time.process_time()
        for customer in customers:
            monitor.predicted([customer], [0.5])
        monitor.state()
        found.append(1e6 * (time.process_time() - started) / len(customers))
    return statistics.median(found)


def steady_memory(model: Path, bodies: list[bytes], minutes: float) -> None:
    with service(model, True) as (port, pid):
        client = Client(port, bodies)
        for part in range(11):
            print(f"{part * minutes / 10:6.1f} min  {resident_mib(pid):7.1f} MiB", flush=True)
            if part < 10:
                asyncio.run(client.steady(STEADY_RATE, 6 * minutes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--monitored", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, bool(options.monitored))
        return
    os.sched_setaffinity(0, {CLIENT_CORE})
    customers = list(itertools.islice(customer_stream(np.random.default_rng(1)), ROWS))
    bodies = [orjson.dumps(customer) for customer in customers]
    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory)
        train(out=model, data=None, rows=20_000, seed=7, pushgateway=None)
        if options.minutes:
            steady_memory(model, bodies, options.minutes)
            return
        rounds: dict[bool, list[dict[str, float]]] = {True: [], False: []}
        for _ in range(options.rounds):
            for monitored in (False, True):
                rounds[monitored].append(measured(model, bodies, monitored, options.seconds))
        print(f"{'':<20}{'without':>10}{'with':>10}{'ratio':>8}  (medians of {options.rounds})")
        for name in rounds[True][0]:
            without, watched = (
                statistics.median(one[name] for one in rounds[kind]) for kind in (False, True)
            )
            print(f"{name:<20}{without:>10.2f}{watched:>10.2f}{watched / without:>8.2f}")
        print(f"cost of monitoring: {monitoring_cost(model, customers):.1f} us a prediction")


if __name__ == "__main__":
    main()
