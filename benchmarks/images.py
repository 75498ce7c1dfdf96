"""Compare image libraries: CPU time and peak memory of what uploads does with an image, and of the import alone.

    python -m pip install 'pyvips[binary]' pillow     (into an environment of its own)
    python benchmarks/images.py

Every figure is from a process of its own; the images, noise over a slope, are made in another one: a PNG of 1 MB, a
JPEG of 5 MB. "decode" is what every upload costs, "whole" encodes in the same format too, "variant" gives a WebP of
800 × 600 pixels. libvips runs with one thread, then with its own choice.
"""

import importlib.util
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

ROUNDS = 5
LIBRARIES = ("pillow", "vips")
JOBS = ("import", "PNG decode", "JPEG decode", "PNG whole", "JPEG whole", "PNG variant", "JPEG variant")
SIZES = {"PNG": (940, 700), "JPEG": (3430, 2570)}
VARIANT = (800, 600)


def main() -> None:
    if len(sys.argv) > 1:
        print(*measure(sys.argv[1], sys.argv[2]))
        return
    print(f"{'':14}{'':14}{'CPU ms':>9}{'wall ms':>9}{'peak MiB':>10}")
    for job in JOBS:
        for library in LIBRARIES:
            for threads in ("1", "") if library == "vips" and job != "import" else ("1",):
                if library == "vips" and importlib.util.find_spec("pyvips") is None:
                    continue
                environment = os.environ | ({"VIPS_CONCURRENCY": threads} if threads else {})
                done = subprocess.run(
                    [sys.executable, __file__, library, job],
                    env=environment,
                    check=True,
                    capture_output=True,
                    text=True,
                )
                cpu, wall, peak = map(float, done.stdout.split())
                name = library + (" threads" if library == "vips" and not threads else "")
                print(f"{job:14}{name:14}{cpu:9.1f}{wall:9.1f}{peak:10.1f}")


def measure(library: str, job: str) -> tuple[float, float, float]:
    """Return CPU and wall time in ms, the best of several rounds, and the peak memory above that before, in MiB."""
    if job == "import":
        return _cost(lambda: __import__("PIL.Image" if library == "pillow" else "pyvips"), 1)
    format, kind = job.split()
    data = sample(format)
    work = {"pillow": pillow, "vips": vips}[library](kind, format)
    small = sample(format, (40, 30))
    work(small)  # the import and what the library keeps
    return _cost(lambda: work(data), ROUNDS)


def _cost(work: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    cpus, walls = [], []
    for _ in range(rounds):
        usage, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        work()
        walls.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpus.append(after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime)
    return min(cpus) * 1000, min(walls) * 1000, (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0])


def sample(format: str, size: tuple[int, int] | None = None) -> bytes:
    """Make an image in another process, so that its making leaves nothing in this one."""
    width, height = size or SIZES[format]
    script = (
        "import sys; from PIL import Image; "
        f"noise = Image.effect_noise(({width}, {height}), 40).convert('RGB'); "
        f"slope = Image.radial_gradient('L').resize(({width}, {height})).convert('RGB'); "
        f"Image.blend(noise, slope, 0.5).save(sys.stdout.buffer, '{format}', quality=93, subsampling=0)"
    )
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout


def pillow(kind: str, format: str) -> Callable[[bytes], bytes]:
    from PIL import Image

    def work(data: bytes) -> bytes:
        buffer = BytesIO()
        with Image.open(BytesIO(data), formats=[format]) as image:
            if kind == "variant":
                image.draft(None, (2 * VARIANT[0], 2 * VARIANT[1]))
                image.load()
                picture = image.resize(VARIANT, Image.Resampling.LANCZOS, reducing_gap=3.0)
                picture.save(buffer, "WEBP", quality=82, method=4)
            elif kind == "decode":
                image.load()
            else:
                image.load()
                image.save(buffer, format, quality=93)
        return buffer.getvalue()

    return work


def vips(kind: str, format: str) -> Callable[[bytes], bytes]:
    import pyvips  # type: ignore[import-not-found,unused-ignore]

    def work(data: bytes) -> bytes:
        if kind == "variant":
            image = pyvips.Image.thumbnail_buffer(data, VARIANT[0], height=VARIANT[1], size="force")
            return bytes(image.webpsave_buffer(Q=82, effort=4))
        image = pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="truncated")
        if kind == "decode":
            image.copy_memory()
            return b""
        return bytes(image.write_to_buffer(".png" if format == "PNG" else ".jpg[Q=93]"))

    return work


if __name__ == "__main__":
    main()
