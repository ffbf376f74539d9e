"""Why a text file cannot be read, as one line with the place."""

from __future__ import annotations

from pathlib import Path

import yaml

from detector.errors import ConfigError


def unreadable(path: Path | str, error: Exception) -> ConfigError:
    """Return the error that says why a file is of no use.

    Parameters
    ----------
    path : Path or str
        The file, as the user named it.
    error : OSError, UnicodeDecodeError or yaml.YAMLError
        What reading or parsing it raised.

    Examples
    --------
    >>> unreadable(Path("a.yml"), IsADirectoryError(21, "Is a directory"))
    ConfigError('a.yml: cannot be read: Is a directory')
    """
    if isinstance(error, yaml.YAMLError):
        line, problem = yaml_mistake(error)
        return ConfigError(f"{path}:{line}: no valid YAML: {problem}")
    if isinstance(error, UnicodeDecodeError):
        return ConfigError(f"{path}: cannot be read: it is no text in UTF-8")
    return ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}")


def yaml_mistake(error: yaml.YAMLError) -> tuple[int, str]:
    """Return the line, 1 where the parser names none, and what is wrong there."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return (mark.line + 1 if mark else 1), problem
