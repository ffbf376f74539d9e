"""Puts what `make` needs into this folder: `.venv` with the locked packages, programs in `.tools`.

    python3 scripts/install.py venv prometheus compose browser postgres

Uses the standard library only, because it runs before anything is installed. Needs no root and
changes nothing outside the folder. What is there already is left alone, in a fraction of a second.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from programs import (
    ALERTMANAGER_WRAPPER,
    BROWSER_WRAPPER,
    COMPOSE_WRAPPER,
    GROUP_NAMES,
    POSTGRES_BIN,
    PROGRAMS,
    TEMPLATES,
)

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools"
LOCK_FILE = "requirements-dev.lock"
OLDEST_PYTHON = (3, 11)


class InstallError(Exception):
    """Something cannot be had; the message is one line that says what to do."""


def main() -> int:
    """Install the groups named on the command line."""
    groups = sys.argv[1:]
    unknown = [name for name in groups if name != "venv" and name not in PROGRAMS]
    if unknown or not groups:
        say(f"usage: install.py [venv] [{'] ['.join(PROGRAMS)}]")
        return 2
    try:
        with only_one():
            for name in groups:
                if name == "venv":
                    install_venv()
                else:
                    install_programs(name)
    except InstallError as error:
        say(str(error))
        return 1
    return 0


def install_venv() -> None:
    """Make `.venv` hold exactly the locked packages and this project."""
    if sys.version_info < OLDEST_PYTHON:
        raise InstallError(
            f"Python {'.'.join(map(str, OLDEST_PYTHON))} or later is needed, this is "
            f"{sys.version.split()[0]}; name another with: make PYTHON=/path/to/python3"
        )
    # Scripts in a virtual environment hold its path: a folder that was moved is installed anew.
    key = fingerprint(LOCK_FILE, "pyproject.toml", sys.version, str(ROOT))
    stamp = VENV / "installed"
    if stamp.is_file() and stamp.read_text() == key and (VENV / "bin" / "detector").exists():
        return
    python = VENV / "bin" / "python"
    if not (VENV / "pyvenv.cfg").exists() or not works(python):
        say("making the virtual environment .venv")
        make_venv()
    stamp.unlink(missing_ok=True)
    packages = len(re.findall(r"^[A-Za-z0-9]", (ROOT / LOCK_FILE).read_text(), re.MULTILINE))
    say(f"installing {packages} packages into .venv (a minute or two)")
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    advice = "is there a network, and does pip reach a package index?"
    run([*pip, "--require-hashes", "--requirement", LOCK_FILE], "pip cannot install them", advice)
    project = ["--no-deps", "--no-build-isolation", "--editable", "."]
    run([*pip, *project], "pip cannot install this project", "its last words are above")
    say("compiling the detector's kernels")
    run([str(python), "-m", "detector.warm"], "the kernels do not compile", "the error is above")
    stamp.write_text(key)


def make_venv() -> None:
    """Make an empty virtual environment; says what to install when Python cannot."""
    try:
        import ensurepip  # noqa: F401  # Debian ships Python without it
        import venv
    except ImportError:
        raise InstallError(
            "this Python cannot make virtual environments; run: sudo apt-get install python3-venv"
        ) from None
    try:
        venv.create(VENV, clear=True, with_pip=True, symlinks=True)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(VENV, ignore_errors=True)
        raise InstallError(f"cannot make {VENV}: {error}") from None


def install_programs(group: str) -> None:
    """Fetch the packages of the programs of one group that are neither on PATH nor in `.tools`."""
    stamp = TOOLS / f"{group}.installed"
    key = fingerprint("scripts/install.py", "scripts/programs.py")
    # Without the stamp an earlier run was interrupted, and its files may be cut short.
    complete = stamp.is_file() and stamp.read_text() == key
    places = [None, *map(str, Path("/").glob(POSTGRES_BIN))]
    if complete:
        places += [str(TOOLS / "bin"), str(TOOLS / "usr" / "bin")]
        places += map(str, TOOLS.glob(POSTGRES_BIN))
    packages: dict[str, None] = {}
    for names, sources in PROGRAMS[group].items():
        if not any(shutil.which(name, path=place) for place in places for name in names):
            packages.update(dict.fromkeys(sources))
    if not packages:
        return
    say(f"fetching {GROUP_NAMES[group]} into .tools")
    stamp.unlink(missing_ok=True)
    for package in download(list(packages), group):
        run(["dpkg", "--extract", str(package), str(TOOLS)], f"cannot unpack {package.name}", "")
        package.unlink()
    if group == "compose":
        write_program(TOOLS / "bin" / "docker-compose", COMPOSE_WRAPPER.encode())
    elif group == "browser":
        write_program(TOOLS / "bin" / "chromium-headless-shell", BROWSER_WRAPPER.encode())
    elif "prometheus-alertmanager" in packages:
        binary = (TOOLS / "usr" / "bin" / "prometheus-alertmanager").read_bytes()
        write_program(TOOLS / "libexec" / "alertmanager", binary.replace(*TEMPLATES))
        write_program(TOOLS / "bin" / "alertmanager", ALERTMANAGER_WRAPPER.encode())
    stamp.write_text(key)


def download(packages: list[str], group: str) -> list[Path]:
    """Return the package files, fetched with the machine's package lists or with fresh own ones."""
    instead = f"install {GROUP_NAMES[group].rstrip(',')} yourself so that it is on PATH"
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise InstallError(f"this machine is no Debian or Ubuntu (no apt-get): {instead}")
    folder = TOOLS / "download"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # The user apt would switch to may not write here; without root it switches nothing.
    apt = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root"]
    wanted = packages if group != "postgres" else postgres_packages([])
    if not wanted or quiet([*apt, "download", *wanted], folder) is not None:
        # No lists on this machine, or too old ones. Own lists need no root.
        say("reading the package lists (once)")
        lists, cache = TOOLS / "apt" / "lists", TOOLS / "apt" / "cache"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        (cache / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        own = ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}"]
        quiet([*apt, *own, "update"], folder)
        wanted = packages if group != "postgres" else postgres_packages(own)
        if not wanted:
            raise InstallError(f"the package lists have no {' '.join(packages)}: {instead}")
        if error := quiet([*apt, *own, "download", *wanted], folder):
            raise InstallError(f"cannot fetch {' '.join(wanted[:3])} ({error}): {instead}")
    found = sorted(folder.glob("*.deb"))
    if len(found) < len(wanted):
        raise InstallError(f"apt-get gave {len(found)} of {len(wanted)} packages: {instead}")
    return found


