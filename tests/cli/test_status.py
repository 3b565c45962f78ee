"""`fastgate status`: its pictures, and where it finds the gateway."""

import json
import socket
import threading

import pytest
from tests.cli.gateways import gateway, run, terminal

from fastgate.cli import status as verb

TOKEN = "correct-horse-battery-staple-0001"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def closed_port():
    """A port of loopback that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_status_prints_the_document_where_no_person_reads(folder):
    """All of it, for scripts."""
    with gateway(folder) as (agent, address):
        done = run("status", "--admin", address)
    assert done.exit_code == 0
    assert json.loads(done.stdout) == agent.status()


def test_status_shows_a_row_an_origin_on_a_terminal(folder, monkeypatch):
    """How old each origin is, who is behind, and which alarm is on."""
    terminal(monkeypatch)
    with gateway(folder) as (_, address):
        done = run("status", "--admin", address)
    for text in (
        "gw-eu-1 in eu · ready · up 1m1s · configuration 3 ab12 · bus nats connected",
        "workers 1 of 1 up",
        "alarm bus bus since",
    ):
        assert text in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["eu", "1", "1043", "0", "0.4", "s", "live", "0", "fresh"] in rows
    assert ["us", "0", "204", "7", "never", "replay", "1", "behind"] in rows


def test_status_watch_redraws_until_interrupted(folder, monkeypatch):
    """Ctrl-C is the way out, and no failure."""
    rounds = []

    def pause():
        rounds.append(1)
        if len(rounds) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(verb, "_pause", pause)
    with gateway(folder) as (_, address):
        done = run("status", "--watch", "--admin", address)
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 3


def test_status_watch_goes_on_while_the_gateway_is_away(
    folder, monkeypatch, closed_port
):
    """A restart is what one watches for."""

    def pause():
        raise KeyboardInterrupt

    monkeypatch.setattr(verb, "_pause", pause)
    done = run("status", "--watch", "--admin", f"127.0.0.1:{closed_port}")
    assert done.exit_code == 0
    assert "Connection refused" in done.stderr


def test_gateway_that_is_away_exits_69_and_names_the_fix(folder, closed_port):
    """Where it was looked for, and how to look elsewhere."""
    done = run("status", "--admin", f"127.0.0.1:{closed_port}")
    assert done.exit_code == 69
    assert done.stderr == (
        f"fastgate: 127.0.0.1:{closed_port}: Connection refused; is the gateway"
        " running? Name its admin address with --admin or FASTGATE_ADMIN\n"
    )


def test_unix_socket_is_asked_and_its_absence_exits_69(folder):
    """`unix:` works like an address."""
    with gateway(folder, path=folder / "admin") as (_, address):
        assert run("status", "--admin", address).exit_code == 0
    done = run("status", "--admin", f"unix:{folder}/gone")
    assert done.exit_code == 69
    assert f"unix:{folder}/gone: No such file or directory" in done.stderr


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n\r\nhi"]
)
def test_server_that_is_no_gateway_exits_69(folder, answer):
    """Something else at that address is told as that."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            link, _ = server.accept()
            with link:
                link.recv(65536)
                link.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        done = run("status", "--admin", f"127.0.0.1:{server.getsockname()[1]}")
        thread.join(10)
    assert done.exit_code == 69
    assert "name" in done.stderr.lower()


def test_configuration_names_gateway_and_token(folder):
    """On the host of a gateway nothing needs to be said."""
    with gateway(folder, token=TOKEN) as (_, address):
        (folder / "fastgate.yaml").write_text(
            f"admin: {address}\nadmin_token: ${{file:secret}}\n"
            "issuers: {login: {introspection: {client_secret: '${file:/no/way}'}}}\n"
        )
        (folder / "secret").write_text(f"{TOKEN}\n")
        assert run("status").exit_code == 0
        assert run("status", "--config", "fastgate.yaml").exit_code == 0
        (folder / "secret").write_text("another")
        assert run("status").exit_code == 1


def test_environment_wins_over_the_configuration(folder):
    """FASTGATE_ADMIN and the token beside it, as in the gateway itself."""
    (folder / "fastgate.yaml").write_text("admin: 127.0.0.1:1\nadmin_token: other\n")
    (folder / "secret").write_text(f"{TOKEN}\n")
    with gateway(folder, token=TOKEN) as (_, address):
        text = run("status", FASTGATE_ADMIN=address, FASTGATE_ADMIN_TOKEN=TOKEN)
        file = run(
            "status",
            FASTGATE_ADMIN=address,
            FASTGATE_ADMIN_TOKEN_FILE=str(folder / "secret"),
        )
    assert (text.exit_code, file.exit_code) == (0, 0)


def test_missing_admin_token_is_told_with_the_variable_that_has_it(folder):
    """The fix is named; no token is an argument."""
    with gateway(folder, token=TOKEN) as (_, address):
        done = run("status", "--admin", address)
    assert done.exit_code == 1
    assert done.stderr == (
        "fastgate: The admin token is required. Set FASTGATE_ADMIN_TOKEN, or"
        " FASTGATE_ADMIN_TOKEN_FILE to a file with it\n"
    )


@pytest.mark.parametrize(
    "address", ["localhost", "127.0.0.1:0", "127.0.0.1:99999", "a b:1", "https://x:1"]
)
def test_address_that_is_none_is_a_bad_configuration(folder, address):
    """Told before anything is sent."""
    done = run("status", "--admin", address)
    assert done.exit_code != 0
    assert "is no admin address; give --admin HOST:PORT" in str(done.exception)


def test_configuration_that_was_named_and_cannot_be_read_is_told(folder):
    """78, as for every verb; where --admin is given, an unnamed one is not needed."""
    done = run("status", "--config", "absent.yaml")
    assert "absent.yaml: No such file or directory" in str(done.exception)
    (folder / "fastgate.yaml").write_text("admin: [\n")
    assert "fastgate.yaml:" in str(run("status").exception)
    with gateway(folder) as (_, address):
        (folder / "fastgate.yaml").write_text("admin: [\n")
        assert run("status", "--admin", address).exit_code == 0


def test_status_of_a_wildcard_listener_asks_loopback(folder):
    """An address to bind is not one to connect to."""
    with gateway(folder) as (_, address):
        port = address.rpartition(":")[2]
        assert run("status", "--admin", f"0.0.0.0:{port}").exit_code == 0


def test_status_shows_what_canaries_took_on_a_terminal(folder, monkeypatch):
    """A line of its own, and what was not refused is told."""
    terminal(monkeypatch)
    with gateway(folder) as (agent, address):
        document = agent.status()
        document["feed"]["canaries"] = {
            "origins": {
                "eu": {"p50_ms": 2.34, "p99_ms": 9.9, "missed": 0},
                "us": {"p50_ms": None, "p99_ms": None, "missed": 3},
            }
        }
        monkeypatch.setattr(agent, "status", lambda: document)
        done = run("status", "--admin", address)
    said = "canaries refused after, p50 / p99: eu 2.3 / 9.9 ms, us never, 3 not refused"
    assert said in done.stdout
