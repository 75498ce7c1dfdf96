"""Keep a reserve of disk space beside a SQLite database, so that a full disk still has room for deletions.

To delete a row, SQLite first writes to its write-ahead log. On a full disk that fails, so nothing could be deleted. A
sign-in writes too, and a user may have to sign in before a deletion. As anybody can try to sign in, it gets only a
half.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from flask import Flask, Response, request

MIB = 1024 * 1024
SIZE = 8 * MIB
FOR_DELETIONS = SIZE // 2  # are kept when a sign-in needs the rest
LOW = 4 * MIB  # with less free space, the reserve is given up for a deletion
PLENTY = 64 * MIB  # with so much free space, it is filled again
View = TypeVar("View", bound=Callable[..., Any])
_logger = logging.getLogger("postern.disk")


def signs_in(view: View) -> View:
    """Mark a view whose requests may use a part of the reserve on a full disk."""
    view.signs_in = True  # type: ignore[attr-defined]
    return view


def init_app(app: Flask, folder: Path) -> None:
    """Fill the reserve now and after deletions; free it before one if the disk is nearly full."""
    reserve = DiskReserve(folder)
    reserve.refill()

    def before() -> None:
        if request.method == "DELETE":
            reserve.give_up()
        elif getattr(app.view_functions.get(request.endpoint or ""), "signs_in", False):
            reserve.give_up(FOR_DELETIONS)

    def after(response: Response) -> Response:
        if request.method == "DELETE":
            reserve.refill()
        return response

    app.before_request(before)
    app.after_request(after)


class DiskReserve:
    """A file of random bytes, which take their space on file systems that compress too.

    All processes that have a database in the folder share it: they lock it to change it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "disk-reserve"

    def refill(self) -> None:
        """Fill the file if there is plenty of free space."""
        if free_bytes(self._path.parent) < PLENTY or self._size() == SIZE:
            return
        with suppress(OSError), self._locked(os.O_RDWR | os.O_CREAT) as descriptor:
            try:
                for start in range(os.fstat(descriptor).st_size, SIZE, MIB):
                    os.pwrite(descriptor, os.urandom(min(MIB, SIZE - start)), start)
            except OSError:
                os.ftruncate(descriptor, 0)

    def give_up(self, kept: int = 0) -> None:
        """Free the space of the file except `kept` bytes if there is little left."""
        if free_bytes(self._path.parent) >= LOW or self._size() <= kept:
            return
        with suppress(OSError), self._locked(os.O_RDWR) as descriptor:
            if os.fstat(descriptor).st_size > kept:
                os.ftruncate(descriptor, kept)
                purpose = "a sign-in" if kept else "a deletion"
                _logger.warning("the disk is full: the reserve in %s is given up for %s", self._path.parent, purpose)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    @contextmanager
    def _locked(self, flags: int) -> Iterator[int]:
        descriptor = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """Return how many bytes this user can still write there."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
