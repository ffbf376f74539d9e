"""Twenty seeded mistakes in the rules, each noticed by their unit tests; thorough: all of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from examples import THOROUGH
from mutants import EQUIVALENT, Mutant, mutants
from tools import ROOT, run

RULES = ROOT / "rules"
ALL = [
    mutant
    for folder in (RULES, RULES / "library")
    for file in sorted(folder.glob("*.rules.yml"))
    for mutant in mutants(file)
    if not EQUIVALENT.search(str(mutant))
]
CHOSEN = ALL if THOROUGH else [ALL[i] for i in np.random.default_rng(7).permutation(len(ALL))[:20]]


@pytest.mark.parametrize("mutant", CHOSEN, ids=str)
def test_a_mistake_is_noticed(mutant: Mutant, tmp_path: Path) -> None:
    below = mutant.file.parent.relative_to(RULES)
    test = mutant.file.name.replace(".rules.", ".test.")
    tests = tmp_path / "tests" / below
    tests.mkdir(parents=True)
    (tmp_path / below).mkdir(exist_ok=True)
    shutil.copy(RULES / "tests" / below / test, tests / test)
    (tmp_path / below / mutant.file.name).write_text(yaml.safe_dump(mutant.content), "utf-8")
    assert run("promtool", "test", "rules", test, cwd=tests).returncode != 0, str(mutant)


def test_every_kind_of_mistake_is_among_them() -> None:
    kinds = {mutant.mistake.split()[0] for mutant in ALL}
    assert kinds == {"metric", "matcher", "threshold", "by", "for", "no", "label"}
    assert {mutant.file.name for mutant in ALL} == {
        file.name for folder in (RULES, RULES / "library") for file in folder.glob("*.rules.yml")
    }
