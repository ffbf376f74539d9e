"""Compiled kernels are kept apart for each state of the sources: none runs what it once called."""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher

import detector
from detector import kernel_cache

PACKAGE = Path(kernel_cache.__file__).parent
# `block_medians` calls `median12` of another file.
PROGRAM = """
import numpy as np
from detector import medians
print(medians.block_medians(np.arange(24.0), 12)[0])
print(sum(medians.block_medians.stats.cache_hits.values()))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(
        PACKAGE, tmp_path / "detector", ignore=shutil.ignore_patterns("__pycache__", "*.nb?")
    )
    return tmp_path


def run(folder: Path, **environment: str) -> list[float]:
    """Run the program on a copy of the package; return the median, and how often it was loaded."""
    inherited = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        env=inherited | {"PYTHONPATH": str(folder)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(line) for line in done.stdout.split()]


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob(kernel_cache.PREFIX + "*"))


def test_what_a_kernel_calls_is_compiled_anew_with_it(copy: Path) -> None:
    assert run(copy) == [5.5, 0.0]
    assert run(copy) == [5.5, 1.0]
    beside = copy / "detector" / "__pycache__"
    before = kept(beside)
    assert len(before) == 1

    networks = copy / "detector" / "networks.py"
    with networks.open("a", encoding="utf-8") as file:
        file.write(
            "\n\n@inlined\ndef median12(a, b, c, d, e, f, g, h, i, j, k, m):\n    return m\n"
        )
    assert run(copy) == [11.0, 0.0]
    # What was compiled of the former sources is gone.
    assert len(kept(beside)) == 1
    assert kept(beside) != before


def test_the_folder_that_was_asked_for_is_used_and_nothing_in_it_removed(
    copy: Path, tmp_path: Path
) -> None:
    asked = tmp_path / "asked"
    other = asked / f"{kernel_cache.PREFIX}0123456789ab"
    other.mkdir(parents=True)
    run(copy, NUMBA_CACHE_DIR=str(asked))
    assert len(kept(asked)) == 2
    assert not kept(copy / "detector" / "__pycache__")


def test_where_the_package_cannot_be_written_the_user_s_cache_is_used(
    copy: Path, tmp_path: Path
) -> None:
    # A file where the folder would be: permissions do not stop root.
    (copy / "detector" / "__pycache__").write_text("")
    home = tmp_path / "home"
    assert run(copy, XDG_CACHE_HOME=str(home)) == [5.5, 0.0]
    assert len(kept(home / "detector")) == 1
    assert run(copy, XDG_CACHE_HOME=str(home)) == [5.5, 1.0]


def test_constants_of_other_files_count_and_files_without_kernels_do_not(copy: Path) -> None:
    package = copy / "detector"
    before = kernel_cache.digest(package)
    for name, counts in (
        ("web.py", False),
        ("names.py", True),
        ("models/baseline.py", True),
        ("verdict.py", True),
    ):
        with (package / name).open("a", encoding="utf-8") as file:
            file.write("\n")
        after = kernel_cache.digest(package)
        assert (after != before) == counts, name
        before = after


def test_each_file_with_kernels_counts() -> None:
    """What numba compiled, however it was asked to."""
    found = set()
    for module in pkgutil.walk_packages(detector.__path__, "detector."):
        members = vars(importlib.import_module(module.name)).values()
        found |= {value.__module__ for value in members if isinstance(value, Dispatcher)}
    counted = {f"detector.{name}" for name in kernel_cache.parts(kernel_cache.PACKAGE)}
    assert len(found) > 20
    assert found <= counted
