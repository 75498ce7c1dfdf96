"""What running processes have used, read from /proc (Linux only)."""

import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> float:
    """Return the seconds of user and system time of a process and all below it, those that ended included."""
    return sum(sum(map(int, _stat(one)[11:15])) for one in tree(pid)) / TICK


def memory(pid: int) -> float:
    """Return the MiB that a process and all below it take, shared pages divided among those who share (PSS)."""
    rolled = "".join(Path(f"/proc/{one}/smaps_rollup").read_text() for one in tree(pid))
    return sum(int(line.split()[1]) for line in rolled.splitlines() if line.startswith("Pss:")) / 1024


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    return [pid, *(below for child in children(pid) for below in tree(child))]


def children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def service(pid: int) -> str:
    """Return which service a process serves, by its title."""
    return Path(f"/proc/{pid}/cmdline").read_text().partition("[")[2].partition("]")[0]


def _stat(pid: int) -> list[str]:
    """Return the fields after the name, which may have spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
