"""Dashboards, overlay and provisioning, as far as they can be checked without Grafana."""

from __future__ import annotations

import copy
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from build import built
from damages import DAMAGES
from dashboards import (
    OVERLAY,
    PATHS,
    Answers,
    Values,
    all_faults,
    bands,
    load,
    panel_faults,
    panel_queries,
    queries,
    query_faults,
    variables,
)
from promql import known_metrics, metrics_of
from seeded import seeded
from tools import ROOT

BOARDS = {path.stem: load(path) for path in PATHS}
SEED = int(os.environ.get("SEED", "7"))
# Not every dashboard has everything that can be damaged.
DAMAGED = [
    (name, damage)
    for name in sorted(BOARDS)
    for damage in sorted(DAMAGES)
    if DAMAGES[damage](copy.deepcopy(BOARDS[name]), random.Random(SEED)) is not None
]
# As they are opened, and with everything chosen that can be.
CHOSEN: dict[str, list[Values]] = {
    "anomaly-overview": [
        {},
        {"job": ["churn"], "kind": ["latency", "drift"], "signal": ["churn_latency_p99"]},
    ],
    "anomaly-signal": [
        {"signal": "churn_latency_p99"},
        {"job": ["churn"], "signal": "churn_latency_p99"},
    ],
    "churn-model": [{}, {"instance": ["churn-0"]}],
    "detector-health": [{}, {"job": ["detector"], "instance": ["detector-0"]}],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    with seeded(tmp_path_factory.mktemp("prometheus")) as client:
        yield Answers(client)


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


def test_what_is_committed_is_what_is_built() -> None:
    files = built()
    if os.environ.get("UPDATE_GOLDEN"):
        for file, text in files.items():
            file.write_text(text, encoding="utf-8")
    assert set(files) == {*PATHS, OVERLAY}
    for file, text in files.items():
        assert file.read_text(encoding="utf-8") == text, f"run: make golden ({file.name})"


def test_nothing_is_wrong_with_it(path: Path, server: Answers) -> None:
    assert all_faults(BOARDS[path.stem], BOARDS, server, CHOSEN[path.stem]) == []


def test_every_metric_is_one_that_somebody_writes(path: Path) -> None:
    churn = (ROOT / "tests" / "data" / "churn.prom").read_text(encoding="utf-8")
    known = known_metrics() | {"ALERTS", "simulator_fault_active"}
    known |= set(re.findall(r"^\w+", churn, re.M))
    known |= {
        f"detector_{what}_duration_seconds_{part}"
        for what in ("cycle", "fit")
        for part in ("bucket", "sum", "count")
    }
    for asked in queries(BOARDS[path.stem]):
        expr = re.sub(r"\$\{?\w+(:\w+)?\}?", "x", asked.expr)
        assert metrics_of(expr) - known - {"x"} == set(), asked.where


@pytest.mark.parametrize(("name", "damage"), DAMAGED)
def test_a_damaged_dashboard_is_found(name: str, damage: str, server: Answers) -> None:
    """The committed JSON differs from what is built, too; here the other checks have to see it."""
    damaged = copy.deepcopy(BOARDS[name])
    what = DAMAGES[damage](damaged, random.Random(SEED))
    found = all_faults(damaged, BOARDS | {name: damaged}, server, CHOSEN[name])
    assert found != [], what


def test_the_explorer_offers_the_worst_series_first(server: Answers) -> None:
    board = BOARDS["anomaly-signal"]
    found = variables(board, server, {"signal": "churn_feature_drift"})
    assert 'feature="REGION"' in found["series"]


@pytest.mark.parametrize("signal", ["shop_orders", "churn_cpu", "churn_label_coverage"])
def test_the_explorer_shows_series_without_job_or_score(signal: str, server: Answers) -> None:
    board = BOARDS["anomaly-signal"]
    values = variables(board, server, {"signal": signal})
    asked = next(q for q in queries(board) if q.expr.startswith("anomaly_observed"))
    assert list(query_faults(asked, server, values)) == []


def test_the_overlay_is_a_band(server: Answers) -> None:
    model = load(OVERLAY)["model"]
    assert list(panel_faults(model)) == []
    assert bands(model) == 1
    assert [list(query_faults(asked, server, {})) for asked in panel_queries(model)] == [[]] * 5
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in model["targets"][2:4]:
        assert target["expr"] in readme
    source = yaml.safe_load(_provisioned("datasources/prometheus.yml"))["datasources"][0]
    assert {t["datasource"]["uid"] for t in [model, *model["targets"]]} == {source["uid"]}


def test_alerts_link_to_a_dashboard_that_has_their_variables() -> None:
    rules = "\n".join(p.read_text("utf-8") for p in (ROOT / "rules").glob("*.rules.yml"))
    linked = re.findall(r"localhost:3000/d/([\w-]+)\S*", rules)
    assert linked
    for match in re.finditer(r"localhost:3000/d/([\w-]+)(.*)", rules):
        known = {v["name"] for v in BOARDS[match[1]]["templating"]["list"]}
        assert set(re.findall(r"var-(\w+)=", match[2])) <= known


def test_the_data_source_has_a_fixed_uid_and_no_secret() -> None:
    (source,) = yaml.safe_load(_provisioned("datasources/prometheus.yml"))["datasources"]
    assert source["uid"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    assert not {"password", "basicAuthPassword", "secureJsonData"} & set(source)
    scrape = yaml.safe_load((ROOT / "simulator/config/prometheus.yml").read_text("utf-8"))
    assert source["jsonData"]["timeInterval"] == scrape["global"]["scrape_interval"]


def _provisioned(name: str) -> str:
    return (ROOT / "grafana" / "provisioning" / name).read_text(encoding="utf-8")
