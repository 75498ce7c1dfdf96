"""What a browser alone shows of the TypeScript client: tabs, cookies that no script reads, React."""

import html
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import typescript_client
from tests.e2e.browser import Browser, FrontEnd
from tests.e2e.short_token_stack import ShortTokenStack
from tests.waiting import wait_until

PASSWORD = "a long secret"
SECONDS = 3
PRODUCTION = '--define:process.env.NODE_ENV="production"'
# Counts what the page sends, and makes a client of it.
PAGE = """<!doctype html><title>client</title><div id="root"></div><script>
window.GATEWAY = %(gateway)s;
const sent = [], told = [], send = window.fetch;
window.fetch = async (request, init) => {
  const answer = await send(request, init);
  sent.push([new URL(request.url ?? request, location).pathname, answer.status]);
  return answer;
};
</script><script>%(bundle)s</script>"""
CLIENT = """<script>
const { createPostern, localStore } = client;
const mode = new URLSearchParams(location.search).get("mode") ?? "cookie";
const pc = createPostern({ baseUrl: GATEWAY, mode, ...(mode === "bearer" && { store: localStore() }),
  onSignedIn: (user) => told.push("in " + user.name), onSignedOut: (reason) => told.push("out " + reason) });
const refreshes = () => sent.filter(([path]) => path === "/api/auth/refresh").length;
const burst = (count) => Promise.all(Array.from({ length: count }, () => pc.GET("/api/auth/me")))
  .then((all) => all.map(({ response }) => response.status));
</script>"""


