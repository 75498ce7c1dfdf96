"""Run all programs, restart those that end, and stop them together."""

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

STABLE = 3.0  # seconds of running, after which an exit does not count as a failed start
LONGEST_PAUSE = 8.0  # seconds; the maximum of the exponential backoff
SLOW_START = 15.0  # seconds until the services that are not ready are listed
EDGE_FIRST = 12.5  # seconds for the gateway to finish before the services are stopped
GRACE = 25.0  # seconds from SIGTERM to SIGKILL
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LOCAL = ("127.0.0.1", "0.0.0.0", "::", "::1")  # noqa: S104 (where it listens is decided elsewhere)


class ProgramState:
    """The restart state of a program: exponential backoff after failed starts."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.started = 0.0
        self.due = 0.0
        self.failures = 0

    def start(self) -> None:
        self.started = time.monotonic()
        self.program.start()

    def end(self, code: int) -> str:
        """Record the exit of the process, schedule the next start, and return a message."""
        now = time.monotonic()
        self.program.signal_group(signal.SIGTERM)
        self.program.pid = 0
        self.failures = self.failures + 1 if now - self.started < STABLE else 0
        pause = min(2.0 ** (self.failures - 2), LONGEST_PAUSE) if self.failures else 0.0
        self.due = now + pause
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if self.failures < 2:
            return f"{self.program.name} {how}; it is started again."
        return f"{self.program.name} {how} right after its start, {self.failures} times now; next try in {pause:.0f} s."


class Supervisor:
    """Start programs, restart those that exit, and stop all on SIGTERM, SIGINT, SIGHUP, or when one cannot start."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self.states = [ProgramState(program) for program in programs]
        self.began = time.monotonic()
        self.stops = 0
        self.code = 0
        self._wake, waker = os.pipe()
        for descriptor in (self._wake, waker):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(waker)
        for number in (signal.SIGCHLD, *STOP_SIGNALS):
            signal.signal(number, _ignore)

    def run(self) -> int:
        """Run until all programs have ended; return the exit code."""
        readiness = Readiness(
            {state.program.name: state.program.listener for state in self.states if state.program.listener}
        )
        while not self.stops:
            for state in self.states:
                if not state.program.pid and state.due <= time.monotonic():
                    state.start()
            if readiness.waiting:
                readiness.ask()
                readiness.take(self._wait(0.1, readiness.sockets()))
                self._print_progress(readiness)
            else:
                self._wait(self._time_to_next_start())
        readiness.give_up()
        self._stop()
        return self.code

    def _time_to_next_start(self) -> float | None:
        """Return the seconds until the next start, None if all programs run."""
        due = [state.due for state in self.states if not state.program.pid]
        return max(min(due) - time.monotonic(), 0) if due else None

    def _wait(self, seconds: float | None, sockets: Sequence[Any] = ()) -> list[Any]:
        """Wait for a signal, the exit of a child or a readable socket; return the readable sockets."""
        readable, _, _ = select.select([self._wake, *sockets], [], [], seconds)
        if self._wake in readable:
            readable.remove(self._wake)
            self.stops += sum(number in STOP_SIGNALS for number in os.read(self._wake, 1024))
        self._reap()
        return readable

    def _reap(self) -> None:
        while any(state.program.pid for state in self.states):
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            for state in self.states:
                if state.program.pid == pid:
                    code = os.waitstatus_to_exitcode(status)
                    news = state.end(code)
                    if not self.stops and code == EXIT_CODE:  # the program has printed why
                        self.code, self.stops = code, 1
                        print_line(f"{state.program.name} cannot start, so everything is stopped.")
                    elif not self.stops:
                        print_line(news)

    def _print_progress(self, readiness: Readiness) -> None:
        """Print when all services are ready; after SLOW_START, print once which are not."""
        elapsed = time.monotonic() - self.began
        if not readiness.waiting:
            print_line(f"Ready{self._where()} after {elapsed:.1f} s. Ctrl-C stops everything.")
        elif elapsed > SLOW_START:
            print_line(f"Not ready after {elapsed:.0f} s: {', '.join(readiness.waiting)}.")
            readiness.give_up()

    def _where(self) -> str:
        for state in self.states:
            if state.program.name == EDGE and state.program.listener:
                host, port = state.program.listener.getsockname()[:2]
                return f" on http://{'localhost' if host in LOCAL else host}:{port}"
        return ""

    def _stop(self) -> None:
        """Stop the gateway first, then the services; kill what does not end in time."""
        started = time.monotonic()
        edge = [state for state in self.states if state.program.name == EDGE]
        others = [state for state in self.states if state not in edge]
        for states, seconds in ((edge, EDGE_FIRST), (others, GRACE), (edge, GRACE)):
            for state in states:
                state.program.signal(signal.SIGTERM)
            self._wait_for(states, started + seconds)
        for state in self.states:
            state.program.signal_group(signal.SIGKILL)
        self._wait_for(self.states, time.monotonic() + 1, sys.maxsize)

    def _wait_for(self, states: Sequence[ProgramState], until: float, impatience: int = 2) -> None:
        """Wait until they have ended, until the time, or until Ctrl-C was pressed `impatience` times."""
        while self.stops < impatience and any(state.program.pid for state in states) and time.monotonic() < until:
            self._wait(max(until - time.monotonic(), 0))


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing: the signal number arrives through the wakeup file descriptor (`signal.set_wakeup_fd`)."""


def print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
