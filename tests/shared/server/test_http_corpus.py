"""Hostile and unusual requests that others collected: one request in, at most one answer out."""

import re
from pathlib import Path

import pytest

from tests.shared.server.served import Served, assert_refused

CORPUS = Path(__file__).parents[4] / "shared" / "corpora" / "http"
ESCAPE = re.compile(rb"\\(r|n|0|t|x[0-9a-fA-F]{2})")
PLAIN = {b"r": b"\r", b"n": b"\n", b"0": b"\0", b"t": b"\t"}
# Invalid only with other limits, or where a proxy is believed; the last two have headers with "_", which we drop.
VALID_HERE = {"006", "010", "011", "012", "019", "040", "chunked_07", "007", "008", "017", "limit_header_default_01"}
# Valid only with settings that are not ours (folding, the PROXY protocol …), with codings besides chunked, with
# methods that nobody knows or a user in the target, or shorter than they say.
INVALID_HERE = {
    "009", "025", "025_line", "027", "028", "029", "030", "031", "031compat", "031compat2", "099",
    "compat_obs_fold", "compat_obs_fold_huge", "pp_01", "pp_02", "pp_04", "pp_05", "rfc9112_smuggle_gzip_chunked_01",
    "rfc9112_smuggle_te_identity_chunked_01", "rfc9112_target_absolute_userinfo_01",
}  # fmt: skip
TWO_REQUESTS = {"018", "022", "023"}

pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason="there is no corpus next to the repository")


def files(folder: str) -> list[Path]:
    return sorted((CORPUS / folder).glob("*.http"))


def raw(path: Path) -> bytes:
    """Undo the escapes; the line ends of the file do not count."""
    text = path.read_bytes().replace(b"\r", b"").replace(b"\n", b"")
    return ESCAPE.sub(lambda match: PLAIN.get(match[1]) or bytes([int(match[1][1:], 16)]), text)


def with_host(request: bytes) -> bytes:
    """Add the Host that every request of HTTP/1.1 needs, where there is none."""
    if re.search(rb"^host:", request, re.IGNORECASE | re.MULTILINE):
        return request
    return re.sub(rb"( HTTP/1\.1\r\n)", rb"\1Host: x\r\n", request)


@pytest.mark.parametrize("path", files("invalid"), ids=lambda path: path.stem)
def test_what_is_invalid_is_refused_once(server: Served, path: Path) -> None:
    answers = server.exchange(with_host(raw(path)), half_close=True)
    assert len(answers) <= 1
    for answer in answers:
        assert (answer.status == 200) is (path.stem in VALID_HERE)
        if answer.status != 200:
            assert_refused(answer, answer.json["code"])
            assert answer.status < 500 or answer.status in (501, 505)


@pytest.mark.parametrize("path", files("valid"), ids=lambda path: path.stem)
def test_what_is_valid_is_answered(server: Served, path: Path) -> None:
    answers = server.exchange(with_host(raw(path)), half_close=True)
    if path.stem in INVALID_HERE:
        assert_refused(answers[-1], answers[-1].json["code"])
    else:
        assert {answer.status for answer in answers} <= {200, 405}
        assert len(answers) == (2 if path.stem in TWO_REQUESTS else 1)
