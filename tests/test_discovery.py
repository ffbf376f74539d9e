"""Signals from rules and from the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from detector.discovery import discover, rules_of_files
from detector.errors import ConfigError
from detector.settings import Settings


def rule(name: str | None, query: str = "up", kind: str | None = None, **labels: str) -> dict:
    marked = {"anomaly_name": name, "anomaly_type": kind, **labels}
    return {
        "name": f"rec:{name}",
        "query": query,
        "labels": {k: v for k, v in marked.items() if v is not None},
        "type": "recording",
    }


def found(rules: list[dict[str, Any]], **settings: Any) -> Any:
    return discover(Settings(**settings), lambda: rules)


def test_only_recording_rules_with_the_label_are_signals() -> None:
    alert = {**rule("alert"), "type": "alerting"}
    result = found([rule("a", kind="requests"), rule(None), alert, {"name": "x", "query": "y"}])
    assert list(result.signals) == ["a"]
    signal = result.signals["a"]
    assert (signal.kind, signal.source) == ("traffic", "rules")
    assert signal.policy.min_rel == 0.1
    assert result.warnings == ()


def test_rules_of_one_name_are_their_union() -> None:
    rules = [rule("a", "x", "latency", zone="1"), rule("a", "y", "latency"), rule("a", "y")]
    result = found([*rules, rule("a", "x", "latency", zone="1")])
    assert [query for query, _ in result.signals["a"].queries] == ["x", "y", "y"]
    assert dict(result.signals["a"].queries[0][1])["zone"] == "1"
    assert len(result.warnings) == 1
    assert "kind 'latency' from another rule" in result.warnings[0]


def test_an_unknown_kind_counts_as_other_and_is_said() -> None:
    result = found([rule("a", kind="wether")])
    assert result.signals["a"].kind == "other"
    assert "'wether' is not known" in result.warnings[0]
    assert found([rule("a", kind="other")]).warnings == ()


def test_a_signal_of_our_own_scores_is_said() -> None:
    own = [{"name": "loop", "query": "max(anomaly_score)"}, {"name": "fine", "query": "up"}]
    result = found([rule("a", "anomaly_observed"), rule("b", "job:anomaly_score:max")], signals=own)
    assert len(result.warnings) == 2
    assert "signal a: its query reads the detector's own scores" in result.warnings[0]
    assert result.warnings[1].startswith("signal loop: ")


def test_own_signals_join_and_collisions_are_refused() -> None:
    own = [{"name": "b", "query": "up", "kind": "errors"}]
    assert list(found([rule("a")], signals=own).signals) == ["a", "b"]
    with pytest.raises(ConfigError, match="rename one of them"):
        found([rule("b")], signals=own)


def test_a_policy_for_nobody_is_said() -> None:
    result = found([rule("a")], policies={"a": {}, "traffic": {}, "c": {}})
    assert [w.split(":")[0] for w in result.warnings] == ["policies.c"]
    assert found([rule("a")], policies={"Resource": {}, "requests": {}}).warnings == ()


def test_rules_can_be_switched_off() -> None:
    def fail() -> list[dict[str, Any]]:
        raise AssertionError("rules were read")

    assert discover(Settings(rules={"enabled": False}), fail).signals == {}


GROUP = {
    "groups": [
        {
            "name": "g",
            "rules": [
                {"record": "r", "expr": "up", "labels": {"anomaly_name": "a", "zone": 1}},
                {"alert": "A", "expr": "up"},
                {"record": "plain", "expr": 1},
            ],
        }
    ]
}


def test_rule_files_are_read_like_the_api(tmp_path: Path) -> None:
    (tmp_path / "a.rules.yml").write_text(yaml.safe_dump(GROUP))
    (tmp_path / "empty.rules.yml").write_text("groups:\n")
    files = [str(tmp_path / "*.rules.yml")]
    assert [r["name"] for r in rules_of_files(files)] == ["r", "plain"]
    result = discover(Settings(rules={"files": files}), lambda: [])
    assert result.signals["a"].queries == (("up", (("anomaly_name", "a"), ("zone", "1"))),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("groups: [", "bad.yml"),
        ("- 1", "promtool check rules"),
        ("groups: [{rules: [{record: x}]}]", "promtool check rules"),
        ("groups: [1]", "promtool check rules"),
    ],
)
def test_a_bad_rule_file_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="bad.yml") as caught:
        rules_of_files([str(path)])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_matches(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file matches"):
        rules_of_files([str(tmp_path / "*.yml")])
    (tmp_path / "a.yml").write_text("groups:\n")
    with pytest.raises(ConfigError, match=r"no file matches .*b\.yml$"):
        rules_of_files([str(tmp_path / "a.yml"), str(tmp_path / "b.yml")])


def test_groups_and_masks_name_signals_that_exist() -> None:
    settings = Settings(
        rules={"enabled": False},
        signals=[{"name": n, "query": n} for n in ("a", "b")],
        groups=[{"name": "good", "signals": ["a", "b"]}, {"name": "bad", "signals": ["a", "x"]}],
        masks={
            "mute": [{"days": ["sat"], "signals": ["b"]}, {"query": "q", "signals": ["y", "z"]}]
        },
    )
    found = discover(settings, list)
    assert [group.name for group in found.groups] == ["good", "bad"]
    assert found.warnings == (
        "groups.bad: no signal of the name 'x'",
        "masks.mute.1: no signal of the name 'y', 'z'",
    )


def test_policies_give_rules_a_gate_a_model_and_masks() -> None:
    settings = Settings(
        policies={"rps": {"when": "up", "model": "zscore"}, "traffic": {"when": "down"}},
        masks={"train": ["deploying"]},
    )
    rules = [
        {"name": f"r:{n}", "query": n, "labels": {"anomaly_name": n, "anomaly_type": "traffic"}}
        for n in ("rps", "web")
    ]
    signals = discover(settings, lambda: rules).signals
    assert signals["rps"].model == "zscore"
    tests = {name: [c.test for c in signal.conditions] for name, signal in signals.items()}
    assert tests == {"rps": ["up", "deploying"], "web": ["down", "deploying"]}


def test_a_group_named_like_a_rules_signal() -> None:
    settings = Settings(groups=[{"name": "rps", "signals": ["a", "b"]}])
    rule = {"name": "r:rps", "query": "rps", "labels": {"anomaly_name": "rps"}}
    with pytest.raises(ConfigError, match=r"groups\.rps: .*rename"):
        discover(settings, lambda: [rule])
