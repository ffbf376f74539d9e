"""What can be found wrong with a dashboard without a Grafana: its structure, and its queries.

Each check returns findings, so that the tests can also ask whether a damaged dashboard has any.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import seeded
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from tools import ROOT

Board = dict[str, Any]
Values = dict[str, str | list[str]]

PATHS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
OVERLAY = ROOT / "grafana" / "overlay" / "band.json"
PANELS = {
    *("stat", "state-timeline", "status-history", "table", "timeseries", "row", "text"),
    "bargauge",
}
TRANSFORMATIONS = {"merge", "organize"}
# Grafana ignores a misspelt one without a word.
OVERRIDES = {
    *("color", "links", "decimals", "custom.lineWidth", "custom.lineStyle", "custom.hideFrom"),
    *("custom.fillBelowTo", "custom.fillOpacity", "custom.drawStyle", "custom.showPoints"),
    "custom.pointSize",
}
UNITS = {
    *("short", "s", "percentunit", "bytes", "reqps", "cps", "cpm"),
}
# What lines, numbers and columns of these names are made of, in this order; `state` may pick them.
MEANS = {name: [name] for name in ("expected", "lower", "upper", "score", "state")} | {
    "anomalous": ["observed"],
    "deviation": ["observed", "expected"],
    "normal from": ["lower", "expected"],
    "normal to": ["upper", "expected"],
    "half widths": ["observed", "expected", "upper", "lower"],
}
BAND = {"observed", "expected", "lower", "upper", "anomalous"}
# What Grafana puts in by itself.
BUILT_IN = {
    "__all": "",
    "__rate_interval": "4m",
    "__interval": "1m",
    "__range": "6h",
    "__url_time_range": "from=now-6h&to=now",
}
_VARIABLE = re.compile(r"\$\{(\w+)(?:\.[\w.]+)?(?::(\w+))?\}|\$(\w+)")
_SELECTOR = re.compile(r'[a-zA-Z_:][\w:]*\{(?:[^"}]|"(?:\\.|[^"\\])*")*\}')
_GROUPING = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)")


class Answers:
    """What a server answers; it holds still, so a question is asked once."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._known: dict[str, dict[str, Any]] = {}

    def of(self, path: str, **given: str | int) -> dict[str, Any]:
        """Return the answer of a path below /api/v1."""
        key = f"{path} {given}"
        if key not in self._known:
            self._known[key] = self._client.get(f"/api/v1/{path}", params=given).json()
        return self._known[key]


@dataclass(frozen=True)
class Query:
    """One query and what its result has to have."""

    expr: str
    labels: frozenset[str]
    where: str
    instant: bool = False
    # A band is drawn right for one series only.
    one: bool = False


def load(path: Path) -> Board:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def filled_in(text: str, values: Values) -> str:
    """Return a text with its variables put in, as Grafana does for Prometheus."""

    def put(match: re.Match[str]) -> str:
        name = match[1] or match[3]
        if name in BUILT_IN:
            return BUILT_IN[name]
        if name not in values:
            raise KeyError(f"there is no variable ${name}")
        value = values[name]
        if isinstance(value, list):
            return "(" + "|".join(re.escape(v).replace("\\", "\\\\") for v in value) + ")"
        return value

    return _VARIABLE.sub(put, text)


def lost_by_the_sdk(board: Board) -> list[str]:
    """Return what is not a property that Grafana knows: the SDK's types forget it."""
    register_default_plugins()
    read = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    return list(_different(board, read, "dashboard"))


def _different(one: Any, other: Any, where: str) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            if key not in one or key not in other:
                yield f"{where}.{key} is not known"
            else:
                yield from _different(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from _different(*pair, f"{where}[{number}]")
    elif one != other:
        yield f"{where}: {one!r} is read as {other!r}"


def faults(board: Board, boards: dict[str, Board]) -> list[str]:
    """Return what is wrong with the structure of a dashboard among all dashboards."""
    found = []
    panels = board["panels"]
    if not re.fullmatch(r"[a-z0-9-]{3,40}", board["uid"]):
        found.append(f"uid {board['uid']}")
    if board["editable"] or board["schemaVersion"] != 42:
        found.append("a provisioned dashboard is not edited, and in the classic schema")
    if len({panel["id"] for panel in panels}) != len(panels) or not all(p["id"] for p in panels):
        found.append("ids of panels")
    for one, other in itertools.combinations(panels, 2):
        a, b = one["gridPos"], other["gridPos"]
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        if not (apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]):
            found.append(f"{one['title']} lies over {other['title']}")
    for panel in panels:
        found += [f"{panel['title']}: {fault}" for fault in panel_faults(panel)]
        if panel["gridPos"]["x"] + panel["gridPos"]["w"] > 24:
            found.append(f"{panel['title']} is off the grid")
    known = {variable["name"] for variable in board["templating"]["list"]}
    text = json.dumps({k: v for k, v in board.items() if k != "links"})
    used = {m[1] or m[3] for m in _VARIABLE.finditer(text)} - {"__data", "__field"}
    found += [f"there is no variable ${name}" for name in sorted(used - known - set(BUILT_IN))]
    found += [f"nothing uses ${name}" for name in sorted(known - used)]
    found += [f"link to {url}" for url in _urls(board) if not _leads_somewhere(url, boards)]
    return found


