"""`detector init`: what it proposes for real exporters has data, and scores after seeding."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from running import Running
from server import CONFIG, Server
from synthetic import MONDAY
from test_churn_serve import CUSTOMERS, running
from tools import ROOT, free_port, run, serving, tool
from typer.testing import CliRunner

from detector import configuration, init, schedule
from detector.catalogue import entries
from detector.cli import app
from detector.errors import ConfigError
from detector.names import State
from detector.proposal import Proposal
from detector.rule_check import check_rules
from detector.settings import Settings
from simulator.churn.train import train

COUNTER = re.compile(r"_(total|count|sum|bucket)$")
DAYS = 3


def _settings(url: str, **given: Any) -> Settings:
    return Settings(prometheus={"url": url}, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def began() -> int:
    """Return a minute before anything was scraped; the seeded past ends here."""
    return int(time.time()) // 60 * 60 - 60


@pytest.fixture(scope="module")
def scraping(began: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Prometheus on itself, Alertmanager, node_exporter and the churn service, each used a bit."""
    directory = tmp_path_factory.mktemp("init")
    train(out=directory / "model", data=None, rows=2000, seed=7, pushgateway=None)
    (directory / "am.yml").write_text("{route: {receiver: x}, receivers: [{name: x}]}")
    (directory / "server").mkdir()
    server = Server(directory / "server")
    with contextlib.ExitStack() as stack:
        churn = stack.enter_context(running(directory / "model", directory))
        alertmanager = stack.enter_context(
            serving(
                "alertmanager",
                directory,
                f"--config.file={directory / 'am.yml'}",
                f"--storage.path={directory / 'am'}",
                "--cluster.listen-address=",
            )
        )
        node = stack.enter_context(_node_exporter(directory))
        targets = {
            "prometheus": server.port,
            "alertmanager": alertmanager.base_url.port,
            "node": node,
            "churn": churn.http.base_url.port,
            "unknown": free_port(),
        }
        scrape = [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            for job, port in targets.items()
        ]
        text = CONFIG.format(directory=directory / "server", scrape=scrape)
        (directory / "server" / "prometheus.yml").write_text(text, "utf-8")
        stack.callback(server.stop)
        server.start()

        def used() -> bool:
            churn.post({"customers": CUSTOMERS})
            wanted = (
                'rate(http_requests_total{job="churn",status="200"}[1m] offset 2s)',
                "churn_feature_drift offset 2s",
                'rate(prometheus_http_request_duration_seconds_count{handler="/api/v1/query"}[1m])',
            )
            return all(server.query(f"sum({query}) > 0") for query in wanted)

        _until(used)
        _until(lambda: len(server.query("up")) == len(targets))
        yield server


