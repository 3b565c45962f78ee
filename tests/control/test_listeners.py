"""Listeners: bound once, shared by slot, and never silently with a stranger."""

import pathlib
import socket
import stat

import pytest

from fastgate.config.addresses import Address
from fastgate.control.listeners import (
    bind_listener,
    bind_listeners,
    close_listeners,
)
from fastgate.errors import StartError

LOOPBACK = Address("127.0.0.1", 0)


@pytest.fixture
def bound():
    """Sockets that the test binds, closed at its end."""
    sockets: list[socket.socket] = []
    yield sockets
    close_listeners(sockets)


def port_of(sock: socket.socket) -> int:
    return sock.getsockname()[1]


def test_slots_share_one_port_and_have_a_queue_each(bound):
    """Every connection lands in the queue of exactly one slot."""
    bound += bind_listeners(LOOPBACK, 3)
    assert len({port_of(sock) for sock in bound}) == 1
    clients = [socket.create_connection(bound[0].getsockname()) for _ in range(40)]
    accepted = 0
    for sock in bound:
        while True:
            try:
                sock.accept()[0].close()
            except BlockingIOError:
                break
            accepted += 1
    assert accepted == 40
    for client in clients:
        client.close()


@pytest.mark.parametrize("bind", [bind_listener, lambda a: bind_listeners(a, 2)[0]])
def test_port_in_use_is_refused_with_its_address(bound, bind):
    """Also where the other one would share: two nodes must not split a port."""
    bound += bind_listeners(LOOPBACK, 2)
    address = Address("127.0.0.1", port_of(bound[0]))
    with pytest.raises(StartError, match=f"{address}: another process listens"):
        bind(address)


def test_port_is_free_again_when_its_node_has_gone(bound):
    """Connections in TIME_WAIT do not hold up a restart."""
    first = bind_listeners(LOOPBACK, 2)
    port = port_of(first[0])
    with socket.create_connection(("127.0.0.1", port)):
        for sock in first:
            try:
                sock.accept()[0].close()  # closing first leaves TIME_WAIT on our side
            except BlockingIOError:
                continue
    close_listeners(first)
    bound += bind_listeners(Address("127.0.0.1", port), 2)
    assert port_of(bound[0]) == port


def test_address_of_another_host_is_refused():
    """The operator reads that this host has no such address."""
    with pytest.raises(StartError, match="this host has no such address"):
        bind_listeners(Address("192.0.2.1", 8080), 1)


def test_ipv6_wildcard_takes_both_families(bound):
    """What `[::]` means does not depend on a setting of the kernel."""
    try:
        bound += bind_listeners(Address("::", 0), 1)
    except StartError:
        pytest.skip("no IPv6 on this host")
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as client:
            client.connect((host, port_of(bound[0])))


def test_unix_socket_is_private_from_its_first_moment(bound, tmp_path):
    """Only the owner may connect to the admin socket."""
    path = tmp_path / "admin"
    bound.append(bind_listener(Address("", 0, str(path))))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_unix_socket_file_is_removed_at_the_end(tmp_path):
    """A node that ended leaves no file behind."""
    path = tmp_path / "admin"
    close_listeners([bind_listener(Address("", 0, str(path)))])
    assert not path.exists()


def test_stale_unix_socket_is_replaced(bound, tmp_path):
    """What a killed node left does not stop its successor."""
    path = tmp_path / "admin"
    bind_listener(Address("", 0, str(path))).close()
    assert path.exists()
    bound.append(bind_listener(Address("", 0, str(path))))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


@pytest.mark.parametrize("backlog_full", [False, True])
def test_unix_socket_in_use_is_left_alone(bound, tmp_path, backlog_full):
    """A second node takes nothing from the first, also where that one is busy."""
    path = tmp_path / "admin"
    address = Address("", 0, str(path))
    bound.append(bind_listener(address, backlog=0))
    with socket.socket(socket.AF_UNIX) as client:
        if backlog_full:
            client.connect(str(path))
        with pytest.raises(StartError, match="another process listens"):
            bind_listener(address)
    assert path.exists()


def test_file_that_is_no_socket_is_left_alone(tmp_path):
    """A mistaken path must not cost the operator a file."""
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(StartError, match="no socket"):
        bind_listener(Address("", 0, str(path)))
    assert path.read_text() == "mine"


def test_missing_folder_of_a_unix_socket_is_named(tmp_path):
    """The operator reads what to create."""
    with pytest.raises(StartError, match="create it"):
        bind_listener(Address("", 0, str(tmp_path / "missing" / "admin")))


def test_slots_accept_from_one_queue_on_a_unix_socket(bound, tmp_path):
    """A Unix socket cannot be spread, so every slot holds the same one."""
    path = pathlib.Path(tmp_path / "data")
    bound += bind_listeners(Address("", 0, str(path)), 2)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        bound[1].accept()[0].close()
    with pytest.raises(BlockingIOError):
        bound[0].accept()
