"""Start the whole product as a user does, on free ports and in a folder of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import urllib3

from services.gateway.routes import SERVICES as UPSTREAMS
from tests.openapi import Described
from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent
SERVICES = ("gateway", *UPSTREAMS)
OWN_PATHS = {  # what somebody signed in may read at each service
    "gateway": "/api/posts?status=draft",
    "auth": "/api/auth/me",
    "posts": "/api/posts?status=draft",
    "uploads": "/api/uploads",
    "messages": "/api/notifications",
}


class Stack:
    """One installation: `start` and `stop` it, ask it over HTTP; what it answers must be as its document says."""

    command = ("-m", "services")
    cwd = ROOT

    def __init__(self, folder: Path, **settings: str) -> None:
        self.ports = {name: free_port() for name in SERVICES}
        self.url = f"http://127.0.0.1:{self.ports['gateway']}"
        self.log = folder / "log"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("COV")},
            **{f"{name.upper()}_PORT": str(port) for name, port in self.ports.items()},
            "DATA_DIR": str(folder / "var"),
            "RATELIMIT_ENABLED": "false",
            **settings,
        }
        self._http = urllib3.PoolManager(retries=False, timeout=60)
        self.process: subprocess.Popen[bytes] | None = None
        self.described: Described

    def start(self, deadline: float = 120) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.command], cwd=self.cwd, env=self.environment, stdout=log, stderr=log
            )
        until = time.monotonic() + deadline
        while time.monotonic() < until and self.process.poll() is None:
            if self.healthy():
                self.described = Described(orjson.loads(self._ask("GET", "/api/openapi.json").data))
                return
            time.sleep(0.05)
        self.stop()  # no fixture does, when it has not got so far
        raise AssertionError(f"the stack did not start:\n{self.log.read_text()[-4000:]}")

    def healthy(self) -> bool:
        try:
            status, health = self.get("/api/health")
        except urllib3.exceptions.HTTPError:
            return False
        return status == 200 and health["data"]["status"] in ("ok", "healthy")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self.process
        self.process.send_signal(how)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()  # a stack that outlives its test slows down all that come after

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = None,
        service: str = "gateway",
        **headers: str,
    ) -> urllib3.BaseHTTPResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None and not isinstance(body, bytes):
            body, sent["Content-Type"] = orjson.dumps(body), "application/json"
        answer = self._ask(method, path, body, sent, service)
        if hasattr(self, "described") and service == "gateway":
            objections = self.described.objections(method, path, answer.status, answer.headers, answer.data)
            assert not objections, (method, path, answer.status, answer.data[:1000], objections)
        return answer

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        service: str = "gateway",
    ) -> urllib3.BaseHTTPResponse:
        url = f"http://127.0.0.1:{self.ports[service]}{path}"
        return self._http.request(method, url, body=body, headers=headers, redirect=False)

    def get(self, path: str, token: str | None = None, service: str = "gateway") -> tuple[int, Any]:
        answer = self.request("GET", path, token=token, service=service)
        return answer.status, orjson.loads(answer.data) if answer.data else None

    def post(self, path: str, body: Any, token: str | None = None, **headers: str) -> tuple[int, Any]:
        answer = self.request("POST", path, body, token, **headers)
        return answer.status, orjson.loads(answer.data) if answer.data else None

    def upload(self, name: str, data: bytes, token: str) -> Mapping[str, Any]:
        answer = self._http.request(
            "POST",
            f"{self.url}/api/upload",
            fields={"file": (name, data)},
            headers={"Authorization": f"Bearer {token}"},
        )
        assert answer.status == 201, answer.data
        uploaded: Mapping[str, Any] = orjson.loads(answer.data)["data"]
        return uploaded

    def register(self, name: str = "Somebody", email: str | None = None) -> dict[str, Any]:
        """Make an account and return the answer's data, with the access token."""
        email = email or f"{os.urandom(6).hex()}@example.com"
        status, answer = self.post("/api/auth/register", {"name": name, "email": email, "password": "a long secret"})
        assert status == 201, answer
        account: dict[str, Any] = answer["data"]
        return account

    def publish(self, token: str, title: str = "A post") -> dict[str, Any]:
        body = {"title": title, "content": "Some words to read.", "status": "published"}
        status, answer = self.post("/api/posts", body, token)
        assert status == 201, answer
        post: dict[str, Any] = answer["data"]
        return post
