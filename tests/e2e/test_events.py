"""Live events with the clients that people use, and on the days on which processes die."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPException
from pathlib import Path

import orjson
import pytest

from shared.server.run import GRACE
from tests.e2e.browser import Browser, FrontEnd
from tests.e2e.node import node_modules
from tests.e2e.stack import ROOT, Stack
from tests.e2e.test_bad_days import Writer, children, masters
from tests.messages.listening import Listener, Told
from tests.waiting import assert_within, wait_until

PACKAGE = "eventsource@4.1.1"
SCRIPT = Path(__file__).parent / "listen.mjs"
TOPIC = "?topics=post.published"


class Loyal(threading.Thread):
    """A client that always comes back and says what it heard last."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.told: list[Told] = []
        self.returns = 0
        self.last = ""
        self.stopping = threading.Event()
        self._port = port

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                self._listen()
            except (OSError, HTTPException):
                time.sleep(0.05)

    def _listen(self) -> None:
        headers = {"Last-Event-ID": self.last} if self.last else {}
        with closing(Listener(self._port, TOPIC, **headers)) as listener:
            while listener.status == 200 and not self.stopping.is_set() and (event := listener.next()):
                self.last = event.id
                self.returns += event.topic == "connected"
                if event.topic != "connected":
                    self.told.append(event)


class FromNode:
    """The npm package `eventsource`, which prints what it hears."""

    def __init__(self, port: int, modules: Path) -> None:
        address = f"http://127.0.0.1:{port}/api/events{TOPIC}"
        self._process = subprocess.Popen(["node", SCRIPT, modules, address], stdout=subprocess.PIPE, cwd=ROOT)
        self.told: list[Told] = []
        self.returns = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            event = Told(**orjson.loads(line))
            self.returns += event.topic == "connected"
            if event.topic != "connected":
                self.told.append(event)

    def close(self) -> None:
        self._process.kill()
        self._thread.join(5)
        self._process.communicate(timeout=30)


def test_nothing_is_missed_and_nothing_heard_twice_through_ten_kills(own_stack: Stack) -> None:
    loyal = Loyal(own_stack.ports["gateway"])
    from_node = FromNode(own_stack.ports["gateway"], node_modules(PACKAGE))
    clients: list[Loyal | FromNode] = [loyal, from_node]
    loyal.start()
    try:
        wait_until(lambda: loyal.returns and from_node.returns)
        writer = Writer(own_stack, own_stack.register()["accessToken"])
        writer.start()
        for number in range(10):
            victims = family(own_stack, "messages" if number % 2 else "gateway")
            os.kill(victims[number % 4 > 1], signal.SIGKILL)
            writer.wait_for(3)
        writer.finish()
        wait_until(lambda: min(len(client.told) for client in clients) >= len(writer.acknowledged))
        time.sleep(0.5)  # for what would come twice
    finally:
        loyal.stopping.set()
        from_node.close()
    assert min(client.returns for client in clients) > 2  # it pauses between two tries, so some kills are one to it
    for client in clients:
        assert [event.data["title"] for event in client.told] == writer.acknowledged
        ids = [int(event.id) for event in client.told]
        assert ids == sorted(set(ids))


def family(stack: Stack, service: str) -> list[int]:
    """Return the master and the worker of a service, as soon as there are both."""
    found: list[int] = []

    def complete() -> bool:
        master = masters(stack).get(service)
        found[:] = [master, *children(master)] if master else []
        return len(found) > 1

    wait_until(complete)
    return found


@pytest.fixture(scope="module")
def front_end() -> Iterator[FrontEnd]:
    serving = FrontEnd()
    yield serving
    serving.close()


