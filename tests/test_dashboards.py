"""The committed dashboard and provisioning, as far as they can be checked without Grafana."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from promql import known_metrics, metrics_of
from tools import ROOT, run, serving

DASHBOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
START, END = 1_700_000_000, 1_700_007_200
PANEL_TYPES = {"stat", "state-timeline", "table", "timeseries", "row", "text"}
VARIABLES = {"$signal": "s", "$job": "j", "$__range": "6h", "$__rate_interval": "4m"}


def _load(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def _expressions(board: dict[str, Any]) -> list[str]:
    targets = [t["expr"] for panel in board["panels"] for t in panel.get("targets", [])]
    return targets + [a["expr"] for a in board["annotations"]["list"]]


def _filled_in(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = re.sub(rf"{re.escape(name)}\b", value, expression)
    assert "$" not in expression, f"undefined variable in {expression}"
    return expression


@pytest.fixture(params=DASHBOARDS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


def test_alerts_link_to_a_dashboard_that_exists() -> None:
    rules = "\n".join(p.read_text("utf-8") for p in (ROOT / "rules").glob("*.rules.yml"))
    linked = set(re.findall(r"localhost:3000/d/([\w-]+)", rules))
    assert linked <= {_load(path)["uid"] for path in DASHBOARDS}
    variables = set(re.findall(r"var-(\w+)=", rules))
    assert variables <= {v["name"] for v in _load(DASHBOARDS[0])["templating"]["list"]}


def test_structure(path: Path) -> None:
    board = _load(path)
    assert board["uid"] == path.stem
    assert board["editable"] is False
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["type"] for panel in panels} <= PANEL_TYPES
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source["uid"] == "${datasource}" for source in sources)
    for one, other in itertools.combinations([panel["gridPos"] for panel in panels], 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart or below


def test_bands_are_found_by_their_constant_names(path: Path) -> None:
    bands = 0
    for panel in _load(path)["panels"]:
        legends = {t["refId"]: t.get("legendFormat", "") for t in panel["targets"]}
        for override in panel["fieldConfig"]["overrides"]:
            assert override["matcher"] == {
                "id": "byFrameRefID",
                "options": override["matcher"]["options"],
            }
            assert override["matcher"]["options"] in legends
            for entry in override["properties"]:
                if entry["id"] == "custom.fillBelowTo":
                    bands += 1
                    assert entry["value"] in legends.values()
                    assert set(legends.values()) >= {"observed", "expected", "lower", "upper"}
    assert bands == 1


def test_every_expression_is_promql(path: Path, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": _filled_in(expression)}
        for number, expression in enumerate(_expressions(_load(path)))
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    result = run("promtool", "check", "rules", file)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_metric_is_one_that_somebody_writes(path: Path) -> None:
    for expression in _expressions(_load(path)):
        found = metrics_of(_filled_in(expression))
        assert found
        assert found <= known_metrics() | {"ALERTS"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A Prometheus with two hours of two drifting features; the second one is anomalous."""
    directory = tmp_path_factory.mktemp("prometheus")
    lines = ["# TYPE anomaly_state gauge"]
    for metric in ("state", "score", "observed", "expected", "lower", "upper"):
        for feature, bad in (("MONTANT", 0), ("REGION", 1)):
            labels = f'{{signal="s",kind="drift",job="j",instance="i",feature="{feature}"}}'
            value = bad if metric == "state" else 1 + bad
            lines += [f"anomaly_{metric}{labels} {value} {START + 60 * k}" for k in range(121)]
    for metric, value in (("detector_signal_up", 1), ("detector_cycle_lag_seconds", 40)):
        lines += [f"{metric} {value} {START + 60 * k}" for k in range(121)]
    labels = '{alertname="AnomalyDrift",alertstate="firing",category="anomaly",job="j",signal="s"}'
    lines += [f"ALERTS{labels} 1 {START + 60 * k}" for k in range(121)]
    past = directory / "past.om"
    past.write_text("\n".join([*lines, "# EOF", ""]), encoding="utf-8")
    made = run("promtool", "tsdb", "create-blocks-from", "openmetrics", past, directory / "data")
    assert made.returncode == 0, made.stderr
    (directory / "prometheus.yml").write_text("{}", encoding="utf-8")
    flags = (
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        # The past is at a fixed date.
        "--storage.tsdb.retention.time=100y",
    )
    with serving("prometheus", directory, *flags) as client:
        yield client


def test_every_panel_and_annotation_shows_something(path: Path, server: httpx.Client) -> None:
    for expression in _expressions(_load(path)):
        query: dict[str, str | int] = {
            "query": _filled_in(expression),
            "start": START,
            "end": END,
            "step": 60,
        }
        found = server.get("/api/v1/query_range", params=query).json()
        assert found["status"] == "success", found
        assert found["data"]["result"], expression


def test_the_band_is_of_one_series_the_worst(path: Path, server: httpx.Client) -> None:
    (panel,) = (p for p in _load(path)["panels"] if "expected" in str(p["targets"]))
    for target in panel["targets"]:
        query: dict[str, str | int] = {
            "query": _filled_in(target["expr"]),
            "start": START,
            "end": END,
            "step": 60,
        }
        (series,) = server.get("/api/v1/query_range", params=query).json()["data"]["result"]
        assert series["metric"]["feature"] == "REGION"


def test_the_data_source_has_a_fixed_uid_and_no_secret() -> None:
    file = ROOT / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    (source,) = yaml.safe_load(file.read_text(encoding="utf-8"))["datasources"]
    assert source["uid"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    assert not {"password", "basicAuthPassword", "secureJsonData"} & set(source)
    scrape = yaml.safe_load((ROOT / "simulator/config/prometheus.yml").read_text("utf-8"))
    assert source["jsonData"]["timeInterval"] == scrape["global"]["scrape_interval"]
