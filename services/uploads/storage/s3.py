"""A storage in a bucket of any store that speaks S3.

An object is put by one request, whatever its size, and is there as a whole or not at all: there are no multipart
uploads whose parts could stay behind. No key is ever written twice with other bytes.
"""

import errno
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit
from xml.etree import ElementTree

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as TimedOut

from services.uploads.storage.base import BLOCK, Drafts, StorageDown, StoredObject, is_key
from services.uploads.storage.sigv4 import Credentials, query_string, signed
from shared import clock
from shared.ids import new_id

PATIENT = urllib3.Timeout(connect=2, read=6)  # seconds; a hung store is told before the gateway gives up
QUICK = urllib3.Timeout(connect=1, read=1.8)
SOON = 1.0  # seconds within which a request that failed is worth a second try
PAUSE = 0.2
CONNECTIONS = 32  # that are kept open
NOTHING = hashlib.sha256(b"").hexdigest()
NO_USER = "00000000-0000-0000-0000-000000000000"
MAX_ERROR = 64 * 1024  # bytes of an error that are read
_PASSING = (429, 500, 502, 503)
_FULL = ("QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded")
_code = re.compile(rb"<Code>([A-Za-z0-9.]{1,100})</Code>").search


class S3Storage(Drafts):
    """Objects `<prefix>/<key>` of a bucket, addressed by path; drafts are on the local disk."""

    def __init__(self, endpoint: str, bucket: str, prefix: str, credentials: Credentials, drafts: Path) -> None:
        super().__init__(drafts)
        parts = urlsplit(endpoint)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.netloc
        self._bucket = f"{parts.path}/{bucket}"
        self._prefix = f"{prefix}/" if prefix else ""
        self._credentials = credentials
        self._http = urllib3.PoolManager(maxsize=CONNECTIONS, blocksize=BLOCK, retries=False)
        self._hangs = False
        self._probe = threading.Lock()
        self._gives_back = False

    def save(self, draft: BinaryIO, key: str, sha256: str) -> None:
        headers = {"content-length": str(draft.seek(0, os.SEEK_END))}
        _finish(self._ask("PUT", self._path(key), headers=headers, body=draft, sha256=sha256))

    def open(self, key: str, start: int, stop: int) -> "ObjectBlocks":
        response = self._ask("GET", self._path(key), headers={"range": f"bytes={start}-{stop - 1}"})
        if not _is_part(response, start, stop):
            response.close()
            raise StorageDown(f"another part came than was asked for, with status {response.status}")
        return ObjectBlocks(response, stop - start)

    def delete(self, key: str) -> None:
        try:
            _finish(self._ask("DELETE", self._path(key), timeout=QUICK))
        except FileNotFoundError:
            pass

    def list(self) -> Iterator[StoredObject]:
        token = ""
        while True:
            page = self._page({"continuation-token": token} if token else {})
            for entry in page.iterfind("{*}Contents"):
                key = entry.findtext("{*}Key", "").removeprefix(self._prefix)
                if is_key(key):
                    yield StoredObject(key, datetime.fromisoformat(entry.findtext("{*}LastModified", "")))
            token = page.findtext("{*}NextContinuationToken", "")
            if page.findtext("{*}IsTruncated") != "true" or not token:
                return

    def check(self) -> None:
        """Raise OSError when nothing can be kept; until one object was put and read, try that too."""
        super().check()
        self._page({"max-keys": "1"}, QUICK)
        if not self._gives_back:
            self._check_object()

    def _check_object(self) -> None:
        """Put an object, read a part of it and delete it; where that is cut off, the sweeper removes the object."""
        key, data = f"{NO_USER}/{new_id()}.test", b"0123456789"
        try:
            self.save(BytesIO(data), key, hashlib.sha256(data).hexdigest())
            try:
                with closing(self.open(key, 2, 5)) as blocks:
                    part = b"".join(blocks)
            finally:
                self.delete(key)
        except OSError as error:
            if error.errno == errno.ENOSPC:  # files can still be read
                return
            raise StorageDown(f"an object cannot be put, read and deleted: {error}") from error
        if part != data[2:5]:
            raise StorageDown("an object that was put comes back with other bytes")
        self._gives_back = True

    def _page(self, query: Mapping[str, str], timeout: urllib3.Timeout | None = None) -> Any:
        response = self._ask("GET", self._bucket, {"list-type": "2", "prefix": self._prefix, **query}, timeout=timeout)
        try:
            return ElementTree.fromstring(_finish(response))  # noqa: S314 (the store is ours)
        except ElementTree.ParseError as error:
            raise StorageDown("the list of the objects cannot be read") from error

    def _path(self, key: str) -> str:
        if not is_key(key):
            raise ValueError("not a key")
        return f"{self._bucket}/{self._prefix}{key}"

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: BinaryIO | None = None,
        sha256: str = NOTHING,
        timeout: urllib3.Timeout | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Return the answer, whose body has not been read yet; raise FileNotFoundError and other OSErrors.

        Every request of ours may be repeated: what passes and failed soon is tried once more.
        """
        text, wanted = query_string(query or {}), {**(headers or {}), "host": self._host}

        def once() -> urllib3.BaseHTTPResponse:
            sent = signed(self._credentials, method, path, text, wanted, sha256, clock.now())
            return self._send(method, f"{path}?{text}".rstrip("?"), sent, body, timeout or PATIENT)

        started = time.monotonic()
        try:
            return once()
        except Passing:
            if time.monotonic() - started > SOON:
                raise
        time.sleep(PAUSE)
        return once()

    def _send(
        self, method: str, target: str, headers: Mapping[str, str], body: BinaryIO | None, timeout: urllib3.Timeout
    ) -> urllib3.BaseHTTPResponse:
        if body:
            body.seek(0)
        url = f"{self._origin}{target}"
        with self._one_if_it_hangs():
            try:
                response = self._http.request(
                    method, url, body, headers=headers, timeout=timeout, preload_content=False, redirect=False
                )
            except HTTPError as error:
                self._hangs |= timeout is PATIENT and isinstance(error, TimedOut)
                raise Passing(f"the store cannot be reached: {type(error).__name__}") from error
        self._hangs = False
        if response.status >= 300:
            raise _refusal(response)
        return response

    @contextmanager
    def _one_if_it_hangs(self) -> Iterator[None]:
        """Let one request at a time find out whether a store that hung still does, so that it holds one thread."""
        probes = self._hangs
        if probes and not self._probe.acquire(blocking=False):
            raise StorageDown("the store hangs")
        try:
            yield
        finally:
            if probes:
                self._probe.release()


def _is_part(response: urllib3.BaseHTTPResponse, start: int, stop: int) -> bool:
    """Say whether an answer has the bytes asked for: some stores give a part with 200, and small objects whole."""
    if response.headers.get("Content-Length") != str(stop - start):
        return False
    content_range = response.headers.get("Content-Range")
    if content_range is None:
        return response.status == 206 or (response.status == 200 and start == 0)
    return response.status in (200, 206) and content_range.startswith(f"bytes {start}-{stop - 1}/")


class Passing(StorageDown):
    """The store is down in a way that may be over the next moment."""


class ObjectBlocks:
    """The bytes of an answer, block by block."""

    def __init__(self, response: urllib3.BaseHTTPResponse, size: int) -> None:
        self._response = response
        self._left = size
        self.close = response.close

    def __iter__(self) -> Iterator[bytes]:
        try:
            while self._left and (block := self._response.read(min(BLOCK, self._left))):
                self._left -= len(block)
                yield block
        except HTTPError as error:
            raise StorageDown(f"{type(error).__name__} in the middle of an object") from error


def _finish(response: urllib3.BaseHTTPResponse) -> bytes:
    """Return the rest of an answer and give its connection back."""
    try:
        return response.read()
    except HTTPError as error:
        raise StorageDown(type(error).__name__) from error
    finally:
        response.close()


def _refusal(response: urllib3.BaseHTTPResponse) -> OSError:
    """Return what an answer that is no success means."""
    match = _code(_finish(response)[:MAX_ERROR])
    code = match[1].decode() if match else ""
    if code == "NoSuchKey":
        return FileNotFoundError(errno.ENOENT, code)
    if response.status == 507 or code in _FULL:
        return OSError(errno.ENOSPC, code)
    sentence = f"the store answers {response.status} {code}".rstrip()
    return Passing(sentence) if response.status in _PASSING else StorageDown(sentence)
