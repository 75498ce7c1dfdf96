"""Read the Procfile, and run its lines as processes, each with a listening socket (socket activation)."""

import os
import re
import shlex
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from shared.network.sockets import listen
from shared.start_error import StartError

INHERITED = 3  # the file descriptor of the passed socket (SD_LISTEN_FDS_START of systemd)
MAX_DESCRIPTOR = 1024  # no file descriptor of the supervisor is higher


class Program:
    """One line of the Procfile and its current process.

    With `serve`, which does the same as the command and returns its exit code, the process is a fork of the supervisor.
    """

    def __init__(self, name: str, command: list[str], serve: Callable[[], int] | None = None) -> None:
        self.name = name
        self.command = command
        self.serve = serve
        self.listener: socket.socket | None = None
        self.pid = 0
        self._group = 0

    def listen(self, host: str, port: int) -> None:
        """Bind the socket that all processes of this program inherit; raise StartError."""
        self.listener = listen(host, port, f"{self.name.upper()}_PORT")

    def start(self) -> None:
        """Run the command in a process group of its own, so that Ctrl-C in the terminal does not reach it."""
        if self.serve:
            import services.launcher.preload  # noqa: F401 (once, and not before the first that needs it)
        parent = os.getpid()
        self.pid = self._group = os.fork()
        if not self.pid:
            try:
                self._become(parent)
            except OSError as error:
                sys.stderr.write(f"{self.name}: {self.command[0]} cannot be run: {error.strerror}\n")
            finally:
                sys.stderr.flush()
                os._exit(127)
        with suppress(OSError):  # the child does so too, since either may run first
            os.setpgid(self.pid, self.pid)

    def _become(self, parent: int) -> None:
        from shared.server.os_tuning import end_with_parent  # only in the child: exec frees its memory again

        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setpgid(0, 0)
        end_with_parent(parent)
        if self.listener:
            os.dup2(self.listener.fileno(), INHERITED)
            os.set_inheritable(INHERITED, True)
            os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
        if self.serve:
            self._serve(self.serve)
        os.execvp(self.command[0], self.command)  # noqa: S606 (the command is the owner's)

    def _serve(self, serve: Callable[[], int]) -> NoReturn:
        """Close inherited file descriptors, reset signal handlers, and run `serve`, as if in a new process."""
        os.closerange(INHERITED + 1, MAX_DESCRIPTOR)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        code: Any = 1
        try:
            code = serve()
        except SystemExit as end:
            code = end.code
        except BaseException:  # noqa: BLE001 (printed, and the exit code is 1)
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else int(code is not None))

    def signal(self, number: int) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def signal_group(self, number: int) -> None:
        """Signal the process group of the last process, even if that has ended."""
        if self._group:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, number)


def read_procfile(path: Path, extra: list[str]) -> list[Program]:
    """Return the programs, with `extra` appended to each command; `python` is this interpreter. Raises StartError."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise StartError(f"There is no {path} here: start in the folder that has it.") from None
    programs: dict[str, Program] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([a-z][a-z0-9_]*):\s*(\S.*)", line)
        if not match or match[1] in programs:
            raise StartError(f"{path}, line {number}: write name: command, each name once.")
        command = shlex.split(match[2])
        if command[0] in ("python", "python3"):
            command[0] = sys.executable
        programs[match[1]] = Program(match[1], command + extra)
    return list(programs.values())
