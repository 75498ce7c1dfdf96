"""Measure a gallery that nobody has seen yet: 20 photos of 12 megapixels, each asked for at once at 1 200 pixels.

    python -m benchmarks.gallery [--photos 20] [--width 1200]

A stack of its own is started, without rate limits. One client asks for all pictures, first all at the same time, then
on six connections, as a browser does with HTTP/1.1.
"""

import argparse
import random
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

from PIL import Image

from tests.e2e.stack import Stack

SIZE = (4000, 3000)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gallery")
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--width", type=int, default=1200)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), LOG_LEVEL="error")
        stack.start()
        try:
            token = stack.register()["accessToken"]
            paths = [stack.upload(f"{n}.jpg", photo(n), token)["path"] for n in range(wanted.photos)]
            for connections, width in ((wanted.photos, wanted.width), (6, wanted.width - 1)):
                began = time.monotonic()
                with ThreadPoolExecutor(connections) as clients:
                    statuses = list(
                        clients.map(lambda path, width=width: stack.request("GET", f"{path}?w={width}").status, paths)
                    )
                seconds = time.monotonic() - began
                print(f"{connections:2} connections: {seconds:.1f} s, {dict(Counter(statuses))}")
        finally:
            stack.stop()


def photo(seed: int) -> bytes:
    """Return a JPEG of 12 megapixels with as much detail as a photo has."""
    noise = Image.frombytes("RGB", (250, 188), random.Random(seed).randbytes(250 * 188 * 3))
    buffer = BytesIO()
    noise.resize(SIZE, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
