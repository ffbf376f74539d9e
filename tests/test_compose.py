"""The compose file and the image: valid, local only, without default secrets, on our own files."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from tools import ROOT, run, tool

import detector.cli
import simulator.cli

COMPOSE = ROOT / "docker-compose.yml"
ONE_SHOTS = {"keys", "train", "seed"}
# Each of these is mounted by compose and used, ports and paths replaced, by the native stack.
SHARED = {
    "rules",
    "alertmanager/alertmanager.yml",
    "alertmanager/templates",
    "simulator/config/prometheus.yml",
    "simulator/config/detector.yml",
}


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    """What docker-compose makes of the file: aliases merged, paths absolute."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_FILE")}
    result = subprocess.run(
        [tool("docker-compose"), "-f", str(COMPOSE), "config"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    content = yaml.safe_load(result.stdout)
    assert isinstance(content, dict)
    return content


@pytest.fixture(scope="module")
def services(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = config["services"]
    assert isinstance(found, dict)
    return found


def test_compose_accepts_the_file_without_any_variable_set() -> None:
    result = run("docker-compose", "-f", COMPOSE, "config", "-q")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [("restart: unless-stopped", "restrat: always"), ("x-app: &app", "name: x\nx-app: &app")],
)
def test_compose_refuses_mistakes(old: str, new: str, tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(COMPOSE.read_text("utf-8").replace(old, new), "utf-8")
    assert run("docker-compose", "-f", wrong, "config", "-q").returncode != 0


def test_all_parts_of_the_stack_are_there(services: dict[str, Any]) -> None:
    assert set(services) == ONE_SHOTS | {
        "prometheus",
        "alertmanager",
        "pushgateway",
        "grafana",
        "churn",
        "traffic",
        "detector",
        "notify",
        "sink",
    }


def test_published_ports_are_on_loopback(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 7
    for port in published:
        host = port["host_ip"] if isinstance(port, dict) else str(port).rsplit(":", 2)[0]
        assert host == "127.0.0.1", port
    assert not any("network_mode" in service for service in services.values())


def _binds(services: dict[str, Any]) -> list[tuple[str, str]]:
    binds = []
    for service in services.values():
        for volume in service.get("volumes", []):
            source, _, rest = str(volume).partition(":")
            if source.startswith("/"):
                binds.append((source, rest))
    return binds


def test_mounts_are_files_of_this_repository_read_only(services: dict[str, Any]) -> None:
    binds = _binds(services)
    for source, rest in binds:
        assert Path(source).exists(), source
        assert rest.endswith(":ro"), source
    mounted = {Path(source).relative_to(ROOT).as_posix() for source, _ in binds}
    assert mounted == SHARED | {"grafana/provisioning", "grafana/dashboards"}


def test_configuration_names_the_paths_where_compose_mounts(services: dict[str, Any]) -> None:
    targets = {rest.removesuffix(":ro") for _, rest in _binds(services)}
    prometheus = (ROOT / "simulator/config/prometheus.yml").read_text("utf-8")
    alertmanager = (ROOT / "alertmanager/alertmanager.yml").read_text("utf-8")
    provider = (ROOT / "grafana/provisioning/dashboards/anomaly.yml").read_text("utf-8")
    assert "/etc/prometheus/rules" in targets
    assert "/etc/prometheus/rules/*.rules.yml" in prometheus
    assert "/etc/alertmanager/templates" in targets
    assert "/etc/alertmanager/templates/*.tmpl" in alertmanager
    assert "/var/lib/grafana/dashboards" in targets
    assert "path: /var/lib/grafana/dashboards" in provider
    for service in ("prometheus", "alertmanager"):
        (file,) = (c for c in services[service]["command"] if c.startswith("--config.file="))
        assert file.removeprefix("--config.file=") in targets
    assert services["detector"]["command"][-1] in targets


def test_every_address_in_the_configuration_is_a_service(services: dict[str, Any]) -> None:
    files = [ROOT / "simulator/config" / name for name in ("prometheus.yml", "detector.yml")]
    files += [ROOT / "alertmanager/alertmanager.yml", ROOT / "simulator/config/sink/slack_api_url"]
    files += [ROOT / "simulator/config/sink/notify_slack_url"]
    files += [ROOT / "grafana/provisioning/datasources/prometheus.yml", COMPOSE]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    ports = {
        "prometheus": "9090",
        "alertmanager": "9093",
        "pushgateway": "9091",
        "churn": "8000",
        "traffic": "8010",
        "detector": "9112",
        "notify": "9114",
    }
    addresses = set(re.findall(r"(?:https?://|\[\"|: )([a-z]+):(\d{4})\b", text))
    addresses -= {("localhost", port) for _, port in addresses}
    assert addresses == set(ports.items()) | {("sink", "2525"), ("sink", "8090")}


def test_images_are_pinned(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if "build" in service:
            continue
        tag = service["image"].partition(":")[2]
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag), name
    assert services["prometheus"]["image"].startswith("prom/prometheus:v2.")


def test_what_keeps_running_has_a_health_check(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert ("healthcheck" in service) == (name not in ONE_SHOTS), name
        assert ("restart" in service) == (name not in ONE_SHOTS), name


def test_parts_start_in_an_order_that_leaves_no_gap(services: dict[str, Any]) -> None:
    def waits_for(name: str) -> dict[str, str]:
        return {n: d["condition"] for n, d in services[name].get("depends_on", {}).items()}

    done, healthy = "service_completed_successfully", "service_healthy"
    assert waits_for("train") == {"pushgateway": healthy}
    assert waits_for("prometheus") == {"train": done}
    assert waits_for("seed") == {"prometheus": healthy}
    assert waits_for("churn") == {"seed": done}
    assert waits_for("traffic") == waits_for("detector") == {"churn": healthy}
    assert waits_for("grafana")["keys"] == done


def test_no_password_is_in_the_file(config: dict[str, Any]) -> None:
    grafana = config["services"]["grafana"]
    assert grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/keys/grafana"
    for service in config["services"].values():
        for name in service.get("environment", {}):
            assert not re.search(r"(PASSWORD|TOKEN|SECRET)$", name), name
    assert "secrets.token_urlsafe(24)" in json.dumps(config["services"]["keys"]["command"])
    for secret in config["secrets"].values():
        assert Path(secret["file"]).is_file()


def _commands(services: dict[str, Any]) -> list[list[str]]:
    """Every call of our two programs: as the command itself or in a line of a shell script."""
    calls = []
    for service in services.values():
        command = service.get("command") or []
        if command and command[0] in {"detector", "simulator"}:
            calls.append([str(word) for word in command])
        calls += [
            match[0].split()
            for word in command
            for match in re.finditer(r"\b(?:detector|simulator) [a-z][^\n]*", str(word))
        ]
    return calls


def test_commands_are_ones_the_programs_know(services: dict[str, Any]) -> None:
    calls = _commands(services)
    names = sorted(" ".join(call[:2]) for call in calls)
    assert names == [
        "detector notify",
        "detector run",
        "simulator run",
        "simulator seed",
        "simulator serve",
        "simulator sink",
        "simulator train",
    ]
    programs = {"detector": detector.cli.app, "simulator": simulator.cli.app}
    for program, name, *options in calls:
        # Raises for an unknown option and for one that is missing.
        typer.main.get_group(programs[program]).commands[name].make_context(name, list(options))


def test_the_image_is_small_in_rights_and_pinned_in_content() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if line.startswith("FROM ")).startswith("FROM python:3.11.")
    (install,) = (line for line in lines if "--require-hashes" in line)
    # With setuptools from the lock file, not with whatever is newest.
    (own,) = (line for line in lines if "pip install --no-deps --no-build-isolation ." in line)
    assert lines.index(install) < lines.index(own)
    user = [line for line in lines if line.startswith("USER ")]
    assert user == ["USER app"]
    copied = {part for line in lines if line.startswith("COPY") for part in line.split()[1:-1]}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    assert {f"!{name}" for name in copied} == {line for line in ignored if line.startswith("!")}
    for name in copied:
        assert (ROOT / name).exists(), name


def test_the_lock_file_can_be_installed_by_hash_alone() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "--hash=sha256:" in text
    assert not re.search(r"^-e|^\.|file:|https?://", text, flags=re.M)
