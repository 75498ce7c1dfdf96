"""Run the supervisor with the toy services in a folder of its own."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.e2e.stack import ROOT
from tests.ports import free_port
from tests.waiting import wait_until

MODULE = "tests.e2e.toys"
PROCFILE = f"alpha: python -m {MODULE} alpha\ngateway: python -m {MODULE} gateway\n"


class ToyStack:
    """A folder with a Procfile; `start` runs it, `run` runs one command to its end."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.output = folder / "output"
        (folder / "Procfile").write_text(PROCFILE)
        alpha, gateway = free_port(), free_port()
        self.ports = {"alpha": alpha, "gateway": gateway}
        ports = {"ALPHA_PORT": str(alpha), "GATEWAY_PORT": str(gateway)}
        self.environment = os.environ | {"PYTHONPATH": str(ROOT), "DATA_DIR": str(folder)} | ports | settings
        self.process: subprocess.Popen[bytes] | None = None
        self.seen: set[int] = set()

    def command(self, arguments: tuple[str, ...]) -> Any:
        words = [sys.executable, "-m", MODULE, *arguments]
        return {"args": words, "cwd": self.folder, "env": self.environment, "stderr": subprocess.STDOUT}

    def run(self, *arguments: str) -> tuple[int, str]:
        """Return the exit code and all that was said."""
        ran = subprocess.run(**self.command(arguments), stdout=subprocess.PIPE, text=True, timeout=60)
        return ran.returncode, ran.stdout

    def launch(self, *arguments: str) -> None:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(**self.command(arguments), stdout=output, start_new_session=True)

    def start(self, *arguments: str) -> None:
        self.launch(*arguments)
        wait_until(lambda: "Ready" in self.said())
        for name in self.ports:
            self.seen |= set(self.processes(name))

    def said(self) -> str:
        return self.output.read_text()

    def get(self, name: str, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=30) as answer:
            text: str = answer.read().decode()
        return text

    def processes(self, name: str) -> tuple[int, int]:
        """Return the master and the worker that answers."""
        master, worker = map(int, self.get(name, "/processes").split())
        self.seen |= {master, worker}
        return master, worker

    def send(self, how: signal.Signals) -> None:
        assert self.process
        os.killpg(self.process.pid, how)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> float:
        """Signal the whole foreground group, as a terminal does, and return the seconds until the end."""
        assert self.process
        started = time.monotonic()
        self.send(how)
        self.process.wait(30)
        return time.monotonic() - started

    def clean_up(self) -> None:
        if self.process and self.process.poll() is None:
            self.stop(signal.SIGKILL)
        for pid in self.seen:
            if self.alive(pid):
                os.kill(pid, signal.SIGKILL)

    def alive(self, pid: int) -> bool:
        """Tell whether a process of ours still runs."""
        try:
            command, state = Path(f"/proc/{pid}/cmdline").read_text(), Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        ours = MODULE in command or command.startswith("gunicorn: ")
        return ours and state.rsplit(")", 1)[1].split()[0] != "Z"

    def survivors(self) -> list[int]:
        return [pid for pid in self.seen if self.alive(pid)]
