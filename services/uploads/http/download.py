"""The content of a download: the bytes of an upload, or of a variant of its image."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Protocol

from services.uploads import permissions
from services.uploads.imaging import variant_spec, worker_pool
from services.uploads.imaging.variant_spec import Variant
from services.uploads.models import Upload
from services.uploads.storage.base import Blocks
from shared.concurrency import Bulkhead
from shared.problems import Problem
from shared.service import current_service

LONG = 1024 * 1024  # bytes; connections take about as many before they wait for who reads
_ASKED = ("w", "h", "fit", "format")


class Content(Protocol):
    """Bytes to send; `size` is their number."""

    size: int
    sha256: bytes

    def open(self, start: int, stop: int) -> Blocks: ...

    def close(self) -> None: ...


class Original:
    """The bytes of an upload, not opened before they are asked for."""

    def __init__(self, upload: Upload) -> None:
        self.size: int = upload.size
        self.sha256 = bytes.fromhex(upload.sha256)
        self._key: str = upload.key

    def open(self, start: int, stop: int) -> Blocks:
        """Return the bytes from start to before stop; raise FileNotFoundError."""
        return permissions.current_keeper().storage.open(self._key, start, stop)

    def close(self) -> None:
        pass


class Held:
    """The blocks of a long response, which hold a slot of the bulkhead until they are sent."""

    def __init__(self, blocks: Blocks, places: Bulkhead) -> None:
        self._blocks = blocks
        self._places: Bulkhead | None = places

    def __iter__(self) -> Iterator[bytes]:
        yield from self._blocks

    def close(self) -> None:
        places, self._places = self._places, None
        if places:
            self._blocks.close()
            places.release()


def to_send(blocks: Blocks, size: int) -> Blocks:
    """Return the iterable that sends so many bytes; raise SERVICE_UNAVAILABLE when too many long responses are open.

    Each of those to a slow client holds a thread, and some threads must stay free for other requests.
    """
    if size <= LONG:
        return blocks
    places = current_service().get(Bulkhead)
    try:
        places.acquire()
    except Problem:
        blocks.close()
        raise
    return Held(blocks, places)


def wanted_variant(upload: Upload, args: dict[str, Any]) -> Variant | None:
    """Return which picture the query asks for, None for the upload itself; raise VALIDATION_ERROR for a PDF."""
    wish = {name: args[name] for name in _ASKED if name in args}
    if not wish:
        return None
    if upload.width is None or upload.height is None:
        raise Problem("VALIDATION_ERROR", errors={name: ["Only images have variants."] for name in wish})
    return variant_spec.variant_of(upload.kind, upload.width, upload.height, wish)


def content_of(upload: Upload, variant: Variant | None) -> Content:
    """Return the bytes to give out; raise FileNotFoundError when they are not there."""
    return _made(upload, variant) if variant else Original(upload)


def content_at_hand(upload: Upload, variant: Variant | None) -> Content | None:
    """Return the content, None for a variant that has to be made first."""
    return permissions.current_keeper().variants.find(upload.key, variant.name) if variant else Original(upload)


def _made(upload: Upload, variant: Variant) -> Content:
    keeper, made, client = permissions.current_keeper(), [], permissions.current_client()

    def make() -> bytes:
        made.append(True)
        with closing(keeper.storage.open(upload.key, 0, upload.size)) as blocks:
            return worker_pool.scaled(blocks, upload.kind, variant, client)

    kept = keeper.variants.get(upload.key, variant.name, make)
    if made and not Upload.known([upload.key]):  # deleted meanwhile
        keeper.variants.discard(upload.key)
    return kept