@pytest.fixture(scope="module")
def front_end() -> Iterator[FrontEnd]:
    serving = FrontEnd()
    yield serving
    serving.close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, front_end: FrontEnd) -> Iterator[ShortTokenStack]:
    running = ShortTokenStack(tmp_path_factory.mktemp("tabs"), SECONDS, CORS_ORIGINS=front_end.origin)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def pages(front_end: FrontEnd, stack: ShortTokenStack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Serve the client at `/?mode=…`, and React's page at `/react`; return where."""
    client, folder = typescript_client.build(), tmp_path_factory.mktemp("bundles")
    gateway = json.dumps(f"http://localhost:{stack.ports['gateway']}")
    esbuild = client / "node_modules/.bin/esbuild"
    for entry, name in (("dist/index.js", "client"), ("test/react-page.mjs", "react")):
        output = folder / f"{name}.js"
        flags = ("--bundle", "--minify", "--format=iife", f"--global-name={name}", "--log-level=error", PRODUCTION)
        typescript_client.run(
            esbuild, entry, f"--outfile={output}", *flags, '--define:process.env.NODE_ENV="production"'
        )
        page = PAGE % {"gateway": gateway, "bundle": output.read_text().replace("</script", "<\\/script")}
        if name == "client":
            front_end.pages |= {f"/?mode={mode}": page + CLIENT for mode in ("bearer", "cookie")}
        else:
            front_end.pages["/react"] = page
    return front_end.origin


class Tabs:
    """Several tabs of one browser on the same page."""

    def __init__(self, browser: Browser, url: str, count: int) -> None:
        self._browser, self._url = browser, url
        self._tabs = [browser.new_tab() for _ in range(count)]
        for tab in range(count):
            self.open(tab)

    def open(self, tab: int) -> None:
        self._browser.use_tab(self._tabs[tab])
        self._browser.open(self._url)

    def evaluate(self, tab: int, script: str) -> Any:
        self._browser.use_tab(self._tabs[tab])
        return self._browser.evaluate(script)

    def everywhere(self, script: str) -> list[Any]:
        """Run a script in all tabs at the same time."""
        for tab in range(len(self._tabs)):
            self.evaluate(tab, f"window.running = (async () => {{ {script} }})();")
        return [self.evaluate(tab, "return await window.running") for tab in range(len(self._tabs))]


def sign_in(tabs: Tabs, stack: ShortTokenStack) -> None:
    email = stack.register("Tab User")["user"]["email"]
    login = f"return (await pc.auth.login({json.dumps({'email': email, 'password': PASSWORD})})).response.status"
    assert tabs.evaluate(0, login) == 200


def wait_for_the_end(tabs: Tabs) -> None:
    tabs.evaluate(0, f"await new Promise((go) => setTimeout(go, {SECONDS * 1000 + 1100}))")


@pytest.mark.parametrize("mode", ["bearer", "cookie"])
def test_tabs_renew_an_ended_token_once_for_all(
    browser: Browser, pages: str, stack: ShortTokenStack, mode: str
) -> None:
    tabs = Tabs(browser, f"{pages}/?mode={mode}", 2)
    sign_in(tabs, stack)
    wait_for_the_end(tabs)
    assert tabs.everywhere("return await burst(20)") == [[200] * 20] * 2
    assert sum(tabs.everywhere("return refreshes()")) == 1
    assert not [sent for tab in tabs.everywhere("return sent") for sent in tab if sent[1] == 401]


def test_in_cookie_mode_no_script_sees_a_token_and_a_reload_stays_signed_in(
    browser: Browser, pages: str, stack: ShortTokenStack
) -> None:
    tabs = Tabs(browser, f"{pages}/?mode=cookie", 2)
    sign_in(tabs, stack)
    seen = tabs.evaluate(0, "return document.cookie + JSON.stringify(localStorage)")
    assert "csrfToken" in seen
    assert not [word for word in ("accessToken", "refreshToken", "authToken", "eyJ") if word in seen]
    write = 'return (await pc.POST("/api/posts", {body: {title: "A tab", content: "B".repeat(20)}})).response.status'
    assert tabs.evaluate(0, write) == 201
    wait_for_the_end(tabs)
    tabs.open(1)
    assert tabs.evaluate(1, "return [(await pc.auth.me()).name, refreshes()]") == ["Tab User", 1]
    tabs.evaluate(0, "localStorage.clear()")
    tabs.open(0)  # with cookies alone the first request renews, since the access cookie may be gone
    status = 'return [(await pc.GET("/api/posts", {params: {query: {status: "draft"}}})).response.status, refreshes()]'
    assert tabs.evaluate(0, status) == [200, 1]
    assert tabs.evaluate(0, "return (await pc.auth.logout()).response.status") == 204
    wait_until(lambda: tabs.evaluate(1, "return told.at(-1)") == "out SIGNED_OUT")
    assert tabs.everywhere("return (await pc.GET('/api/auth/me')).error.code") == ["UNAUTHORIZED"] * 2


def test_a_page_written_with_the_hooks_works(browser: Browser, pages: str, stack: ShortTokenStack) -> None:
    account = stack.register("Hook User")
    for number in range(3):
        stack.publish(account["accessToken"], f"Hooked {number}")
    browser.open(f"{pages}/react")

    def text(selector: str) -> str:
        found = browser.evaluate(f"return document.querySelector({json.dumps(selector)})?.textContent ?? null")
        return html.unescape(str(found))

    def fill_in(form: str, **values: str) -> None:
        script = f"const form = document.getElementById('{form}');"
        for name, value in values.items():
            script += f"form.elements[{json.dumps(name)}].value = {json.dumps(value)};"
        browser.evaluate(f"{script} form.requestSubmit(); form.requestSubmit()")

    wait_until(lambda: text("#who") == "nobody")
    wait_until(lambda: text("#posts") == "Hooked 0Hooked 1")
    browser.evaluate("document.getElementById('more').click()")
    wait_until(lambda: text("#posts") == "Hooked 0Hooked 1Hooked 2")
    assert browser.evaluate("return document.getElementById('more').disabled")
    fill_in("login", email=account["user"]["email"], password="wrong wrong")
    wait_until(lambda: text("#login-error") == "INVALID_CREDENTIALS")
    fill_in("login", email=account["user"]["email"], password=PASSWORD)
    wait_until(lambda: text("#who") == "Hook User")
    fill_in("write", title="x")
    wait_until(lambda: text("#title-errors") != "")
    wait_until(lambda: text("#state") == "open" and text("#stream").startswith("true"))
    before = len([post for post in browser.evaluate("return sent") if post[0] == "/api/posts" and post[1] == 201])
    fill_in("write", title="Written with hooks")
    wait_until(lambda: text("#written") == "Written with hooks")
    assert text("#title-errors") == ""
    wait_until(lambda: "Written with hooks" in text("#stream"))
    after = len([post for post in browser.evaluate("return sent") if post[0] == "/api/posts" and post[1] == 201])
    assert after - before == 1  # though it was submitted twice
    browser.evaluate("document.getElementById('out').click()")
    wait_until(lambda: text("#who") == "nobody")
