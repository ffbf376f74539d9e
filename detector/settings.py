"""What can be set: every key of the configuration with its default, type and limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from detector import names, promql
from detector.errors import ConfigError
from detector.fields import (
    Duration,
    Limits,
    Listen,
    ServerUrl,
    Strict,
    Text,
    WholeSeconds,
    Words,
    Zone,
)
from detector.labels import label_set
from detector.mask_settings import MaskSettings, MasksSettings, meaning
from detector.notify_settings import NotifySettings
from detector.policy import Direction, Missing, Policy
from detector.schedule import Schedule
from detector.series import Condition, Group, Labels, Model, Signal

PREFIX = "DETECTOR_"
# The naming convention of Prometheus for a share of one: limits [0, 1].
RATIO_SUFFIX = "_ratio"


def known_kind(word: str) -> str | None:
    """Return the canonical kind for a word, None when it names no kind."""
    kind = names.kind_of(word)
    return None if kind == "other" and word.strip().lower() != "other" else kind


def _kind(value: str) -> str:
    kind = known_kind(value)
    if kind is None:
        raise ValueError(f"unknown kind {value!r}; choose from {', '.join(names.KINDS)}")
    return kind


Kind = Annotated[str, AfterValidator(_kind)]


class PrometheusSettings(Strict):
    """How to reach Prometheus or anything that speaks its query API."""

    url: ServerUrl = "http://localhost:9090"
    username: str | None = None
    password_file: Path | None = None
    bearer_token_file: Path | None = None
    headers: dict[str, str] = {}
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    timeout: Duration = 30.0

    @model_validator(mode="after")
    def _in_use(self) -> PrometheusSettings:
        for alone, needed in (("password_file", "username"), ("key_file", "cert_file")):
            if getattr(self, alone) is not None and getattr(self, needed) is None:
                raise ValueError(f"{alone} is not used without {needed}; add it or remove {alone}")
        return self


class RulesSettings(Strict):
    """Where recording rules that are signals are read: a server, files, or neither."""

    url: ServerUrl | None = None
    files: list[str] = []
    enabled: bool = True


class PolicySettings(Strict):
    """Policy keys; those left out keep the default of the signal's kind."""

    direction: Direction | None = None
    min_abs: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    min_rel: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    missing: Missing | None = None
    limits: Limits = None
    sensitivity: Annotated[float, Field(ge=0.1, le=10)] | None = None
    timezone: Zone | None = None
    model: Model | None = None
    when: Text | None = None

    @model_validator(mode="after")
    def _ordered(self) -> PolicySettings:
        low, high = self.limits or (None, None)
        if low is not None and high is not None and not low < high:
            raise ValueError(f"limits [{low}, {high}] must be [lower, upper]; null means none")
        return self


class SignalSettings(PolicySettings):
    """A signal defined here, in addition to those of the rules."""

    name: Text
    query: Text
    kind: Kind = "other"


class GroupSettings(Strict):
    """Signals that are judged together."""

    name: Text
    model: Literal["forest"] = "forest"
    signals: Annotated[list[Text], Field(min_length=2)]
    by: Words = []

    @model_validator(mode="after")
    def _distinct(self) -> GroupSettings:
        for words in (self.signals, self.by):
            twice = sorted({word for word in words if words.count(word) > 1})
            if twice:
                raise ValueError(f"{twice[0]!r} is given twice")
        return self


# What each kind means unless told otherwise: direction, floors, absence, lower limit.
KIND_POLICIES: dict[str, Policy] = {
    "traffic": Policy("both", 0.0, 0.10, "nodata", 0.0),
    "latency": Policy("up", 0.010, 0.15, "nodata", 0.0),
    "errors": Policy("up", 0.010, 0.10, "zero", 0.0),
    "saturation": Policy("up", 0.0, 0.20, "nodata", 0.0, trend=True),
    "drift": Policy("up", 0.050, 0.20, "nodata", 0.0, trend=True),
    "quality": Policy("both", 0.050, 0.0, "nodata", trend=True),
    "other": Policy(),
}


