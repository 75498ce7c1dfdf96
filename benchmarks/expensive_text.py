"""Measure what each request to posts costs with the worst text of its size.

    python -m benchmarks.expensive_text DATABASE_URL [--posts 100]

The database is filled with that many posts of each text, and left so: give an empty one. A figure is the CPU time of a
request in ms, of this process, and of the one that PostgreSQL keeps for it where both are on one machine. The bound is
1 000 ms on a quiet core.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.posts import public, spent, token
from services.posts.app import create_app
from services.posts.config import Config
from services.posts.models import database
from shared.database.connection import is_postgres

SIZE = 100_000  # characters of a content
_random = Random(1)


def _drawn(start: int, end: int) -> str:
    return "".join(chr(_random.randrange(start, end)) for _ in range(SIZE))


TEXTS = {
    "combining marks": "a" + "\u0315\u0300" * (SIZE // 2),
    "marks that stay": "\u0928" + "\u093c\u094d" * (SIZE // 2),
    "ligatures of 18 characters": "\ufdfa" * SIZE,
    "ligatures and spaces": "\ufdfa ." * (SIZE // 3),
    "Han without a pair twice": _drawn(0x4E00, 0x9FFF),
    "Han beyond 16 bits": _drawn(0x20000, 0x2A000),
    "Hangul": _drawn(0xAC00, 0xD7A3),
    "short words": "".join(_random.choice("абвгдежзиклмн  ") for _ in range(SIZE)),
    "words of two letters": " ".join(_drawn(0x1200, 0x137F)[:2] for _ in range(500)) * (SIZE // 1500),
    "apostrophes": "a'" * (SIZE // 2),
    "flags": "\U0001f1eb\U0001f1f7" * (SIZE // 2),
    "one letter": "a" * SIZE,
    "signs to escape": "<&" * (SIZE // 2),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.expensive_text")
    parser.add_argument("database_url")
    parser.add_argument("--posts", type=int, default=100)
    wanted = parser.parse_args()
    key = Ed25519PrivateKey.generate()
    settings = {"APP_ENV": "test", "POSTS_DATABASE_URL": wanted.database_url, "LOG_LEVEL": "error"}
    client = create_app(Config.load(settings), lambda: {"keys": [public(key)]}).test_client()
    headers = {"Authorization": f"Bearer {token(key)}"}
    for name, text in TEXTS.items():
        for request, call in _requests(client, text[:SIZE], headers, wanted.posts):
            here, there = _cost(call)
            print(f"{name:<28}{request:<16}{here * 1000:8.0f} ms + {there * 1000:.0f} ms", flush=True)


def _requests(client: Any, text: str, headers: dict[str, str], posts: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Give the requests to measure by name; the posts that are to be found are written in between."""
    tags = [f"{number:02}{text[:2].strip()}" for number in range(20)]
    body = {"title": f"x{text[:199]}", "content": text, "excerpt": text[:300], "status": "published", "tags": tags}

    def create() -> Any:
        return client.post("/api/posts", json=body, headers=headers)

    def get(**query: Any) -> Any:
        return client.get("/api/posts", query_string=query)

    yield "create", create
    post = f"/api/posts/{create().json['data']['id']}"
    yield "change", lambda: client.patch(post, json={"content": text[:-1]}, headers=headers)
    yield "read", lambda: client.get(post)
    yield "comment", lambda: client.post(f"{post}/comments", json={"content": text[:5000]}, headers=headers)
    yield "delete", lambda: client.delete(post, headers=headers)
    yield "restore", lambda: client.post(f"{post}/restore", headers=headers)
    for _ in range(posts):
        create()
    yield "list", lambda: get(limit=100)
    yield "author", lambda: get(author=text[:50])
    yield "tags", lambda: get(tag=tags)
    yield "search all", lambda: get(q=text[:200], highlight="true", limit=100)
    yield "search one", lambda: get(q=text[:1], highlight="true", limit=100)
    yield "search title", lambda: get(q="x", highlight="true", limit=100)


def _cost(call: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds of CPU time of one request, here and in PostgreSQL."""
    backend = database.execute_sql("SELECT pg_backend_pid()").fetchone()[0] if is_postgres(database) else 0
    here, there = time.process_time(), spent(backend)
    answer = call()
    costs = time.process_time() - here, spent(backend) - there
    assert answer.status_code < 300, answer.text[:300]
    return costs


if __name__ == "__main__":
    main()
