"""Keep all programs running, and end them together."""

import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from services.launcher.programs import Program
from services.launcher.readiness import EDGE, Readiness
from shared.start_error import EXIT_CODE

STABLE = 3.0  # seconds after which an end is no failed start
LONGEST_PAUSE = 8.0  # seconds between two starts of a program that fails again and again
SLOW_START = 15.0  # seconds after which it is told who is not ready
EDGE_FIRST = 12.5  # seconds that the gateway has to finish before the services that it needs are stopped
GRACE = 25.0  # seconds until what still runs is killed
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LOCAL = ("127.0.0.1", "0.0.0.0", "::", "::1")  # noqa: S104 (where it listens is decided elsewhere)


class ProgramState:
    """How a program has fared since we started it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.started = 0.0
        self.due = 0.0
        self.failures = 0

    def start(self) -> None:
        self.started = time.monotonic()
        self.program.start()

    def end(self, code: int) -> str:
        """Note that the process has ended and when the next one is due; return what to tell."""
        now = time.monotonic()
        self.program.sweep(signal.SIGTERM)
        self.program.pid = 0
        self.failures = self.failures + 1 if now - self.started < STABLE else 0
        pause = min(2.0 ** (self.failures - 2), LONGEST_PAUSE) if self.failures else 0.0
        self.due = now + pause
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if self.failures < 2:
            return f"{self.program.name} {how}; it is started again."
        return f"{self.program.name} {how} right after its start, {self.failures} times now; next try in {pause:.0f} s."


class Supervisor:
    """Start programs, start again what ends, and stop all on SIGTERM, SIGINT or SIGHUP, or when one cannot start."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self.lives = [ProgramState(program) for program in programs]
        self.began = time.monotonic()
        self.stops = 0
        self.code = 0
        self._wake, waker = os.pipe()
        for descriptor in (self._wake, waker):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(waker)
        for number in (signal.SIGCHLD, *STOP_SIGNALS):
            signal.signal(number, _only_wake)

    def run(self) -> int:
        """Return the exit code when all has ended."""
        readiness = Readiness(
            {life.program.name: life.program.listener for life in self.lives if life.program.listener}
        )
        while not self.stops:
            for life in self.lives:
                if not life.program.pid and life.due <= time.monotonic():
                    life.start()
            if readiness.waiting:
                readiness.ask()
                readiness.take(self._sleep(0.1, readiness.sockets()))
                self._tell_progress(readiness)
            else:
                self._sleep(self._pause())
        readiness.give_up()
        self._stop()
        return self.code

    def _pause(self) -> float | None:
        """Return the seconds until something has to be started, None when all runs."""
        due = [life.due for life in self.lives if not life.program.pid]
        return max(min(due) - time.monotonic(), 0) if due else None

    def _sleep(self, seconds: float | None, sockets: Sequence[Any] = ()) -> list[Any]:
        """Wait for a signal, an ended child or a readable socket; return the readable ones."""
        readable, _, _ = select.select([self._wake, *sockets], [], [], seconds)
        if self._wake in readable:
            readable.remove(self._wake)
            self.stops += sum(number in STOP_SIGNALS for number in os.read(self._wake, 1024))
        self._reap()
        return readable

    def _reap(self) -> None:
        while any(life.program.pid for life in self.lives):
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            for life in self.lives:
                if life.program.pid == pid:
                    code = os.waitstatus_to_exitcode(status)
                    news = life.end(code)
                    if not self.stops and code == EXIT_CODE:  # it has said why
                        self.code, self.stops = code, 1
                        tell(f"{life.program.name} cannot start, so everything is stopped.")
                    elif not self.stops:
                        tell(news)

    def _tell_progress(self, readiness: Readiness) -> None:
        """Tell when everything is ready, and once who is not when that takes long."""
        elapsed = time.monotonic() - self.began
        if not readiness.waiting:
            tell(f"Ready{self._where()} after {elapsed:.1f} s. Ctrl-C stops everything.")
        elif elapsed > SLOW_START:
            tell(f"Not ready after {elapsed:.0f} s: {', '.join(readiness.waiting)}.")
            readiness.give_up()

    def _where(self) -> str:
        for life in self.lives:
            if life.program.name == EDGE and life.program.listener:
                host, port = life.program.listener.getsockname()[:2]
                return f" on http://{'localhost' if host in LOCAL else host}:{port}"
        return ""

    def _stop(self) -> None:
        """End all: the gateway first, then the services that it needs; kill what does not end in time."""
        started = time.monotonic()
        edge = [life for life in self.lives if life.program.name == EDGE]
        others = [life for life in self.lives if life not in edge]
        for lives, seconds in ((edge, EDGE_FIRST), (others, GRACE), (edge, GRACE)):
            for life in lives:
                life.program.signal(signal.SIGTERM)
            self._wait_for(lives, started + seconds)
        for life in self.lives:
            life.program.sweep(signal.SIGKILL)
        self._wait_for(self.lives, time.monotonic() + 1, sys.maxsize)

    def _wait_for(self, lives: Sequence[ProgramState], until: float, impatience: int = 2) -> None:
        """Wait until they have ended, but no longer than until the second Ctrl-C."""
        while self.stops < impatience and any(life.program.pid for life in lives) and time.monotonic() < until:
            self._sleep(max(until - time.monotonic(), 0))


def _only_wake(_number: int, _frame: object) -> None:
    """Do nothing: the number of the signal arrives over the wakeup descriptor."""


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
