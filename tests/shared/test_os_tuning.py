"""What is asked of the C library."""

import subprocess
import sys

import pytest

HASHING = """
import sys, threading
from argon2 import PasswordHasher
from shared.server.os_tuning import share_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20

if "shared" in sys.argv:
    share_freed_memory()
before = resident()
hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
places, together = threading.Semaphore(2), threading.Barrier(8, timeout=30)

def hash_password():
    together.wait()
    with places:
        hasher.hash("secret")
    together.wait()

threads = [threading.Thread(target=hash_password) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(resident() - before)
"""


FREEING = """
from shared.server.os_tuning import return_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20

blocks = [bytearray(100_000) for _ in range(300)]
del blocks[:-1]
before = resident()
return_freed_memory()
print(before - resident())
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")


def mebibytes(script: str, *arguments: str) -> int:
    ran = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return int(ran.stdout)


def test_the_memory_of_password_hashes_is_not_kept_by_every_thread() -> None:
    assert mebibytes(HASHING, "shared") < mebibytes(HASHING) / 2


def test_what_was_freed_below_something_in_use_is_given_back() -> None:
    assert mebibytes(FREEING) >= 20
