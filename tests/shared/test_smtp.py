"""Mails on the wire: to a real SMTP server in this process, or as files."""

import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from shared.mail import smtp
from shared.mail.settings import mailbox
from shared.mail.smtp import FolderTransport, RefusedError, SmtpTransport, answer_to, compose
from tests.smtp_server import STALL, SmtpServer

SENDER = Address("Pförtner, Postern", "postern", "example.org")
NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    server = SmtpServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for localhost with its key, which nobody trusts yet."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)  # noqa: TID251 (TLS has a clock of its own)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + built.public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def mail(recipient: str = "ann@example.org", subject: str = "A subject", body: str = "Words\n") -> EmailMessage:
    return compose(SENDER, recipient, subject, body, name="0001", written_at=NOW)


@pytest.mark.parametrize(
    "subject, body",
    [
        ("Grüße aus 東京", "Zeile mit ß\n二行目\n"),
        ("Long " * 30, "x" * 5000 + "\n"),
        ("Dots", ".\n..\n.end\n"),
        ("=?utf-8?q?not_decoded?=", "From here\nto = there\n"),
    ],
    ids=["scripts", "long lines", "dots", "what looks encoded"],
)
def test_a_mail_arrives_as_it_was_written(server: SmtpServer, subject: str, body: str) -> None:
    SmtpTransport(server.url).send(mail(subject=subject.strip(), body=body))
    (received,) = server.mails
    message = received.message
    assert message["From"].addresses == (SENDER,)
    assert (message["To"], message["Date"].datetime) == ("ann@example.org", NOW)
    assert message["Message-ID"] == "<0001@example.org>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert received.text == body
    if not subject.startswith("=?"):
        assert message["Subject"] == subject.strip()
    assert received.content.isascii()
    assert max(len(line) for line in received.content.splitlines()) <= 998


def test_a_link_stays_in_one_piece(server: SmtpServer) -> None:
    link = f"http://localhost:8000/reset-password?token={'x' * 43}"
    SmtpTransport(server.url).send(mail(body=f"Here:\n\n{link}\n"))
    assert link.encode() in server.mails[0].content.splitlines()


@pytest.mark.parametrize(
    "recipient, envelope",
    [
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ("a@b, eve@example.org", '"a@b, eve"@example.org'),
        ("Ann <ann@example.org", '"Ann <ann"@example.org'),
    ],
)
def test_one_address_is_one_recipient(server: SmtpServer, recipient: str, envelope: str) -> None:
    SmtpTransport(server.url).send(mail(recipient))
    assert [received.recipient for received in server.mails] == [envelope]
    assert len(server.mails[0].message["To"].addresses) == 1


def test_an_address_in_another_script_needs_a_server_that_takes_it(server: SmtpServer) -> None:
    with pytest.raises(RefusedError):
        SmtpTransport(server.url).send(mail("жук@example.org"))
    server.extensions.append("SMTPUTF8")
    SmtpTransport(server.url).send(mail("жук@example.org"))
    assert server.mails[0].recipient == "жук@example.org"


def test_a_server_that_stalls_is_left_after_the_time_limit(server: SmtpServer) -> None:
    server.replies["RCPT"] = STALL
    with pytest.raises(OSError):
        SmtpTransport(server.url, timeout=0.2).send(mail())


@pytest.mark.parametrize("reply", ["hang up", "500 what?"])
def test_a_mail_that_was_taken_is_sent_however_the_server_takes_its_leave(server: SmtpServer, reply: str) -> None:
    server.replies["QUIT"] = reply
    SmtpTransport(server.url).send(mail())
    assert len(server.mails) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_login_and_mail_are_encrypted(
    tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    server = SmtpServer(tls, implicit=scheme == "smtps")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    SmtpTransport(f"{scheme}://ann%40home:p%3Ass@localhost:{server.port}").send(mail())
    server.close()
    assert server.logins == [("ann@home", "p:ss")]
    assert [received.encrypted for received in server.mails] == [True]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_server_that_is_somebody_else_gets_nothing(tls: ssl.SSLContext, scheme: str) -> None:
    server = SmtpServer(tls, implicit=scheme == "smtps")
    with pytest.raises(ssl.SSLCertVerificationError):
        SmtpTransport(f"{scheme}://ann:secret@localhost:{server.port}").send(mail())
    server.close()
    assert (server.logins, server.mails) == ([], [])


def test_a_password_leaves_the_machine_encrypted_only(server: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    SmtpTransport(server.url.replace("//", "//ann:secret@")).send(mail())
    assert server.logins == [("ann", "secret")]
    monkeypatch.setattr(smtp, "_is_this_machine", lambda _host: False)
    with pytest.raises(OSError, match="no encryption"):
        SmtpTransport(server.url.replace("//", "//ann:secret@")).send(mail())
    assert len(server.logins) == len(server.mails) == 1


@pytest.mark.parametrize(
    "host, local",
    [("localhost", True), ("127.0.0.9", True), ("::1", True), ("mail.example", False), ("10.0.0.1", False)],
)
def test_only_loopback_is_this_machine(host: str, local: bool) -> None:
    assert smtp._is_this_machine(host) is local


def test_a_refused_login_is_tried_again_later(server: SmtpServer) -> None:
    server.replies["AUTH"] = "535 wrong"
    with pytest.raises(OSError):
        SmtpTransport(server.url.replace("//", "//ann:secret@")).send(mail())


@pytest.mark.parametrize("recipient", ["ann@example.org", "жук@example.org"])
def test_in_development_a_mail_is_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture, recipient: str) -> None:
    caplog.set_level("INFO", "postern.mail")
    FolderTransport(tmp_path / "mail").send(mail(recipient, "Grüße", "See https://example.org/?token=abc\nBye\n"))
    (path,) = (tmp_path / "mail").iterdir()
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert (path.name, stat.S_IMODE(path.stat().st_mode)) == ("0001.eml", 0o600)
    assert (message["To"], message["Subject"]) == (recipient, "Grüße")
    assert "https://example.org/?token=abc" in message.get_content()
    assert "https://example.org/?token=abc " in caplog.text


@pytest.mark.parametrize(
    "value, name, address",
    [
        ("postern@example.org", "", "postern@example.org"),
        ("Postern <postern@example.org>", "Postern", "postern@example.org"),
        ("Pförtner <p@example.org>", "Pförtner", "p@example.org"),
        ('"Doe, Postern" <p@localhost>', "Doe, Postern", "p@localhost"),
    ],
)
def test_a_sender_is_one_address(value: str, name: str, address: str) -> None:
    assert (mailbox(value).display_name, mailbox(value).addr_spec) == (name, address)


@pytest.mark.parametrize(
    "value", ["", "postern", "@example.org", "a@b.org, c@d.org", "a@b.org\r\nBcc: c@d.org", "Postern <>", "a b@c.org"]
)
def test_what_is_no_sender_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be an address"):
        mailbox(value)


@pytest.mark.parametrize(
    "reply_to, header",
    [(None, None), ("Zoe@bücher.example", "Zoe@xn--bcher-kva.example"), ("zoë@example.org", None)],
)
def test_an_answer_goes_to_an_address_that_every_server_can_read(reply_to: str | None, header: str | None) -> None:
    message = compose(SENDER, "ann@example.org", "Hello", "Hello\n", name="1", written_at=NOW)
    answer_to(message, reply_to)
    assert message["Reply-To"] == header
    assert b"Reply-To: =?" not in bytes(message)
