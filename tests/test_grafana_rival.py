"""Grafana's two strategies on a replay's samples, held to promtool running rules."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from examples import THOROUGH
from tools import ROOT, run

from detector.backtest.grafana import band, grafana_alerts
from detector.series import SeriesMatrix

sys.path.insert(0, str(ROOT / "tests" / "bench"))
from grafana_rules import INPUT, adaptive, robust

MINUTE, DAY = 60, 86_400
DAYS = 8
LABELS = (("job", "a"),)


def made(step: int) -> np.ndarray:
    """Eight days: a daily season with bursts, an hour doubled, one halved, one at zero."""
    rng = np.random.default_rng(3)
    t = np.arange(DAYS * DAY // MINUTE + 1)
    x = 100 * (1 + 0.5 * np.sin(2 * np.pi * t / 1440)) * np.exp(0.05 * rng.standard_normal(len(t)))
    # Bursts, so that the filter of large deviations passes something.
    x[rng.random(len(t)) < 0.02] *= 6
    end = len(t) - 1
    for ago, factor in ((1000, 8.0), (700, 0.3), (400, 0.0), (100, 2.5)):
        x[end - ago : end - ago + 60] *= factor
    x[end - 250 : end - 240] = np.nan
    return np.round(x, 3)[:: step // MINUTE]


def held(x: np.ndarray, step: int) -> np.ndarray:
    """Return what a selector sees each step: a sample until it is older than five minutes."""
    seen = x.copy()
    for ago in range(1, 300 // step + 1):
        seen[ago:] = np.where(np.isnan(seen[ago:]), x[:-ago], seen[ago:])
    return seen


def each_five_minutes(rules: dict[str, Any]) -> dict[str, Any]:
    """Write the interval of day and week into their expressions: promtool knows one interval."""
    (past,) = [group for group in rules["groups"] if group["name"].endswith("_past")]
    for rule in past["rules"]:
        rule["expr"] = f"({rule['expr']}) and on () (vector(time()) % 300 == 0)"
    return rules


def matrix(x: np.ndarray, step: int) -> SeriesMatrix:
    times = np.arange(len(x), dtype=np.int64) * step
    return SeriesMatrix((LABELS,), times, x[None], np.isnan(x)[None], step)


# Rules run for eight days of minutes take promtool half a minute.
@pytest.mark.parametrize("step", [300, 60] if THOROUGH else [300])
@pytest.mark.parametrize("strategy", ["adaptive", "robust"])
def test_promtool_agrees(tmp_path: Path, strategy: str, step: int) -> None:
    x = made(step)
    samples = matrix(held(x, step), step)
    level, lower, upper = (part[0] for part in band(strategy, samples))
    start = samples.times[-1] - 20 * 3600
    with ThreadPoolExecutor(1) as pool:
        end = int(samples.times[-1]) + 1
        found = grafana_alerts(strategy, "rps", samples, int(start), end, pool)
    firing = {t for one in found for t in range(one.firing.start, one.firing.end, step)}
    assert firing, "the made series should set off each strategy"
    edges = {t for one in found for t in (one.firing.start, one.firing.end)}
    asked = sorted(
        {int(t) for t in samples.times[:: -171 * 60 // step][:7]}
        | {t + d for t in edges for d in (-step, 0) if t + d <= samples.times[-1]}
    )
    rules: Any = {"adaptive": adaptive, "robust": robust}[strategy]()
    each_five_minutes(rules)
    (tmp_path / "r.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    names = {"adaptive": "adaptive:level", "robust": "robust:median_1h"}
    wanted = {names[strategy]: level, f"{strategy}:lower": lower, f"{strategy}:upper": upper}
    tests = []
    for t in asked:
        alert = f'ALERTS{{alertname="Anomaly_{strategy}",alertstate="firing"}}'
        tests.append(
            {"expr": f"count({alert}) or vector(0)", "eval_time": f"{t}s",
             "exp_samples": [{"labels": "{}", "value": int(t in firing)}]}
        )  # fmt: skip
        for name, values in wanted.items():
            value = float(values[t // step])
            # promtool compares exactly: whether it is within a millionth is asked of it.
            expr = f"count(abs({name} - {value!r}) <= {abs(value) * 1e-6 + 1e-9!r}) or vector(0)"
            missing = f"count({name}) or vector(0)"
            absent = np.isnan(value)
            tests.append(
                {"expr": missing if absent else expr, "eval_time": f"{t}s",
                 "exp_samples": [{"labels": "{}", "value": 0 if absent else 1}]}
            )  # fmt: skip
    values = " ".join(
        "_" if np.isnan(v) else f"{v:g}" if v == int(v) else repr(float(v)) for v in x
    )
    document = {
        "rule_files": ["r.yml"],
        "evaluation_interval": f"{step}s",
        "group_eval_order": [f"{strategy}_past", strategy],
        "tests": [
            {
                "interval": f"{step}s",
                "input_series": [{"series": f'{INPUT}{{job="a"}}', "values": values}],
                "promql_expr_test": tests,
            }
        ],
    }
    (tmp_path / "t.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    done = run("promtool", "test", "rules", tmp_path / "t.yml")
    assert done.returncode == 0, (done.stdout + done.stderr)[:4000]


def test_what_is_not_above_zero_is_not_there() -> None:
    x = np.full(3 * 1440, 100.0)
    x[-60:] = 0.0
    samples = matrix(x, MINUTE)
    with ThreadPoolExecutor(1) as pool:
        for strategy in ("adaptive", "robust"):
            assert grafana_alerts(strategy, "rps", samples, 0, 3 * DAY, pool) == []
