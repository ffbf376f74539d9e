"""The directory of a trained model: model.joblib, and model.json that describes it.

A joblib file can run any code when it is loaded, so it is loaded only when its SHA-256 is the one
recorded in model.json.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib

from detector.errors import ConfigError
from simulator.churn.reference import Reference
from simulator.churn.schema import FEATURES

MODEL_FILE = "model.joblib"
DESCRIPTION_FILE = "model.json"
_FORMAT = 2


@dataclass(frozen=True)
class Artefact:
    """A loaded model and what is recorded beside it.

    Parameters
    ----------
    model : object
        The scikit-learn pipeline of `simulator.churn.model`.
    version : str
        First twelve digits of the model file's SHA-256.
    reference : Reference
        Training distribution, for drift.
    rows : int
        Customers the model was trained and tested on.
    auc : float
        Area under the ROC curve on the held-out part.
    created : str
        UTC time of the training, ISO 8601.
    """

    model: Any
    version: str
    reference: Reference
    rows: int
    auc: float
    created: str


def save(
    directory: Path, model: Any, reference: Reference, *, rows: int, auc: float, created: float
) -> str:
    """Write the artefact (`created` in unix seconds) and return the model's version.

    Raises
    ------
    ConfigError
        When the directory cannot be written.
    """
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    description = {
        "format": _FORMAT,
        "sha256": digest,
        "version": digest[:12],
        "created": datetime.fromtimestamp(created, UTC).isoformat(timespec="seconds"),
        "rows": rows,
        "auc": auc,
        "columns": list(FEATURES),
        "reference": reference.to_json(),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _replace(directory / MODEL_FILE, buffer.getvalue())
        # Last: it vouches for the model file.
        text = json.dumps(description, indent=1, allow_nan=False) + "\n"
        _replace(directory / DESCRIPTION_FILE, text.encode())
    except OSError as error:
        raise ConfigError(
            f"cannot write the model to {directory} ({error.strerror}); choose another --out"
        ) from error
    return digest[:12]


def load(directory: Path) -> Artefact:
    """Read and check an artefact.

    Raises
    ------
    ConfigError
        When it is missing, damaged or not the model its description vouches for; the model file
        is then not unpickled.
    """
    description = _description(directory)
    path = directory / MODEL_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    if hashlib.sha256(content).hexdigest() != description["sha256"]:
        raise ConfigError(
            f"{path} is not the file recorded in {DESCRIPTION_FILE} (its SHA-256 differs) and was "
            "not loaded; run simulator train again"
        )
    try:
        model = joblib.load(io.BytesIO(content))
    except Exception as error:
        # The file is as written, so the libraries must have changed since.
        raise ConfigError(
            f"{path} cannot be loaded with the installed libraries ({type(error).__name__}); "
            "run simulator train again"
        ) from error
    return Artefact(
        model=model,
        version=description["version"],
        reference=Reference.from_json(description["reference"]),
        rows=description["rows"],
        auc=description["auc"],
        created=description["created"],
    )


def _description(directory: Path) -> dict[str, Any]:
    path = directory / DESCRIPTION_FILE
    try:
        description = json.loads(path.read_bytes())
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise ConfigError(f"{path} is damaged; run simulator train again") from error
    wanted = {"sha256", "version", "reference", "rows", "auc", "created", "format", "columns"}
    if not isinstance(description, dict) or not wanted <= description.keys():
        raise ConfigError(f"{path} is damaged; run simulator train again")
    if description["format"] != _FORMAT or description["columns"] != list(FEATURES):
        raise ConfigError(f"{path} is of another version; run simulator train again")
    return description


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot read {path} ({error.strerror}); make a model with: "
        f"simulator train --out {path.parent}"
    )


def _replace(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)
