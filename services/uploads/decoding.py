"""Have images read by another process, so many at once; `decoder` is what runs there.

A decoder that crashes or hangs costs the request that brought the image, and nobody else.
"""

import atexit
import socket
import subprocess
import sys
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from services.uploads.inspection import Kind
from services.uploads.places import place
from services.uploads.resizing import Variant
from shared.problems import Problem

AT_ONCE = 2  # images read at the same time, each up to 100 MB
PATIENCE = 10.0  # seconds to wait for one of these places
SECONDS = 15.0  # that one image may take
PROGRAM = Path(__file__).parent / "decoder.py"

_places = threading.BoundedSemaphore(AT_ONCE)
_variants = threading.BoundedSemaphore(AT_ONCE - 1)  # whoever asks for variants leaves a place to uploads
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
        file.flush()
        try:
            socket.send_fds(self._control, [orjson.dumps(job | {"seconds": SECONDS})], [file.fileno()])
        except OSError:
            return None
        return self._receive()

    def _receive(self) -> Any:
        try:
            message = self._control.recv(4096)
        except OSError:
            return None
        return orjson.loads(message) if message else None

    def end(self) -> None:
        self._control.close()
        self._process.kill()
        self._process.wait()


def _ask(file: BinaryIO, **job: Any) -> Any:
    """Let a decoder work on the file, when few enough do; raise SERVICE_UNAVAILABLE, STORAGE_FULL."""
    with _one_of(_places):
        decoder = _take()
        answer = decoder.ask(file, **job)
        if answer is None or answer["last"]:
            decoder.end()
        else:
            _idle.append(decoder)
    if answer is not None and "unwritten" in answer:
        raise Problem("STORAGE_FULL")
    return answer


def _one_of(places: threading.BoundedSemaphore) -> AbstractContextManager[None]:
    return place(places, PATIENCE, "Too many images are being read at the moment.")


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


def clean(draft: BinaryIO, kind: Kind) -> dict[str, Any]:
    """Make the image in the draft harmless; return its `width` and `height`, and what has changed of its content.

    Raises INVALID_IMAGE, SERVICE_UNAVAILABLE, STORAGE_FULL.
    """
    answer: dict[str, Any] | None = _ask(draft, work="clean", mime_type=kind.mime_type)
    if answer is None:
        raise Problem("INVALID_IMAGE", "The image cannot be decoded.")
    if "refusal" in answer:
        raise Problem("INVALID_IMAGE", answer["refusal"])
    return answer


def scaled(draft: BinaryIO, kind: Kind, variant: Variant) -> bytes:
    """Return a variant of the image in the draft, which was cleaned when it came in; raise SERVICE_UNAVAILABLE."""
    to = {"to": variant.kind.mime_type, "size": (variant.width, variant.height), "crops": variant.crops}
    with _one_of(_variants):
        answer = _ask(draft, work="scale", mime_type=kind.mime_type, **to)
    if answer is None:
        raise Problem("SERVICE_UNAVAILABLE", "The variant cannot be made at the moment.", retryAfter=5)
    draft.seek(0)
    return draft.read()
