"""Where compiled kernels are kept: apart for each state of the source files they are made of.

numba compiles anew when a kernel's own file has changed, but what a kernel calls is part of its
machine code, whichever file that is in: after an upgrade or an edit it would run what was called
before.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from numba import config

PACKAGE = Path(__file__).parent
PREFIX = "kernels-"


def use() -> None:
    """Let numba keep the kernels of these sources apart.

    Below NUMBA_CACHE_DIR where that is set, else beside the sources (those of former sources go),
    else in the user's cache; where nothing can be written numba compiles each time.
    """
    name = PREFIX + digest(PACKAGE)
    beside = PACKAGE / "__pycache__"
    asked = os.environ.get("NUMBA_CACHE_DIR")
    given = [Path(asked)] if asked else []
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "detector"
    for base in (*given, beside, users):
        if _writable(base / name):
            vars(config).update(CACHE_DIR=str(base / name))
            for other in base.glob(PREFIX + "*"):
                if base == beside and other.name != name:
                    shutil.rmtree(other, ignore_errors=True)
            return


def digest(package: Path) -> str:
    """Return a digest of all files with kernels, and of those they import constants from."""
    texts = {}
    for path in [*package.glob("*.py"), *package.glob("models/*.py")]:
        name = path.relative_to(package).with_suffix("").as_posix().replace("/", ".")
        texts[name] = path.read_bytes()
    parts = {name for name, text in texts.items() if b"jit" in text}
    for name in sorted(parts):
        for module, members in re.findall(
            rb"from detector(?:\.([\w.]+))? import (.*)", texts[name]
        ):
            parts |= {module.decode()} if module else set(members.decode().split(", "))
    found = hashlib.sha256()
    for name in sorted(parts & texts.keys()):
        found.update(name.encode() + texts[name])
    return found.hexdigest()[:12]


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
