"""Hold the promises of the repository's own files: make targets, CI, containers."""

import importlib
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.gateway.routes import SERVICES

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
BACKING = {"postgres", "redis", "storage"}
SECRET = re.compile(r"TOKEN|PASSWORD|SECRET")


def services() -> set[str]:
    return {path.parent.name for path in (ROOT / "services").glob("*/app.py")}


def project_files() -> Iterator[tuple[Path, str]]:
    """Return every text file that a clone would have."""
    local = re.compile(r"\.git|\.env|\.venv.*|var|htmlcov|\.coverage.*|__pycache__|\..*_cache|node_modules|dist")
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not local.fullmatch(name)]
        for path in (Path(folder, name) for name in names if not local.fullmatch(name)):
            try:
                yield path.relative_to(ROOT), path.read_text()
            except UnicodeDecodeError:
                continue


def run(*command: str) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_help_explains_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert targets >= {"help", "up", "dev", "test", "lint", "types", "format", "migrate", "seed", "clean"}
    assert set(re.findall(r"^make ([\w-]+) +\S", run("make"), re.MULTILINE)) == targets
    assert {*targets, "FORCE"} == set(makefile.partition(".PHONY: ")[2].splitlines()[0].split())


def test_ci_checks_what_a_contributor_checks() -> None:
    script = (ROOT / ".ci/run").read_text()
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    check = workflow["jobs"]["check"]
    assert "set -euo pipefail" in script
    assert re.search(r"^exec make .*\blint types test test-all\b", script, re.MULTILINE)
    assert ".ci/run" in [step.get("run") for step in check["steps"]]
    assert check["strategy"]["matrix"]["python"] == ["3.11", "3.14"]


@pytest.mark.parametrize("script", [".ci/run", ".ci/install", "docker/postgres/databases.sh"])
def test_scripts_can_be_run(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    shell = (ROOT / script).read_text().splitlines()[0].split("/")[-1].split()[-1]
    run(shell, "-n", script)


def test_commit_hooks_download_nothing() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}


def test_no_file_knows_a_particular_machine_or_registry() -> None:
    foreign = re.compile(r"(?<![\w.])/(root|home|Users|opt|work)/\w|pypi\.org|pythonhosted\.org")
    assert [str(path) for path, text in project_files() if foreign.search(text)] == []


def test_every_list_of_services_is_the_same() -> None:
    procfile = re.findall(r"^(\w+):", (ROOT / "Procfile").read_text(), re.MULTILINE)
    databases = re.search(r"for service in (.+);", (ROOT / "docker/postgres/databases.sh").read_text())
    assert databases
    assert set(procfile) == services()
    assert set(COMPOSE["services"]) - BACKING == services()
    assert set(databases[1].split()) == services() - {"gateway"} == set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_the_gateway_looks_for_a_service_where_it_listens(name: str) -> None:
    (port,) = [entry for entry in fields(load_config_class(name)) if entry.metadata["name"] == f"{name.upper()}_PORT"]
    service = SERVICES[name]
    assert port.metadata["default"] == str(service.port)
    assert {row.upstream for row in service.routes} == {name}
    assert COMPOSE["services"][name]["environment"][f"{name.upper()}_URL"] == f"http://{name}:{service.port}"


def load_config_class(name: str) -> Any:
    return importlib.import_module(f"services.{name}.config").Config


def test_only_the_gateway_can_be_reached_from_outside_the_stack() -> None:
    assert [name for name, service in COMPOSE["services"].items() if "ports" in service] == ["gateway"]
    assert not any("network_mode" in service for service in COMPOSE["services"].values())
    assert COMPOSE["networks"]["databases"]["internal"]
    assert COMPOSE["networks"]["objects"]["internal"]


def test_every_container_is_watched_and_comes_back() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name


def test_each_service_runs_in_production_as_itself() -> None:
    for name in set(COMPOSE["services"]) - BACKING:
        service = COMPOSE["services"][name]
        assert service["command"] == [name]
        assert service["environment"]["APP_ENV"] == "production"
        assert service["read_only"]


# Of the image, of the network between the containers, and what production does not let anybody choose.
NOT_PASSED = re.compile(r"HOST|DATA_DIR|\w+_PORT|RATELIMIT_ENABLED").fullmatch


def test_every_setting_that_an_operator_may_choose_reaches_its_service() -> None:
    for name in set(COMPOSE["services"]) - BACKING:
        module = importlib.import_module(f"services.{name}.config")
        settings = {entry.metadata["name"] for entry in fields(module.Config)}
        passed = set(COMPOSE["services"][name]["environment"])
        assert not {setting for setting in settings - passed if not NOT_PASSED(setting)}, name


def test_the_stack_does_not_start_without_its_secrets() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert all(rest == ":?" for name, rest in re.findall(r"\$\{(\w+)(..)", text) if SECRET.search(name))
    for service in COMPOSE["services"].values():
        for name, value in service.get("environment", {}).items():
            assert not SECRET.search(name) or value.startswith("${"), name


def test_images_are_of_a_chosen_version() -> None:
    based = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    bought = [COMPOSE["services"][name]["image"] for name in BACKING]
    assert len(set(based)) == 1
    assert all(re.fullmatch(r"[\w/]+:\d[\w.-]*", image) for image in [*based, *bought])


def test_the_image_holds_checked_packages_and_runs_as_nobody_special() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes" in dockerfile
    assert re.findall(r"^USER (\w+)", dockerfile, re.MULTILINE) == ["postern"]
    assert 'ENTRYPOINT ["python", "-m", "services"]' in dockerfile


def test_nothing_enters_the_image_unnamed() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    assert all((ROOT / rule[1:]).exists() for rule in rules if rule.startswith("!"))


def test_the_compose_client_accepts_the_file() -> None:
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("no docker compose here")
    variables = re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text())
    run("env", *(f"{name}=test" for name in set(variables)), docker, "compose", "config", "--quiet")


def test_the_changelog_has_the_version() -> None:
    assert f"## [{VERSION}]" in (ROOT / "CHANGELOG.md").read_text()
    assert {service["image"] for service in COMPOSE["services"].values() if "build" in service} == {
        f"postern:{VERSION}"
    }