class Settings(BaseSettings):
    """All settings of the detector."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    prometheus: PrometheusSettings = PrometheusSettings()
    rules: RulesSettings = RulesSettings()
    step: WholeSeconds = 60
    profile: WholeSeconds = 300
    history: WholeSeconds = 28 * 86400
    refit: WholeSeconds = 86400
    delay: Duration = 30.0
    signals: list[SignalSettings] = []
    policies: dict[str, PolicySettings] = {}
    groups: list[GroupSettings] = []
    masks: MasksSettings = MasksSettings()
    exclude_alerts: Words = []
    notify: NotifySettings = NotifySettings()
    max_series: Annotated[int, Field(ge=1)] = 1_000
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    listen: Listen = "127.0.0.1:9112"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        try:
            schedule(self)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        seen: set[str] = set()
        for signal in self.signals:
            if signal.name in seen:
                raise ValueError(f"signal {signal.name!r} is defined twice; one query a name here")
            seen.add(signal.name)
        for group in self.groups:
            if group.name in seen:
                raise ValueError(f"group {group.name!r}: another signal or group has this name")
            seen.add(group.name)
        kinds: dict[str, str] = {}
        for word in self.policies:
            first = kinds.setdefault(known_kind(word) or word, word)
            if first != word:
                raise ValueError(f"policies: {first!r} and {word!r} are the same kind; keep one")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment above the file, which arrives as keyword arguments."""
        assert isinstance(init_settings, InitSettingsSource)
        return env_settings, init_settings


def schedule(settings: Settings) -> Schedule:
    """Return the grids of time these settings describe."""
    return Schedule(settings.step, settings.profile, settings.history, settings.refit)


def policy_of(
    settings: Settings, name: str, kind: str, own: PolicySettings | None = None
) -> Policy:
    """Return the policy of a signal: kind's default, `policies` by kind, by name, its own keys."""
    policy = KIND_POLICIES[kind]
    values = {field: getattr(policy, field) for field in Policy.__dataclass_fields__}
    if name.endswith(RATIO_SUFFIX):
        values["lower"], values["upper"] = 0.0, 1.0
    for layer in _layers(settings, name, kind, own):
        for field in ("direction", "min_abs", "min_rel", "missing", "sensitivity", "timezone"):
            if getattr(layer, field) is not None:
                values[field] = getattr(layer, field)
        if layer.limits is not None:
            low, high = layer.limits
            values["lower"] = float("-inf") if low is None else low
            values["upper"] = float("inf") if high is None else high
    return Policy(**values)


def signal_of(
    settings: Settings,
    name: str,
    kind: str,
    queries: tuple[tuple[str, Labels], ...],
    source: str = "detector.yml",
    own: PolicySettings | None = None,
) -> Signal:
    """Return a signal with all that the configuration says about it."""
    model: Model = "seasonal"
    gate: str | None = None
    for layer in _layers(settings, name, kind, own):
        model, gate = layer.model or model, layer.when or gate
    policy = policy_of(settings, name, kind, own)
    conditions = _gate(gate) + _masks(settings, name)
    return Signal(name, kind, queries, policy, source, model, conditions)


def own_signals(settings: Settings) -> list[Signal]:
    """Return the signals defined in the configuration itself."""
    return [signal_of(settings, s.name, s.kind, ((s.query, ()),), own=s) for s in settings.signals]


def own_groups(settings: Settings) -> list[Group]:
    """Return the groups of signals."""
    return [Group(g.name, g.model, tuple(g.signals), tuple(g.by)) for g in settings.groups]


def _layers(
    settings: Settings, name: str, kind: str, own: PolicySettings | None
) -> list[PolicySettings]:
    """Return what is set for a signal, the last word last: its kind, its name, its own keys."""
    of_kind = next((p for word, p in settings.policies.items() if known_kind(word) == kind), None)
    return [p for p in (of_kind, settings.policies.get(name), own) if p is not None]


def _gate(query: str | None) -> tuple[Condition, ...]:
    bits = names.Mask.UNTAUGHT | names.Mask.MUTED | names.Mask.GATED
    return () if query is None else (Condition("when", bits, query, gate=True),)


def _masks(settings: Settings, name: str) -> tuple[Condition, ...]:
    """Return the conditions of `masks` and `exclude_alerts` that concern a signal."""
    lists: tuple[tuple[str, names.Mask, list[MaskSettings]], ...] = (
        ("train", names.Mask.UNTAUGHT, settings.masks.train),
        ("mute", names.Mask.MUTED, settings.masks.mute),
    )
    found = [
        Condition(f"masks.{word}.{i}", bits, meaning(mask), match=label_set(mask.match))
        for word, bits, masks in lists
        for i, mask in enumerate(masks)
        if not mask.signals or name in mask.signals
    ]
    if settings.exclude_alerts:
        alerts = promql.firing(settings.exclude_alerts)
        found.append(Condition("exclude_alerts", names.Mask.UNTAUGHT, alerts))
    return tuple(found)
