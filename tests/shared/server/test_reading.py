import socket

from gunicorn.http.body import LengthReader

from shared.server.request_reader import BLOCK, ReadTimeouts, Unreader


def test_no_more_of_a_body_is_received_than_is_asked_for() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        assert theirs.send(bytes(1024 * 1024)) > BLOCK + 1024
        unreader = Unreader(ours, ReadTimeouts())
        assert len(LengthReader(unreader, 1024 * 1024).read(BLOCK)) == BLOCK
        assert not unreader.buf.getvalue()  # would be copied again by each read that follows
