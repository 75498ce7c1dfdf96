"""Numbers that all processes of a service share: each writes to a part of its own, and any of them reads all."""

import logging
import mmap
from collections.abc import Iterator

SIZE = 512 * 1024  # bytes of a process; what is never touched costs nothing
_HEAD = 8  # bytes in front: at the beginning of the memory those in use, of each entry the two lengths
_logger = logging.getLogger("postern.metrics")


class Tally:
    """Rows of numbers by key, in a memory that outlives its process.

    A row is 4 bytes with the length of its key, 4 with that of its numbers, the key, and the numbers, all aligned to
    8 bytes. It is complete before it counts as used, so that a reader never sees a part of one. Its numbers are
    written by one process only, eight bytes at once.
    """

    def __init__(self, memory: memoryview) -> None:
        self.memory = self._bytes = memory
        self.numbers = memory.cast("d")
        self._used = memory.cast("q")
        self._rows = {key: place for key, place, _ in self._entries()}
        self._full = False

    def place(self, key: bytes, count: int) -> int:
        """Return where the numbers of this key begin, zeros if it is new."""
        if (known := self._rows.get(key)) is not None:
            return known
        begin = _HEAD + self._used[0]
        numbers = begin + _HEAD + _aligned(len(key))
        if numbers + 8 * count > len(self._bytes) - 8 * count:
            return self._waste(count)
        self._bytes[begin : begin + 4] = len(key).to_bytes(4, "little")
        self._bytes[begin + 4 : begin + _HEAD] = count.to_bytes(4, "little")
        self._bytes[begin + _HEAD : begin + _HEAD + len(key)] = key
        self._used[0] = numbers + 8 * count - _HEAD
        self._rows[key] = numbers // 8
        return numbers // 8

    def places(self) -> Iterator[tuple[bytes, int]]:
        yield from self._rows.items()

    def rows(self) -> Iterator[tuple[bytes, list[float]]]:
        """Yield each key with its numbers."""
        for key, place, count in self._entries():
            yield key, [*self.numbers[place : place + count]]

    def _entries(self) -> Iterator[tuple[bytes, int, int]]:
        position, end = _HEAD, _HEAD + self._used[0]
        while position < end:
            length = int.from_bytes(self._bytes[position : position + 4], "little")
            count = int.from_bytes(self._bytes[position + 4 : position + _HEAD], "little")
            key = bytes(self._bytes[position + _HEAD : position + _HEAD + length])
            numbers = position + _HEAD + _aligned(length)
            yield key, numbers // 8, count
            position = numbers + 8 * count

    def _waste(self, count: int) -> int:
        """Return a place at the end, which nobody reads."""
        if not self._full:
            self._full = True
            _logger.warning("there are more metrics than fit; the latest are not told")
        return len(self._bytes) // 8 - count


def _aligned(length: int) -> int:
    return (length + 7) // 8 * 8


def private() -> Tally:
    """Return one that nobody else sees."""
    return Tally(memoryview(bytearray(SIZE)))


def shared(count: int) -> list[Tally]:
    """Return so many that this process and those that it forks will share."""
    memory = memoryview(mmap.mmap(-1, SIZE * count))
    return [Tally(memory[start : start + SIZE]) for start in range(0, SIZE * count, SIZE)]
