"""The TypeScript client: what it promises of itself, and its own tests against a running stack."""

import gzip
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clients.openapi_document import whole_document
from tests.e2e import typescript_client
from tests.e2e.short_token_stack import ShortTokenStack
from tests.e2e.test_bad_days import masters

KIB = 1024
CORE, ENTRY = 8 * KIB, 2 * KIB  # bytes that a browser loads at most
COMPILERS = ["typescript", "typescript7"]


@pytest.fixture(scope="module")
def client() -> Path:
    return typescript_client.build()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB for the uploads of a stack in this folder."""
    disk = tmp_path / "var/uploads"
    disk.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_the_types_are_those_of_the_document(client: Path, tmp_path: Path) -> None:
    document, types = tmp_path / "openapi.json", tmp_path / "schema.d.ts"
    document.write_bytes(whole_document())
    command = json.loads((client / "package.json").read_text())["scripts"]["types"]
    words = command.replace("openapi.json", str(document)).replace("src/schema.d.ts", str(types)).split()
    typescript_client.run(client / "node_modules/.bin" / words[0], *words[1:])
    assert types.read_text() == (client / "src/schema.d.ts").read_text(), "make client"


@pytest.mark.parametrize("compiler", COMPILERS)
def test_it_compiles_under_the_strictest_flags_and_refuses_mistakes(client: Path, compiler: str) -> None:
    options = json.loads((client / "tsconfig.json").read_text())["compilerOptions"]
    assert options["strict"]
    assert options["exactOptionalPropertyTypes"]
    tsc = client / f"node_modules/{compiler}/bin/tsc"
    typescript_client.run("node", tsc, "--noEmit")
    typescript_client.run("node", tsc, "--project", "test")


def test_nothing_is_of_any_type() -> None:
    sources = [*typescript_client.CLIENT.glob("src/*.ts"), *typescript_client.CLIENT.glob("test/*.ts")]
    sources = [source for source in sources if source.name != "schema.d.ts"]
    assert len(sources) > 5
    found = re.compile(r"\bany\b(?=[\[\]>,;)\s]*(?:[=;,)>\]|&{]|$))|@ts-(?:ignore|nocheck)|: any\b|as any\b", re.M)
    assert [(source.name, match[0]) for source in sources for match in found.finditer(code_of(source))] == []


def code_of(source: Path) -> str:
    """Return the code without its comments."""
    return re.sub(r"/\*.*?\*/|//(?! @ts-)[^\n]*", "", source.read_text(), flags=re.S)


def test_the_lock_file_names_no_address() -> None:
    lock = json.loads((typescript_client.CLIENT / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert all("integrity" in package for package in packages.values())
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert "omit-lockfile-registry-resolved=true" in (typescript_client.CLIENT / ".npmrc").read_text()


def test_openapi_fetch_is_all_that_it_needs_and_every_version_is_exact() -> None:
    package = json.loads((typescript_client.CLIENT / "package.json").read_text())
    assert package["dependencies"] == {"openapi-fetch": "0.17.0"}
    assert (package["type"], package["sideEffects"]) == ("module", False)
    assert all(re.fullmatch(r"(npm:typescript@)?\d+\.\d+\.\d+", v) for v in package["devDependencies"].values())


def test_what_a_page_loads_is_small(client: Path, tmp_path: Path) -> None:
    typescript_client.bundle(client / "dist/index.js", tmp_path, "--splitting")
    texts = {path.name: path.read_text() for path in tmp_path.iterdir()}
    core = {"index.js"}
    while more := {name for file in core for name in re.findall(r'from"\./([^"]+)"', texts[file])} - core:
        core |= more
    sizes = {name: len(gzip.compress(text.encode(), 9)) for name, text in texts.items()}
    whole = sum(sizes[name] for name in core)
    parts = {name: size for name, size in sizes.items() if name not in core}
    print("gzip:", {"core": whole, **parts})
    assert whole <= CORE
    assert len(parts) == 2
    assert max(parts.values()) <= ENTRY


def run_tests(client: Path, file: str, stack: ShortTokenStack, **more: str) -> None:
    pid = str(masters(stack)["gateway"])
    environment = {"GATEWAY": stack.url, "TOKEN_SECONDS": str(stack.seconds), "GATEWAY_PID": pid, **more}
    print(typescript_client.run("node", "--test", f"test/{file}", environment=environment))


@contextmanager
def running(folder: Path, seconds: int) -> Iterator[ShortTokenStack]:
    stack = ShortTokenStack(folder, seconds)
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


@pytest.mark.parametrize(
    "seconds, file", [(2, "session.test.mjs"), (2, "events.test.mjs"), (2, "next.test.mjs"), (900, "calls.test.mjs")]
)
def test_its_own_tests_pass(client: Path, tmp_path: Path, seconds: int, file: str) -> None:
    with running(tmp_path, seconds) as stack:
        run_tests(client, file, stack)


def test_its_tests_of_a_full_disk_pass(client: Path, tmp_path: Path, small_disk: Path) -> None:
    with running(tmp_path, 900) as stack:
        run_tests(client, "disk.test.mjs", stack, SMALL_DISK=str(small_disk))
