"""Reads detector.yml and DETECTOR_* variables, and says in one line what is wrong with them."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from detector.errors import ConfigError
from detector.mask_settings import MaskSettings, MasksSettings
from detector.notify_settings import (
    EmailSettings,
    NotifySettings,
    SlackSettings,
    TargetSettings,
)
from detector.settings import (
    PREFIX,
    GroupSettings,
    PolicySettings,
    PrometheusSettings,
    RulesSettings,
    Settings,
    SignalSettings,
)
from detector.unreadable import unreadable

# Variables that hold more than one value, with the one to use for a single value.
JSON_VARIABLES = {
    f"{PREFIX}PROMETHEUS": f"{PREFIX}PROMETHEUS__URL",
    f"{PREFIX}RULES": f"{PREFIX}RULES__URL",
    f"{PREFIX}PROMETHEUS__HEADERS": "",
    f"{PREFIX}RULES__FILES": "",
    f"{PREFIX}SIGNALS": "",
    f"{PREFIX}POLICIES": "",
    f"{PREFIX}GROUPS": "",
    f"{PREFIX}MASKS": "",
    f"{PREFIX}MASKS__TRAIN": "",
    f"{PREFIX}MASKS__MUTE": "",
    f"{PREFIX}EXCLUDE_ALERTS": "",
    f"{PREFIX}NOTIFY": "",
    f"{PREFIX}NOTIFY__TARGETS": "",
}
# What is said of a value that is not of the type of its key, by pydantic's name for the mistake.
WORDS = {
    "missing": "is missing and has no default; write it",
    "dict_type": "must have keys and values below it; remove the key if there are none",
    "list_type": "must be a list such as [a, b]; remove the key if it is empty",
    "string_type": "must be a text, in quotes where it is not a word",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "has other characters than letters, digits, _, . and -, or over 40",
    "too_short": "needs at least {min_length}, has {actual_length}",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "path_type": "must be the path of a file",
}
# A file that is no configuration at all must not be printed back.
MOST_MISTAKES = 3
MOST_CHARACTERS = 400


def load(path: Path | None, environ: dict[str, str] | None = None) -> Settings:
    """Read and check the configuration.

    Parameters
    ----------
    path : Path, optional
        A YAML file; without it the defaults and the environment hold.
    environ : dict, optional
        Only for the check of names and of JSON; the values come from the process environment.

    Raises
    ------
    ConfigError
        With one line that names the first mistakes, each by its key, and what to do.
    """
    _check_environment(dict(os.environ) if environ is None else environ)
    data = _read(path) if path else {}
    try:
        return Settings(**data)
    except ValidationError as error:
        raise ConfigError(_mistakes(path, error.errors())) from None
    except ValueError as error:
        # pydantic-settings: a DETECTOR_ variable for a section that is no JSON.
        raise ConfigError(f"environment: {error}") from None


class _Loader(yaml.SafeLoader):
    """YAML in which no key may be given twice; the standard loader takes the last one."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key.value[:40]!r} is given twice", problem_mark=key.start_mark
                )
            seen.add(str(key.value))
        return node


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path with --config") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise unreadable(path, error) from None
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


def _mistakes(path: Path | None, errors: Sequence[Any]) -> str:
    """Return the first mistakes in one line; origin and known keys are not repeated."""
    found: list[str] = []
    hints: list[str] = []
    before = ""
    for error in errors[:MOST_MISTAKES]:
        origin = _origin(path, error["loc"])
        text, hint = _describe(error)
        found.append(text if origin == before else f"{origin}: {text}")
        hints += [hint] if hint and hint not in hints else []
        before = origin
    if len(errors) > MOST_MISTAKES:
        found.append(f"and {len(errors) - MOST_MISTAKES} more mistakes")
    line = " ".join("; ".join(found + hints).split())
    return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 3] + "..."


def _describe(error: Any) -> tuple[str, str]:
    """Return what is wrong, and the keys that would be right where none is close."""
    where = ".".join(str(part) for part in error["loc"]) or "settings"
    where = where if len(where) <= 60 else where[:57] + "..."
    if error["type"] == "extra_forbidden":
        known = _keys_at(error["loc"][:-1])
        close = difflib.get_close_matches(str(error["loc"][-1]), known, 1)
        if close:
            return f"unknown key {where!r}; did you mean {close[0]!r}?", ""
        return f"unknown key {where!r}", f"known keys: {', '.join(known)}"
    if error["type"] in ("model_type", "model_attributes_type"):
        keys = ", ".join(_keys_at(error["loc"]))
        return f"{where}: must have keys and values below it, of {keys}; or remove it", ""
    words = WORDS.get(error["type"])
    said = words.format(**error.get("ctx", {})) if words else error["msg"]
    return f"{where}: {said.removeprefix('Value error, ')}", ""


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    sections: dict[str, type[BaseModel]] = {
        "prometheus": PrometheusSettings,
        "rules": RulesSettings,
        "signals": SignalSettings,
        "policies": PolicySettings,
        "groups": GroupSettings,
        "masks": MasksSettings if len(location) == 1 else MaskSettings,
        "notify": _notify_section(location),
    }
    model = sections.get(str(location[0]), Settings) if location else Settings
    return sorted(field.alias or name for name, field in model.model_fields.items())


def _notify_section(location: tuple[Any, ...]) -> type[BaseModel]:
    if len(location) < 3:
        return NotifySettings
    parts: dict[str, type[BaseModel]] = {"slack": SlackSettings, "email": EmailSettings}
    return parts.get(str(location[-1]), TargetSettings)


def _check_environment(environ: dict[str, str]) -> None:
    known = {PREFIX + key.upper() for key in Settings.model_fields}
    sections: tuple[tuple[str, type[BaseModel]], ...] = (
        ("prometheus", PrometheusSettings),
        ("rules", RulesSettings),
        ("masks", MasksSettings),
        ("notify", NotifySettings),
    )
    for section, model in sections:
        known |= {f"{PREFIX}{section.upper()}__{key.upper()}" for key in model.model_fields}
    for name in sorted(environ):
        upper = name.upper()
        if upper in JSON_VARIABLES and not _is_json(environ[name]):
            single = JSON_VARIABLES[upper]
            raise ConfigError(
                f"environment: {name} must be JSON" + (f"; or use {single}" if single else "")
            )
        if not upper.startswith(PREFIX) or upper in known:
            continue
        if upper.startswith(f"{PREFIX}POLICIES__"):
            continue
        close = difflib.get_close_matches(upper, sorted(known), 1)
        hint = f"did you mean {close[0]}?" if close else "see the README for the known ones"
        raise ConfigError(f"environment: unknown variable {name}; {hint}")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
