"""The order of the layers: a module imports only from those before it."""

from __future__ import annotations

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "detector"
# A module may import those before it.
ORDER = [
    ["names", "errors"],
    [
        "durations",
        "promql",
        "expression",
        "policy",
        "series",
        "labels",
        "localtime",
        "masks",
        "lesson",
    ],
    [
        "kernel_cache",
        "kernels",
        "histograms",
        "tails",
        "networks",
        "neighbours",
        "medians",
        "models.baseline",
        "models.experts",
        "models.habits",
        "models.seasonal",
        "models.univariate",
        "models.zscore",
        "models.stl",
        "models.auto",
        "models.registry",
        "models.forest",
        "channels",
        "combination",
        "band",
        "clock",
        "extremes",
        "references",
        "measures",
        "calibration",
        "episodes",
        "levels",
        "floors",
        "expectation",
        "evidence",
        "verdict",
        "fold",
        "score",
        "underway",
        "absence",
        "census",
        "matrices",
        "schedule",
        "pipeline",
        "groups",
        "anomaly",
        "warm",
    ],
    [
        "unreadable",
        "fields",
        "mask_settings",
        "notify_settings",
        "settings",
        "limits",
        "configuration",
        "telemetry",
        "access",
        "range_answer",
        "gathering",
        "spans",
        "refusals",
        "prometheus",
        "conditions",
        "past",
        "explanation",
        "write_request",
        "remote_write",
        "discovery",
        "export",
    ],
    [
        "options",
        "command_line",
        "tables",
        "finding",
        "coverage",
        "absence_check",
        "condition_check",
        "group_check",
        "report",
        "printing",
    ],
    [
        "backtest.recording",
        "backtest.zeros",
        "backtest.exports",
        "backtest.files",
        "backtest.alerting",
        "backtest.grouping",
        "backtest.run",
        "backtest.scores_file",
        "backtest.vanished",
        "backtest.ranking",
        "backtest.truth",
        "backtest.judging",
        "backtest.results",
        "backtest.duel",
        "backtest.grafana",
        "backtest.gate",
        "backtest.budget",
        "backtest.foremost",
        "backtest.curves",
        "backtest.pictures",
        "backtest.document",
        "backtest.packed",
        "backtest.page",
        "backtest.outcome",
        "backtest.spool",
        "backtest.request",
        "backtest.server",
        "backtest.rival_rules",
        "backtest.write_back",
        "backtest.sources",
        "backtest.sensitivity",
        "backtest.command",
        "backtest.summary",
        "backtest.duel_table",
        "backtest.telling",
        "backtest.cli",
        "backtest.options",
    ],
    ["rule_files", "rule_lint", "rule_trial", "rule_check", "catalogue", "proposal", "init"],
    ["web", "allowance", "heap", "runner", "group_runner", "service"],
    [
        "notify.webhook",
        "notify.inert",
        "notify.others",
        "notify.story",
        "notify.wording",
        "notify.picture",
        "notify.message",
        "notify.writing",
        "notify.dead",
        "notify.spool",
        "notify.sender",
        "notify.slack",
        "notify.apprise_sender",
        "notify.telemetry",
        "notify.delivery",
        "notify.receiver",
        "notify.service",
    ],
    ["cli"],
]
FLAT = [name for line in ORDER for name in line]
PURE = {name for line in ORDER[:3] for name in line}
# What reads a clock, the network, the environment, chance or a log.
IMPURE = {"time", "datetime", "logging", "os", "httpx", "random", "socket", "pathlib", "asyncio"}
# A library that reads a clock when asked to, for what it knows without one; where compiled code is.
ALLOWED = {"localtime": {"datetime"}, "kernel_cache": {"os", "pathlib"}}
HEAVY = ("statsmodels", "sklearn", "pandas", "matplotlib", "apprise")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {module_name(p): p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py"}


def imports(path: Path) -> set[str]:
    """Return the dotted names a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_module_has_its_place() -> None:
    assert sorted(MODULES) == sorted(FLAT)


@pytest.mark.parametrize("name", FLAT)
def test_a_module_imports_only_what_stands_before_it(name: str) -> None:
    before = FLAT[: FLAT.index(name)]
    for found in imports(MODULES[name]):
        package, _, rest = found.partition(".")
        assert package != "simulator"
        if package != "detector":
            continue
        used = [m for m in FLAT if rest == m or rest.startswith(m + ".")]
        assert used, f"{name} imports {found}, which has no place in the order"
        assert used[0] in before, f"{name} imports {used[0]}, which stands after it"


@pytest.mark.parametrize("name", FLAT)
def test_examples_in_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"detector.{name}")).failed == 0


@pytest.mark.parametrize("name", sorted(PURE))
def test_the_pure_part_reads_no_clock_network_log_or_environment(name: str) -> None:
    path = MODULES[name]
    used = {found.partition(".")[0] for found in imports(path)}
    assert used & IMPURE == ALLOWED.get(name, set())
    text = path.read_text(encoding="utf-8")
    for word in ("np.random", "open(", "print(", "datetime64('now", ".now(", ".today("):
        assert word not in text


@pytest.mark.parametrize("module", ["detector", "detector.pipeline", "detector.service"])
def test_heavy_libraries_are_not_loaded(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_starts_without_the_engine() -> None:
    code = "import sys, detector.cli; print([m for m in ('numba', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