def panel_faults(panel: Board) -> Iterator[str]:
    """Yield what is wrong with one panel."""
    if panel["type"] not in PANELS:
        yield f"there is no panel {panel['type']}"
    if panel["type"] == "row":
        return
    if not panel.get("title") or not panel.get("description"):
        yield "title and description say what it shows"
    if panel["type"] == "text":
        return
    targets = panel["targets"]
    refs = [target["refId"] for target in targets]
    if not refs or len(set(refs)) < len(refs):
        yield "each query has a letter of its own"
    sources = {json.dumps(t["datasource"], sort_keys=True) for t in [panel, *targets]}
    if len(sources) != 1:
        yield "one data source for all queries"
    defaults = panel["fieldConfig"]["defaults"]
    if panel["type"] in ("timeseries", "stat", "bargauge") and defaults.get("unit") not in UNITS:
        yield f"unit {defaults.get('unit')}"
    if {t["id"] for t in panel.get("transformations") or []} - TRANSFORMATIONS:
        yield "a transformation that Grafana does not have"
    for target in targets:
        if re.search(
            r"\b(rate|irate|increase|avg_over_time)\([^\[]*\[(?!\$__rate_interval\])",
            target["expr"],
        ):
            yield f"rates are taken over $__rate_interval: {target['expr']}"
        if panel["type"] == "timeseries" and (target.get("instant") or not target.get("range")):
            yield "a picture over time needs a query over time"
    yield from _override_faults(panel)
    yield from _misnamed(panel)


def _override_faults(panel: Board) -> Iterator[str]:
    legends = {t["refId"]: t.get("legendFormat") for t in panel["targets"]}
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        by_query = matcher["id"] == "byFrameRefID"
        if by_query and matcher["options"] not in legends:
            yield f"there is no query {matcher['options']}"
        if not by_query and panel["type"] == "timeseries":
            yield "lines are picked by their query"
        for entry in override["properties"]:
            if entry["id"] not in OVERRIDES:
                yield f"there is no property {entry['id']}"
            # By name, the last one wins, variables are not put in.
            if entry["id"] == "custom.fillBelowTo":
                if entry["value"] not in legends.values() or "{" in entry["value"]:
                    yield f"there is no line {entry['value']} to fill to"
                elif entry["value"] not in ("lower", "normal from"):
                    yield f"a band ends at its lower edge, not at {entry['value']}"
    lines = set(legends.values())
    if {"lower", "upper"} & lines and (lines != BAND or not bands(panel)):
        yield f"a band has the lines {sorted(BAND)}, and is filled"


def _misnamed(panel: Board) -> Iterator[str]:
    """Yield lines, numbers and columns that are called what they are not."""
    columns: dict[str, str] = {}
    for transformation in panel.get("transformations") or []:
        columns |= transformation["options"].get("renameByName", {})
    for target in panel["targets"]:
        name = target.get("legendFormat") or columns.get(f"Value #{target['refId']}")
        name = name or panel["title"].lower()
        made_of = re.findall(r"anomaly_(\w+)\{", target["expr"])
        if (
            made_of
            and name in MEANS
            and [m for m in made_of if m != "state" or name == m] != MEANS[name]
        ):
            yield f"{name} is made of {MEANS[name]}, not {target['expr']}"


def bands(panel: Board) -> int:
    """Return how many bands a panel draws."""
    entries = [e for o in panel["fieldConfig"]["overrides"] for e in o["properties"]]
    return sum(entry["id"] == "custom.fillBelowTo" for entry in entries)


def _urls(board: Board) -> Iterator[str]:
    for link in board["links"]:
        if not (link["keepTime"] and link["includeVars"]):
            yield f"{link['url']} without time range and variables"
        yield link["url"]
    for panel in board["panels"]:
        config = panel.get("fieldConfig", {})
        links = list(config.get("defaults", {}).get("links") or [])
        for override in config.get("overrides", []):
            links += [v for e in override["properties"] if e["id"] == "links" for v in e["value"]]
        for link in links:
            if "${__url_time_range}" not in link["url"]:
                yield f"{link['url']} without time range"
            yield link["url"]


def _leads_somewhere(url: str, boards: dict[str, Board]) -> bool:
    match = re.fullmatch(r"/d/([\w-]+)(?:\?(.*))?", url)
    if not match or match[1] not in boards:
        return False
    known = {variable["name"] for variable in boards[match[1]]["templating"]["list"]}
    return set(re.findall(r"var-(\w+)=", match[2] or "")) <= known


