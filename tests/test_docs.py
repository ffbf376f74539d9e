"""The documents say what the code has: keys, kinds, metrics, modules, links."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from detector import configuration, names, settings
from detector.mask_settings import MaskSettings, MasksSettings
from detector.models import registry
from detector.notify.telemetry import NotifyTelemetry
from detector.notify_settings import EmailSettings, NotifySettings, SlackSettings, TargetSettings
from detector.telemetry import Telemetry

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted(ROOT.glob("*.md")) + sorted((ROOT / "rules" / "runbooks").glob("*.md"))


def test_every_setting_is_in_the_readme() -> None:
    keys = set(settings.Settings.model_fields) - {"prometheus", "rules", "masks"}
    keys |= {f"masks.{key}" for key in MasksSettings.model_fields}
    keys |= {field.alias or key for key, field in MaskSettings.model_fields.items()} - {"query"}
    keys |= {f"prometheus.{key}" for key in ("url", "username")}
    keys |= set(settings.PrometheusSettings.model_fields) - {"url", "username"}
    keys |= {f"rules.{key}" for key in settings.RulesSettings.model_fields}
    keys |= set(settings.PolicySettings.model_fields)
    for section in (NotifySettings, TargetSettings, SlackSettings, EmailSettings):
        keys |= {field.alias or key for key, field in section.model_fields.items()}
    assert {key for key in keys if f"`{key}`" not in README} == set()


def test_the_example_of_notify_is_a_configuration(tmp_path: Path) -> None:
    (example,) = (
        text for text in re.findall(r"```yaml\n(.*?)```", README, re.S) if "notify:" in text
    )
    path = tmp_path / "detector.yml"
    path.write_text(example, encoding="utf-8")
    targets = configuration.load(path).notify.targets
    assert [target.name for target in targets] == ["team", "hook", "mail", "others"]


def test_the_example_of_masks_is_a_configuration(tmp_path: Path) -> None:
    (example,) = (
        text for text in re.findall(r"```yaml\n(.*?)```", README, re.S) if "mute:" in text
    )
    path = tmp_path / "detector.yml"
    path.write_text(example, encoding="utf-8")
    (signal,) = settings.own_signals(configuration.load(path))
    assert [c.setting for c in signal.conditions] == [
        *("when", "masks.train.0", "masks.train.1", "masks.mute.0", "masks.mute.1"),
        "exclude_alerts",
    ]


@pytest.mark.parametrize("kind", names.KINDS)
def test_the_table_of_kinds_has_the_defaults(kind: str) -> None:
    row = next(line for line in README.splitlines() if line.startswith(f"| `{kind}`"))
    direction, low, share, missing, limits = (cell.strip() for cell in row.split("|")[2:7])
    policy = settings.KIND_POLICIES[kind]
    assert direction == policy.direction
    number, _, unit = low.partition(" ")
    assert float(number) * (0.001 if unit == "ms" else 1) == pytest.approx(policy.min_abs)
    assert float(share.rstrip(" %")) == pytest.approx(100 * policy.min_rel)
    assert missing.split(",")[0].replace(" ", "") == policy.missing
    assert {"none": -math.inf, "0 and more": 0.0}[limits] == policy.lower
    assert policy.upper == math.inf


def test_the_cost_of_a_fit_is_said_alike() -> None:
    for name, model in registry.MODELS.items():
        row = next(line for line in README.splitlines() if line.startswith(f"| `{name}` | "))
        costs = [re.findall(r"[\d.]+ ms", text) for text in (row, model.cost)]
        assert costs[0] == costs[1][: len(costs[0])] != [], name


def test_every_metric_is_in_the_readme() -> None:
    written = {getattr(names, n) for n in ("SCORE", "OBSERVED", "EXPECTED", "LOWER", "UPPER")}
    written |= {names.STATE, names.EVIDENCE}
    own = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for telemetry in (Telemetry(60), NotifyTelemetry())
        for metric in telemetry.registry.collect()
        if metric.name.startswith("detector_")
    }
    assert len(own) > 10
    assert {name for name in written | own if f"`{name}" not in README} == set()


def test_every_module_is_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    modules = {
        str(path.relative_to(ROOT))
        for package in ("detector", "simulator")
        for path in (ROOT / package).rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    }
    assert {module for module in modules if f"`{module}`" not in text} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    relative = [link for link in links if "://" not in link]
    assert [link for link in relative if not (document.parent / link).exists()] == []
