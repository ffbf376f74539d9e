"""The whole example with the real programs: from a fault to Slack and e-mail, and rules edited."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from detector.errors import SourceError
from simulator.layout import SIGNAL_RULES
from simulator.stack import Stack, running_stack
from simulator.timeline import Injection, Timeline, allowance
from simulator.watch import Watch

pytestmark = pytest.mark.e2e

FAULT = Injection("latency", None, "churn_latency_p50", "latency")
STEP_SECONDS = 10.0
# Two cycles, after the wait for the samples of the step, and a look a second.
TWO_CYCLES_SECONDS = 2 * STEP_SECONDS + 6.0 + 4.0


class Scene:
    """A stack, what is seen of it, and the fault that is followed through all tests."""

    def __init__(self, stack: Stack):
        self.stack = stack
        self.watch = Watch(stack.layout)
        self.timeline: Timeline | None = None

    @property
    def rules(self) -> Path:
        return self.stack.layout.directory / "rules" / SIGNAL_RULES

    def want(self, what: str, condition: Callable[[], object], within: float) -> float:
        """Wait for a condition and return the seconds it took; fail when it takes too long."""
        began = time.monotonic()
        while True:
            self.stack.supervisor.check()
            view = self.watch.look()
            if self.timeline is not None:
                self.timeline.update(view)
            if condition():
                return time.monotonic() - began
            assert time.monotonic() - began < within, f"no {what} within {within:.0f} s"
            time.sleep(0.5)

    def metric(self, name: str, **labels: str) -> float | None:
        """Return a value of the detector's own exposition."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        text = httpx.get(f"{self.stack.layout.url('detector:9112')}/metrics", trust_env=False).text
        for line in text.splitlines():
            if re.match(rf"{name}[ {{]", line) and all(label in line for label in wanted):
                return float(line.rpartition(" ")[2])
        return None


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("e2e")
    with running_stack(at=None, directory=directory, seed=7, profile="fast", say=print) as stack:
        processes = [child.process for child in stack.supervisor.children]
        assert len(processes) == 8
        yield Scene(stack)
    assert all(process.returncode is not None for process in processes)


def test_a_fault_becomes_a_slack_message_and_an_email(scene: Scene) -> None:
    scene.want("quiet start", lambda: scene.watch.view.states.get(FAULT.signal) == {0}, within=60)
    scene.stack.inject(FAULT.fault)
    scene.timeline = timeline = Timeline(FAULT, time.time())
    scene.want("message on both channels", lambda: timeline.told, within=120)
    scene.stack.inject(FAULT.fault, stop=True)
    timeline.times["stopped"] = time.time()
    taken = timeline.notification_seconds
    assert taken is not None
    assert taken <= allowance(scene.stack.layout, FAULT.kind)
    assert timeline.times["firing"] >= timeline.times["scored"]


def test_edited_rules_change_what_is_scored(scene: Scene) -> None:
    rules = yaml.safe_load(scene.rules.read_text(encoding="utf-8"))
    (group,) = rules["groups"]
    by_name = {rule["labels"]["anomaly_name"]: rule for rule in group["rules"]}
    traffic = by_name["churn_traffic"]
    group["rules"].append(
        {
            "record": "job:churn_traffic:minute",
            "expr": f"60 * {traffic['expr']}",
            "labels": {"anomaly_name": "churn_traffic_minute", "anomaly_type": "traffic"},
        }
    )
    memory = by_name["churn_memory"]
    memory["expr"] = f"{memory['expr']} / 1e6"
    before = scene.metric("anomaly_observed", signal="churn_memory")
    assert before is not None
    assert before > 1e6
    scene.rules.write_text(yaml.safe_dump(rules, sort_keys=False), encoding="utf-8")
    scene.stack.reload()

    def both_taken_over() -> bool:
        score = scene.metric("anomaly_score", signal="churn_traffic_minute")
        megabytes = scene.metric("anomaly_observed", signal="churn_memory")
        # A score and not a warm-up: the new signal has four weeks of past.
        return score is not None and megabytes is not None and 10 < megabytes < 1e4

    scene.want("new and changed signal", both_taken_over, within=TWO_CYCLES_SECONDS)
    rate = scene.metric("anomaly_expected", signal="churn_traffic")
    minute = scene.metric("anomaly_expected", signal="churn_traffic_minute")
    assert rate is not None
    assert minute == pytest.approx(60 * rate, rel=0.05)


def test_a_broken_rule_file_leaves_the_old_rules_and_says_so(scene: Scene) -> None:
    good = scene.rules.read_text(encoding="utf-8")
    scene.rules.write_text(good.replace("histogram_quantile(", "histogram_quantile((", 1))
    with pytest.raises(SourceError, match="Prometheus refused the files"):
        scene.stack.reload()

    def told(status: str) -> bool:
        channels = {
            message.channel
            for message in scene.watch.view.messages
            if f"[{status}" in message.title and "PrometheusReloadFailed" in message.title
        }
        return channels == {"slack", "email"}

    scene.want("alert about the failed reload", lambda: told("FIRING"), within=60)
    evaluated = scene.metric("detector_signal_evaluated_timestamp_seconds", signal="churn_traffic")
    assert evaluated is not None
    assert time.time() - evaluated < 3 * STEP_SECONDS + 6
    assert scene.metric("detector_signals") == 15
    assert scene.metric("anomaly_score", signal="churn_traffic_minute") is not None
    scene.rules.write_text(good, encoding="utf-8")
    scene.stack.reload()
    scene.want("end of that alert", lambda: told("RESOLVED"), within=90)


def test_the_end_of_the_fault_is_told(scene: Scene) -> None:
    timeline = scene.timeline
    assert timeline is not None
    scene.want("both resolved messages", lambda: timeline.complete, within=240)
    # Nor was the start of the stack told as an incident of the detector.
    assert not [m for m in scene.watch.view.messages if "AnomalyScoresStale" in m.title]
