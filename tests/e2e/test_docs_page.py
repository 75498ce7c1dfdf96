"""Swagger UI in a real browser: reading the document, trying operations, and a document that is hostile."""

import json
from typing import Any

import pytest

from tests.e2e.browser import Browser
from tests.e2e.stack import Stack

PASSWORD = "a long secret"
# What a person does by mouse and keyboard: React hears of a value by the event `input` only.
HELPERS = """
const until = async (found, what) => {
  for (let tries = 0; tries < 500; tries += 1) {
    const result = found();
    if (result) return result;
    await new Promise((go) => setTimeout(go, 20));
  }
  throw new Error(`not found: ${what}`);
};
const find = (selector, from = document) => until(() => from.querySelector(selector), selector);
const write = (field, value) => {
  const kind = field.tagName === "TEXTAREA" ? HTMLTextAreaElement : HTMLInputElement;
  Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(field, value);
  field.dispatchEvent(new Event("input", {bubbles: true}));
  field.dispatchEvent(new FocusEvent("focusout", {bubbles: true})); // Swagger UI reads some fields late otherwise
};
const operation = async (method, path) => {
  await find(".opblock");
  const block = [...document.querySelectorAll(".opblock")].find((one) =>
    one.querySelector(".opblock-summary-method").textContent === method &&
    one.querySelector("[data-path]").dataset.path === path);
  if (!block.classList.contains("is-open")) block.querySelector(".opblock-summary-control").click();
  if (!block.querySelector(".try-out__btn.cancel")) (await find(".try-out__btn", block)).click();
  await find(".execute", block);
  return block;
};
"""
SEND = """
const [method, path, fields, body] = %s;
const block = await operation(method, path);
for (const [name, value] of Object.entries(fields)) {
  write(await find(`tr[data-param-name="${name}"] input`, block), value);
}
if (body !== null) write(await find("textarea.body-param__text", block), JSON.stringify(body));
block.querySelector(".btn-clear")?.click();
await until(() => !block.querySelector(".live-responses-table"), "no response");
block.querySelector(".execute").click();
const table = await find(".live-responses-table tbody", block);
return {
  status: Number(table.querySelector(".response-col_status").firstChild.textContent),
  text: table.textContent,
  curl: block.querySelector(".curl-command").textContent,
};
"""
AUTHORIZE = """
(await find(".btn.authorize")).click();
const form = await find(".auth-container");
write(await find("input[type=text]", form), %s);
form.querySelector(".authorize").click();
const buttons = () => [...document.querySelectorAll(".auth-container button")];
await until(() => buttons().some((one) => one.textContent === "Logout"), "logout");
document.querySelector(".close-modal").click();
"""


class Page:
    """The page at /api/docs."""

    def __init__(self, browser: Browser, stack: Stack) -> None:
        self._browser = browser
        self.address = f"http://localhost:{stack.ports['gateway']}/api/docs"
        browser.open(self.address)

    def run(self, script: str) -> Any:
        return self._browser.evaluate(HELPERS + script)

    def send(self, method: str, path: str, body: Any = None, fields: dict[str, str] | None = None) -> dict[str, Any]:
        """Fill the fields of an operation in, the body only where there is one, and send it."""
        answer: dict[str, Any] = self.run(SEND % json.dumps([method, path, fields or {}, body]))
        return answer

    def authorize(self, token: str) -> None:
        self.run(AUTHORIZE % json.dumps(token))


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Page:
    return Page(browser, stack)


def test_a_reader_tries_operations_with_a_bearer_token(page: Page, stack: Stack) -> None:
    assert page.send("GET", "/api/hello")["status"] == 200
    assert page.send("GET", "/api/auth/me")["status"] == 401
    page.authorize(str(stack.register("Docs Reader")["accessToken"]))
    assert "Docs Reader" in page.send("GET", "/api/auth/me")["text"]
    for path in ("/api/posts", "/api/contact"):  # with the body that Swagger UI proposes
        assert page.send("POST", path)["status"] == 201
    assert page.send("GET", "/api/posts", fields={"page": "1", "limit": "1"})["status"] == 200


def test_a_reader_signs_in_by_cookies_and_a_bearer_token_of_another_user_counts_alone(
    page: Page, stack: Stack, browser: Browser
) -> None:
    email = stack.register("Cookie User")["user"]["email"]
    login = {"email": email, "password": PASSWORD, "rememberMe": True}
    assert page.send("POST", "/api/auth/login", login)["status"] == 200
    assert "authToken" in browser.cookies(page.address)
    browser.open(page.address)
    assert "Cookie User" in page.send("GET", "/api/auth/me")["text"]
    written = page.send("POST", "/api/posts")
    assert (written["status"], "X-CSRF-Token" in written["curl"]) == (201, True)
    page.authorize(str(stack.register("Another User")["accessToken"]))
    assert "Another User" in page.send("GET", "/api/auth/me")["text"]
    assert page.send("POST", "/api/posts")["status"] == 201
    browser.open(page.address)
    assert page.send("POST", "/api/auth/logout")["status"] == 204
    assert page.send("GET", "/api/auth/me")["status"] == 401


