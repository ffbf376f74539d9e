"""Panels over time as Grafana's own component draws them; needs node, npm and `make render`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import seeded
from dashboards import OVERLAY, PATHS, Answers, Values, bands, filled_in, load, variables
from tools import ROOT, tool

pytestmark = pytest.mark.render

RENDER = ROOT / "tests" / "render"
PICTURES = ROOT / ".run" / "render"
GIVEN: dict[str, Values] = {"anomaly-signal": {"signal": "churn_latency_p99"}}
# A column and a row of Grafana's grid, in pixels.
COLUMN, ROW = 50, 32


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    with seeded.seeded(tmp_path_factory.mktemp("prometheus")) as client:
        yield Answers(client)


def test_every_band_is_drawn(answers: Answers) -> None:
    given = []
    for path in PATHS:
        board = load(path)
        values = variables(board, answers, GIVEN.get(path.stem, {}))
        given += [
            (path.stem, _given(panel, values, answers))
            for panel in board["panels"]
            if panel["type"] == "timeseries"
        ]
    given.append(("overlay", _given(load(OVERLAY)["model"], {}, answers)))
    drawn = _drawn([one for _, one in given], PICTURES)
    assert len(drawn) == len(given) > 30
    for (board_name, one), shown in zip(given, drawn, strict=True):
        panel = one["panel"]
        where = f"{board_name}: {panel['title']}"
        assert shown["errors"] == [], where
        assert shown["series"] == len(one["frames"]), where
        if stacked(panel):
            continue
        assert len(shown["bands"]) == bands(panel), where
    named = {
        f"{number}.png": f"{name}-{one['panel'].get('id', 'band')}.png"
        for number, (name, one) in enumerate(given)
    }
    for old, new in named.items():
        (PICTURES / old).replace(PICTURES / new)


def test_a_band_that_leads_nowhere_is_seen(answers: Answers, tmp_path: Path) -> None:
    good = load(OVERLAY)["model"]
    broken = json.loads(
        json.dumps(good).replace(
            '"custom.fillBelowTo", "value": "lower"', '"custom.fillBelowTo", "value": "lower edge"'
        )
    )
    assert broken != good
    shown = _drawn([_given(panel, {}, answers) for panel in (good, broken)], tmp_path)
    assert [len(one["bands"]) for one in shown] == [1, 0]


def stacked(panel: dict[str, Any]) -> bool:
    """Return whether lines are stacked: those are filled between, too."""
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    return bool(custom.get("stacking", {}).get("mode") == "normal")


def _given(panel: dict[str, Any], values: Values, answers: Answers) -> dict[str, Any]:
    """Return a panel with the series of its queries, as its component takes them."""
    frames = []
    span = {"start": seeded.START, "end": seeded.END, "step": seeded.STEP}
    for target in panel["targets"]:
        expr = filled_in(target["expr"], values)
        for one in answers.of("query_range", query=expr, **span)["data"]["result"]:
            at = {int(time): float(value) for time, value in one["values"]}
            frames.append(
                {
                    "refId": target["refId"],
                    "name": _name(target.get("legendFormat", ""), one["metric"]),
                    "times": seeded.TIMES.tolist(),
                    "values": [_finite(at.get(time)) for time in seeded.TIMES.tolist()],
                }
            )
    filled = json.loads(json.dumps(panel))
    filled["title"] = filled_in(panel["title"], values)
    place = panel["gridPos"]
    return {
        "panel": filled,
        "frames": frames,
        "width": COLUMN * place["w"],
        "height": ROW * place["h"],
        "from": seeded.START,
        "to": seeded.END,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and value == value else None


def _name(legend: str, labels: dict[str, str]) -> str:
    if legend == "__auto":
        inside = ", ".join(f'{key}="{text}"' for key, text in labels.items() if key != "__name__")
        return f"{labels.get('__name__', '')}{{{inside}}}"
    for key, text in labels.items():
        legend = legend.replace(f"{{{{{key}}}}}", text)
    return legend


def _drawn(given: list[dict[str, Any]], pictures: Path) -> list[dict[str, Any]]:
    """Return what was drawn; the pictures are numbered files."""
    assert (RENDER / "node_modules").is_dir(), "run: make render"
    pictures.mkdir(parents=True, exist_ok=True)
    file = pictures / "panels.json"
    file.write_text(json.dumps(given), encoding="utf-8")
    command = [tool("node"), str(RENDER / "render.mjs"), str(file), str(pictures)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found
