"""The documents say what the code does: a setting, route or code that is not documented fails here."""

import ast
import importlib
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from shared.problems import CODES

ROOT = Path(__file__).parent.parent
SERVICES = sorted(path.parent.name for path in ROOT.glob("services/*/config.py"))
SETTING = re.compile(r"^#?\s?([A-Z][A-Z0-9_]+)=", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def configs() -> list[Any]:
    return [importlib.import_module(f"services.{name}.config").Config for name in SERVICES]


def test_every_setting_is_in_the_example_and_nothing_else() -> None:
    known = {entry.metadata["name"] for config in configs() for entry in fields(config)}
    known |= set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    assert set(SETTING.findall((ROOT / ".env.example").read_text())) == known


def test_every_setting_says_what_it_is_for() -> None:
    assert all(entry.metadata["help"] for config in configs() for entry in fields(config))


def test_every_error_code_is_explained_with_its_status() -> None:
    text = (ROOT / "docs/api.md").read_text()
    missing = [code for code, kind in CODES.items() if f"| `{code}` | {kind.status} |" not in text]
    assert not missing


@pytest.mark.parametrize("name", SERVICES)
def test_every_route_is_in_the_readme_of_its_service(name: str, tmp_path: Path) -> None:
    config = importlib.import_module(f"services.{name}.config").Config.load(
        {"APP_ENV": "test", "DATA_DIR": str(tmp_path)}
    )
    app = importlib.import_module(f"services.{name}.app").create_app(config)
    readme = (ROOT / f"services/{name}/README.md").read_text()
    routes = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(rule)) for rule in app.url_map.iter_rules()}
    documented = {re.sub(r"_(\w)", lambda match: match[1].upper(), route) for route in routes}
    missing = sorted(route for route in documented if route not in readme)
    assert not missing


@pytest.mark.parametrize(
    "page",
    sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("**/*.md") if not {".venv", "node_modules"} & {*p.parts}),
)
def test_links_lead_to_files(page: str) -> None:
    folder = (ROOT / page).parent
    broken = [target for target in LINK.findall((ROOT / page).read_text()) if not (folder / target).exists()]
    assert not broken


def published_facts() -> set[str]:
    """Return the types of all facts that the code publishes."""
    calls = [
        node
        for path in ROOT.glob("services/**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("feed.publish")
    ]
    return {part.value for call in calls for part in ast.walk(call.args[0]) if isinstance(part, ast.Constant)}  # type: ignore[misc]


def test_every_fact_is_in_the_architecture_and_nothing_else() -> None:
    text = (ROOT / "docs/architecture.md").read_text().partition("### Facts")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)
    assert {kind for row in rows for kind in re.findall(r"`(.*?)`", row)} == published_facts()


def test_every_decision_is_numbered_and_has_its_three_parts() -> None:
    pages = sorted((ROOT / "docs/adr").glob("*.md"))
    for number, page in enumerate(pages, 1):
        text = page.read_text()
        assert page.name.startswith(f"{number:04}-")
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequences")), page.name
