"""What a download gives: the bytes of an upload, or of a picture made of it."""

from contextlib import closing
from typing import Any, Protocol

from services.uploads import access, decoding, resizing
from services.uploads.models import Upload
from services.uploads.resizing import Variant
from services.uploads.storage import Blocks
from shared.problems import Problem

_ASKED = ("w", "h", "fit", "format")


class Content(Protocol):
    """Bytes to give out; `size` is their number."""

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
        return access.current_storage().open(self._key, start, stop)

    def close(self) -> None:
        pass


def wanted_variant(upload: Upload, args: dict[str, Any]) -> Variant | None:
    """Return which picture the query asks for, None for the upload itself; raise VALIDATION_ERROR for a PDF."""
    wish = {name: args[name] for name in _ASKED if name in args}
    if not wish:
        return None
    if upload.width is None or upload.height is None:
        raise Problem("VALIDATION_ERROR", errors={name: ["Only images have variants."] for name in wish})
    return resizing.variant_of(upload.kind, upload.width, upload.height, wish)


def content_of(upload: Upload, variant: Variant | None) -> Content:
    """Return the bytes to give out; raise FileNotFoundError when they are not there."""
    return _made(upload, variant) if variant else Original(upload)


def _made(upload: Upload, variant: Variant) -> Content:
    cache = access.current_variants()
    made = []

    def make() -> bytes:
        made.append(True)
        storage = access.current_storage()
        with storage.draft() as draft:
            with closing(storage.open(upload.key, 0, upload.size)) as blocks:
                draft.writelines(blocks)
            return decoding.scaled(draft, upload.kind, variant)

    kept = cache.get(upload.key, variant.name, make)
    if made and not Upload.known([upload.key]):  # deleted meanwhile
        cache.discard(upload.key)
    return kept