def test_slashes_in_the_path_of_a_file_reach_the_service(page: Page, stack: Stack) -> None:
    account = stack.register()
    page.authorize(str(account["accessToken"]))
    own = account["user"]["id"]
    answer = page.send("GET", "/api/files/{userId}/{path}", fields={"userId": own, "path": "a/b c/d.png"})
    assert (answer["status"], f"/api/files/{own}/a/b%20c/d.png" in answer["curl"]) == (404, True)


def test_a_file_can_be_chosen_for_an_upload(page: Page) -> None:
    uploads = {"PUT": "/api/files/{userId}/{path}", "POST": "/api/upload"}
    for method, path in uploads.items():
        page.run(f"await find('input[type=file]', await operation({json.dumps(method)}, {json.dumps(path)}))")


HOSTILE = """</script><script>window.ran=1</script><img src=x onerror=window.ran=1><svg onload=window.ran=1></svg>
<iframe srcdoc="<script>top.ran=1</script>"></iframe><style>*{display:none}</style>
<a href="javascript:window.ran=1">a</a> [b](javascript:window.ran=1) ![c](javascript:window.ran=1)
<form action="javascript:window.ran=1"><button>d</button></form> {{constructor.constructor('window.ran=1')()}}"""
# Every text of the document gets the hostile one behind it, and so do names of tags, parameters and schemas.
REPLACE = """
const real = window.fetch;
const hostile = %s;
const names = new Set(["summary", "description", "title", "example", "default"]);
const spoil = (value, key) => {
  if (Array.isArray(value)) return value.map((one) => spoil(one, key));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, spoil(inner, name)]));
  }
  return typeof value === "string" && (names.has(key) || key === "tags") ? value + hostile : value;
};
window.fetch = async (address, ...rest) => {
  const response = await real(address, ...rest);
  if (!String(address).endsWith("/api/openapi.json")) return response;
  const {paths, ...document} = await response.json();
  const url = "javascript:window.ran=1";
  document.tags = document.tags.map((tag) => ({...tag, name: tag.name + hostile, externalDocs: {url}}));
  document.info.contact = {name: hostile, url, email: hostile};
  document.externalDocs = {description: hostile, url};
  const spoiled = spoil({...document, paths: {"/api/posts": paths["/api/posts"]}});
  spoiled.paths["/api/posts"].get.parameters.push({name: hostile, in: "query", description: hostile,
                                                   schema: {type: "string", enum: [hostile], title: hostile}});
  spoiled.paths["/api/posts"].get["x-hostile"] = hostile;
  const responses = {200: {description: hostile}};
  spoiled.paths["/" + hostile] = {get: {tags: [hostile], operationId: hostile, responses}};
  const properties = {[hostile]: {type: "string", description: hostile}};
  spoiled.components.schemas[hostile.replaceAll("/", "")] = {type: "object", title: hostile, properties};
  return new Response(JSON.stringify(spoiled), {status: 200});
};
"""
LOOK = """
await until(() => document.querySelectorAll(".opblock").length === 3, "operations");
for (const block of document.querySelectorAll(".opblock .opblock-summary-control")) block.click();
for (const block of document.querySelectorAll(".models-control, .model-container button")) block.click();
await find(".try-out__btn");
for (const button of document.querySelectorAll(".try-out__btn")) button.click();
await find(".execute");
await new Promise((go) => setTimeout(go, 500));
const inside = [...document.querySelectorAll("#docs *")];
for (const link of inside.filter((one) => one.matches("a[href^=javascript]"))) link.click();
const links = inside.map((one) => (one.getAttribute("href") || one.getAttribute("action") || "").trim().toLowerCase());
return {
  shown: document.getElementById("docs").textContent.includes("</script>"),
  ran: window.ran,
  scripts: inside.filter((one) => ["SCRIPT", "IFRAME", "STYLE", "OBJECT", "EMBED"].includes(one.tagName)).length,
  handlers: inside.filter((one) => [...one.attributes].some(({name}) => name.startsWith("on"))).length,
  links: links.filter((href) => href.startsWith("javascript:")),
};
"""


@pytest.mark.parametrize("without_policy", [False, True])
def test_a_hostile_document_runs_nothing(browser: Browser, stack: Stack, without_policy: bool) -> None:
    browser.call("Page.setBypassCSP", enabled=without_policy)
    browser.call("Page.addScriptToEvaluateOnNewDocument", source=REPLACE % json.dumps(HOSTILE))
    page = Page(browser, stack)
    assert page.run(LOOK) == {"shown": True, "scripts": 0, "handlers": 0, "links": []}
