"""What docs/adding-a-service.md tells to do makes a service that works, and is all that there is to do."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from services.gateway import routes
from services.gateway.routes import ROUTES, SERVICES, RouteTable

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/adding-a-service.md").read_text()
BLOCKS = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
PLACES = re.findall(r"^\| `(\S+)` \|", PAGE.partition("## 6.")[2].partition("## 7.")[0], re.MULTILINE)
FOLDER = "services/bookmarks/"

USE = """
import secrets, sys
from datetime import timedelta
import services
services.__path__.append(sys.argv[1] + "/services")
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from services.bookmarks import models
from services.bookmarks.app import MIGRATIONS, create_app
from services.bookmarks.config import Config
from services.bookmarks.owners import OwnerConsumer
from shared import clock
from shared.identity import access_tokens
from shared.ids import new_id
from tests.helpers import assert_models_match_migrations
from shared.database.connection import connect

key = Ed25519PrivateKey.generate()
public = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "k", "use": "sig", "alg": "EdDSA"}
config = Config.load({"APP_ENV": "test", "DATA_DIR": sys.argv[1], "LOG_LEVEL": "error"})
client = create_app(config, lambda: {"keys": [public]}).test_client()


def headers(user):
    now = int(clock.now().timestamp())
    claims = {"iss": access_tokens.ISSUER, "aud": access_tokens.AUDIENCE, "sub": user,
              "email": "a@example.org", "name": "Ann",
              "role": "user", "sid": new_id(), "jti": new_id(), "iat": now, "exp": now + 900}
    token = jwt.encode(claims, key, "EdDSA", headers={"typ": access_tokens.TYPE, "kid": "k"})
    return {"Authorization": f"Bearer {token}"}


ann, post = new_id(), new_id()
as_ann = headers(ann) | {"Idempotency-Key": "one"}
first, again = (client.post("/api/bookmarks", json={"postId": post}, headers=as_ann) for _ in range(2))
assert first.status_code == 201 and first.data == again.data, first.text
assert client.post("/api/bookmarks", json={"postId": post}, headers=headers(ann)).status_code == 409
assert client.post("/api/bookmarks", json={"postId": "x"}, headers=headers(ann)).status_code == 400
assert client.get("/api/bookmarks").status_code == 401
listed = client.get("/api/bookmarks", headers=headers(ann)).json
assert [item["postId"] for item in listed["data"]] == [post] and listed["pagination"]["total"] == 1
assert client.get("/api/bookmarks", headers=headers(new_id())).json["data"] == []
assert client.get("/readyz").status_code == 200
OwnerConsumer(config)._apply([{"id": "0-1", "type": "user.deleted", "subject": ann, "data": {}}])
assert client.get("/api/bookmarks", headers=headers(ann)).json["data"] == []
models.database.close()
tables = [models.FeedPosition, models.IdempotencyKey, models.Bookmark]
assert_models_match_migrations(tables, connect("sqlite:///" + sys.argv[1] + "/other.db"), MIGRATIONS)
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder with the service as the page has it."""
    for name, text in BLOCKS.items():
        if name.startswith(FOLDER):
            target = tmp_path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            (target.parent / "__init__.py").touch()
    return tmp_path


def test_the_service_of_the_page_works(written: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", USE, str(written)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_service_of_the_page_is_as_tidy_as_the_others(written: Path) -> None:
    for command in (["check"], ["format", "--check"]):
        tool = [sys.executable, "-m", "ruff", *command, "--config", str(ROOT / "pyproject.toml"), "--no-cache"]
        config = ["--config", 'lint.isort.known-first-party=["services", "shared"]']
        done = subprocess.run([*tool, *config, str(written)], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_the_rows_of_the_page_fit_into_the_route_table() -> None:
    names = dict(vars(routes))
    exec(BLOCKS["services/gateway/routes.py"], names)
    node = RouteTable(ROUTES + names["BOOKMARKS"]).find("/api/bookmarks")
    assert node is not None
    assert {route.upstream for route in node.routes.values()} == {"bookmarks"}


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_in_all_the_places_of_the_page(service: str) -> None:
    assert len(PLACES) > 5
    assert [place for place in PLACES if service not in (ROOT / place).read_text()] == []


def test_every_service_has_the_rooms_of_the_page() -> None:
    rooms = {name.removeprefix(FOLDER) for name in BLOCKS if name.startswith(FOLDER)} - {"owners.py"}
    rooms = {room.replace("bookmarks.py", "__init__.py") for room in rooms} | {"README.md"}
    missing = [f"{service}/{room}" for service in SERVICES for room in rooms if not _is_there(service, room)]
    assert missing == []


def _is_there(service: str, room: str) -> bool:
    return (ROOT / "services" / service / room).exists()


def test_no_other_list_has_to_be_kept() -> None:
    """The newest service is named in the places of the page, by services that follow it, and nowhere else."""
    name = list(SERVICES)[-1]
    named = re.compile(rf"\b{name.upper()}_(PORT|URL|DATABASE_URL)\b|services[./ ]{name}\b")
    ours = {f"services/{name}", "docs", "tests", "CHANGELOG.md"}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    files = [file for file in listed if file.endswith((".py", ".md", ".yml", ".sh", ".toml", "file", ".example"))]
    others = [file for file in files if not any(file == place or file.startswith(f"{place}/") for place in ours)]
    found = {file for file in others if named.search((ROOT / file).read_text())}
    assert found <= {*PLACES, "services/gateway/README.md"}
