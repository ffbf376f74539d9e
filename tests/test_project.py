"""The project's own files: what is locked, what make offers, what no file may hold."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from tools import ROOT

# The image installs the first one, .venv the second.
RUN, DEV = "requirements.lock", "requirements-dev.lock"
locks = pytest.mark.parametrize("lock", [RUN, DEV])


def _locked(lock: str) -> dict[str, list[str]]:
    """Return the lines of a lock file by package."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[a-zA-Z0-9])", "\n" + text)[1:]
    return {re.split(r"[=\s]", entry)[0]: entry.splitlines() for entry in entries}


@locks
def test_a_lock_file_names_no_place(lock: str) -> None:
    for line in (ROOT / lock).read_text(encoding="utf-8").splitlines():
        assert "://" not in line
        assert not line.startswith("-")
        assert "file:" not in line
        assert not re.search(r"(^|[\s=\"'])/", line), line


@locks
def test_every_locked_package_has_hashes(lock: str) -> None:
    packages = _locked(lock)
    assert len(packages) > 40
    for name, lines in packages.items():
        assert re.match(rf"{re.escape(name)}==\S+", lines[0]), lines[0]
        assert sum("--hash=sha256:" in line for line in lines) >= 1, name
    assert "prometheus-anomaly-detector" not in packages


def test_every_dependency_is_locked_where_it_is_needed() -> None:
    file = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = file["project"]["optional-dependencies"]

    def names(requirements: list[str]) -> set[str]:
        return {
            re.split(r"[<>=!~;\[ ]", item)[0].lower().replace("_", "-") for item in requirements
        }

    run = names(file["project"]["dependencies"] + extras["simulator"])
    run |= names(file["dependency-groups"]["build"])
    assert run <= set(_locked(RUN))
    assert run | names(extras["dev"]) <= set(_locked(DEV))
    # No tools for development in the image.
    assert not names(extras["dev"]) & set(_locked(RUN))


def test_both_lock_files_agree() -> None:
    def versions(lock: str) -> set[str]:
        return {line.rstrip(" \\") for lines in _locked(lock).values() for line in lines[:1]}

    assert versions(RUN) < versions(DEV)


def test_make_has_the_promised_targets() -> None:
    for target in ("demo", "up", "down", "test", "check", "fmt", "golden", "bench"):
        done = subprocess.run(
            ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_make_hands_the_hour_on() -> None:
    command = ["make", "--dry-run", "demo", "AT=Sun 04:00"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert '--at "Sun 04:00"' in done.stdout


def test_ci_calls_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make --no-print-directory test </dev/null" in script.read_text(encoding="utf-8")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The installer, working on an empty folder."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("install", ROOT / "scripts" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "TOOLS", tmp_path / ".tools")
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    return module


def _programs(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / name).chmod(0o755)


def test_what_is_on_path_is_not_fetched(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("prometheus", "promtool", "prometheus-alertmanager", "amtool", "pushgateway")
    _programs(tmp_path / "bin", *names)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    install.install_programs("prometheus")
    assert not (tmp_path / ".tools").exists()


def test_a_machine_without_apt_is_told_what_to_install(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["install.py", "prometheus"])
    assert install.main() == 1
    with pytest.raises(install.InstallError, match="no Debian or Ubuntu.*install Prometheus 2.x"):
        install.install_programs("prometheus")


def test_a_machine_without_network_is_told_so_in_one_line(
    install: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _programs(tmp_path / "bin", "dpkg")
    (tmp_path / "bin" / "apt-get").write_text("#!/bin/sh\necho 'E: no route to host' >&2\nexit 100")
    (tmp_path / "bin" / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/bin")
    monkeypatch.setattr(sys, "argv", ["install.py", "prometheus"])
    assert install.main() == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "no route to host" in last
    assert "install Prometheus 2.x, Alertmanager and Pushgateway yourself" in last


def test_an_old_python_is_told_so(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "OLDEST_PYTHON", (99, 0))
    with pytest.raises(install.InstallError, match="Python 99.0 or later is needed.*PYTHON="):
        install.install_venv()


def test_a_python_without_venv_is_told_what_to_install(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(install.InstallError, match="apt-get install python3-venv"):
        install.make_venv()


def test_an_interrupted_fetch_is_repeated(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / ".tools" / "usr" / "bin"
    tools.mkdir(parents=True)
    _programs(tools, "prometheus", "promtool", "amtool", "alertmanager", "pushgateway")
    monkeypatch.setenv("PATH", str(tmp_path))
    asked: list[list[str]] = []
    monkeypatch.setattr(install, "download", lambda packages, group: asked.append(packages) or [])
    monkeypatch.setattr(install, "write_program", lambda *_: None)
    (tools / "prometheus-alertmanager").write_bytes(b"")
    install.install_programs("prometheus")
    assert asked == [["prometheus", "prometheus-alertmanager", "prometheus-pushgateway"]]
    # Now complete, and left alone.
    install.install_programs("prometheus")
    assert len(asked) == 1


@pytest.mark.parametrize("arguments", [[], ["prometheus", "grafana"]])
def test_wrong_arguments(
    install: ModuleType, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["install.py", *arguments])
    assert install.main() == 2
