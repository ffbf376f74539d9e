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
from collections.abc import Iterator
from pathlib import Path

from numba import config

PACKAGE = Path(__file__).parent
PREFIX = "kernels-"
COMPILED = re.compile(rb"^@(?:jit|inlined|bare)$", re.MULTILINE)
IMPORT = re.compile(rb"^from detector(?:\.([\w.]+))? import (\([^)]*\)|.*)", re.MULTILINE)


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


def parts(package: Path) -> dict[str, bytes]:
    """Return the sources with kernels, and all they import of the package, by module name."""
    texts = {}
    for path in [*package.glob("*.py"), *package.glob("models/*.py")]:
        name = path.relative_to(package).with_suffix("").as_posix().replace("/", ".")
        texts[name] = path.read_bytes()
    found: set[str] = set()
    new = {name for name, text in texts.items() if COMPILED.search(text)}
    while new:
        found |= new
        new = {part for name in new for part in _imported(texts[name])} & texts.keys() - found
    return {name: texts[name] for name in sorted(found)}


def digest(package: Path) -> str:
    """Return a digest of those sources."""
    made = hashlib.sha256()
    for name, text in parts(package).items():
        made.update(name.encode() + text)
    return made.hexdigest()[:12]


def _imported(text: bytes) -> Iterator[str]:
    """Names of modules that a source may import; those of other things do no harm."""
    for module, members in IMPORT.findall(text):
        if module:
            yield module.decode()
        else:
            yield from re.findall(r"\w+", members.decode())


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
