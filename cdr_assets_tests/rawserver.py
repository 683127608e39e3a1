"""A local server over bare connections, for what an HTTP server would not do: it drips, it floods, it is silent."""

from __future__ import annotations

import itertools
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cdr_assets_tests import PATIENCE_S

SECONDS_BETWEEN_BYTES = 0.02

Talk = Callable[[socket.socket], None]


@dataclass
class RawServer:
    address: str
    """Host and port."""
    connections: int = 0


@contextmanager
def talking(talk: Talk) -> Iterator[RawServer]:
    """A server on a free loopback port that calls `talk` with each connection, and closes it after that.

    At the end it waits until every connection was closed by the other side.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = RawServer(f"127.0.0.1:{listening.getsockname()[1]}")
        threads: list[threading.Thread] = []

        def serve(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                talk(connection)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    server.connections += 1
                    threads.append(threading.Thread(target=serve, args=[connection]))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield server
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join(PATIENCE_S)
            assert not any(thread.is_alive() for thread in threads), "a connection was left open"


def read_request(connection: socket.socket) -> bytes:
    """The request's head."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096) or b"\r\n\r\n"
    return head


def drip(connection: socket.socket, forever: bytes) -> None:
    """Sends byte by byte until the other side has closed the connection."""
    connection.settimeout(SECONDS_BETWEEN_BYTES)
    for byte in itertools.cycle(forever):
        connection.sendall(bytes([byte]))
        with suppress(TimeoutError):
            if not connection.recv(1):
                return


def dripping(at_once: bytes, forever: bytes) -> Talk:
    """Answers with some bytes at once, then goes on byte by byte."""

    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(at_once)
        drip(connection, forever)

    return talk


def flooding(forever: bytes, after: bytes = b"") -> Talk:
    """Answers with the same bytes over and over, as fast as they are taken."""

    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(after)
        while True:
            connection.sendall(forever)

    return talk


def saying(answer: bytes) -> Talk:
    """Answers with these bytes and closes the connection."""

    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)

    return talk


def certificate(folder: Path, name: str) -> Path:
    """A file with a key and a certificate for `name` and for 127.0.0.1, which signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return file


def over_tls(talk: Talk, file: Path) -> Talk:
    """The same over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    def wrapped(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            talk(encrypted)

    return wrapped


def proxying(address: str) -> Talk:
    """A proxy whose tunnels all lead to `address`."""
    host, port = address.split(":")

    def tunnel(connection: socket.socket) -> None:
        if not read_request(connection).startswith(b"CONNECT "):
            return  # The time of the client was up before it asked.
        with socket.create_connection((host, int(port))) as other:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            while True:
                for source in select.select([connection, other], [], [])[0]:
                    piece = source.recv(1 << 16)
                    if not piece:
                        return
                    (other if source is connection else connection).sendall(piece)

    return tunnel
