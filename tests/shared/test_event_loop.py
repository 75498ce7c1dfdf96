"""How a long computation gives way on an event loop, counted in turns, which a busy machine does not change."""

import subprocess
import sys

TURNS = """
from gevent import monkey
monkey.patch_all()
import socket, time
import gevent
from shared import event_loop

notified = []
event_loop.watch(lambda: notified.append(1))
ours, theirs = socket.socketpair()
reader = gevent.spawn(theirs.recv, 1)
gevent.sleep(0.01)
ours.send(b"x")
turns = 0
while not reader.ready() and turns < 1000:
    until = time.monotonic() + 2 * event_loop.SLICE
    while time.monotonic() < until:
        pass
    event_loop.yield_if_due()
    turns += 1
print(turns, len(notified))
"""


def test_a_socket_that_has_become_ready_is_looked_at_in_the_next_turn() -> None:
    answer = subprocess.run([sys.executable, "-c", TURNS], capture_output=True, text=True, check=True)
    turns, notified = map(int, answer.stdout.split())
    assert turns <= 3  # with sleeps of zero seconds it takes 50
    assert notified == 1


def test_without_an_event_loop_nothing_waits() -> None:
    code = "import time; from shared import event_loop; time.sleep = None; event_loop.take_turn()"
    subprocess.run([sys.executable, "-c", code], check=True)


SLICES = """
from gevent import monkey
monkey.patch_all()
import time
import gevent
from shared import event_loop

event_loop.watch(lambda: None)
turn, computed = [0], []
gevent.get_hub().loop.check(ref=False).start(lambda: turn.__setitem__(0, turn[0] + 1))

def compute():
    for _ in range(3):
        event_loop.wait_for_slice()
        computed.append(turn[0])
        until = time.monotonic() + 2 * event_loop.SLICE
        while time.monotonic() < until:
            pass

gevent.joinall([gevent.spawn(compute) for _ in range(4)])
print(*computed)
"""


def test_what_cannot_be_interrupted_happens_once_in_a_turn() -> None:
    answer = subprocess.run([sys.executable, "-c", SLICES], capture_output=True, text=True, check=True)
    turns = answer.stdout.split()
    assert len(turns) == 12
    assert len(set(turns)) == 12


BESIDE = """
from gevent import monkey
monkey.patch_all()
import time
import gevent
from shared import event_loop

event_loop.watch(lambda: None)
computing = [True]

def compute():
    until = time.monotonic() + 20 * event_loop.SLICE
    while time.monotonic() < until:
        pass
    computing.clear()
    return "done"

def count():
    turns = 0
    while computing:
        gevent.sleep(0.001)
        turns += 1
    return turns

counting = gevent.spawn(count)
print(event_loop.run_beside(compute), counting.get())
"""


def test_the_loop_turns_while_a_thread_computes() -> None:
    answer = subprocess.run([sys.executable, "-c", BESIDE], capture_output=True, text=True, check=True)
    result, turns = answer.stdout.split()
    assert result == "done"
    assert int(turns) > 1  # without a thread there is none
