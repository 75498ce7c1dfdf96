"""Types for clients, generated from the document by two generators and compiled as strictly as TypeScript can."""

import shutil
import subprocess
from pathlib import Path

import orjson
import pytest

from tests.e2e.node import node_modules
from tests.e2e.stack import Stack
from tests.openapi import Document, operations, resolve

pytestmark = pytest.mark.slow
TYPESCRIPT, TYPES = "typescript@5.9.3", "openapi-typescript@7.13.0"
SDK = "@hey-api/openapi-ts@0.95.0"  # the last one for Node.js 20
STRICT = ("--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom,dom.iterable")
MODULES = ("--module", "esnext", "--moduleResolution", "bundler")


@pytest.fixture(scope="module")
def document(stack: Stack) -> Document:
    found: Document = stack.get("/api/openapi.json")[1]
    return found


def run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def uses(document: Document) -> str:
    """Return code that reads the code of each problem and the members of each list."""
    lines = []
    for path, method, operation in operations(document):
        for status, answer in operation["responses"].items():
            content = resolve(document, answer).get("content", {})
            of = f'paths["{path}"]["{method}"]["responses"][{status}]["content"]'
            name = f"{operation['operationId']}{status}"
            if "application/problem+json" in content:
                lines.append(f'export const {name} = (e: {of}["application/problem+json"]): string => e.code;')
            reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
            if reference.endswith("ListEnvelope"):
                read = "a.data.length + a.pagination.limit"
                lines.append(f'export const {name} = (a: {of}["application/json"]): number => {read};')
    assert len(lines) > 500
    return "\n".join(['import type { paths } from "./schema";', *lines])


def test_types_serve_a_front_end(document: Document, tmp_path: Path) -> None:
    modules = node_modules(TYPESCRIPT, TYPES)
    (tmp_path / "document.json").write_bytes(orjson.dumps(document))
    flags = ("--default-non-nullable", "false", "--root-types", "-o", "schema.d.ts")
    run(tmp_path, f"{modules}/.bin/openapi-typescript", "document.json", *flags)
    (tmp_path / "uses.ts").write_text(uses(document))
    shutil.copy(Path(__file__).parent / "generated_types.ts", tmp_path)
    files = ("uses.ts", "generated_types.ts")
    run(tmp_path, f"{modules}/.bin/tsc", *STRICT, *MODULES, "--exactOptionalPropertyTypes", *files)


def test_a_generator_of_whole_clients_makes_code_that_compiles(document: Document, tmp_path: Path) -> None:
    modules = node_modules(TYPESCRIPT, SDK)
    (tmp_path / "document.json").write_bytes(orjson.dumps(document))
    (tmp_path / "node_modules").symlink_to(modules)
    run(tmp_path, f"{modules}/.bin/openapi-ts", "-i", "document.json", "-o", "client", "-c", "@hey-api/client-fetch")
    text = (tmp_path / "client" / "sdk.gen.ts").read_text()
    assert all(f"export const {name} = " in text for name in ("listPosts", "createPostComment", "login"))
    run(tmp_path, f"{modules}/.bin/tsc", *STRICT, *MODULES, *map(str, (tmp_path / "client").glob("*.ts")))
