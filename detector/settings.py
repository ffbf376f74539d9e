"""The configuration: defaults, then detector.yml, then DETECTOR_* variables; strict everywhere."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
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
    try:
        parts.port  # noqa: B018  # looked at for its check
    except ValueError as error:
        raise ValueError(f"{error}; write http://host:9090") from None
    return url.rstrip("/")


def _kind(value: str) -> str:
    kind = names.KIND_ALIASES.get(value, value)
    if kind not in names.KINDS:
        raise ValueError(f"unknown kind {value!r}; choose from {', '.join(names.KINDS)}")
    return kind


Duration = Annotated[float, BeforeValidator(_seconds)]
WholeSeconds = Annotated[int, BeforeValidator(_whole_seconds)]
ServerUrl = Annotated[str, AfterValidator(_server_url)]
Kind = Annotated[str, AfterValidator(_kind)]


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
    limits: tuple[float | None, float | None] | None = None

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
    max_series: Annotated[int, Field(ge=1)] = 10_000
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    listen: Annotated[str, Field(pattern=r"^[^:\s]+:\d{1,5}$")] = "127.0.0.1:9112"
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
    for layer in (settings.policies.get(kind), settings.policies.get(name), own):
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


def load(path: Path | None, environ: dict[str, str] | None = None) -> Settings:
    """Read and check the configuration.

    Parameters
    ----------
    path : Path, optional
        A YAML file; without it the defaults and the environment hold.
    environ : dict, optional
        Only for the check of misspelt names; the values come from the process environment.

    Raises
    ------
    ConfigError
        With one line per mistake, each naming the key and what to do.
    """
    _check_environment(dict(os.environ) if environ is None else environ)
    data = _read(path) if path else {}
    try:
        return Settings(**data)
    except ValidationError as error:
        raise ConfigError(
            "; ".join(_describe(_origin(path, e["loc"]), e) for e in error.errors())
        ) from None
    except ValueError as error:
        # pydantic-settings: a DETECTOR_ variable for a section that is no JSON.
        raise ConfigError(f"environment: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{where}: no valid YAML: {problem}") from None
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ConfigError(f"{path}: the top level must be keys and values such as 'step: 1m'")
    return data


def _origin(path: Path | None, location: tuple[Any, ...]) -> str:
    """Return where the value at a location came from: the environment wins over the file."""
    variables = {name.upper() for name in os.environ}
    parts = [str(part).upper() for part in location]
    from_variable = any(PREFIX + "__".join(parts[: i + 1]) in variables for i in range(len(parts)))
    return "environment" if path is None or from_variable else str(path)


def _describe(origin: str, error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"]) or "settings"
    if error["type"] == "extra_forbidden":
        known = _keys_at(error["loc"][:-1])
        close = difflib.get_close_matches(str(error["loc"][-1]), known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
        return f"{origin}: unknown key {where!r}; {hint}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{origin}: {where}: {message}"


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    sections: dict[str, type[BaseModel]] = {
        "prometheus": PrometheusSettings,
        "rules": RulesSettings,
        "signals": SignalSettings,
        "policies": PolicySettings,
    }
    model = sections.get(str(location[0]), Settings) if location else Settings
    return sorted(model.model_fields)


def _check_environment(environ: dict[str, str]) -> None:
    known = {PREFIX + key.upper() for key in Settings.model_fields}
    for section, model in (("prometheus", PrometheusSettings), ("rules", RulesSettings)):
        known |= {f"{PREFIX}{section.upper()}__{key.upper()}" for key in model.model_fields}
    for name in sorted(environ):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in known:
            continue
        if upper.startswith(f"{PREFIX}POLICIES__"):
            continue
        close = difflib.get_close_matches(upper, sorted(known), 1)
        hint = f"did you mean {close[0]}?" if close else "see the README for the known ones"
        raise ConfigError(f"environment: unknown variable {name}; {hint}")
