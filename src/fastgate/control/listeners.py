"""Listeners: sockets bound before anybody is forked, and kept for the node's life.

Owns:      nothing; the supervisor holds what is returned, so that a successor inherits
           the same descriptor.
Called by: wiring, before `Supervisor.run`.

A listening socket that is closed resets whatever waits in its accept queue. So each
worker slot has a socket of its own under one SO_REUSEPORT group, nobody closes any of
them, and a connection that arrives while a worker is replaced waits for the successor.
Source: socket(7), unix(7).
"""

import contextlib
import errno
import os
import pathlib
import socket
import stat
from collections.abc import Iterable

from fastgate.config.addresses import Address
from fastgate.errors import StartError

__all__ = ["bind_listener", "bind_listeners", "close_listeners"]

# Reason: a slot without a worker for a second at 4,000 connections/s loses none; the
# kernel cuts it to net.core.somaxconn (4096 since Linux 5.4).
_DATA_BACKLOG = 4096
_SIDE_BACKLOG = 128  # admin and status: a few tools and probes
_UNIX_UMASK = 0o177  # the socket file is 0600 from its first moment

_HINTS = {
    errno.EADDRINUSE: "another process listens there (ss -ltnp shows which);"
    " stop it or choose another port",
    errno.EACCES: "not permitted; take a port above 1023, grant CAP_NET_BIND_SERVICE,"
    " or give the user the folder of the socket",
    errno.EADDRNOTAVAIL: "this host has no such address; 0.0.0.0 takes all of them",
    errno.ENOENT: "the folder of the socket does not exist; create it",
}


def bind_listeners(
    address: Address, count: int, *, backlog: int = _DATA_BACKLOG
) -> list[socket.socket]:
    """Bind one listening socket per worker slot; the kernel spreads connections.

    address: Port 0 takes one free port for all. A Unix socket cannot be spread, so all
        slots accept from one queue.
    count: Worker slots, at least 1. backlog: Accept queue of each, connections.
    Raises StartError that names the address and what to do.
    """
    if address.path is not None:
        first = bind_listener(address, backlog=backlog)
        return [first, *(first.dup() for _ in range(count - 1))]
    made: list[socket.socket] = []
    try:
        # SO_REUSEPORT would silently share the port with another node of this user.
        if address.port != 0:
            _bind_tcp(address, address.port, share=False).close()
        port = address.port
        for _ in range(count):
            sock = _bind_tcp(address, port, share=True)
            made.append(sock)
            sock.listen(backlog)
            port = sock.getsockname()[1]
    except OSError as exc:
        for sock in made:
            sock.close()
        raise _refusal(address, exc) from exc
    return made


def bind_listener(address: Address, *, backlog: int = _SIDE_BACKLOG) -> socket.socket:
    """Bind one listening socket, TCP or Unix (mode 0600), shared by nobody.

    backlog: Accept queue, connections.
    A socket file that nobody listens on any more is replaced.
    Raises StartError that names the address and what to do.
    """
    try:
        if address.path is not None:
            sock = _bind_unix(address.path)
        else:
            sock = _bind_tcp(address, address.port, share=False)
        sock.listen(backlog)
    except OSError as exc:
        raise _refusal(address, exc) from exc
    return sock


def close_listeners(listeners: Iterable[socket.socket]) -> None:
    """Close sockets and remove their files; the supervisor's last act."""
    for sock in listeners:
        if sock.family == socket.AF_UNIX and sock.fileno() >= 0:
            with contextlib.suppress(FileNotFoundError):
                pathlib.Path(sock.getsockname()).unlink()
        sock.close()


def _bind_tcp(address: Address, port: int, *, share: bool) -> socket.socket:
    is_v6 = ":" in address.host
    sock = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET)
    try:
        sock.setblocking(False)
        # Connections in TIME_WAIT of a predecessor do not hold the port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if is_v6:
            # [::] means both families, whatever net.ipv6.bindv6only says.
            only_v6 = int(address.host != "::")
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
        sock.bind((address.host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _bind_unix(path: str) -> socket.socket:
    _remove_stale(pathlib.Path(path))
    sock = socket.socket(socket.AF_UNIX)
    before = os.umask(_UNIX_UMASK)
    try:
        sock.setblocking(False)
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


def _remove_stale(path: pathlib.Path) -> None:
    """Remove the socket file of a node that is gone; raises where it is in use."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise StartError(f"unix:{path}: there is a file that is no socket; remove it")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # a full queue answers EAGAIN: somebody listens
        refused = probe.connect_ex(str(path))
    if refused != errno.ECONNREFUSED:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    path.unlink()


def _refusal(address: Address, exc: OSError) -> StartError:
    hint = _HINTS.get(exc.errno or 0, exc.strerror or "cannot listen")
    return StartError(f"{address}: {hint}")
