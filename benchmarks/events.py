"""Measure live events: how soon a fact is on a stream, and what idle streams take.

    python -m benchmarks.events [--facts 200] [--streams 500] [--redis redis://127.0.0.1:6379/15]

A stack of its own is started as `make up` does, on SQLite. The time of a fact runs from the answer to the writer, who
has it right after the commit, to the event at a client of the gateway.
"""

import argparse
import random
import statistics
import tempfile
import threading
import time
from pathlib import Path

from benchmarks import processes
from tests.e2e.stack import Stack
from tests.messages.listening import Listener

PAUSE = 0.3  # seconds between two facts at most
SETTLING = 3.0  # seconds
IDLE = 20.0  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.events")
    parser.add_argument("--facts", type=int, default=200)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--redis", default="")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), TRUSTED_PROXIES="127.0.0.0/8", REDIS_URL=wanted.redis, LOG_LEVEL="warning")
        stack.start(40)
        try:
            _measure_latency(stack, wanted.facts)
            _measure_streams(stack, wanted.streams)
        finally:
            stack.stop()


def _measure_latency(stack: Stack, facts: int) -> None:
    token = stack.register()["accessToken"]
    listener = Listener(stack.ports["gateway"], "?topics=post.published")
    listener.next()
    told: dict[str, float] = {}

    def listen() -> None:
        while event := listener.next():
            told[event.data["id"]] = time.monotonic()
            if len(told) == facts:
                return

    thread = threading.Thread(target=listen)
    thread.start()
    written = {}
    for number in range(facts):
        post = stack.publish(token, f"Post {number}")
        written[post["id"]] = time.monotonic()
        time.sleep(random.uniform(0, PAUSE))
    thread.join(10)
    listener.close()
    times = sorted((told[post] - moment) * 1000 for post, moment in written.items())
    p95 = times[int(len(times) * 0.95)]
    print(f"{facts} facts: median {statistics.median(times):.0f} ms, p95 {p95:.0f} ms, at most {times[-1]:.0f} ms")


def _measure_streams(stack: Stack, streams: int) -> None:
    time.sleep(SETTLING)
    before, cost = _memory(stack), _cpu(stack)
    listeners = []
    for number in range(streams):
        listeners.append(Listener(stack.ports["gateway"], X_Forwarded_For=f"10.0.{number // 250}.{number % 250}"))
        listeners[-1].next()
    time.sleep(SETTLING)
    after = _memory(stack)
    added = {name: round(after[name] - before[name], 1) for name in ("gateway", "messages")}
    print(f"{streams} idle streams add {sum(after.values()) - sum(before.values()):.1f} MiB PSS in all, {added}")
    cost = _cpu(stack)
    time.sleep(IDLE)
    print(f"and take {_share(cost, _cpu(stack))} of a core")
    for listener in listeners:
        listener.close()
    time.sleep(SETTLING)
    cost = _cpu(stack)
    time.sleep(IDLE)
    print(f"without them the stack takes {_share(cost, _cpu(stack))} of a core")


def _share(before: dict[str, float], after: dict[str, float]) -> str:
    shares = {name: (after[name] - before[name]) / IDLE for name in after}
    return f"{sum(shares.values()):.1%} { ({name: f'{share:.2%}' for name, share in shares.items()}) }"


def _memory(stack: Stack) -> dict[str, float]:
    return {processes.service(pid): processes.memory(pid) for pid in _services(stack)}


def _cpu(stack: Stack) -> dict[str, float]:
    return {processes.service(pid): processes.cpu(pid) for pid in _services(stack)}


def _services(stack: Stack) -> list[int]:
    return processes.children(stack.process.pid if stack.process else 0)


if __name__ == "__main__":
    main()
