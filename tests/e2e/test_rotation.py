"""Keys rotate while everybody works: nobody is refused, nobody is signed out."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.auth.signing_keys import KEPT_FOR, PUBLISHED_FOR
from tests.e2e.stack import OWN_PATHS, ROOT, Stack
from tests.waiting import wait_until


class Traffic(threading.Thread):
    """Sign in, use the token everywhere, and go on with an old one, until told to stop."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self.kids: list[str] = []
        self.failures: list[Any] = []
        self._account = stack.register()
        self._stack = stack
        self._stopping = threading.Event()

    def run(self) -> None:
        try:
            while not self._stopping.wait(0.05):
                self._work()
        except Exception as error:  # noqa: BLE001 (the test sees it)
            self.failures.append(error)

    def _work(self) -> None:
        body = {"email": self._account["user"]["email"], "password": "a long secret"}
        status, answer = self._stack.post("/api/auth/login", body)
        if status != 200:
            self.failures.append(answer)
            return
        token = answer["data"]["accessToken"]
        self.kids.append(jwt.get_unverified_header(token)["kid"])
        self._use(token)
        self._use(self._account["accessToken"])

    def _use(self, token: str) -> None:
        for service, path in OWN_PATHS.items():
            status, answer = self._stack.get(path, token, service)
            if status != 200:
                self.failures.append((service, answer))

    def finish(self) -> None:
        self._stopping.set()
        self.join(60)
        assert not self.is_alive()


class Forger(threading.Thread):
    """Show key ids that nobody has, so that verifiers ask for keys all the time and have just done so."""

    def __init__(self, stack: Stack, token: str) -> None:
        super().__init__(daemon=True)
        self._stack = stack
        claims = jwt.decode(token, options={"verify_signature": False})
        key = Ed25519PrivateKey.generate()
        self._token = jwt.encode(claims, key, "EdDSA", headers={"kid": "nobodys", "typ": "at+jwt"})
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(0.2):
            for service, path in OWN_PATHS.items():
                assert self._stack.get(path, self._token, service)[0] == 401

    def finish(self) -> None:
        self._stopping.set()
        self.join(60)


def published(stack: Stack) -> list[str]:
    return [key["kid"] for key in stack.get("/.well-known/jwks.json")[1]["keys"]]


def test_nobody_is_refused_while_keys_rotate(own_stack: Stack) -> None:
    stack, folder = own_stack, Path(own_stack.environment["DATA_DIR"]) / "auth"
    (old,) = published(stack)
    traffic, forger = Traffic(stack), Forger(stack, stack.register()["accessToken"])
    traffic.start()
    forger.start()
    rotated = time.time()
    subprocess.run(
        [sys.executable, "-m", "services", "rotate-keys"], cwd=ROOT, env=stack.environment, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: len(published(stack)) == 2)
    new = published(stack)[1]
    assert set(traffic.kids) <= {old}
    wait_until(lambda: new in traffic.kids)
    assert time.time() - rotated >= PUBLISHED_FOR
    wait_until(lambda: traffic.kids.count(new) > 5)
    traffic.finish()
    forger.finish()
    assert traffic.failures == []

    long_ago = time.time() - PUBLISHED_FOR - KEPT_FOR
    os.utime(folder / "0002.pem", (long_ago, long_ago))
    wait_until(lambda: published(stack) == [new])
    assert [path.name for path in folder.glob("*.pem")] == ["0002.pem"]
    assert stack.get("/api/auth/me", stack.register()["accessToken"])[0] == 200
