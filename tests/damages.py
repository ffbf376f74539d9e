"""Ways in which somebody could damage a dashboard without a syntax error."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from typing import Any

Board = dict[str, Any]
# Damages a dashboard in place; returns what was done, or None where there is nothing of the kind.
Damage = Callable[[Board, random.Random], str | None]


def _targets(board: Board) -> list[Board]:
    return [target for panel in board["panels"] for target in panel.get("targets") or []]


def _replaced(
    holders: list[Board], key: str, pattern: str, by: str, rng: random.Random
) -> str | None:
    """Replace one of all matches in these texts."""
    places = [
        (holder, match)
        for holder in holders
        for match in re.finditer(pattern, holder.get(key) or "")
    ]
    if not places:
        return None
    holder, match = rng.choice(places)
    text = holder[key]
    holder[key] = text[: match.start()] + match.expand(by) + text[match.end() :]
    return f"{text} -> {holder[key]}"


def _in_queries(pattern: str, by: str) -> Damage:
    return lambda board, rng: _replaced(_targets(board), "expr", pattern, by, rng)


def _in_annotations(key: str, pattern: str, by: str) -> Damage:
    return lambda board, rng: _replaced(board["annotations"]["list"], key, pattern, by, rng)


def _overrides(board: Board, name: str) -> list[Board]:
    return [
        entry
        for panel in board["panels"]
        for override in panel.get("fieldConfig", {}).get("overrides", [])
        for entry in override["properties"]
        if entry["id"] == name
    ]


def _fill_to(value: str) -> Damage:
    def damage(board: Board, rng: random.Random) -> str | None:
        fills = _overrides(board, "custom.fillBelowTo")
        if not fills:
            return None
        rng.choice(fills)["value"] = value
        return f"filled to {value}"

    return damage


def _property(name: str, other: str) -> Damage:
    def damage(board: Board, rng: random.Random) -> str | None:
        entries = _overrides(board, name)
        if not entries:
            return None
        rng.choice(entries)["id"] = other
        return f"{name} -> {other}"

    return damage


def _matcher(board: Board, rng: random.Random) -> str | None:
    matchers = [
        override["matcher"]
        for panel in board["panels"]
        for override in panel.get("fieldConfig", {}).get("overrides", [])
        if override["matcher"]["id"] == "byFrameRefID"
    ]
    if not matchers:
        return None
    rng.choice(matchers)["options"] = "Z"
    return "an override of a query that is not there"


def _bounds(board: Board, rng: random.Random) -> str | None:
    """Exchange the queries of the two edges."""
    pairs = [
        [t for t in panel.get("targets") or [] if t.get("legendFormat") in ("lower", "upper")]
        for panel in board["panels"]
    ]
    pairs = [pair for pair in pairs if len(pair) == 2]
    if not pairs:
        return None
    one, other = rng.choice(pairs)
    one["expr"], other["expr"] = other["expr"], one["expr"]
    return "lower and upper exchanged"


def _shown(board: Board) -> Iterator[Board]:
    return (panel for panel in board["panels"] if panel["type"] not in ("row", "text"))


def _of_panel(change: Callable[[Board], object]) -> Damage:
    def damage(board: Board, rng: random.Random) -> str | None:
        panel = rng.choice(list(_shown(board)))
        change(panel)
        return str(panel["title"])

    return damage


def _of_variable(key: str, pattern: str, by: str) -> Damage:
    def damage(board: Board, rng: random.Random) -> str | None:
        asked = [v["query"] if key == "query" else v for v in board["templating"]["list"]]
        return _replaced([v for v in asked if isinstance(v, dict)], key, pattern, by, rng)

    return damage


def _unit(panel: Board) -> None:
    panel["fieldConfig"]["defaults"]["unit"] = "shrot"
    panel["type"] = "stat"


DAMAGES: dict[str, Damage] = {
    "metric": _in_queries(r"\b((?:anomaly|detector|churn)_\w+)(?=\{)", r"\1s"),
    "another metric": _in_queries(r"\banomaly_(lower|upper|expected)(?=\{)", "anomaly_score"),
    "label": _in_queries(r"\b(job|signal|instance)(?==~?\")", r"\1s"),
    "value": _in_queries(r"=\"(\w+)\"", r'="\1s"'),
    "variable": _in_queries(r"\$(job|signal|instance)\b", r"$\1s"),
    "another variable": _in_queries(r"(?<=job=~\")\$job\b", "$datasource"),
    "regex": _in_queries(r"=~(?=\"\$)", "="),
    "group": _in_queries(r"by \((\w+)", r"by (\1s"),
    "rate": _in_queries(r"\$__rate_interval", "1m"),
    "syntax": _in_queries(r"\}", ""),
    "legend": lambda board, rng: _replaced(
        _targets(board), "legendFormat", r"\{\{(\w+)\}\}", r"{{\1s}}", rng
    ),
    "name of an edge": lambda board, rng: _replaced(
        [t for t in _targets(board) if "anomaly_" in t["expr"]],
        "legendFormat",
        r"^(lower|upper|expected|anomalous)$",
        r"\1s",
        rng,
    ),
    "band to nothing": _fill_to("lowest"),
    "band to another line": _fill_to("expected"),
    "band by a variable": _fill_to("lower {{job}}"),
    "no band": _property("custom.fillBelowTo", "custom.fillBelow"),
    "style": _property("custom.lineWidth", "custom.linewidht"),
    "override": _matcher,
    "edges": _bounds,
    "annotation": _in_annotations("expr", r"=\"(\w+)\"", r'="\1s"'),
    "metric of an annotation": _in_annotations("expr", r"^(?=\w+\{)", "x_"),
    "words of an annotation": _in_annotations("textFormat", r"\{\{(\w+)\}\}", r"{{\1s}}"),
    "metric of a variable": _of_variable("query", r"\b(\w+)(?=[,{])", r"\1s"),
    "label of a variable": _of_variable("query", r"(\w+)\)$", r"\1s)"),
    "pattern of a variable": _of_variable("regex", r"\.\*", "x"),
    "name of a variable": _of_variable("name", r"^(job|signal|kind|instance)$", r"\1s"),
    "id": _of_panel(lambda panel: panel.update(id=None)),
    "place": _of_panel(lambda panel: panel["gridPos"].update(x=0, y=0, w=24, h=200)),
    "letter": _of_panel(lambda panel: panel["targets"].append(dict(panel["targets"][0]))),
    "source": _of_panel(lambda panel: panel["datasource"].update(uid="prometheus")),
    "description": _of_panel(lambda panel: panel.update(description="")),
    "kind of panel": _of_panel(lambda panel: panel.update(type="time-series")),
    "unit": _of_panel(_unit),
    "key": _of_panel(lambda panel: panel["fieldConfig"]["defaults"].update(untis="s")),
    "option": _of_panel(lambda panel: panel["options"].update(legnd={})),
    "link": lambda board, rng: _replaced(board["links"], "url", r"$", "s", rng),
    "time of a link": lambda board, rng: rng.choice(board["links"]).update(keepTime=False) or "",
}
