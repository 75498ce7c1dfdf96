"""How answers go out: in few packets, but never later than they are written."""

import pytest

from tests.shared.server.served import Served, head, read_to_end

LAST = "Connection: close"


def first_packet(server: Served, path: str, method: str = "GET") -> tuple[bytes, bytes]:
    """Return what comes first, and the rest."""
    with server.connect() as client:
        client.sendall(head(f"{method} {path} HTTP/1.1", "Host: x", LAST))
        return client.recv(65536), read_to_end(client)


def test_head_and_body_of_a_short_answer_are_one_packet(server: Served) -> None:
    first, rest = first_packet(server, "/known")
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert first.endswith(b"}\n")
    assert rest == b""


def test_an_answer_that_has_nothing_to_say_yet_shows_its_head(server: Served) -> None:
    first, rest = first_packet(server, "/head-first")
    assert first.endswith(b"\r\n\r\n")
    assert rest == b"4\r\nlate\r\n0\r\n\r\n"


def test_each_piece_of_a_stream_goes_out_as_it_is_written(server: Served) -> None:
    first, rest = first_packet(server, "/stream")
    assert first.endswith(b"A\r\nxxxxxxxxxx\r\n")
    assert rest == b"A\r\nxxxxxxxxxx\r\n" * 2 + b"0\r\n\r\n"


@pytest.mark.parametrize("method, body", [("GET", b"ok"), ("HEAD", b"")])
def test_headers_between_two_hops_are_dropped_and_all_others_kept(server: Served, method: str, body: bytes) -> None:
    answer, _ = first_packet(server, "/hop-by-hop", method)
    lines = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert {b"content-length: 2", b"X-Kept: kept", b"Connection: close", b"Server: postern"} <= {*lines}
    assert b"secret" not in answer
    assert answer.endswith(b"\r\n\r\n" + body)


def test_a_date_is_that_of_the_moment(server: Served) -> None:
    dates = {server.get("/known").headers["Date"]}
    while len(dates) < 2:
        dates.add(server.get("/known").headers["Date"])
    assert all(date.endswith(" GMT") for date in dates)


def test_an_answer_that_breaks_off_never_looks_whole(server: Served) -> None:
    answer = b"".join(first_packet(server, "/breaks-off"))
    assert answer.endswith(b"\r\n\r\n5\r\nbegun\r\n")
    assert b"secret" not in answer


def test_nothing_follows_an_answer_that_is_shorter_than_announced(server: Served) -> None:
    with server.connect() as client:
        client.sendall(head("GET /too-short HTTP/1.1", "Host: x") * 2)
        assert read_to_end(client).count(b"HTTP/1.1 ") == 1


def test_no_more_is_sent_than_was_announced(server: Served) -> None:
    first, second = server.exchange(head("GET /too-long HTTP/1.1", "Host: x") + head("GET /known HTTP/1.0"))
    assert (first.body, second.status) == (b"ab", 200)