def variables(board: Board, answers: Answers, given: Values) -> Values:
    """Return the variables' values: those given, else the first that Grafana would offer, or all.

    Raises
    ------
    ValueError
        When a variable has nothing to offer.
    """
    values: Values = {}
    for variable in board["templating"]["list"]:
        name = variable["name"]
        if variable["type"] == "datasource":
            values[name] = "prometheus"
            continue
        offered = _offered(filled_in(variable["query"]["query"], values), variable, answers)
        if not offered:
            raise ValueError(f"nothing to choose for ${name}: {variable['query']['query']}")
        if not variable.get("includeAll"):
            chosen = given.get(name, offered[0])
            if chosen not in offered:
                raise ValueError(f"${name} cannot be {chosen}")
            values[name] = chosen
        else:
            values[name] = given.get(name, variable.get("allValue") or offered)
            missing = set(values[name]) - set(offered) if name in given else set()
            if missing:
                raise ValueError(f"${name} cannot be {missing}")
    return values


def _offered(asked: str, variable: Board, answers: Answers) -> list[str]:
    if match := re.fullmatch(r"label_values\((.*), (\w+)\)", asked, re.S):
        span = {"start": seeded.START, "end": seeded.END}
        answer = answers.of(f"label/{match[2]}/values", **{"match[]": match[1]}, **span)
        found = answer.get("data", [])
    elif match := re.fullmatch(r"query_result\((.*)\)", asked, re.S):
        answer = answers.of("query", query=match[1], time=seeded.END)
        found = [_as_grafana_writes(one) for one in answer.get("data", {}).get("result", [])]
    else:
        raise ValueError(f"no query for variables: {asked}")
    if pattern := variable.get("regex"):
        matches = [re.search(pattern.strip("/"), text) for text in found]
        found = [match[1] for match in matches if match]
    return sorted(found) if variable["sort"] else found


def _as_grafana_writes(one: Board) -> str:
    labels = dict(one["metric"])
    name = labels.pop("__name__", "")
    inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{inside}}} {one['value'][1]} {one['value'][0] * 1000:.0f}"


def queries(board: Board) -> Iterator[Query]:
    """Yield the queries of panels and annotations."""
    for panel in board["panels"]:
        yield from panel_queries(panel)
    for one in board["annotations"]["list"]:
        text = one.get("titleFormat", "") + one.get("textFormat", "") + one.get("tagKeys", "")
        yield Query(one["expr"], _labels_in(text), f"annotation {one['name']}")


def panel_queries(panel: Board) -> Iterator[Query]:
    """Yield the queries of one panel."""
    for target in panel.get("targets") or []:
        yield Query(
            target["expr"],
            _labels_in(target.get("legendFormat", "")),
            f"{panel['title']} {target['refId']}",
            bool(target.get("instant")),
            bool(bands(panel)),
        )


def _labels_in(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\{\{\s*(\w+)\s*\}\}", text))


def query_faults(asked: Query, answers: Answers, values: Values) -> Iterator[str]:
    """Yield what is wrong with a query: no result, a part without one, a label nobody has."""
    try:
        expr = filled_in(asked.expr, values)
    except KeyError as error:
        yield f"{asked.where}: {error}"
        return
    answer = _ask(answers, expr, asked.instant)
    if answer["status"] != "success":
        yield f"{asked.where}: {answer['error']}"
        return
    result = answer["data"]["result"]
    if not result:
        yield f"{asked.where} shows nothing: {expr}"
    if asked.one and len(result) != 1:
        yield f"{asked.where} is of {len(result)} series: {expr}"
    # Prometheus writes {{signal}} of an alert without one as nothing; one has it.
    for label in asked.labels - {key for one in result for key in one["metric"]}:
        yield f"{asked.where}: no label {label}"
    known: set[str] = set()
    for selector in _SELECTOR.findall(expr):
        found = _ask(answers, selector, False)["data"]["result"]
        known |= {key for one in found for key in one["metric"]}
        if not found:
            yield f"{asked.where}: no series {selector}"
    for names in _GROUPING.findall(expr):
        for name in filter(None, (part.strip() for part in names.split(","))):
            if known and name not in known:
                yield f"{asked.where}: groups by {name}, which no series has"


def _ask(answers: Answers, expr: str, instant: bool) -> dict[str, Any]:
    if instant:
        return answers.of("query", query=expr, time=seeded.END)
    span = {"start": seeded.START, "end": seeded.END, "step": seeded.STEP}
    return answers.of("query_range", query=expr, **span)


def all_faults(
    board: Board, boards: dict[str, Board], answers: Answers, chosen: list[Values]
) -> list[str]:
    """Return everything that is wrong with a dashboard, for each choice of its variables."""
    found = lost_by_the_sdk(board) + faults(board, boards)
    for given in chosen:
        try:
            values = variables(board, answers, given)
        except (KeyError, ValueError) as error:
            return [*found, str(error)]
        for variable in board["templating"]["list"][1:]:
            expr = filled_in(variable["query"]["query"], values)
            for selector in _SELECTOR.findall(expr):
                if not _ask(answers, selector, False)["data"]["result"]:
                    found.append(f"${variable['name']}: no series {selector}")
        for asked in queries(board):
            found += query_faults(asked, answers, values)
    return found
