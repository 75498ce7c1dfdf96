"""Measure what the posts service costs: CPU time of requests in one process, past the network.

    python -m benchmarks.posts DATABASE_URL [--posts 10000]

The database is filled once to that many posts and reused. Each figure is the best of several rounds, in µs of user
and system time of this process; what PostgreSQL does in its own processes is in the wall time only.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.posts import create_app
from services.posts.config import Config
from services.posts.seed import seed
from shared import clock, tokens
from shared.ids import new_id

ROUNDS, REQUESTS = 5, 40
WORDS = ("lantern", "garden lan", "weather", "l", "水", "nowhere")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.posts")
    parser.add_argument("database_url")
    parser.add_argument("--posts", type=int, default=10_000)
    wanted = parser.parse_args()
    settings = {"APP_ENV": "test", "POSTS_DATABASE_URL": wanted.database_url, "LOG_LEVEL": "error"}
    config = Config.load(settings)
    authors = [(f"0190a000-0000-7000-8000-{number:012}", f"Writer {number}") for number in range(200)]
    seed(config, authors, wanted.posts, 0, lambda *_: None)
    key = Ed25519PrivateKey.generate()
    app = create_app(config, lambda: {"keys": [_public(key)]})
    for name, call in _work(app.test_client(), {"Authorization": f"Bearer {_token(key)}"}).items():
        cpu, wall = _cost(call)
        print(f"{name:<32}{cpu:8.0f} µs CPU{wall:8.0f} µs wall")


def _work(client: Any, headers: dict[str, str]) -> dict[str, Callable[[], Any]]:
    """Return the requests to measure by name."""
    cursor = client.get("/api/posts?limit=100").json["pagination"]["nextCursor"]
    depth = client.get(f"/api/posts?limit=100&cursor={cursor}").json
    place, slug = depth["pagination"]["nextCursor"], depth["data"][0]["slug"]
    body = {"title": "The lantern", "content": "A lantern by the river. " * 80, "status": "published", "tags": ["a"]}
    searches = {
        f"search {word} {sort}": lambda query={"q": word, "sort": sort}: client.get("/api/posts", query_string=query)
        for word in WORDS
        for sort in ("relevance", "newest")
    }
    return {
        "nothing (/healthz)": lambda: client.get("/healthz"),
        "list of 20": lambda: client.get("/api/posts"),
        "list by cursor": lambda: client.get(f"/api/posts?cursor={place}"),
        "list of a tag by views": lambda: client.get("/api/posts?tag=weather&sort=views"),
        "one post": lambda: client.get(f"/api/posts/{slug}"),
        **searches,
        "create a post": lambda: client.post("/api/posts", json=body, headers=headers),
    }


def _cost(call: Callable[[], Any]) -> tuple[float, float]:
    """Return the least CPU and wall time of a request, in microseconds, over the rounds."""
    assert call().status_code in (200, 201)
    costs = []
    for _ in range(ROUNDS):
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(REQUESTS):
            call()
        costs.append((time.process_time() - cpu, time.perf_counter() - wall))
    return tuple(min(values) / REQUESTS * 1e6 for values in zip(*costs, strict=True))


def _public(key: Ed25519PrivateKey) -> dict[str, Any]:
    made = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**made, "kid": "benchmark", "use": "sig", "alg": "EdDSA"}


def _token(key: Ed25519PrivateKey) -> str:
    now = int(clock.now().timestamp())
    names = {"iss": tokens.ISSUER, "aud": tokens.AUDIENCE, "sub": new_id(), "sid": new_id(), "jti": new_id()}
    claims = names | {"email": "ann@example.org", "name": "Ann", "role": "user", "iat": now}
    claims["exp"] = now + tokens.LIFETIME
    return jwt.encode(claims, key, "EdDSA", headers={"typ": tokens.TYPE, "kid": "benchmark"})


if __name__ == "__main__":
    main()
