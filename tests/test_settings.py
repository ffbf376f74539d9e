"""Configuration: what is understood, and one clear line for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.configuration import load
from detector.errors import ConfigError
from detector.mask_settings import meaning
from detector.names import Mask
from detector.policy import Policy
from detector.series import Condition, Group, Span, Weekly
from detector.settings import Settings, own_groups, own_signals, policy_of, signal_of


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.upper().startswith("DETECTOR_"):
            monkeypatch.delenv(name)


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "detector.yml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(config(tmp_path, text))
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_code == 2
    return message


def test_defaults_hold_without_a_file() -> None:
    settings = load(None)
    assert (settings.step, settings.profile, settings.history) == (60, 300, 28 * 86400)
    assert settings.prometheus.url == "http://localhost:9090"
    assert settings.listen == "127.0.0.1:9112"
    assert own_signals(settings) == []


def test_a_full_file(tmp_path: Path) -> None:
    settings = load(
        config(
            tmp_path,
            """
            prometheus: {url: "http://prom:9090/", timeout: 5s}
            rules: {enabled: false}
            step: 30s
            profile: 10m
            history: 2w
            refit: 12h
            delay: 15s
            max_series: 50
            signals:
              - {name: rps, kind: requests, query: "sum(rate(x[5m]))", direction: down}
            policies:
              traffic: {min_rel: 0.5, limits: [0, null]}
              rps: {min_abs: 3}
            """,
        )
    )
    assert settings.prometheus.url == "http://prom:9090"
    assert (settings.step, settings.profile, settings.history) == (30, 600, 14 * 86400)
    (signal,) = own_signals(settings)
    assert signal.kind == "traffic"
    assert signal.policy == Policy("down", 3.0, 0.5, "nodata", 0.0)


def test_policy_layers_from_kind_to_name_to_own() -> None:
    settings = Settings(
        policies={
            "errors": {"min_abs": 0.1, "missing": "nodata"},
            "x_ratio": {"min_abs": 0.2},
        }
    )
    assert policy_of(settings, "other", "errors").min_abs == 0.1
    found = policy_of(settings, "x_ratio", "errors")
    assert (found.min_abs, found.missing) == (0.2, "nodata")
    assert (found.lower, found.upper) == (0.0, 1.0)


def test_gate_model_and_masks_of_a_signal(tmp_path: Path) -> None:
    settings = load(
        config(
            tmp_path,
            """
            signals:
              - {name: rps, kind: traffic, query: a, when: 'b > 1', sensitivity: 2}
            policies:
              traffic: {when: c, model: stl, timezone: Europe/Berlin, sensitivity: 0.5}
            groups:
              - {name: checkout, signals: [rps, latency], by: job}
            masks:
              train:
                - deploying == 1
                - {from: 2025-12-24, to: 2025-12-27T12:00:00+02:00, timezone: Europe/Berlin}
              mute:
                - {query: 'd', signals: other}
                - {days: [Saturday, sun], signals: rps, match: {job: a}}
                - {from: 22:00, to: '06:00', days: fri, timezone: America/New_York}
            exclude_alerts: [DiskFull, 'Odd "1"']
            """,
        )
    )
    (signal,) = own_signals(settings)
    assert (signal.model, signal.policy.timezone) == ("stl", "Europe/Berlin")
    assert signal.policy.sensitivity == 2
    every = Mask.UNTAUGHT | Mask.MUTED | Mask.GATED
    alerts = r'ALERTS{alertstate="firing",alertname=~"DiskFull|Odd\\ \"1\""}'
    assert signal.conditions == (
        Condition("when", every, "b > 1", gate=True),
        Condition("masks.train.0", Mask.UNTAUGHT, "deploying == 1"),
        # Midnight in Berlin.
        Condition("masks.train.1", Mask.UNTAUGHT, Span(1766530800, 1766829600)),
        Condition(
            "masks.mute.1",
            Mask.MUTED,
            Weekly(frozenset({5, 6}), 0, 86400),
            match=(("job", "a"),),
        ),
        Condition(
            "masks.mute.2",
            Mask.MUTED,
            Weekly(frozenset({4}), 22 * 3600, 6 * 3600, "America/New_York"),
        ),
        Condition("exclude_alerts", Mask.UNTAUGHT, alerts),
    )
    other = signal_of(settings, "other", "latency", ())
    assert other.model == "seasonal"
    assert [c.setting for c in other.conditions][2:4] == ["masks.mute.0", "masks.mute.2"]
    assert own_groups(settings) == [Group("checkout", "forest", ("rps", "latency"), ("job",))]


def test_nothing_is_set_apart_by_default() -> None:
    assert signal_of(Settings(), "rps", "traffic", ()).conditions == ()


@pytest.mark.parametrize(
    ("begin", "end", "start"),
    [
        ("2025-12-24T18:00:00Z", "2025-12-25", 1766599200),
        ("2025-12-24 18:00", "2025-12-25", 1766599200),
        ("2025-12-24T18:00:00+01:00", "2025-12-25", 1766595600),
        ("'2025-12-24T18:00'", "'2025-12-25'", 1766599200),
    ],
)
def test_times_as_yaml_reads_them(tmp_path: Path, begin: str, end: str, start: int) -> None:
    text = f"masks: {{train: [{{from: {begin}, to: {end}}}]}}"
    (mask,) = load(config(tmp_path, text)).masks.train
    assert meaning(mask) == Span(start, 1766620800)


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTOR_STEP", "15s")
    monkeypatch.setenv("DETECTOR_PROMETHEUS__URL", "http://env:1")
    monkeypatch.setenv("DETECTOR_LISTEN", "0.0.0.0:9112")
    settings = load(config(tmp_path, "step: 1m\nprometheus: {url: 'http://file:1', timeout: 7s}"))
    assert (settings.step, settings.prometheus.url) == (15, "http://env:1")
    assert settings.prometheus.timeout == 7
    assert settings.listen == "0.0.0.0:9112"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stepp: 1m", "unknown key 'stepp'; did you mean 'step'?"),
        ("prometheus: {urll: x}", "unknown key 'prometheus.urll'; did you mean 'url'?"),
        ("policies: {traffic: {min_rell: 1}}", "did you mean 'min_rel'?"),
        ("signals: [{name: a, query: up, modle: x}]", "unknown key 'signals.0.modle'"),
        ("qwertz: 1", "known keys: "),
        ("step: soon", "step: 'soon' is no duration"),
        ("step: 1.5s", "must be whole seconds"),
        ("step: -1m", "is no duration"),
        ("profile: 7m", "must be a multiple of step (60s) and divide a day"),
        ("history: 100s", "history (100s) must be a positive multiple"),
        ("history: 12h", "history (43200s) is too short for any model"),
        ("max_series: 0", "max_series"),
        ("prometheus: {url: 'localhost:9090'}", "write http://host:9090"),
        ("prometheus: {url: 'http://a:b@host:9090'}", "credentials do not belong in a URL"),
        ("prometheus: {url: 'http://host:99999'}", "write http://host:9090"),
        ("prometheus: {url: 'http://[::1'}", "prometheus.url"),
        ("signals: [{name: a, query: up, kind: weather}]", "unknown kind 'weather'; choose from"),
        ("signals: [{name: a, query: ''}]", "signals.0.query"),
        ("signals: [{name: a, query: up}, {name: a, query: up}]", "'a' is defined twice"),
        ("policies: {a: {limits: [1, 0]}}", "must be [lower, upper]"),
        ("policies: {a: {min_abs: -1}}", "min_abs"),
        ("policies: {a: {min_abs: .nan}}", "min_abs"),
        ("log_level: loud", "log_level"),
        ("prometheus: {url: 'http://host:9090/?a=b'}", "no ? and no #"),
        ("prometheus: {url: 'http://host:9090/#graph'}", "no ? and no #"),
        ("listen: ':9112'", "write host:port, such as 127.0.0.1:9112"),
        ("listen: 9112", "write host:port, such as 127.0.0.1:9112"),
        ("policies: {a: {limits: [0]}}", "must be [lower, upper]; null means none"),
        ("policies: {a: {limits: [0, 1, 2]}}", "must be [lower, upper]"),
        ("policies: {a: {limits: [.inf, null]}}", "must be finite numbers"),
        ("policies: {a: {limits: [.nan, null]}}", "must be finite numbers"),
        ("policies: {a: {limits: [0, .inf]}}", "null means none"),
        ("policies: {a: {limits: 5}}", "must be [lower, upper]"),
        ("policies: {requests: {}, Traffic: {}}", "'requests' and 'Traffic' are the same kind"),
        (
            "step: 1m\ndelay: 20s\nstep: 2m",
            "detector.yml:3: no valid YAML: key 'step' is given twice",
        ),
        ("rules:\n  url: http://a\n  url: http://b", "detector.yml:3: "),
        ("signals: [{name: a, query: up, sensitivity: 0}]", "sensitivity"),
        ("policies: {a: {sensitivity: 11}}", "policies.a.sensitivity"),
        ("policies: {a: {timezone: Europe/Berln}}", "did you mean 'Europe/Berlin'?"),
        ("policies: {a: {timezone: ''}}", "unknown time zone ''"),
        ("policies: {a: {timezone: /etc/passwd}}", "unknown time zone"),
        ("policies: {a: {model: prophet}}", "policies.a.model"),
        ("policies: {a: {when: ''}}", "policies.a.when"),
        ("groups: [{name: g, signals: [a]}]", "groups.0.signals"),
        ("groups: [{name: g, signals: [a, a]}]", "'a' is given twice"),
        ("groups: [{name: g, signals: [a, b], by: [job, job]}]", "'job' is given twice"),
        ("groups: [{name: g, signals: [a, b], model: svm}]", "groups.0.model"),
        ("groups: [{name: g, signal: [a, b]}]", "did you mean 'signals'?"),
        (
            "signals: [{name: g, query: up}]\ngroups: [{name: g, signals: [a, b]}]",
            "group 'g': another signal or group has this name",
        ),
        ("masks: {trains: [up]}", "did you mean 'train'?"),
        ("masks: {train: [{form: '22:00', to: '23:00'}]}", "did you mean 'from'?"),
        ("masks: {train: [5]}", "masks.train.0: write a query, or a range of time"),
        ("masks: {train: ['']}", "masks.train.0.query"),
        ("masks: {train: [{}]}", "masks.train.0: write a query, or from and to, or days"),
        ("masks: {mute: [{signals: [a]}]}", "masks.mute.0: write a query, or from and to"),
        ("masks: {mute: [{query: up, days: [sat]}]}", "a query stands alone"),
        ("masks: {mute: [{query: up, timezone: UTC}]}", "a query stands alone"),
        ("masks: {mute: [{from: 2025-12-24}]}", "from and to belong together"),
        ("masks: {mute: [{days: [sat], to: '22:00'}]}", "from and to belong together"),
        ("masks: {mute: [{from: 2025-12-24, to: '22:00'}]}", "both be times of the day"),
        ("masks: {mute: [{from: '22:00', to: 22:00}]}", "from and to are the same"),
        ("masks: {mute: [{days: [sat], from: 2025-12-24, to: 2025-12-26}]}", "days go with times"),
        (
            "masks: {train: [{from: 2025-12-26, to: 2025-12-24}]}",
            "masks.train.0: to (2025-12-24) must be later than from (2025-12-26)",
        ),
        ("masks: {train: [{from: 2025-12-24, to: 2025-12-24}]}", "it is not included"),
        ("masks: {train: [{from: soon, to: later}]}", "'soon' is no time; write \"22:00\""),
        ("masks: {train: [{from: 22, to: 23}]}", "'22' is no time; write \"22:00\" (in quotes)"),
        ("masks: {train: [{from: '25:00', to: '26:00'}]}", "'25:00' is no time"),
        ("masks: {train: [{days: [saturn]}]}", "masks.train.0.days.0"),
        ("masks: {train: [{days: [sat], timezone: Mars}]}", "unknown time zone 'Mars'"),
        ("exclude_alerts: ['']", "exclude_alerts.0"),
        ("policies: {latency: }", "policies.latency: must have keys and values below it, of dire"),
        ("policies: [a]", "policies: must have keys and values below it"),
        ("prometheus: http://a:9090", "prometheus: must have keys and values below it, of bearer"),
        ("signals: {a: b}", "signals: must be a list"),
        ("signals: [{name: a}]", "signals.0.query: is missing and has no default; write it"),
        ("signals: [{name: 5, query: up}]", "signals.0.name: must be a text, in quotes"),
        ("signals: [{name: '', query: up}]", "signals.0.name: must not be empty"),
        ("groups: [{name: g, signals: [a]}]", "groups.0.signals: needs at least 2, has 1"),
        ("rules: {enabled: maybe}", "rules.enabled: must be true or false"),
        ("max_series: 1.5", "max_series: must be a whole number"),
        ("concurrency: 100", "concurrency: must be at most 64"),
        ("log_level: loud", "log_level: must be 'debug', 'info', 'warning' or 'error'"),
        ("policies: {a: {min_abs: .nan}}", "policies.a.min_abs: must be a finite number"),
        ("policies: {a: {limits: [x, 1]}}", "policies.a.limits.0: must be a number"),
        ("notify: {targets: [{name: 'a b'}]}", "notify.targets.0.name: has other characters"),
        ("listen: foo:99999", "listen: port 99999 is out of range; the last is 65535"),
        ("notify: {listen: 'a:99999'}", "notify.listen: port 99999 is out of range"),
        ("prometheus: {password_file: a}", "prometheus: password_file is not used without user"),
        ("prometheus: {key_file: a}", "prometheus: key_file is not used without cert_file"),
        ("- a list", "the top level must be keys and values"),
        ("a: b: c", "no valid YAML"),
        ("1: 2", "the top level must be keys and values"),
        ("step: [1", "no valid YAML"),
    ],
)
def test_one_line_for_one_mistake(tmp_path: Path, text: str, says: str) -> None:
    message = refused(tmp_path, text)
    assert says in message
    assert str(tmp_path / "detector.yml") in message
    assert "Input should" not in message
    assert "Settings" not in message


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory$"):
        load(tmp_path)
    (tmp_path / "a.yml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="a.yml: cannot be read: it is no text in UTF-8$"):
        load(tmp_path / "a.yml")


def test_the_same_key_in_two_places_is_no_duplicate(tmp_path: Path) -> None:
    text = """
    policies:
      a: &base {min_abs: 1, min_rel: 1}
      b: &more {<<: *base, min_abs: 2}
      c: {<<: *more, min_abs: 3}
    """
    policies = load(config(tmp_path, text)).policies
    assert [policies[name].min_abs for name in "abc"] == [1, 2, 3]
    assert policies["c"].min_rel == 1


def test_a_wrong_file_is_not_echoed(tmp_path: Path) -> None:
    text = "".join(f"{name * 30}: secret_{name}\n" for name in "abcdefgh")
    message = refused(tmp_path, text)
    assert message.count("unknown key") == 3
    assert message.count("known keys:") == 1
    assert "and 5 more mistakes" in message
    assert "secret" not in message
    assert message.count(str(tmp_path)) == 1
    assert len(message) <= 400
    assert len(refused(tmp_path, f"{'k' * 5000}: 1")) <= 400
    assert len(refused(tmp_path, f"step: {'v' * 5000}")) <= 400
    assert len(refused(tmp_path, f"? {'d' * 500}\n: 1\n? {'d' * 500}\n: 1")) <= 400
    both = refused(tmp_path, "qwertz: 1\nprometheus: {asdfgh: 1}")
    assert both.count("known keys:") == 2
    refused(tmp_path, 'policies: {"two\\nlines": {min_abs: -1}}')


def test_a_kind_may_be_written_as_in_the_rules() -> None:
    settings = Settings(
        policies={
            "Requests": {"min_rel": 0.5},
            "resource": {"min_abs": 2},
            "OTHER": {"min_abs": 3},
        },
        signals=[{"name": "a", "query": "up", "kind": "Resource"}],
    )
    assert policy_of(settings, "rps", "traffic").min_rel == 0.5
    assert policy_of(settings, "cpu", "saturation").min_abs == 2
    assert policy_of(settings, "x", "other").min_abs == 3
    assert own_signals(settings)[0].kind == "saturation"


def test_a_secret_in_a_url_is_not_repeated(tmp_path: Path) -> None:
    assert "hunter2" not in refused(tmp_path, "prometheus: {url: 'http://a:hunter2@host'}")


def test_a_missing_file_and_a_file_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yml"):
        load(tmp_path / "absent.yml")
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.yml"):
        load(tmp_path / "binary.yml")
    with pytest.raises(ConfigError):
        load(tmp_path)


def test_an_empty_file_means_defaults(tmp_path: Path) -> None:
    assert load(config(tmp_path, "# nothing\n")) == load(None)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("DETECTOR_STPE", "did you mean DETECTOR_STEP?"),
        ("DETECTOR_PROMETHEUS__ULR", "did you mean DETECTOR_PROMETHEUS__URL?"),
        ("DETECTOR_PROMETHEUS_URL", "did you mean DETECTOR_PROMETHEUS__URL?"),
        ("detector_stpe", "did you mean DETECTOR_STEP?"),
        ("DETECTOR_XXXXXXXXXXXXXXX", "see the README"),
    ],
)
def test_a_misspelt_variable(monkeypatch: pytest.MonkeyPatch, name: str, says: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match="unknown variable") as caught:
        load(None)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DETECTOR_STEP", "soon"),
        ("DETECTOR_SIGNALS", "no json"),
        ("DETECTOR_MAX_SERIES", "-1"),
        ("DETECTOR_POLICIES__TRAFFIC", "no json"),
    ],
)
def test_a_bad_value_in_a_variable_is_blamed_on_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="^environment: ") as caught:
        load(config(tmp_path, "delay: 20s"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("DETECTOR_PROMETHEUS", "must be JSON; or use DETECTOR_PROMETHEUS__URL"),
        ("detector_rules", "must be JSON; or use DETECTOR_RULES__URL"),
        ("DETECTOR_SIGNALS", "must be JSON"),
        ("DETECTOR_POLICIES", "must be JSON"),
        ("DETECTOR_PROMETHEUS__HEADERS", "must be JSON"),
        ("DETECTOR_RULES__FILES", "must be JSON"),
        ("DETECTOR_MASKS__MUTE", "must be JSON"),
        ("DETECTOR_GROUPS", "must be JSON"),
    ],
)
def test_a_variable_that_is_no_json(monkeypatch: pytest.MonkeyPatch, name: str, says: str) -> None:
    monkeypatch.setenv(name, "hunter2")
    with pytest.raises(ConfigError) as caught:
        load(None)
    assert str(caught.value) == f"environment: {name} {says}"
