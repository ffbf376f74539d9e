"""The report as one HTML file that loads nothing: data, styles and scripts are in it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

# Of assets/, in the order they run.
SCRIPTS = (
    "uPlot.iife.min.js",
    "replay.js",
    "charts.js",
    "parts.js",
    "duel.js",
    "sweep.js",
    "page.js",
)
STYLES = ("uPlot.min.css", "page.css")


def page(document: Mapping[str, Any], scores: Mapping[str, Any]) -> str:
    """Return the page.

    Parameters
    ----------
    document : mapping
        `document.document`, in the page as it is in report.json.
    scores : mapping
        `packed.packed`, for the slider.

    Notes
    -----
    The policy in its head allows the scripts and styles that are in it, by their hashes, and
    nothing else: no address is ever asked. Data is JSON in which no character can end a script
    element; the scripts write it as text only.
    """
    scripts, styles = [_asset(name) for name in SCRIPTS], [_asset(name) for name in STYLES]
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_hash, scripts))}; "
        f"style-src {' '.join(map(_hash, styles))}; base-uri 'none'; form-action 'none'"
    )
    licence = _asset("uPlot.LICENSE").replace("--", "- -")
    parts = {
        "policy": policy,
        "styles": "\n".join(f"<style>{text}</style>" for text in styles),
        "licence": licence,
        "report": embedded(document),
        "scores": embedded(scores),
        "scripts": "\n".join(f"<script>{text}</script>" for text in scripts),
    }
    # Cut first: what is put in may hold the marks itself.
    first, *rest = _asset("page.html").split("{{")
    pieces = [first]
    for piece in rest:
        name, _, after = piece.partition("}}")
        pieces += [parts[name], after]
    return "".join(pieces)


def embedded(data: Mapping[str, Any]) -> str:
    """Return JSON that is inert within a script element.

    Examples
    --------
    >>> embedded({"job": "</script>"})
    '{"job":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _asset(name: str) -> str:
    return (files("detector.backtest") / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
