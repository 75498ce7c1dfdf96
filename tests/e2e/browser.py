"""Drive a real Chromium over its debugging pipe, and serve pages to it as a front end does."""

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 60.0  # seconds until a browser that hangs is killed
NAMES = ("chromium", "chromium-browser", "google-chrome")


class Browser:
    """A fresh profile with one tab, or several."""

    def __init__(self, folder: Path, patience: float = PATIENCE) -> None:
        program = next((found for name in NAMES if (found := shutil.which(name))), None)
        if program is None:
            pytest.skip("there is no Chromium here")
        to_browser, self._writer = os.pipe()
        self._reader, from_browser = os.pipe()
        # Chromium reads descriptor 3 and writes 4, whatever numbers these pipes have here.
        script = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, program, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder)},
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._timer = threading.Timer(patience, self._kill)
        self._timer.start()
        self._number = 0
        self._unread = b""
        self._session: str | None = None
        self.new_tab()

    def new_tab(self) -> str:
        """Open another tab of the same profile, to which all calls go from now on; return what names it."""
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = str(self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")
        return self._session

    def use_tab(self, tab: str) -> None:
        self._session = tab

    def close(self) -> None:
        self._timer.cancel()
        self._kill()
        self._process.wait(30)
        os.close(self._writer)
        os.close(self._reader)

    def _kill(self) -> None:
        """Kill all its processes: where the program is a script, the browser is but a child of it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def wait_for(self, event: str) -> None:
        while self._read().get("method") != event:
            pass

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            piece = os.read(self._reader, 65536)
            assert piece, "the browser is gone"
            self._unread += piece
        text, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")

    def evaluate(self, script: str) -> Any:
        """Run the body of an async function in the page and return what it returns."""
        expression = f"(async () => {{ {script} }})()"
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self) -> str:
        return str(self.evaluate("return document.documentElement.textContent"))

    def address(self) -> str:
        return str(self.evaluate("return location.href"))

    def allow_scripts(self, allowed: bool) -> None:
        self.call("Emulation.setScriptExecutionDisabled", value=not allowed)

    def click(self, selector: str) -> None:
        """Click with the mouse, as a person does, and wait for the page that this leads to."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        x, y = self.call("DOM.getBoxModel", nodeId=node)["model"]["content"][:2]
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x + 2, y=y + 2, button="left", clickCount=1)
        self.wait_for("Page.loadEventFired")

    def cookies(self, url: str) -> dict[str, dict[str, Any]]:
        """Return the cookies that the browser would send there."""
        found = self.call("Network.getCookies", urls=[url])["cookies"]
        return {cookie["name"]: cookie for cookie in found}


class FrontEnd:
    """A front end of static pages on http://localhost; `pages` maps paths to HTML."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {"/": "<!doctype html><title>front end</title>"}
        pages: Mapping[str, str] = self.pages

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = pages.get(self.path)
                self.send_response(200 if page else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write((page or "").encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://localhost:{self._server.server_port}"
        self.elsewhere = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
