"""Measure what the posts service costs: CPU time of requests in one process, past the network.

    python -m benchmarks.posts DATABASE_URL [--posts 10000]

The database is filled once to that many posts and reused; what exceeds 50 000 are copies. Each figure is the best of
several rounds, in µs of user and system time for a request: of this process, and of the one that PostgreSQL keeps for
it, where both are on one machine.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.multiply import multiply
from services.posts.app import create_app
from services.posts.config import Config
from services.posts.demo_data import TextGenerator, seed
from services.posts.demo_words import LANGUAGES
from services.posts.models import database
from shared import clock
from shared.database.connection import is_postgres
from shared.identity import access_tokens
from shared.identity.claims import LIFETIME
from shared.ids import new_id

ROUNDS, REQUESTS = 5, 12
SEEDED = 50_000  # posts that are written; the others are copies of them
SEARCHES = {
    "no match": "nowhere",
    "a common word": "lantern",
    "a beginning": "l",
    "a tag": "weather",
    "two words": "garden lan",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.posts")
    parser.add_argument("database_url")
    parser.add_argument("--posts", type=int, default=10_000)
    wanted = parser.parse_args()
    settings = {"APP_ENV": "test", "POSTS_DATABASE_URL": wanted.database_url, "LOG_LEVEL": "error"}
    config = Config.load(settings)
    authors = [(f"0190a000-0000-7000-8000-{number:012}", f"Writer {number}") for number in range(200)]
    seed(config, authors, min(wanted.posts, SEEDED), 0, lambda *_: None)
    with database.connection_context():
        multiply(wanted.posts)
    key = Ed25519PrivateKey.generate()
    app = create_app(config, lambda: {"keys": [public(key)]})
    for name, call in _work(app.test_client(), wanted.posts, {"Authorization": f"Bearer {token(key)}"}).items():
        here, there = _cost(call)
        print(f"{name:<40}{here:8.0f} µs" + (f" + {there:.0f} µs in PostgreSQL" if there else ""), flush=True)


def _work(client: Any, posts: int, headers: dict[str, str]) -> dict[str, Callable[[], Any]]:
    """Return the requests to measure by name."""
    middle = client.get(f"/api/posts?limit=100&page={posts // 200}").json
    place, slug = middle["pagination"]["nextCursor"], middle["data"][0]["slug"]
    searches = {
        f"search for {name}, by {sort}": lambda query={"q": word, "sort": sort}: client.get(
            "/api/posts", query_string=query
        )
        for name, word in SEARCHES.items()
        for sort in ("relevance", "newest")
    }
    prose, number = TextGenerator(Random(1)), itertools.count(time.time_ns())

    def create() -> Any:
        body: dict[str, Any] = {"title": f"Benchmark {next(number)}", "content": prose.content(LANGUAGES[0], 2000)}
        body |= {"status": "published", "tags": ["travel", "maps", "light"]}
        return client.post("/api/posts", json=body, headers=headers)

    return {
        "nothing (/healthz)": lambda: client.get("/healthz"),
        "list of 20": lambda: client.get("/api/posts"),
        "list by cursor from the middle": lambda: client.get(f"/api/posts?cursor={place}"),
        "list of a tag": lambda: client.get("/api/posts?tag=weather"),
        "list of a tag by views": lambda: client.get("/api/posts?tag=weather&sort=views"),
        "list of an author": lambda: client.get("/api/posts?author=0190a000-0000-7000-8000-000000000007"),
        "one post": lambda: client.get(f"/api/posts/{slug}"),
        **searches,
        "create a post": create,
    }


def _cost(call: Callable[[], Any]) -> tuple[float, float]:
    """Return the least CPU time of a request here and in PostgreSQL, in microseconds, over the rounds."""
    for _ in range(6):  # until statements are prepared
        assert call().status_code in (200, 201)
    backend = database.execute_sql("SELECT pg_backend_pid()").fetchone()[0] if is_postgres(database) else 0
    costs = []
    for _ in range(ROUNDS):
        here, there = time.process_time(), spent(backend)
        for _ in range(REQUESTS):
            call()
        costs.append((time.process_time() - here, spent(backend) - there))
    least = min(costs, key=sum)
    return least[0] / REQUESTS * 1e6, least[1] / REQUESTS * 1e6


def spent(process: int) -> float:
    """Return the seconds that a process of this machine has been on a CPU; 0 where that cannot be told."""
    file = Path(f"/proc/{process}/schedstat")
    return int(file.read_text().split()[0]) / 1e9 if process and file.exists() else 0.0


def public(key: Ed25519PrivateKey) -> dict[str, Any]:
    made = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**made, "kid": "benchmark", "use": "sig", "alg": "EdDSA"}


def token(key: Ed25519PrivateKey) -> str:
    now = int(clock.now().timestamp())
    names = {
        "iss": access_tokens.ISSUER,
        "aud": access_tokens.AUDIENCE,
        "sub": new_id(),
        "sid": new_id(),
        "jti": new_id(),
    }
    claims = names | {"email": "ann@example.org", "name": "Ann", "role": "user", "iat": now}
    claims["exp"] = now + LIFETIME
    return jwt.encode(claims, key, "EdDSA", headers={"typ": access_tokens.TYPE, "kid": "benchmark"})


if __name__ == "__main__":
    main()
