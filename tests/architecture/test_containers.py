"""`docker-compose.yml` and `Dockerfile` say what the program understands: its commands, settings, paths and files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from fastapi.testclient import TestClient

from app.cli import commands
from app.main import create_app
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"] == "faultline")
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PREFIX = "FAULTLINE_"


def understood(arguments: list[str]) -> None:
    """Parse as `faultline` would, without running anything; unknown commands and options raise."""
    command: Any = typer.main.get_command(commands)
    context: Any = command.make_context("faultline", list(arguments))
    while remaining := [*context._protected_args, *context.args]:
        _, command, rest = command.resolve_command(context, remaining)
        context = command.make_context(command.name, rest, parent=context)


def checks() -> Iterator[tuple[str, list[str]]]:
    for name in OURS:
        if "healthcheck" in SERVICES[name]:
            yield name, SERVICES[name]["healthcheck"]["test"]


def lines(instruction: str) -> list[str]:
    return re.findall(rf"^{instruction} (.+)$", DOCKERFILE, re.MULTILINE)


def test_the_parts_of_a_team_are_there() -> None:
    assert set(SERVICES) == {"postgres", "server", "control", "worker-cpu", "worker-gpu"}
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]
    assert all("healthcheck" in service for service in SERVICES.values())


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_one_of_the_command_line(name: str) -> None:
    assert lines("ENTRYPOINT") == ['["faultline"]']
    understood(SERVICES[name]["command"])


def test_a_command_that_does_not_exist_is_noticed() -> None:
    for wrong in (["serf"], ["worker", "--rule", "cpu"]):
        with pytest.raises(Exception, match="No such"):
            understood(wrong)


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name: str) -> None:
    named = {variable.removeprefix(PREFIX).lower() for variable in SERVICES[name]["environment"]}
    assert named
    assert named <= set(Settings.model_fields)


def test_the_settings_in_force_are_the_team_s(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in SERVICES["server"]["environment"].items():
        monkeypatch.setenv(variable, re.sub(r"\$\{\w+:-(\w+)\}", r"\1", value))
    found = Settings()
    database = SERVICES["postgres"]["environment"]
    user = database["POSTGRES_USER"]
    assert found.database_url == f"postgresql+psycopg://{user}:{user}@postgres/{user}"
    assert found.store_url.startswith(f"{found.home}/")
    assert f"data:{found.home}" in SERVICES["server"]["volumes"]
    assert found.host == "0.0.0.0"


@pytest.mark.parametrize(("name", "test"), list(checks()), ids=[name for name, _ in checks()])
def test_every_health_check_is_one_that_we_answer(name: str, test: list[str], installation: Path) -> None:
    kind, program, *arguments = test
    assert kind == "CMD"
    if program == "faultline":
        understood(arguments)
        return
    asked = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", arguments[-1])
    assert program == "python"
    ast.parse(arguments[-1])
    [(port, path)] = asked
    assert int(port) == Settings.model_fields["port"].default
    with TestClient(create_app()) as browser:
        assert browser.get(path).status_code == 200


@pytest.mark.parametrize("name", OURS)
def test_nobody_starts_before_what_it_needs_is_well(name: str) -> None:
    needed = SERVICES[name]["depends_on"]
    assert set(needed) == ({"postgres"} if name == "server" else {"server"})
    assert all(one == {"condition": "service_healthy"} for one in needed.values())


def test_the_image_holds_what_the_package_is_built_from() -> None:
    copied = {source for line in lines("COPY") for source in line.split()[:-1]}
    build = (ROOT / "pyproject.toml").read_text().partition("[tool.hatch.build.targets.wheel")[2]
    bundled = set(re.findall(r'^"?([a-z]+)"? = "app/_bundle', build, re.MULTILINE))
    assert bundled
    assert {"app", "workers", "pyproject.toml", "README.md", "LICENSE"} | bundled <= copied
    assert all((ROOT / source).exists() for source in copied)


def test_the_image_does_not_run_as_root() -> None:
    assert lines("USER") == ["faultline"]
