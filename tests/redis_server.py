"""A Redis of the tests' own, which they may stop."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest
import redis

from tests.ports import free_port


class RedisServer:
    """Redis on a free port, without files."""

    def __init__(self, folder: Path) -> None:
        self._program = shutil.which("redis-server")
        if self._program is None:
            pytest.skip("needs redis-server")
        self._folder = folder
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        arguments = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen([str(self._program), *arguments], stdout=log)
        deadline = time.monotonic() + 30
        with redis.Redis.from_url(self.url) as connection:
            while time.monotonic() < deadline:
                try:
                    connection.ping()
                    return
                except redis.ConnectionError:
                    time.sleep(0.02)
        raise TimeoutError(self.url)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
