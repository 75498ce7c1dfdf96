"""The sandboxed program that decodes images for the service.

It has no settings, no secrets and no right to open anything, only so much memory, and it ends by itself when an image
takes too long.
"""

import hashlib
import resource
import signal
import socket
import sys
from contextlib import suppress
from io import RawIOBase
from pathlib import Path
from typing import Any

import orjson
from PIL import Image, ImageCms, ImageColor, ImageFilter, MpoImagePlugin, TiffImagePlugin  # noqa: F401 (see `serve`)

if __name__ == "__main__":  # started by its path, with nothing else to import from
    sys.path[:0] = [str(Path(__file__).resolve().parents[3])]

from services.uploads.imaging import resize, sanitizer
from shared.problems import Problem

MEMORY = 1024**3  # bytes of addresses
MAX_FILES = 4  # standard input, output and error, and the image
KEPT = 80 * 1024**2  # bytes of memory that are not given back, above which another process takes over

Answer = dict[str, Any]
# Each ends the process: by SIGPROF when an image costs too much, by SIGALRM when the machine is too busy for it.
_TIMERS = {signal.ITIMER_PROF: "cpu_seconds", signal.ITIMER_REAL: "seconds"}


def serve(control: socket.socket) -> None:
    """Work on one image after the other, until the service is gone or the memory has grown."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service
    Image.preinit()  # all that Pillow would import later is imported now
    for kind, limit in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, MAX_FILES), (resource.RLIMIT_AS, MEMORY)):
        with suppress(ValueError, OSError):  # not every system has all of them
            resource.setrlimit(kind, (limit, limit))
    control.sendall(orjson.dumps("ready"))
    while not (answer := _next_answer(control)).get("last", False):
        control.sendall(orjson.dumps(answer))
    control.sendall(orjson.dumps(answer))


def _next_answer(control: socket.socket) -> Answer:
    message, descriptors, _, _ = socket.recv_fds(control, 4096, 1)
    if not message:
        sys.exit()
    job = orjson.loads(message)
    for timer, name in _TIMERS.items():
        signal.setitimer(timer, job.pop(name))
    with open(descriptors[0], "r+b", buffering=0) as image:
        answer = answer_to(image, **job)
    for timer in _TIMERS:
        signal.setitimer(timer, 0)
    return answer | {"last": _resident() > KEPT}


def _resident() -> int:
    """Return the bytes of memory that this process holds, as far as the system tells."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def answer_to(image: RawIOBase, work: str, **details: Any) -> Answer:
    """Clean or scale the image in its file; the answer has what is known of it then, or why it was refused."""
    image.seek(0)
    given = image.readall()
    try:
        picture = sanitizer.clean(given, **details) if work == "clean" else resize.scaled(given, **details)
    except Problem as problem:
        return {"refusal": problem.detail}
    if picture.data == given:
        return {"width": picture.width, "height": picture.height}
    try:
        _overwrite(image, picture.data)
    except OSError:  # the disk is full
        return {"unwritten": True}
    content = {"size": len(picture.data), "sha256": hashlib.sha256(picture.data).hexdigest()}
    return {"width": picture.width, "height": picture.height, "content": content}


def _overwrite(image: RawIOBase, data: bytes) -> None:
    image.seek(0)
    image.truncate()
    rest = memoryview(data)
    while rest:
        rest = rest[image.write(rest) or 0 :]


if __name__ == "__main__":
    serve(socket.socket(fileno=sys.stdin.fileno()))
