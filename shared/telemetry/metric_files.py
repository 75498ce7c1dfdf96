"""The files in which the processes of a service count together, in a folder that goes with their master."""

import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path

IN_MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None  # noqa: S108
FIRST_SIZE = 64 * 1024  # bytes
_PREFIX = "postern-metrics-"


def make_folder() -> Path:
    """Make a folder for this process; remove those of processes that were killed."""
    base = IN_MEMORY or Path(tempfile.gettempdir())
    for folder in base.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not _is_running(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def make_room(path: Path, size: int) -> None:
    """Write zeros where the library will put so many bytes more; raise OSError where there is no room.

    The library maps files with holes, and a write to a hole ends the process with SIGBUS when the memory is full. It
    takes a file as large as it is, and doubles one that is full. A file appears whole, since others may read it.
    """
    if not path.exists():
        new = path.with_suffix(".new")
        try:
            _append_zeros(new, FIRST_SIZE)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        new.rename(path)
    with path.open("rb") as file:
        used = int.from_bytes(file.read(4), sys.byteorder)
    allocated = path.stat().st_size
    if used + size > allocated:
        _append_zeros(path, allocated)


def _append_zeros(path: Path, size: int) -> None:
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            written = file.write(bytes(size))
        except OSError:
            written = 0
        if written < size:
            file.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
