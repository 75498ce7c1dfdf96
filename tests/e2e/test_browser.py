"""A real browser on a front end of another port: cookies, CSRF and forms without script."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.browser import Browser, FrontEnd
from tests.e2e.stack import Stack

PASSWORD = "a long secret"
NAMES = {"authToken", "refreshToken", "csrfToken"}
# What a front end does: every call with the cookies, and the readable one repeated in a header.
CALL = """
async function call(method, path, body, csrf = true) {
  const cookie = document.cookie.match(/csrfToken=([^;]+)/);
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (csrf && cookie) headers["X-CSRF-Token"] = cookie[1];
  const answer = await fetch(GATEWAY + path, {method, headers, credentials: "include",
                                              body: body === undefined ? undefined : JSON.stringify(body)});
  const text = await answer.text();
  return {status: answer.status, body: text && JSON.parse(text)};
}
"""


@pytest.fixture(scope="module")
def front_end() -> Iterator[FrontEnd]:
    serving = FrontEnd()
    yield serving
    serving.close()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, front_end: FrontEnd) -> Iterator[Stack]:
    """An installation that knows the front end."""
    running = Stack(tmp_path_factory.mktemp("shop"), CORS_ORIGINS=front_end.origin)
    running.start()
    yield running
    running.stop()


class Page:
    """A page of the front end, and what its script calls."""

    def __init__(self, browser: Browser, gateway: str) -> None:
        self._browser = browser
        self._script = f'const GATEWAY = "{gateway}";' + CALL

    def call(self, arguments: str) -> tuple[int, Any]:
        answer = self._browser.evaluate(f"{self._script} return await call({arguments})")
        return answer["status"], answer["body"]


def gateway_of(stack: Stack) -> str:
    return f"http://localhost:{stack.ports['gateway']}"


def test_a_script_logs_in_writes_refreshes_and_logs_out(browser: Browser, shop: Stack, front_end: FrontEnd) -> None:
    gateway = gateway_of(shop)
    account = shop.register("Browser User")
    email = account["user"]["email"]
    browser.open(front_end.origin + "/")
    page = Page(browser, gateway)
    assert page.call('"GET", "/api/hello"')[0] == 200
    login = f'"POST", "/api/auth/login", {{email: "{email}", password: "{PASSWORD}", rememberMe: true}}'
    assert page.call(login)[0] == 200
    before = browser.cookies(f"{gateway}/api/auth/refresh")
    assert before.keys() == NAMES | {"device"}
    assert {(cookie["secure"], cookie["sameSite"]) for cookie in before.values()} == {(True, "Strict")}
    assert browser.evaluate("return document.cookie") == f"csrfToken={before['csrfToken']['value']}"
    assert browser.cookies(f"{gateway}/api/posts").keys() == NAMES - {"refreshToken"}

    assert page.call('"GET", "/api/auth/me"')[1]["data"]["name"] == "Browser User"
    post = '"POST", "/api/posts", {title: "From a browser", content: "Some words to read."}'
    assert page.call(post)[0] == 201
    assert page.call(f"{post}, false")[1]["code"] == "CSRF_FAILED"
    assert page.call('"POST", "/api/auth/refresh", undefined, false')[1]["code"] == "CSRF_FAILED"
    assert page.call('"POST", "/api/auth/refresh"')[0] == 200
    assert browser.cookies(f"{gateway}/api/auth")["refreshToken"]["value"] != before["refreshToken"]["value"]
    assert page.call(post)[0] == 201
    browser.evaluate('document.cookie = "theme=dark"')  # of the front end, or of anything else on this host
    assert page.call('"POST", "/api/auth/logout"')[0] == 204
    assert browser.cookies(f"{gateway}/api/auth/refresh").keys() == {"theme", "device"}
    assert page.call('"GET", "/api/auth/me"')[0] == 401


FORMS = """<!doctype html><title>forms</title>
<form id="register" method="post" action="{gateway}/api/auth/register">
  <input name="name" value="Form User"><input name="email" value="{email}"><input name="password" value="{password}">
  <input type="hidden" name="_next" value="/api/errors/EMAIL_TAKEN"><input name="website"><button>Register</button>
</form>
<form id="login" method="post" action="{gateway}/api/auth/login">
  <input name="email" value="{email}"><input name="password" value="{password}">
  <input type="checkbox" name="rememberMe" checked><input type="hidden" name="_next" value="/api/auth/me">
  <button>Log in</button>
</form>
<form id="logout" method="post" action="{gateway}/api/auth/logout">
  <input name="_csrf" value="{csrf}"><input type="hidden" name="_next" value="/api/auth/me"><button>Log out</button>
</form>
"""


def test_plain_forms_register_log_in_and_log_out_without_script(
    browser: Browser, shop: Stack, front_end: FrontEnd
) -> None:
    gateway, csrf = gateway_of(shop), ""

    def submit(form: str, host: str = front_end.origin) -> str:
        """Let the front end render its forms, send one and return the text of the page that this leads to."""
        front_end.pages["/forms"] = FORMS.format(
            gateway=gateway, email="form.user@example.com", password=PASSWORD, csrf=csrf
        )
        browser.open(host + "/forms")
        browser.allow_scripts(False)
        browser.click(f"#{form} button")
        browser.allow_scripts(True)
        return browser.text()

    submit("register")
    assert browser.address() == f"{gateway}/api/errors/EMAIL_TAKEN"
    assert "<h1>" not in submit("register")
    assert "Sign in, or use another address." in browser.text()
    assert browser.address() == f"{gateway}/api/auth/register"
    assert '"name":"Form User"' in submit("login")
    assert browser.address() == f"{gateway}/api/auth/me"
    assert "X-CSRF-Token or the field _csrf" in submit("logout")
    csrf = browser.cookies(gateway)["csrfToken"]["value"]
    submit("logout", front_end.elsewhere)
    assert browser.cookies(gateway).keys() == NAMES - {"refreshToken"}
    assert "UNAUTHORIZED" in submit("logout")
    assert browser.address() == f"{gateway}/api/auth/me"
    assert browser.cookies(gateway) == {}
