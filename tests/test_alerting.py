"""The rules of Prometheus in Python, held against promtool on made series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from tools import ROOT, run

from detector.backtest.alerting import RULES, Firing, Rule, evaluated, firings, marks
from detector.backtest.results import alert_name
from detector.durations import format_duration, parse_duration

LOOKBACK = 300
NOTHING, STALE = "_", "stale"
Case = tuple[int, list[str], Rule]


def visible(
    stamps: np.ndarray, values: np.ndarray, stale: np.ndarray, at: np.ndarray, lookback: float
) -> np.ndarray:
    """Return what an instant selector sees at evaluations `at`, NaN where there is nothing.

    A sample is seen until it is older than `lookback` (Prometheus 2.x; 3.x: or as old), or until a
    staleness marker.
    """
    last = np.searchsorted(stamps, at, side="right") - 1
    seen = np.full(len(at), np.nan)
    there = last >= 0
    index = last[there]
    fresh = (at[there] - stamps[index] <= lookback) & ~stale[index]
    seen[there] = np.where(fresh, values[index], np.nan)
    return seen


def prediction(step: int, tokens: list[str], rule: Rule, every: int) -> tuple[np.ndarray, set[int]]:
    """Return the evaluations and those at which the alert should fire."""
    stored = [i for i, token in enumerate(tokens) if token != NOTHING]
    stamps = np.array(stored, np.int64) * step
    values = np.array([0.0 if tokens[i] == STALE else float(tokens[i]) for i in stored])
    stale = np.array([tokens[i] == STALE for i in stored], bool)
    at = np.arange(0, len(tokens) * step + 1, every)
    active = visible(stamps, values, stale, at, LOOKBACK) == 1
    found = firings(at, active, rule)
    return at, {int(t) for t in at for one in found if one.start <= t < one.end}


def promtool_agrees(directory: Path, cases: list[Case], every: int = 60) -> None:
    """Let promtool run rules on the same series and say where an alert fires otherwise."""
    rules: list[dict[str, Any]] = []
    tests = []
    for i, (step, tokens, rule) in enumerate(cases):
        entry: dict[str, Any] = {"alert": f"A{i}", "expr": f"m{i} == 1"}
        if rule.hold:
            entry["for"] = format_duration(rule.hold)
        if rule.keep:
            entry["keep_firing_for"] = format_duration(rule.keep)
        rules.append(entry)
        at, on = prediction(step, tokens, rule, every)
        query = f'ALERTS{{alertname="A{i}",alertstate="firing"}}'
        labels = f'ALERTS{{__name__="ALERTS",alertname="A{i}",alertstate="firing"}}'
        tests.append(
            {
                "interval": f"{step}s",
                "input_series": [{"series": f"m{i}", "values": " ".join(tokens)}],
                "promql_expr_test": [
                    {
                        "expr": query,
                        "eval_time": f"{t}s",
                        "exp_samples": [{"labels": labels, "value": 1}] if int(t) in on else [],
                    }
                    for t in at
                ],
            }
        )
    (directory / "r.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
    document = {"rule_files": ["r.yml"], "evaluation_interval": f"{every}s", "tests": tests}
    (directory / "t.yml").write_text(yaml.safe_dump(document))
    done = run("promtool", "test", "rules", directory / "t.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@st.composite
def made(draw: st.DrawFn) -> Case:
    """Return a series in runs: anomalous, normal, missing, gone stale; and the rule's patience."""
    step = draw(st.sampled_from([30, 60, 120, 300, 600]))
    runs = draw(
        st.lists(
            st.tuples(st.sampled_from(["1", "1", "0", NOTHING, STALE, "NaN"]), st.integers(1, 8)),
            min_size=1,
            max_size=9,
        )
    )
    tokens = [token for token, length in runs for _ in range(length)]
    patience = st.sampled_from([0, 30, 60, 90, 120, 300, 600])
    return step, tokens, Rule(draw(patience), draw(patience))


@examples(15, 500)
@given(st.lists(made(), min_size=10, max_size=10))
def test_promtool_agrees_on_made_series(
    tmp_path_factory: pytest.TempPathFactory, cases: list[Case]
) -> None:
    promtool_agrees(tmp_path_factory.mktemp("rules"), cases)


HOUR = 3600


@pytest.mark.parametrize(
    ("tokens", "hold", "every", "expected"),
    [
        # Evaluated hourly: pending at the first anomalous hour, firing at the second in a row.
        (["0", "1", "0", "0"], 300, HOUR, []),
        (["0", "1", "1", "0"], 300, HOUR, [(2 * HOUR, 3 * HOUR)]),
        # Evaluated each minute, a stored sample is seen for five minutes: 2m is reached each hour,
        (["0", "1", "1", "0"], 120, 60, [(3720, 3960), (7320, 7560)]),
        # 5m at the last second only, where evaluations fall on the full minute,
        (["0", "1", "0", "0"], 300, 60, [(3900, 3960)]),
        # and 6m never.
        (["0", "1", "1", "1"], 360, 60, []),
    ],
)
def test_hourly_samples(
    tmp_path: Path, tokens: list[str], hold: int, every: int, expected: list[tuple[int, int]]
) -> None:
    rule = Rule(hold, 0)
    at, on = prediction(HOUR, tokens, rule, every)
    assert sorted(on) == [t for a, b in expected for t in range(a, b, every)]
    promtool_agrees(tmp_path, [(HOUR, tokens, rule)], every)


def test_hourly_samples_evaluated_off_the_minute_never_fire() -> None:
    """Prometheus spreads evaluations over the interval; promtool cannot, the arithmetic is its."""
    stamps = np.arange(24) * HOUR
    at = np.arange(13, 24 * HOUR, 60)
    always = np.ones(24)
    seen = visible(stamps, always, np.zeros(24, bool), at, LOOKBACK) == 1
    assert firings(at, seen, Rule(300, 0)) == []
    assert len(firings(at, seen, Rule(120, 0))) == 24


def test_a_score_is_exposed_until_the_next() -> None:
    times = np.arange(4) * 300
    active = np.array([False, True, False, False])
    fine, seen = evaluated(times, active, 300, 60)
    found = firings(fine, seen, Rule(120, 120))
    assert found == [Firing(420, 720)]
    assert marks(times, 300, found).tolist() == [False, True, True, False]
    assert evaluated(times, active, 300, 420)[0] is times
    assert firings(times, np.zeros(4, bool), Rule(0, 0)) == []


def test_the_patience_is_that_of_the_shipped_rules() -> None:
    text = (ROOT / "rules" / "anomaly.rules.yml").read_text(encoding="utf-8")
    groups = yaml.safe_load(text)["groups"]
    group = next(g for g in groups if g["name"] == "anomaly-alerts")
    shipped = {
        rule["alert"]: (parse_duration(rule["for"]), parse_duration(rule["keep_firing_for"]))
        for rule in group["rules"]
    }
    assert shipped == {alert_name(kind): (r.hold, r.keep) for kind, r in RULES.items()}
