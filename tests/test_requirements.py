"""Hold that exactly what is needed is installed: pinned, hashed, above the known vulnerabilities."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {
    "runtime": (ROOT / "requirements/runtime.txt").read_text(),
    "dev": (ROOT / "requirements/dev.txt").read_text(),
}
DIRECT = {
    "runtime": [Requirement(line) for line in PROJECT["project"]["dependencies"]],
    "dev": [Requirement(line) for line in PROJECT["dependency-groups"]["dev"]],
}

# Below each of these lies a known vulnerability that matters here.
FLOORS = {
    "Werkzeug": "3.1.6",
    "Flask": "3.1.3",
    "PyJWT": "2.15.0",
    "flask-cors": "6.0.0",
    "marshmallow": "4.1.2",
    "Pillow": "13.0.0",
    "urllib3": "2.6.3",
}


def entries(lock: str) -> list[str]:
    """Split a requirement file into its entries, each with its hashes."""
    lines = [line for line in LOCKS[lock].splitlines() if line and not line.lstrip().startswith("#")]
    return re.split(r"\n(?=\S)", "\n".join(lines))


def pins(*locks: str) -> dict[str, Requirement]:
    """Return the pinned requirements of the files by name."""
    found = [Requirement(entry.split("\\")[0].strip()) for lock in locks or LOCKS for entry in entries(lock)]
    return {canonicalize_name(pin.name): pin for pin in found}


def pinned(name: str) -> Version:
    (specifier,) = pins()[canonicalize_name(name)].specifier
    return Version(specifier.version)


@pytest.mark.parametrize("name, floor", FLOORS.items())
def test_versions_are_above_the_known_vulnerabilities(name: str, floor: str) -> None:
    declared = next(line for line in DIRECT["runtime"] if canonicalize_name(line.name) == canonicalize_name(name))
    assert pinned(name) >= Version(floor)
    assert Version(metadata.version(name)) >= Version(floor)
    assert [str(specifier) for specifier in declared.specifier] == [f">={floor}"]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_with_the_hashes_of_all_its_files(lock: str) -> None:
    for entry in entries(lock):
        requirement, *hashes = [line.strip().removesuffix(" \\") for line in entry.splitlines()]
        assert re.fullmatch(r"[a-z0-9-]+==[^ ;,*]+( ; .+)?", requirement)
        assert len(hashes) >= 2, f"{requirement} has hashes of one file only"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", value) for value in hashes)


@pytest.mark.parametrize("lock", LOCKS)
def test_requirements_name_no_address_to_download_from(lock: str) -> None:
    assert "://" not in LOCKS[lock]
    assert not re.search(r"^-|--(?!hash=)\w|\s@\s", LOCKS[lock], re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_direct_dependency_is_pinned_within_its_bounds(lock: str) -> None:
    for direct in DIRECT[lock]:
        assert pinned(direct.name) in direct.specifier, direct


def test_what_is_pinned_is_what_is_installed() -> None:
    wanted = {name: pinned(name) for name, pin in pins().items() if not pin.marker or pin.marker.evaluate()}
    assert {name: Version(metadata.version(name)) for name in wanted} == wanted


def test_the_installation_resolves_nothing_itself() -> None:
    assert "--no-deps --require-hashes" in (ROOT / ".ci/install").read_text()


def wanted_by(requirement: Requirement, environment: dict[str, str]) -> Iterator[Requirement]:
    """Return what a package, with the extras asked for, needs in an environment."""
    try:
        lines = metadata.requires(requirement.name) or []
    except metadata.PackageNotFoundError:
        return
    for candidate in map(Requirement, lines):
        extras = requirement.extras or {""}
        if not candidate.marker or any(candidate.marker.evaluate(environment | {"extra": name}) for name in extras):
            yield candidate


def closure(direct: list[Requirement], environment: dict[str, str]) -> set[str]:
    found: set[str] = set()
    waiting = list(direct)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in found or requirement.extras:
            found.add(name)
            waiting += wanted_by(requirement, environment)
    return found


@pytest.mark.parametrize("system", ["linux", "darwin"])
@pytest.mark.parametrize("version", ["3.11.0", "3.11.9", "3.12.0", "3.13.0", "3.14.0"])
@pytest.mark.parametrize("lock", LOCKS)
def test_pins_are_exactly_what_every_supported_platform_needs(version: str, system: str, lock: str) -> None:
    environment = {
        "python_full_version": version,
        "python_version": version.rpartition(".")[0],
        "sys_platform": system,
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    applicable = {name for name, pin in pins(lock).items() if not pin.marker or pin.marker.evaluate(environment)}
    assert applicable == closure(DIRECT[lock], environment)


def test_what_the_code_imports_is_declared() -> None:
    providers = metadata.packages_distributions()
    declared = {canonicalize_name(line.name) for line in DIRECT["runtime"]}
    for path in [*ROOT.glob("services/**/*.py"), *ROOT.glob("shared/**/*.py")]:
        for module in imports(path) - sys.stdlib_module_names - {"services", "shared"}:
            assert {canonicalize_name(name) for name in providers.get(module, [])} & declared, f"{path}: {module}"


def imports(path: Path) -> set[str]:
    """Return the top-level modules that a file imports."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.append(node.module)
    return {name.partition(".")[0] for name in names}
