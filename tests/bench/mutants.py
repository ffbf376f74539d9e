"""Mistakes in rules, routes, templates and dashboards, each held against the suite: who notices?

A copy of the project is made; each mistake is put into it alone and the tests of its part are run
there. A line for each: the mistake, and the first test that failed. Exit code 1 when one survives.

    python tests/bench/mutants.py --number 20 --seed 7
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "grafana")]

from damages import DAMAGES  # noqa: E402  # on the path since the line above
from mutants import EQUIVALENT, mutants  # noqa: E402
from slips import CONFIGURATION, ROUTING, TEMPLATES, WORDING, slips  # noqa: E402

# Tests that only say that a file is another one, or that damage rules and dashboards themselves.
LEFT_OUT = "not committed_is_what_is_built and not damaged and not notice"
TESTS = {
    "rules": ["tests/test_rules.py"],
    "routes": ["tests/test_alertmanager.py"],
    "templates": ["tests/test_alertmanager.py"],
    "dashboards": ["tests/test_dashboards.py"],
}


@dataclass(frozen=True)
class Mistake:
    """A file with a mistake: which part of the product it is of, and what is wrong."""

    part: str
    file: Path
    what: str
    content: str


def mistakes(number: int, rng: random.Random) -> list[Mistake]:
    """Return so many mistakes, an equal share of each part."""
    share = {part: number // 4 + (place < number % 4) for place, part in enumerate(TESTS)}
    return [
        *_rules(share["rules"], rng),
        *_slips("routes", share["routes"], CONFIGURATION, ROUTING, rng),
        *_slips("templates", share["templates"], TEMPLATES, WORDING, rng),
        *_dashboards(share["dashboards"], rng),
    ]


def _rules(number: int, rng: random.Random) -> Iterator[Mistake]:
    files = sorted((ROOT / "rules").glob("*.rules.yml"))
    every = [one for file in files for one in mutants(file) if not EQUIVALENT.search(str(one))]
    for one in rng.sample(every, number):
        yield Mistake("rules", one.file, str(one), yaml.safe_dump(one.content))


def _slips(
    part: str,
    number: int,
    files: tuple[Path, ...],
    kinds: dict[str, tuple[str, str]],
    rng: random.Random,
) -> Iterator[Mistake]:
    for slip in slips(files, kinds, number, rng):
        what = f"{slip.file.name} {slip.kind}: {slip.change}"
        yield Mistake(part, slip.file, what, slip.content)


def _dashboards(number: int, rng: random.Random) -> Iterator[Mistake]:
    files = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
    kinds = rng.sample(sorted(DAMAGES), len(DAMAGES))
    while number and kinds:
        kind, file = kinds.pop(), rng.choice(files)
        board = json.loads(file.read_text(encoding="utf-8"))
        damaged = copy.deepcopy(board)
        what = DAMAGES[kind](damaged, rng)
        if what is not None and damaged != board:
            number -= 1
            text = f"{file.stem} {kind}: {what}"
            yield Mistake("dashboards", file, text, json.dumps(damaged, indent=2))


def held(project: Path, part: str) -> str:
    """Return the first test of a part that fails in a copy of the project, empty when none does."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-k", LEFT_OUT, *TESTS[part]],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (?:tests/)?(\S+)", done.stdout, re.M)
    return failed[1] if failed else f"pytest ends with {done.returncode}"


def main() -> int:
    """Make the mistakes and print who notices each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--number", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    survivors = 0
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory) / "project"
        out = shutil.ignore_patterns(".git", ".venv", ".tools", ".run", "node_modules", "docs")
        shutil.copytree(ROOT, project, symlinks=True, ignore=out)
        for name in (".venv", ".tools"):
            (project / name).symlink_to(ROOT / name)
        for part in TESTS:
            if failed := held(project, part):
                print(f"without any mistake {failed} fails; mend that first", file=sys.stderr)
                return 2
        for mistake in mistakes(options.number, random.Random(options.seed)):
            place = project / mistake.file.relative_to(ROOT)
            right = place.read_bytes()
            place.write_text(mistake.content, encoding="utf-8")
            caught = held(project, mistake.part)
            place.write_bytes(right)
            survivors += not caught
            print(f"{mistake.part:<11}{caught or 'NOBODY NOTICES'} <- {mistake.what}", flush=True)
    print(f"{options.number - survivors} of {options.number} mistakes are noticed")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