@pytest.fixture
def site(front_end: FrontEnd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation that knows the front end."""
    running = Stack(tmp_path_factory.mktemp("site"), CORS_ORIGINS=front_end.origin)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    running = Browser(tmp_path / "profile", patience=60)
    yield running
    running.close()


LISTEN = """
window.heard = [];
window.source = new EventSource(ADDRESS, {withCredentials: WITH});
for (const topic of ["connected", "resync", "post.published", "notification"])
  source.addEventListener(topic, event =>
    heard.push({topic, id: event.lastEventId, data: JSON.parse(event.data)}));
"""


def heard(browser: Browser) -> list[Told]:
    return [Told(**event) for event in browser.evaluate("return window.heard")]


def test_a_browser_hears_by_cookie_and_by_ticket_and_comes_back_after_a_restart(
    site: Stack, front_end: FrontEnd, browser: Browser
) -> None:
    gateway = f"http://localhost:{site.ports['gateway']}"
    author, reader = site.register("Author"), site.register("Reader")
    post = site.publish(author["accessToken"])
    browser.open(front_end.origin + "/")
    login = {"email": author["user"]["email"], "password": "a long secret", "rememberMe": True}
    browser.evaluate(
        f"await fetch('{gateway}/api/auth/login', {{method: 'POST', credentials: 'include',"
        f" headers: {{'Content-Type': 'application/json'}}, body: `{orjson.dumps(login).decode()}`}})"
    )
    browser.evaluate(f"const ADDRESS = '{gateway}/api/events', WITH = true; {LISTEN}")
    wait_until(lambda: heard(browser))
    comment = {"content": "What a post."}
    assert site.post(f"/api/posts/{post['id']}/comments", comment, reader["accessToken"])[0] == 201
    wait_until(lambda: [event for event in heard(browser) if event.topic == "notification"])
    os.kill(masters(site)["messages"], signal.SIGTERM)
    wait_until(lambda: browser.evaluate("return source.readyState") == 0)
    again = site.publish(author["accessToken"], "Written meanwhile")
    wait_until(lambda: [event for event in heard(browser) if event.data.get("id") == again["id"]])
    assert [event.topic for event in heard(browser)][-2:] == ["connected", "post.published"]
    browser.evaluate("source.close()")

    ticket = site.post("/api/events/ticket", None, author["accessToken"])[1]["data"]["ticket"]
    browser.evaluate(f"const ADDRESS = '{gateway}/api/events?ticket={ticket}', WITH = false; {LISTEN}")
    wait_until(lambda: heard(browser))
    site.request("POST", "/api/auth/logout", token=author["accessToken"])
    wait_until(lambda: browser.evaluate("return source.readyState") == 2)  # after the 401 to the used ticket
    assert ticket not in site.log.read_text()


def test_a_stream_ends_soon_after_its_session(stack: Stack) -> None:
    def end() -> float:
        token = stack.register()["accessToken"]
        stream = Listener(stack.ports["gateway"], Authorization=f"Bearer {token}")
        assert stream.next()
        assert stack.request("POST", "/api/auth/logout", token=token).status == 204
        ended = time.monotonic()
        assert [event for event in stream.rest() if event.topic != "notification"] == []
        stream.close()
        return time.monotonic() - ended

    assert_within(2, end)


@pytest.mark.parametrize("service", ["messages", "gateway"])
def test_a_stop_ends_streams_at_once(own_stack: Stack, service: str) -> None:
    streams = [Listener(own_stack.ports["gateway"]) for _ in range(5)]
    for stream in streams:
        assert stream.next()
    stopped = time.monotonic()
    os.kill(masters(own_stack)[service], signal.SIGTERM)
    for stream in streams:
        assert stream.rest() == []
        assert len(stream.retry) == (2 if service == "messages" else 1)
        stream.close()
    assert time.monotonic() - stopped < GRACE


def test_many_streams_cost_no_threads(stack: Stack) -> None:
    def threads() -> int:
        workers = [children(masters(stack)[name])[0] for name in ("messages", "gateway")]
        return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in workers)

    first = Listener(stack.ports["gateway"])
    before = threads()
    streams = [Listener(stack.ports["gateway"]) for _ in range(80)]
    assert [stream.next().topic for stream in streams if stream.status == 200] == ["connected"] * 80  # type: ignore[union-attr]
    assert threads() < before + 10
    for stream in (first, *streams):
        stream.close()
