"""A mail server on a socket, for one test: it can refuse, stall and hang up wherever it is told to."""

import base64
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage

HANG_UP, STALL = "hang up", "stall"
GREETING, CONTENT = "greeting", "content"


@dataclass
class Received:
    """A mail as it arrived."""

    sender: str
    recipient: str
    content: bytes
    encrypted: bool

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=policy.default)

    @property
    def text(self) -> str:
        text: str = self.message.get_content()
        return text.replace("\r\n", "\n")


class SmtpServer:
    """Speak SMTP (RFC 5321); `replies` has other answers than usual, by verb, GREETING or CONTENT (after the dot)."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, implicit: bool = False) -> None:
        self.mails: list[Received] = []
        self.logins: list[tuple[str, str]] = []
        self.replies: dict[str, str] = {}
        self.connections = 0
        self.extensions = ["8BITMIME", *(["STARTTLS"] if tls and not implicit else []), "AUTH PLAIN"]
        self._tls, self._implicit = tls, implicit
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._implicit and self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            conversation = _Conversation(self, connection, encrypted=self._implicit)
        except OSError:
            connection.close()
            return
        with suppress(OSError, EOFError), conversation:
            conversation.run()

    def reply(self, step: str, usual: str) -> str:
        """Return what to say at a step, now that its time has come."""
        chosen = self.replies.get(step, usual)
        if chosen == STALL:
            self._closing.wait(20)
        if chosen in (STALL, HANG_UP):
            raise EOFError
        return chosen

    def encrypt(self, connection: socket.socket) -> socket.socket:
        assert self._tls
        return self._tls.wrap_socket(connection, server_side=True)


class _Conversation:
    def __init__(self, server: SmtpServer, connection: socket.socket, *, encrypted: bool) -> None:
        self._server, self._socket, self._encrypted = server, connection, encrypted
        self._lines = connection.makefile("rb")
        self._sender = self._recipient = ""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def run(self) -> None:
        self._say(self._server.reply(GREETING, "220 ready"))
        while line := self._lines.readline().decode().strip():
            verb, _, rest = line.partition(" ")
            getattr(self, f"_{verb.lower()}", self._other)(verb, rest)

    def _say(self, text: str) -> None:
        self._socket.sendall(f"{text}\r\n".encode())

    def _other(self, verb: str, _rest: str) -> None:
        self._say(self._server.reply(verb.upper(), "221 bye" if verb.upper() == "QUIT" else "250 ok"))

    def _ehlo(self, verb: str, _rest: str) -> None:
        offered = [name for name in self._server.extensions if not (self._encrypted and name == "STARTTLS")]
        self._say(self._server.reply(verb.upper(), "\r\n".join([*(f"250-{name}" for name in offered), "250 ok"])))

    def _starttls(self, verb: str, _rest: str) -> None:
        self._say(self._server.reply(verb.upper(), "220 go ahead"))
        self._socket = self._server.encrypt(self._socket)
        self._lines, self._encrypted = self._socket.makefile("rb"), True

    def _auth(self, verb: str, rest: str) -> None:
        _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
        self._server.logins.append((user, password))
        self._say(self._server.reply(verb.upper(), "235 welcome"))

    def _mail(self, verb: str, rest: str) -> None:
        self._sender = rest.partition("<")[2].partition(">")[0]
        self._other(verb, rest)

    def _rcpt(self, verb: str, rest: str) -> None:
        self._recipient = rest.partition("<")[2].partition(">")[0]
        self._other(verb, rest)

    def _data(self, verb: str, _rest: str) -> None:
        answer = self._server.reply(verb.upper(), "354 go ahead")
        self._say(answer)
        if not answer.startswith("3"):
            return
        lines = []
        while (line := self._lines.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        answer = self._server.reply(CONTENT, "250 taken")
        if answer.startswith("2"):
            self._server.mails.append(Received(self._sender, self._recipient, b"".join(lines), self._encrypted))
        self._say(answer)
