"""Writes the dashboards, and the panel for dashboards of your own, as the JSON that Grafana reads.

python grafana/build.py            # `make golden` does it, too
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from boards.churn import churn
from boards.explorer import explorer
from boards.health import health
from boards.overlay import overlay
from boards.overview import overview
from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

HERE = Path(__file__).parent


def built() -> dict[Path, str]:
    """Return every file and what it has to hold."""
    files = {}
    for board in (overview(), explorer(), churn(), health()):
        content = _numbered(board)
        files[HERE / "dashboards" / f"{content['uid']}.json"] = _text(content)
    files[HERE / "overlay" / "band.json"] = _text(overlay())
    return files


def _numbered(board: Dashboard) -> dict[str, Any]:
    """Return a dashboard as plain data; links to panels and annotation filters need their ids."""
    made = board.build()
    for number, panel in enumerate(made.panels or [], 1):
        panel.id_val = number
    content: dict[str, Any] = json.loads(json.dumps(made, cls=JSONEncoder))
    return content


def _text(content: object) -> str:
    return json.dumps(content, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    for path, text in built().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
