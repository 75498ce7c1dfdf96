"""Bind listening sockets; send a whole buffer."""

import errno
import socket

from shared.start_error import StartError

BACKLOG = 2048  # connections that wait while a process restarts


class ConnectionOver(ConnectionResetError):
    """The connection to the client has to close; the code that raises this has logged why."""


class ClientGone(ConnectionOver):
    """The client has disconnected."""


def listen(host: str, port: int, variable: str) -> socket.socket:
    """Bind and listen; `variable` is the setting of the port. Raises StartError with advice."""
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[4], family=address[0], backlog=BACKLOG)
    except OSError as error:
        raise StartError(_explain(error, host, port, variable)) from error


def _explain(error: OSError, host: str, port: int, variable: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is already in use on {host}: stop the other program or set {variable} to another port."
    if error.errno == errno.EACCES:
        return f"Port {port} is not allowed for this user: set {variable} to a port from 1024."
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine: correct HOST."
    return f"Port {port} on {host} cannot be listened on ({error.strerror}): check HOST and {variable}."


def send_all(sock: socket.socket, data: bytes) -> None:
    """Send everything, as a rule at once, for which gevent's own `sendall` needs half as much again."""
    sent = sock.send(data)
    if sent < len(data):
        sock.sendall(memoryview(data)[sent:])