def postgres_packages(options: list[str]) -> list[str]:
    """Return the server's packages by the names of this release, with libraries not installed."""
    depends = ["apt-cache", *options, "depends", "--recurse", "--important", "postgresql"]
    listed = output(depends)
    names = set(re.findall(r"^[a-z0-9][a-z0-9.+-]*$", listed, re.MULTILINE))
    server = [name for name in names if re.fullmatch(r"postgresql(-client)?-\d+", name)]
    status = output(["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n"])
    installed = {line.split()[0] for line in status.splitlines() if line.endswith(" installed")}
    libraries = [name for name in names if name.startswith("lib") and name not in installed]
    return sorted(server) and sorted([*server, *libraries])


def output(command: list[str]) -> str:
    """Return what a command prints, nothing when it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode == 0 else ""


def run(command: list[str], problem: str, advice: str) -> None:
    """Run a command in the project's folder; its output is shown when it fails."""
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.stderr.write((done.stdout + done.stderr)[-3000:])
        raise InstallError("; ".join(filter(None, [problem, advice])))


def quiet(command: list[str], folder: Path) -> str | None:
    """Run a command; returns None when it succeeded, else the last line it said."""
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return lines[-1] if done.returncode else None


def works(python: Path) -> bool:
    """Return whether an environment's interpreter is this Python and has pip."""
    try:
        done = subprocess.run(
            [str(python), "-c", "import sys, pip; print(sys.version)"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == sys.version


def fingerprint(*parts: str) -> str:
    """Return a hash over the contents of files of the project and over other texts."""
    digest = hashlib.sha256()
    for part in parts:
        file = ROOT / part
        digest.update(file.read_bytes() if file.is_file() else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def write_program(path: Path, content: bytes) -> None:
    """Write an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)


@contextlib.contextmanager
def only_one():
    """Let a second `make` in the same folder wait for the first one's installation."""
    TOOLS.mkdir(exist_ok=True)
    with open(TOOLS / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    """Print a line for the user, at once."""
    print(f"install: {text}", file=sys.stderr, flush=True)  # noqa: T201  # a script


if __name__ == "__main__":
    os.environ.setdefault("PIP_NO_INPUT", "1")
    sys.exit(main())
