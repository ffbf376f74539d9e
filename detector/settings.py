"""What can be set: every key of the configuration with its default, type and limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from detector import names
from detector.durations import parse_duration
from detector.errors import ConfigError
from detector.pipeline import Schedule
from detector.series import Direction, Missing, Policy, Signal

PREFIX = "DETECTOR_"


def _seconds(value: Any) -> float:
    try:
        return parse_duration(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _whole_seconds(value: Any) -> int:
    seconds = _seconds(value)
    if seconds != int(seconds):
        raise ValueError(f"{value!r} must be whole seconds")
    return int(seconds)


def _server_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{parts.scheme or 'this'} is no http(s) URL; write http://host:9090")
    if parts.username or parts.password:
        raise ValueError("credentials do not belong in a URL; use username and password_file")
    if "?" in url or "#" in url:
        raise ValueError("a server's URL has no ? and no #; write http://host:9090")
    try:
        parts.port  # noqa: B018  # looked at for its check
    except ValueError as error:
        raise ValueError(f"{error}; write http://host:9090") from None
    return url.rstrip("/")


def known_kind(word: str) -> str | None:
    """Return the canonical kind for a word, None when it names no kind."""
    kind = names.kind_of(word)
    return None if kind == "other" and word.strip().lower() != "other" else kind


def _kind(value: str) -> str:
    kind = known_kind(value)
    if kind is None:
        raise ValueError(f"unknown kind {value!r}; choose from {', '.join(names.KINDS)}")
    return kind


def _listen(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(r"[^:\s]+:\d{1,5}", value):
        raise ValueError("write host:port, such as 127.0.0.1:9112 or 0.0.0.0:9112")
    return value


def _limits(value: Any) -> Any:
    if value is not None and not (isinstance(value, (list, tuple)) and len(value) == 2):
        raise ValueError("limits must be [lower, upper]; null means none")
    return value


Duration = Annotated[float, BeforeValidator(_seconds)]
WholeSeconds = Annotated[int, BeforeValidator(_whole_seconds)]
ServerUrl = Annotated[str, AfterValidator(_server_url)]
Kind = Annotated[str, AfterValidator(_kind)]
Listen = Annotated[str, BeforeValidator(_listen)]
Limits = Annotated[tuple[float | None, float | None] | None, BeforeValidator(_limits)]


class Strict(BaseModel):
    """Base of all sections: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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

    @model_validator(mode="after")
    def _ordered(self) -> PolicySettings:
        low, high = self.limits or (None, None)
        if low is not None and high is not None and not low < high:
            raise ValueError(f"limits [{low}, {high}] must be [lower, upper]; null means none")
        return self


class SignalSettings(PolicySettings):
    """A signal defined here, in addition to those of the rules."""

    name: Annotated[str, Field(min_length=1)]
    query: Annotated[str, Field(min_length=1)]
    kind: Kind = "other"


# What each kind means unless told otherwise: direction, floors, absence, lower limit.
KIND_POLICIES: dict[str, Policy] = {
    "traffic": Policy("both", 0.0, 0.10, "nodata", 0.0),
    "latency": Policy("up", 0.010, 0.15, "nodata", 0.0),
    "errors": Policy("up", 0.010, 0.10, "zero", 0.0),
    "saturation": Policy("up", 0.0, 0.20, "nodata", 0.0),
    "drift": Policy("up", 0.050, 0.20, "nodata", 0.0),
    "quality": Policy("both", 0.050, 0.0, "nodata"),
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
    if name.endswith("_ratio"):
        # The naming convention of Prometheus: a share of one.
        values["lower"], values["upper"] = 0.0, 1.0
    of_kind = next((p for word, p in settings.policies.items() if known_kind(word) == kind), None)
    for layer in (of_kind, settings.policies.get(name), own):
        if layer is None:
            continue
        for field in ("direction", "min_abs", "min_rel", "missing"):
            if getattr(layer, field) is not None:
                values[field] = getattr(layer, field)
        if layer.limits is not None:
            low, high = layer.limits
            values["lower"] = float("-inf") if low is None else low
            values["upper"] = float("inf") if high is None else high
    return Policy(**values)


def own_signals(settings: Settings) -> list[Signal]:
    """Return the signals defined in the configuration itself."""
    return [
        Signal(s.name, s.kind, ((s.query, ()),), policy_of(settings, s.name, s.kind, s))
        for s in settings.signals
    ]