@contextlib.contextmanager
def _node_exporter(directory: Path) -> Iterator[int]:
    port = free_port()
    with (directory / "node.log").open("w") as log:
        process = subprocess.Popen(
            [tool("node_exporter"), f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log,
            stderr=log,
        )
    try:
        _until(lambda: _answers(f"http://127.0.0.1:{port}/metrics"))
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def _until(condition: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def proposal(scraping: Server) -> Proposal:
    return init.look(_settings(scraping.url))


def test_each_exporter_gets_its_signals(proposal: Proposal) -> None:
    topics = {signal.entry.topic for signal in proposal.signals}
    assert topics == {
        *("http", "process", "node", "model", "scrape", "prometheus", "alertmanager"),
    }
    assert proposal.other_jobs == ("unknown",)
    found = {signal.entry.name: signal.series for signal in proposal.signals}
    assert found["process_cpu"] == 4
    assert found["scrape_samples"] == 5
    assert found["http_traffic"] == found["http_latency_p99"] == 1
    assert found["node_memory_ratio"] == 1
    assert found["model_feature_drift"] > 10


def test_the_proposed_files_are_good(proposal: Proposal, scraping: Server, tmp_path: Path) -> None:
    settings = _settings(scraping.url)
    files = init.targets(tmp_path, configured=False, force=False)
    init.write(files, proposal, settings)
    rules, config = files
    assert configuration.load(config).prometheus.url == scraping.url
    result = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", rules)
    assert result.returncode == 0, result.stdout
    checked = check_rules([rules], settings)
    assert checked.exit_code == 0
    assert {f.level for f in checked.findings} == {"ok"}
    assert checked.rules == len(proposal.signals)


def test_the_proposed_signals_have_data_and_score_after_seeding(
    proposal: Proposal, scraping: Server, began: int
) -> None:
    _seed(proposal, scraping, began)
    assert scraping.load(init.rules_text(proposal), "proposed") == 200
    one = Running(scraping.url, history=f"{DAYS}d").cycle(began)
    metrics = one.metrics()
    for signal in proposal.signals:
        name = signal.entry.name
        assert one.get("detector_signal_up", signal=name) == 1, name
        states = [
            value
            for (metric, labels), value in metrics.items()
            if metric == "anomaly_state" and ("signal", name) in labels
        ]
        scores = [
            value
            for (metric, labels), value in metrics.items()
            if metric == "anomaly_score" and ("signal", name) in labels
        ]
        assert len(scores) == len(states) >= 1, name
        assert set(states) <= {State.OK, State.ANOMALOUS}, name


def _seed(proposal: Proposal, server: Server, end: int) -> None:
    """Write a past of every series that a proposed signal reads."""
    wanted = {str(s) for signal in proposal.signals for s in signal.entry.selectors}
    series: dict[str, dict[str, Any]] = {}
    for selector in sorted(wanted):
        for found in server.query(selector):
            series[json.dumps(found["metric"], sort_keys=True)] = found
    times = np.arange(end - DAYS * 86400, end + 1, 60)
    noise = 1 + 0.1 * np.random.default_rng(7).random(len(times))
    bounds = sorted({float(s["metric"]["le"]) for s in series.values() if "le" in s["metric"]})
    for found in series.values():
        labels = dict(found["metric"])
        name = labels.pop("__name__")
        if COUNTER.search(name):
            share = bounds.index(float(labels["le"])) + 1 if "le" in labels else len(bounds)
            values = np.cumsum(noise * share)
        else:
            values = noise * float(found["value"][1])
        server.write(name, times, np.asarray(values), **labels)


def test_a_signal_that_is_there_already_is_left_out(proposal: Proposal, scraping: Server) -> None:
    assert scraping.load(init.rules_text(proposal), "proposed") == 200
    again = init.look(_settings(scraping.url))
    assert not again.signals
    assert {name for name, _ in again.left_out} >= {s.entry.name for s in proposal.signals}
    assert scraping.load("{groups: []}", "proposed") == 200


def test_too_many_series_are_left_out_with_the_reason(scraping: Server) -> None:
    found = init.look(_settings(scraping.url, max_series=3))
    assert dict(found.left_out)["process_cpu"].startswith("4 series, over max_series (3)")
    assert all(signal.series <= 3 for signal in found.signals)


def test_errors_that_never_were_are_proposed_for_what_they_are_a_share_of(server: Server) -> None:
    times = np.arange(MONDAY - 3600, MONDAY + 1, 60)
    server.write("http_requests_total", times, times - MONDAY, job="shop", code="200")
    found = {s.entry.name: s for s in init.look(_settings(server.url), MONDAY).signals}
    assert found["http_error_ratio"].series == 1
    assert "absent counts as zero" in found["http_error_ratio"].note
    assert found["http_traffic"].day_samples == 12


def test_the_cost_is_of_all_that_is_read_and_stored(proposal: Proposal) -> None:
    taken = init.cost(proposal, Settings())
    assert taken["start_samples"] == proposal.series * (28 * 288 + schedule.WINDOW_STEPS)
    assert taken["step_queries"] == len(proposal.signals)
    assert taken["stored_series"] == 7 * proposal.series


def _init(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


def test_the_cost_is_printed_and_nothing_written(server: Server, tmp_path: Path) -> None:
    server.write("node_memory_MemTotal_bytes", time.time(), 8.0, job="n", instance="a")
    server.write("node_memory_MemAvailable_bytes", time.time(), 2.0, job="n", instance="a")
    said = _init("--prometheus", server.url)
    assert said.exit_code == 0, said.output
    lines = said.stdout.splitlines()
    assert lines[1].split("\t")[:4] == ["node_memory_ratio", "saturation", "node", "1"]
    assert "1 signals, 1 series" in said.stdout
    assert f"at most {28 * 288 + schedule.WINDOW_STEPS:,} samples read" in said.stdout
    assert "nothing written" in said.output
    plain = json.loads(_init("--prometheus", server.url, "--json").stdout)
    assert plain["signals"][0]["name"] == "node_memory_ratio"
    assert plain["cost"]["step_queries"] == 1
    assert _init("--prometheus", server.url, "--write", tmp_path).exit_code == 0
    written = {path.name for path in tmp_path.iterdir()}
    assert {"signals.rules.yml", "detector.yml"} <= written


def test_files_that_are_there_are_kept(tmp_path: Path) -> None:
    mine = tmp_path / "detector.yml"
    mine.write_text("mine")
    with pytest.raises(ConfigError, match=r"detector.yml: already there; --force overwrites"):
        init.targets(tmp_path, configured=False, force=False)
    assert init.targets(tmp_path, configured=True, force=False) == (tmp_path / init.RULES_FILE,)
    assert mine in init.targets(tmp_path, configured=False, force=True)


def test_an_empty_server_is_exit_code_1_and_writes_nothing(server: Server, tmp_path: Path) -> None:
    assert _init("--prometheus", server.url).exit_code == 1
    with pytest.raises(ConfigError, match="no signal of the library has data there"):
        init.write((tmp_path / "x",), init.look(_settings(server.url)), Settings())
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--prometheus", "nonsense"), "--prometheus nonsense: this is no http"),
        (("--prometheus", "http://u:p@h"), "credentials do not belong in a URL"),
        (("--force",), "--force overwrites what --write names"),
        (("--write", "/nowhere"), "--write /nowhere: no such directory"),
    ],
)
def test_wrong_arguments(arguments: tuple[str, ...], message: str) -> None:
    error = _init(*arguments).exception
    assert isinstance(error, ConfigError)
    assert message in str(error)


def test_the_library_is_complete_and_in_the_package() -> None:
    assert (ROOT / "rules" / "library").resolve() == (ROOT / "detector" / "library").resolve()
    texts = [yaml.safe_load(entry.text)[0] for entry in entries()]
    assert [t["expr"].strip() for t in texts] == [e.rule.expr.value.strip() for e in entries()]
    assert len(texts) == sum(
        len(group["rules"])
        for file in (ROOT / "rules" / "library").glob("*.rules.yml")
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    )
