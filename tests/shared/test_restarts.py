"""A process that has just started lets nobody in before it knows what ended earlier."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
import pytest
from werkzeug.serving import make_server

from shared import clock
from shared.feed.revocation_consumer import RevocationConsumer
from shared.identity.access_tokens import Verifier
from shared.identity.jwks import Jwks, KeySet
from shared.identity.revocations import Revocations
from shared.ids import new_id
from shared.problems import Problem
from tests.conftest import MakeToken

Event = dict[str, Any]


class AuthFeed:
    """Auth's feed, which answers with the next batch once it may."""

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []
        self.may_answer = threading.Event()
        self.status = "200 OK"
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.may_answer.wait(5)
        start_response(self.status, [("Content-Type", "application/json")])
        return [orjson.dumps(self.batches.pop(0) if self.batches else [])]

    def close(self) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()


def ended(session_id: str) -> Event:
    moment = clock.rfc3339(clock.now())
    return {"id": "0-1", "type": "session.revoked", "subject": session_id, "time": moment, "data": {}}


@pytest.fixture
def feed() -> Iterator[AuthFeed]:
    serving = AuthFeed()
    yield serving
    serving.close()


@pytest.fixture
def start(feed: AuthFeed, jwks: Jwks) -> Iterator[Callable[..., Verifier]]:
    """Start a process: return what checks its tokens."""
    readers: list[RevocationConsumer] = []

    def start(patience: float = 5) -> Verifier:
        revocations = Revocations(patience)
        readers.append(RevocationConsumer(feed.url, "token", revocations))
        readers[-1].start()
        return Verifier(KeySet(lambda: jwks), revocations)

    yield start
    for reader in readers:
        reader.stop()


def refusal(verifier: Verifier, token: str) -> str:
    with pytest.raises(Problem) as raised:
        verifier.verify(token)
    return raised.value.code


def test_the_first_token_waits_until_the_past_is_known(
    feed: AuthFeed, start: Callable[..., Verifier], make_token: MakeToken
) -> None:
    session_id = new_id()
    feed.batches = [[ended(session_id)]]
    verifier = start()
    threading.Timer(0.2, feed.may_answer.set).start()
    assert refusal(verifier, make_token(sid=session_id)) == "TOKEN_REVOKED"
    assert verifier.verify(make_token()).role == "user"


def test_the_past_is_known_after_its_last_batch(
    feed: AuthFeed, start: Callable[..., Verifier], make_token: MakeToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.feed.consumer.BATCH", 1)
    monkeypatch.setattr("shared.feed.revocation_consumer.BATCH", 1)
    session_id = new_id()
    feed.batches = [[ended(new_id())] for _ in range(50)] + [[ended(session_id)]]
    feed.may_answer.set()
    assert refusal(start(), make_token(sid=session_id)) == "TOKEN_REVOKED"


def test_nobody_is_let_in_while_auth_does_not_tell(
    feed: AuthFeed, start: Callable[..., Verifier], make_token: MakeToken
) -> None:
    feed.status = "503 Service Unavailable"
    feed.may_answer.set()
    verifier = start(patience=0.1)
    assert refusal(verifier, make_token()) == "SERVICE_UNAVAILABLE"
    feed.status = "200 OK"
    for _ in range(40):
        try:
            assert verifier.verify(make_token()).role == "user"
            return
        except Problem:
            threading.Event().wait(0.05)
    raise AssertionError("the past never became known")


def test_without_a_reader_there_is_nothing_to_wait_for(jwks: Jwks, make_token: MakeToken) -> None:
    assert Verifier(KeySet(lambda: jwks)).verify(make_token()).role == "user"
