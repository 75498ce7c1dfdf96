"""The house: who may import whom, and how long things may get."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(file for folder in ("services", "shared") for file in (ROOT / folder).rglob("*.py"))
SERVICES = sorted(folder.name for folder in (ROOT / "services").iterdir() if (folder / "__init__.py").exists())
WITHOUT_FLASK = [
    *(f"services.gateway.{name}" for name in ("policy", "headers", "forward", "routes", "limits")),
    *(f"shared.{name}" for name in ("problems", "tokens", "credentials", "request_id", "logging", "env")),
]
MAX_FILE = 300
MAX_FUNCTION = 60


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(file): ast.parse(file.read_text()) for file in FILES}


def imports(module: str) -> Iterator[str]:
    """Name what a module imports; `from a import b` is both a and a.b."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reachable(module: str) -> Iterator[str]:
    """Name what a module imports, and what those of our modules import in turn."""
    seen, waiting = set(), [module]
    while waiting:
        for name in imports(waiting.pop()):
            if name not in seen:
                seen.add(name)
                yield name
                is_package = any(other.startswith(f"{name}.") for other in MODULES)
                waiting += [name] if name in MODULES and not is_package else []


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_the_kit_and_itself_only(service: str) -> None:
    for module in MODULES:
        if f"{module}.".startswith(f"services.{service}."):
            ours = [name for name in imports(module) if name.startswith("services")]
            assert [name for name in ours if not f"{name}.".startswith(f"services.{service}.")] == [], module


def test_the_kit_imports_no_service_and_nobody_imports_tests() -> None:
    for module in MODULES:
        forbidden = ("tests",) if module.startswith("services") else ("tests", "services")
        assert [name for name in imports(module) if name.split(".")[0] in forbidden] == [], module


@pytest.mark.parametrize("module", WITHOUT_FLASK)
def test_what_every_request_passes_knows_nothing_of_flask(module: str) -> None:
    known = {name.split(".")[0] for name in reachable(module)}
    assert not known & {"flask", "flask_cors", "flask_limiter", "flask_smorest", "flask_jwt_extended"}


def test_the_gateway_loads_nothing_that_speaks_to_a_database() -> None:
    """It would take a quarter of its memory."""
    code = "import services.gateway, sys; print({'peewee', 'psycopg', 'sqlite3'} & {*sys.modules})"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}  # it loads sqlite3
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, check=True)
    assert ran.stdout == b"set()\n"


def test_no_service_reads_the_environment_past_its_settings() -> None:
    readers = {
        module
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv")
    }
    services = tuple(f"services.{service}" for service in SERVICES)
    assert {module for module in readers if module.startswith((*services, "shared"))} <= {"shared.env"}


def test_every_file_says_what_it_is_for() -> None:
    assert [module for module, tree in MODULES.items() if not ast.get_docstring(tree)] == []


def test_no_file_is_too_long() -> None:
    lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in FILES}
    assert {file: length for file, length in lengths.items() if length > MAX_FILE} == {}


def test_no_function_is_too_long() -> None:
    functions = ((m, n) for m, t in MODULES.items() if ".migrations." not in m for n in ast.walk(t))
    long = {
        f"{module}.{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for module, node in functions
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: length for name, length in long.items() if length > MAX_FUNCTION} == {}
