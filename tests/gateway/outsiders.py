"""Outside hosts that are in fact on this machine: TLS with certificates of a CA of our own, and a false DNS."""

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.gateway.outside.client import OutsideClient
from shared.client_address import Address
from shared.clock import now
from shared.network.tls import client_context
from tests.gateway.upstreams import Line, Upstream

PUBLIC = "93.184.215.14"


class Authority:
    """A CA whose certificates only these tests trust."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        self._certificate = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def client_context(self) -> ssl.SSLContext:
        context = client_context()
        context.load_verify_locations(self.file)
        return context

    def server_context(self, *hosts: str, common_name: str = "") -> ssl.SSLContext:
        """Return the context of a server with a certificate for the hosts, or with a common name alone."""
        key = ec.generate_private_key(ec.SECP256R1())
        if common_name:
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
            certificate = self._sign(subject, key, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]))
        else:
            names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
            certificate = self._sign(x509.Name([]), key, names)
        target = self._folder / f"{'-'.join(hosts) or 'common-name'}.pem"
        target.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(target)
        return context

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        ca = isinstance(extension, x509.BasicConstraints)
        usage = x509.KeyUsage(not ca, False, False, False, False, ca, False, False, False)
        builder = x509.CertificateBuilder(self._name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now() - timedelta(days=1)).not_valid_after(now() + timedelta(days=1))
        builder = builder.add_extension(extension, critical=True).add_extension(usage, critical=True)
        issuer = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        if ca:
            builder = builder.add_extension(issuer, critical=False)
        else:
            identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer)
            builder = builder.add_extension(identifier, critical=False)
        return builder.sign(self._key, hashes.SHA256())


@dataclass
class Outsider(Upstream):
    """An upstream that speaks TLS, and notes the names that it is called by (SNI)."""

    context: ssl.SSLContext = field(kw_only=True)
    called: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.sni_callback = lambda _socket, name, _context: self.called.append(name)
        super().__post_init__()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                with self.context.wrap_socket(client, server_side=True) as line:
                    self.behaviour(Line(line, self))
            except (OSError, AssertionError) as error:
                self.errors.append(error)


@dataclass
class FalseInternet:
    """Answers of a DNS, and a wire on which every address leads to one port of this machine."""

    port: int = 0
    addresses: Sequence[str] = (PUBLIC,)
    resolved: list[str] = field(default_factory=list)
    dialled: list[str] = field(default_factory=list)
    dead: Sequence[str] = ()

    def resolve(self, host: str, seconds: float, user: str) -> list[Address]:
        self.resolved.append(host)
        return [ip_address(text) for text in self.addresses]

    def connect(self, address: Address, seconds: float) -> socket.socket:
        self.dialled.append(str(address))
        if str(address) in self.dead:
            raise ConnectionRefusedError
        return socket.create_connection(("127.0.0.1", self.port), seconds)

    def outside(self, context: ssl.SSLContext, *hosts: str, total: float = 5.0) -> OutsideClient:
        return OutsideClient(hosts, resolve=self.resolve, connect=self.connect, context=context, total=total)
