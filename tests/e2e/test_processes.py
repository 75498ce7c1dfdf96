"""The supervisor: everything starts, everything that dies comes back, and everything ends together."""

import os
import re
import signal
import socket
import threading
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.launcher.supervisor import GRACE
from tests.e2e.toy_stack import ToyStack
from tests.e2e.toys.alpha import config as alpha_config
from tests.waiting import assert_within, wait_until

BACK_WITHIN = 5.0  # seconds


@pytest.fixture
def toys(tmp_path: Path) -> Iterator[ToyStack]:
    stack = ToyStack(tmp_path)
    yield stack
    stack.clean_up()


def test_it_says_when_everything_is_ready_and_where(toys: ToyStack) -> None:
    toys.start()
    assert re.search(rf"^Ready on http://localhost:{toys.ports['gateway']} after \d+\.\d s\.", toys.said(), re.M)
    assert toys.get("alpha", "/readyz") == toys.get("gateway", "/api/health") == "ready"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_ends_every_process(toys: ToyStack, how: signal.Signals) -> None:
    toys.start()
    assert toys.stop(how) < GRACE
    assert toys.process is not None
    assert toys.process.returncode == 0
    assert not toys.survivors()
    assert "Traceback" not in toys.said()


def test_a_request_under_way_is_finished_before_the_end(toys: ToyStack) -> None:
    toys.start()
    answers: list[str] = []
    clients = [
        threading.Thread(target=lambda name=name: answers.append(toys.get(name, "/sleep"))) for name in toys.ports
    ]
    for client in clients:
        client.start()
    time.sleep(0.3)
    assert toys.stop() < GRACE
    for client in clients:
        client.join()
    assert answers == ["slept", "slept"]


def test_nothing_outlives_a_killed_supervisor(toys: ToyStack) -> None:
    toys.start()
    assert toys.process is not None
    toys.process.kill()
    toys.process.wait()
    wait_until(lambda: not toys.survivors())


@pytest.mark.parametrize("name", ["alpha", "gateway"])
@pytest.mark.parametrize("victim", ["master", "worker"])
def test_what_is_killed_is_back_and_no_connection_is_refused_meanwhile(toys: ToyStack, name: str, victim: str) -> None:
    toys.start()
    refused = Refusals(toys, name)
    refused.start()

    def kill_and_wait() -> float:
        master, worker = toys.processes(name)
        os.kill(master if victim == "master" else worker, signal.SIGKILL)
        return wait_until(lambda: worker not in later_processes(toys, name) and not toys.alive(worker))

    assert_within(BACK_WITHIN, kill_and_wait)
    assert refused.finish() == 0
    assert ("was killed by SIGKILL; it is started again." in toys.said()) is (victim == "master")


def later_processes(toys: ToyStack, name: str) -> tuple[int, ...]:
    """Return who answers; the dying one does, when it cannot any more."""
    try:
        return toys.processes(name)
    except (urllib.error.URLError, ConnectionError):
        return tuple(toys.seen)


class Refusals(threading.Thread):
    """Connect again and again and count how often nobody listens."""

    def __init__(self, toys: ToyStack, name: str) -> None:
        super().__init__(daemon=True)
        self._address = ("127.0.0.1", toys.ports[name])
        self._stopping = threading.Event()
        self._count = 0

    def run(self) -> None:
        while not self._stopping.wait(0.005):
            try:
                socket.create_connection(self._address, timeout=5).close()
            except ConnectionRefusedError:
                self._count += 1

    def finish(self) -> int:
        self._stopping.set()
        self.join()
        return self._count


def test_a_program_that_keeps_failing_is_tried_again_ever_more_slowly(toys: ToyStack) -> None:
    toys.start()
    (toys.folder / "broken").touch()
    os.kill(toys.processes("alpha")[0], signal.SIGKILL)
    again = "alpha ended with exit code 5 right after its start, {} times now; next try in {} s."
    wait_until(lambda: again.format(3, 1) in toys.said() or again.format(3, 2) in toys.said())
    assert toys.get("gateway", "/api/health") == "ready"
    (toys.folder / "broken").unlink()
    wait_until(lambda: worker_of(toys) > 0)


def worker_of(toys: ToyStack) -> int:
    return toys.processes("alpha")[1]


def test_a_taken_port_is_told_before_anything_starts(toys: ToyStack) -> None:
    with socket.create_server(("127.0.0.1", toys.ports["gateway"])):
        code, said = toys.run()
    assert code == 2
    assert f"Port {toys.ports['gateway']} is already in use on 127.0.0.1" in said
    assert "set GATEWAY_PORT to another port.\nNothing was started.\n" in said
    assert len(said.splitlines()) == 2


