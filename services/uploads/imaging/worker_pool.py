"""A pool of decoder processes (`worker.py`), to which images are given in the turn of the clients.

A decoder that crashes or hangs costs the request that brought the image, and nobody else.
"""

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import orjson

from services.uploads.file_types.registry import FileType
from services.uploads.imaging.variant_spec import Variant
from shared.concurrency import Bulkhead
from shared.problems import Problem

AT_ONCE = 2  # images read at the same time, each up to 400 MB
PATIENCE = 10.0  # seconds that an upload waits for one of these places
CPU_SECONDS = 5.0  # that one image may cost
SECONDS = 15.0  # that one upload's image may take, on a machine that is busy
VARIANT_SECONDS = 9.0  # for a variant in all, waiting included: the gateway gives up after 10
BUSY = "Too many images are being read at the moment."
PROGRAM = Path(__file__).parent / "worker.py"

_places = Bulkhead(AT_ONCE, per_client=1, patience=PATIENCE, detail=BUSY)
_variants = Bulkhead(AT_ONCE - 1, per_client=1, patience=VARIANT_SECONDS, detail=BUSY)  # a place is left to uploads
_idle: "list[Decoder]" = []


class Decoder:
    """Another process, which reads one image after the other."""

    def __init__(self) -> None:
        """Start it; raise SERVICE_UNAVAILABLE when it does not come up."""
        self._control, theirs = socket.socketpair()
        command = [sys.executable, "-I", str(PROGRAM)]
        with theirs:
            self._process = subprocess.Popen(command, stdin=theirs.fileno(), env={})  # noqa: S603 (our own program)
        self._control.settimeout(2 * SECONDS)
        if self._receive() != "ready":
            self.end()
            raise Problem("SERVICE_UNAVAILABLE", "Images cannot be read at the moment.", retryAfter=5)

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def ask(self, file: BinaryIO, **job: Any) -> Any:
        """Let it work on the file; return its answer, or None when it ended without one."""
        try:
            socket.send_fds(self._control, [orjson.dumps(job)], [file.fileno()])
        except OSError:
            return None
        return self._receive()

    def _receive(self) -> Any:
        try:
            message = self._control.recv(4096)
        except OSError:
            return None
        return orjson.loads(message) if message else None

    def end(self) -> int:
        """End the process and return its exit code."""
        self._control.close()
        with suppress(subprocess.TimeoutExpired):  # it may have ended itself
            return self._process.wait(0.1)
        self._process.kill()
        return self._process.wait()


def _ask(client: str, patience: float, seconds: float, file: BinaryIO, **job: Any) -> Any:
    """Let a decoder work on the file within so many seconds, in the turn of the client.

    Return the answer, None when the image crashed the decoder or cost too much; raise SERVICE_UNAVAILABLE when no place
    got free or the machine is too busy, and STORAGE_FULL.
    """
    begin = time.monotonic()
    with _places.place(client, patience):
        decoder = _take()
        left = max(seconds - (time.monotonic() - begin), 0.1)
        answer = decoder.ask(file, **job, cpu_seconds=CPU_SECONDS, seconds=left)
        if answer is None:
            if decoder.end() == -signal.SIGALRM:
                raise Problem("SERVICE_UNAVAILABLE", BUSY, retryAfter=5)
        elif answer["last"]:
            decoder.end()
        else:
            _idle.append(decoder)
    if answer is not None and "unwritten" in answer:
        raise Problem("STORAGE_FULL")
    return answer


def _take() -> Decoder:
    while _idle:
        decoder = _idle.pop()
        if decoder.lives:
            return decoder
        decoder.end()
    return Decoder()


@atexit.register
def _end_all() -> None:
    while _idle:
        _idle.pop().end()


def clean(draft: BinaryIO, kind: FileType, client: str) -> dict[str, Any]:
    """Make the image in the draft harmless; return its `width` and `height`, and what has changed of its content.

    Raises INVALID_IMAGE, SERVICE_UNAVAILABLE, STORAGE_FULL. A client has one place at a time.
    """
    draft.flush()
    answer: dict[str, Any] | None = _ask(
        client, PATIENCE, PATIENCE + SECONDS, draft, work="clean", mime_type=kind.mime_type
    )
    if answer is None:
        raise Problem("INVALID_IMAGE", "The image cannot be decoded, or costs too much to decode.")
    if "refusal" in answer:
        raise Problem("INVALID_IMAGE", answer["refusal"])
    return answer


def scaled(image: Iterable[bytes], kind: FileType, variant: Variant, client: str) -> bytes:
    """Return a variant of an image that was cleaned when it came in; raise SERVICE_UNAVAILABLE.

    Nothing of it touches the disk, which may be full.
    """
    begin = time.monotonic()
    to = {"to": variant.kind.mime_type, "size": (variant.width, variant.height), "crops": variant.crops}
    with _variants.place(client), _memory_file() as file:
        file.writelines(image)
        file.flush()
        left = VARIANT_SECONDS - (time.monotonic() - begin)
        answer = _ask(client, left, left, file, work="scale", mime_type=kind.mime_type, **to)
        if answer is None:
            raise Problem("SERVICE_UNAVAILABLE", "The variant cannot be made at the moment.", retryAfter=5)
        file.seek(0)
        return file.read()


def _memory_file() -> BinaryIO:
    """Return a file in memory, where the system has such; it goes when it is closed."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("image"), "w+b")
    return TemporaryFile("w+b")
