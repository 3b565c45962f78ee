"""`fastgate healthcheck` against a listener that plays the status port."""

import contextlib
import json
import socket
import threading

import pytest

from fastgate.cli import healthcheck


@contextlib.contextmanager
def status_listener(answer: bytes):
    """Answer one connection; yields its address and what was received."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def serve() -> None:
            link, _ = server.accept()
            with link:
                received.append(link.recv(4096))
                link.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}", received
        finally:
            thread.join(5)


@pytest.mark.parametrize(
    ("arguments", "path"), [([], b"/livez"), (["--ready"], b"/readyz")]
)
def test_healthcheck_asks_for_life_or_readiness(arguments, path, capsys):
    """One plain request, and exit 0 exactly for a 200."""
    with status_listener(b"HTTP/1.1 200 OK\r\n\r\n") as (address, received):
        assert healthcheck.run([*arguments, "--status", address]) == 0
    assert received[0].startswith(
        b"GET " + path + b" HTTP/1.1\r\nHost: " + address.encode()
    )
    assert capsys.readouterr().out == "ok\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
        b"x" * 10_000,
    ],
)
def test_healthcheck_fails_for_any_other_answer(answer, capsys):
    """Not ready, another protocol, silence and noise are all 1, with the reason."""
    with status_listener(answer) as (address, _):
        assert healthcheck.run([f"--status={address}"]) == 1
    assert address in capsys.readouterr().err


def test_healthcheck_fails_where_nobody_listens(capsys):
    """A dead gateway is an answer too."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert healthcheck.run(["--status", address]) == 1
    assert "no answer" in capsys.readouterr().err


def test_healthcheck_prints_json(capsys):
    """`--json` gives the outcome as members."""
    with status_listener(b"HTTP/1.1 200 OK\r\n\r\n") as (address, _):
        assert healthcheck.run(["--status", f"http://{address}/", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "ok": True,
        "url": f"http://{address}/livez",
        "answer": "200 OK",
    }


def test_healthcheck_takes_the_address_of_the_environment(monkeypatch):
    """The variable that moves the listener moves its probe; a wildcard is loopback."""
    with status_listener(b"HTTP/1.1 200 OK\r\n\r\n") as (address, _):
        port = address.rpartition(":")[2]
        monkeypatch.setenv("FASTGATE_STATUS", f"0.0.0.0:{port}")
        assert healthcheck.run([]) == 0


@pytest.mark.parametrize(
    "arguments",
    [["--bogus"], ["--status"], ["--status", "x"], ["--status", "a:99999"], ["extra"]],
)
def test_healthcheck_usage_error_is_two(arguments, capsys):
    """A probe that cannot be understood is no failed probe."""
    assert healthcheck.run(arguments) == 2
    assert "usage:" in capsys.readouterr().err


def test_healthcheck_help_is_no_failure(capsys):
    """Help goes to stdout and exits 0."""
    assert healthcheck.run(["--help"]) == 0
    assert "--ready" in capsys.readouterr().out