def test_all_wrong_settings_are_told_at_once(tmp_path: Path) -> None:
    toys = ToyStack(tmp_path, GATEWAY_PORT="many", ALPHA_PORT="0", LOG_LEVEL="loud")
    code, said = toys.run()
    assert code == 2
    assert sorted(re.findall(r"^  ([A-Z_]+) must be ", said, re.M)) == ["ALPHA_PORT", "GATEWAY_PORT", "LOG_LEVEL"]
    assert ".env.example explains each.\nNothing was started.\n" in said


def test_settings_come_from_a_file_but_the_environment_wins(toys: ToyStack) -> None:
    (toys.folder / ".env").write_text(f"LOG_LEVEL=loud\nGATEWAY_PORT={toys.ports['gateway']}\nALPHA_PORT=1\n")
    del toys.environment["GATEWAY_PORT"]
    assert toys.run()[1].count(" must be ") == 1
    toys.environment["LOG_LEVEL"] = "error"
    toys.start()
    assert toys.get("alpha", "/readyz") == "ready"


@pytest.mark.parametrize(
    "arguments, explanation",
    [
        (
            ("nobody",),
            "Unknown: nobody. Say one of migrate, admin, rotate-keys, seed, alpha, gateway; nothing starts all.",
        ),
        (("alpha", "gateway"), "Unknown: alpha gateway."),
        (("--help",), "Unknown: --help."),
    ],
)
def test_an_unknown_command_is_explained(toys: ToyStack, arguments: tuple[str, ...], explanation: str) -> None:
    code, said = toys.run(*arguments)
    assert (code, said.startswith(explanation)) == (2, True)


def test_a_missing_procfile_is_explained(toys: ToyStack) -> None:
    (toys.folder / "Procfile").unlink()
    assert toys.run() == (2, "There is no Procfile here: start in the folder that has it.\n")


def test_one_service_runs_alone(toys: ToyStack) -> None:
    with socket.create_server(("127.0.0.1", toys.ports["alpha"])):
        code, said = toys.run("alpha")
    assert (code, "set ALPHA_PORT to another port." in said) == (2, True)
    toys.launch("alpha")
    wait_until(lambda: toys.process is not None and toys.process.pid in later_processes(toys, "alpha"))
    assert toys.stop(signal.SIGINT) < GRACE
    assert not toys.survivors()


def test_a_changed_file_is_loaded_in_development(toys: ToyStack) -> None:
    toys.start("--reload")
    before = {name: toys.processes(name) for name in toys.ports}
    time.sleep(1.1)  # the watcher has to have seen the file once
    os.utime(str(alpha_config.__file__).replace("alpha/config", "__init__"))
    for name in toys.ports:
        wait_until(lambda name=name: before[name][1] not in later_processes(toys, name))
        assert toys.processes(name)[0] == before[name][0]


def test_a_second_ctrl_c_kills_what_does_not_end(toys: ToyStack) -> None:
    ignorant = "import os, signal, time; signal.signal(15, signal.SIG_IGN); open(str(os.getpid()), 'w'); time.sleep(60)"
    with (toys.folder / "Procfile").open("a") as procfile:
        procfile.write(f'stubborn: python -c "{ignorant}"\n')
    toys.start()
    [pid] = [path.name for path in toys.folder.iterdir() if path.name.isdigit()]
    toys.send(signal.SIGINT)
    time.sleep(0.5)
    assert Path(f"/proc/{pid}").exists()
    assert toys.stop(signal.SIGINT) < GRACE - 2
    assert not Path(f"/proc/{pid}").exists()


def test_a_service_is_a_fork_that_has_its_own_socket_and_nothing_else_of_the_supervisor(toys: ToyStack) -> None:
    toys.start()
    assert toys.process is not None
    inherited = descriptors(toys.process.pid) & descriptors(toys.processes("alpha")[0])
    assert len([name for name in inherited if name.startswith(("socket:", "pipe:"))]) == 1


def descriptors(pid: int) -> set[str]:
    """Return what the open descriptors of a process are."""
    return {os.readlink(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir()}


def test_ps_tells_which_process_serves_what(toys: ToyStack) -> None:
    toys.start()
    titles = [Path(f"/proc/{pid}/cmdline").read_text().strip("\0") for pid in toys.processes("alpha")]
    assert titles == ["gunicorn: master [alpha]", "gunicorn: worker [alpha]"]


def test_a_second_stack_on_the_same_folder_does_not_start(toys: ToyStack, tmp_path: Path) -> None:
    toys.start()
    assert toys.process
    code, said = ToyStack(tmp_path).run()
    assert (code, "Traceback" in said) == (2, False)
    assert f"Process {toys.process.pid} runs on DATA_DIR={tmp_path} already." in said
    toys.stop()
    toys.start()
