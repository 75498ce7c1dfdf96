"""A client of tus that may say anything."""

from base64 import b64encode
from hashlib import sha1
from typing import Any

from tests.uploads.conftest import Client, Headers

PATH = "/api/uploads/tus"
PART = "application/offset+octet-stream"
SPEAKS: Headers = {"Tus-Resumable": "1.0.0"}


def metadata(**values: str) -> str:
    return ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in values.items())


def checksum(data: bytes) -> Headers:
    return {"Upload-Checksum": f"sha1 {b64encode(sha1(data, usedforsecurity=False).digest()).decode()}"}


class Tus:
    """The calls of the protocol, each as somebody."""

    def __init__(self, client: Client, who: Headers) -> None:
        self.client = client
        self.headers = SPEAKS | who

    def post(self, length: Any, data: bytes = b"", about: str = metadata(filename="a.pdf"), **more: str) -> Any:
        headers = self.headers | {"Upload-Length": str(length), "Upload-Metadata": about} | named(more)
        return self.client.post(PATH, data=data, headers=headers, content_type=PART if data else None)

    def begin(self, length: int, about: str = metadata(filename="a.pdf")) -> str:
        """Begin an upload and return its address."""
        answer = self.post(length, about=about)
        assert answer.status_code == 201, answer.text
        location: str = answer.headers["Location"]
        return location

    def patch(self, url: str, offset: Any, data: bytes, content_type: str = PART, **more: str) -> Any:
        headers = self.headers | {"Upload-Offset": str(offset)} | named(more)
        return self.client.patch(url, data=data, headers=headers, content_type=content_type)

    def head(self, url: str) -> Any:
        return self.client.head(url, headers=self.headers)

    def offset(self, url: str) -> int:
        answer = self.head(url)
        assert answer.status_code == 200
        return int(answer.headers["Upload-Offset"])

    def delete(self, url: str) -> Any:
        return self.client.delete(url, headers=self.headers)


def named(headers: dict[str, str]) -> Headers:
    return {name.replace("_", "-"): value for name, value in headers.items()}
