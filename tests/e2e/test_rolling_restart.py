"""Services and the gateway are replaced one after the other, and no request fails."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
import urllib3

from shared.server.run import GRACE
from tests.e2e.stack import SERVICES, Stack
from tests.e2e.test_bad_days import children, masters
from tests.uploads.samples import pdf
from tests.waiting import wait_until

PATIENCE = 8.0  # seconds, of the 10 that a request under way has when its server stops


class Reader(threading.Thread):
    """Read on a connection of its own each time, and count the answers."""

    def __init__(self, stack: Stack, path: str, token: str) -> None:
        super().__init__(daemon=True)
        self.answers: Counter[str] = Counter()
        self._url, self._token = stack.url + path, token
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                self.answers[self._read()] += 1
            except urllib3.exceptions.HTTPError as error:
                self.answers[type(error).__name__] += 1

    def _read(self) -> str:
        headers = {"Authorization": f"Bearer {self._token}", "Connection": "close"}
        return str(urllib3.request("GET", self._url, headers=headers, retries=False, timeout=20).status)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP], ids=["started again", "reloaded"])
def test_nobody_is_refused_while_everything_is_replaced(own_stack: Stack, how: signal.Signals) -> None:
    token = own_stack.register()["accessToken"]
    post = own_stack.publish(token)
    own = ["/api/auth/me", f"/api/posts/{post['id']}", "/api/uploads", "/api/notifications", "/api/hello"]
    readers = [Reader(own_stack, path, token) for path in own]
    for reader in readers:
        reader.start()
    slowest = 0.0
    for service in SERVICES:
        wait_until(lambda: all(sum(reader.answers.values()) > 2 for reader in readers))
        master = masters(own_stack)[service]
        [worker] = children(master)
        began = time.monotonic()
        os.kill(master, how)
        wait_until(lambda service=service, worker=worker: replaced(own_stack, service, worker))
        seen = {reader: sum(reader.answers.values()) for reader in readers}
        wait_until(lambda seen=seen: all(sum(one.answers.values()) > seen[one] + 2 for one in readers))
        slowest = max(slowest, time.monotonic() - began)
    for reader in readers:
        reader.stopping.set()
        reader.join(20)
    if slowest > PATIENCE:
        pytest.skip("a restart takes longer here than a request under way is given")
    assert {path: set(reader.answers) for path, reader in zip(own, readers, strict=True)} == {
        path: {"200"} for path in own
    }


def replaced(stack: Stack, service: str, worker: int) -> bool:
    """Tell whether the service has another worker than that, and no other."""
    master = masters(stack).get(service)
    return master is not None and len(workers := children(master)) == 1 and worker not in workers


def test_an_upload_under_way_outlives_a_reload_of_the_gateway(own_stack: Stack) -> None:
    """A slow line takes longer than a stop would give it."""
    token = own_stack.register()["accessToken"]
    data = pdf(200_000)
    [worker] = children(masters(own_stack)["gateway"])
    reloaded = threading.Event()

    def slowly() -> Iterator[bytes]:
        for start in range(0, len(data), 10_000):
            yield data[start : start + 10_000]
            time.sleep(0.05 if reloaded.is_set() else 0.2)
            if start == 20_000:
                os.kill(masters(own_stack)["gateway"], signal.SIGHUP)
                wait_until(lambda: children(masters(own_stack)["gateway"])[-1] != worker)
                assert own_stack.get("/api/hello")[0] == 200
                time.sleep(GRACE + 3)
                reloaded.set()

    answer = urllib3.request(
        "POST",
        f"{own_stack.url}/api/files/{own_stack.get('/api/auth/me', token)[1]['data']['id']}/slow.pdf",
        body=slowly(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/pdf"},
        retries=False,
        timeout=60,
    )
    assert answer.status == 201, answer.data
    wait_until(lambda: worker not in children(masters(own_stack)["gateway"]))
