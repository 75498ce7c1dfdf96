"""The house: who may import whom, and what every file has."""

import ast
import graphlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(file for folder in ("services", "shared") for file in (ROOT / folder).rglob("*.py"))
SERVICES = sorted(file.parent.name for file in (ROOT / "services").glob("*/app.py"))
MAX_FUNCTION = 60


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(file): ast.parse(file.read_text()) for file in FILES}
WITHOUT_FLASK = [
    "services.gateway.proxy.forward",
    "services.gateway.rate_limit.classes",
    "services.gateway.routes",
    "shared.problems",
    "shared.settings",
    "shared.telemetry.json_log",
    "shared.telemetry.request_id",
    *(
        name
        for name in MODULES
        if name.startswith(("services.gateway.http.", "shared.identity.")) and not name.endswith(".cors")  # Flask-CORS
    ),
]


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


def assert_no_circle(edges: Iterable[tuple[str, str]]) -> None:
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for importer, imported in edges:
        sorter.add(importer, imported)
    sorter.prepare()  # raises CycleError


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


def test_the_gateway_imports_nothing_of_a_database_mail_or_outbox() -> None:
    forbidden = ("shared.database.", "shared.mail.", "shared.feed.outbox.")
    for module in MODULES:
        if module.startswith("services.gateway."):
            assert [name for name in imports(module) if f"{name}.".startswith(forbidden)] == [], module


def test_only_the_app_of_a_service_imports_its_views() -> None:
    for module in MODULES:
        service = ".".join(module.split(".")[:2])
        if not module.startswith((f"{service}.resources.", f"{service}.app")):
            assert [name for name in imports(module) if f"{name}.".startswith(f"{service}.resources.")] == [], module


def test_imports_run_downwards_only() -> None:
    edges = [(module, name) for module in MODULES for name in imports(module) if name in MODULES]
    assert_no_circle(edges)


def test_imports_between_the_packages_of_one_folder_run_downwards_only() -> None:
    edges = set()
    for module in MODULES:
        for name in imports(module):
            here, there = module.split("."), name.split(".")
            depth = next(
                (place for place, both in enumerate(zip(here, there, strict=False)) if both[0] != both[1]), None
            )
            if depth and name in MODULES and len(here) > depth + 1 and len(there) > depth + 1:
                edges.add((".".join(here[: depth + 1]), ".".join(there[: depth + 1])))
    assert_no_circle(edges)


@pytest.mark.parametrize("module", WITHOUT_FLASK)
def test_what_every_request_passes_knows_nothing_of_flask(module: str) -> None:
    known = {name.split(".")[0] for name in reachable(module)}
    assert not known & {"flask", "flask_cors", "flask_limiter", "flask_smorest", "flask_jwt_extended"}


def test_the_gateway_loads_nothing_that_speaks_to_a_database() -> None:
    """It would take a quarter of its memory."""
    code = "import services.gateway.app, sys; print({'peewee', 'psycopg', 'sqlite3'} & {*sys.modules})"
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
    assert {module for module in readers if module.startswith((*services, "shared"))} <= {"shared.settings"}


def test_every_file_says_what_it_is_for() -> None:
    assert [module for module, tree in MODULES.items() if tree.body and not ast.get_docstring(tree)] == []


def test_to_import_a_module_imports_that_module_only() -> None:
    assert [str(file) for file in FILES if file.name == "__init__.py" and file.read_text()] == []


def test_no_function_is_too_long() -> None:
    functions = ((m, n) for m, t in MODULES.items() if ".migrations." not in m for n in ast.walk(t))
    long = {
        f"{module}.{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for module, node in functions
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: length for name, length in long.items() if length > MAX_FUNCTION} == {}
