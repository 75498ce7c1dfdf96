"""Process settings of kernel and C library: parent death signal, malloc."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_M_ARENA_MAX = -8
_libc = ctypes.CDLL(None)


def end_with_parent(parent: int) -> None:
    """Have the kernel send SIGTERM when the parent ends (Linux; elsewhere children poll `getppid`)."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(0)


def share_freed_memory() -> None:
    """Use one malloc arena for all threads (glibc), or each arena would hold the 19 MiB of a password hash."""
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_ARENA_MAX, 1)


def return_freed_memory() -> None:
    """Return free pages of the heap to the system (glibc)."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
