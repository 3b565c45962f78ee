"""`fastgate check`: its text, its JSON, its exit codes, and --online."""

import asyncio
import contextlib
import json
import socket

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.config.documents import BASE, changed, example, load_text
from typer.testing import CliRunner

from fastgate.cli.main import build
from fastgate.cli.online import probe

BAD = changed("audience: [api]", "audiance: [api]", "default: eu", "default: no")


def run(*arguments, **environ):
    return CliRunner().invoke(build("check"), ["check", *arguments], env=environ)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write fastgate.yaml into the current folder."""
    monkeypatch.chdir(tmp_path)

    def written(text):
        (tmp_path / "fastgate.yaml").write_text(text)

    return written


def test_check_prints_every_problem_in_columns(write):
    """Place, level, path and sentence, as editors and people read them."""
    write(BAD)
    done = run("fastgate.yaml")
    assert done.exit_code == 78
    unknown = 'unknown key; did you mean "audience"?'
    bound = "bound 10s on this host: no revoked token passes later"
    local = "bus local: revocations stay on this host, other regions do not see it"
    assert done.output.splitlines() == [
        f"fastgate.yaml:1:1   info   revocation: {local}",
        'fastgate.yaml:4:12  error  regions.default: "no" is not one of eu, us',
        f"fastgate.yaml:9:5   error  issuers.login.audiance: {unknown}",
        f"fastgate.yaml:15:5  info   routes[0]: {bound}",
        "2 errors, 0 warnings",
    ]


def test_check_accepts_the_published_example(write, tmp_path):
    """What the documentation shows is good; the warnings do not fail it."""
    write(example(tmp_path))
    done = run()
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == "0 errors, 3 warnings"


def test_check_strict_fails_on_warnings(write, tmp_path):
    """CI may want no warning at all."""
    write(example(tmp_path))
    assert run("--strict").exit_code == 78
    write(BASE)
    assert run("--strict").exit_code == 0


def test_check_prints_json(write):
    """The same problems as members, for editors and CI."""
    write(BAD)
    done = run("--json")
    assert done.exit_code == 78
    document = json.loads(done.output)
    assert document["ok"] is False
    assert document["summary"] == "2 errors, 0 warnings"
    assert {
        "file": "fastgate.yaml",
        "line": 9,
        "col": 5,
        "level": "error",
        "path": "issuers.login.audiance",
        "message": 'unknown key; did you mean "audience"?',
    } in document["problems"]


def test_check_places_problems_of_the_environment(write):
    """A variable has a name in place of a line."""
    write(BASE)
    done = run(FASTGATE_REGION="mars")
    assert done.exit_code == 78
    assert 'env:FASTGATE_REGION  error  region: "mars" is not one of' in done.output


def test_check_of_an_absent_file_is_a_bad_configuration(write):
    """The file that was looked for is named."""
    done = run("absent.yaml")
    assert done.exit_code == 78
    assert "absent.yaml  error  No such file or directory" in done.output


@contextlib.asynccontextmanager
async def issuer(*, keys=None, status=200, name=None, introspection=204):
    """An identity provider of one test, on loopback."""
    application = web.Application()
    server = TestServer(application)

    async def metadata(_request):
        base = f"http://127.0.0.1:{server.port}"
        return web.json_response({"issuer": name or base, "jwks_uri": f"{base}/jwks"})

    async def jwks(_request):
        return web.json_response({"keys": keys or []}, status=status)

    async def introspect(request):
        form = await request.post()
        assert str(form["token"]).startswith("fastgate-check-")
        return web.Response(status=introspection)

    application.router.add_get("/.well-known/openid-configuration", metadata)
    application.router.add_get("/jwks", jwks)
    application.router.add_post("/introspect", introspect)
    async with server:
        yield f"http://127.0.0.1:{server.port}"


@contextlib.asynccontextmanager
async def bus(greeting, scheme="nats", question=b""):
    """A server that greets like NATS, or answers a question."""

    async def greet(reader, writer):
        assert await reader.readexactly(len(question)) == question
        writer.write(greeting)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
def closed_port():
    """A port of loopback that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def configured(folder, base, bus_url, *, discovery=False, upstream=None):
    text = changed(
        "issuer: https://login.example.com\n",
        f"issuer: {base}\n",
        "    jwks_url: https://login.example.com/jwks\n",
        "" if discovery else f"    jwks_url: {base}/jwks\n",
        "services:\n",
        f"    introspection: {{url: '{base}/introspect', client_id: a,"
        " client_secret: b}\nservices:\n",
        "http://10.0.1.5:9000",
        upstream or base,
        "http://10.1.1.5:9000",
        upstream or base,
    )
    text += f"revocation: {{bus: '{bus_url}'}}\n"
    return load_text(folder, text).require()


KEYS = [{"kty": "EC"}]


@pytest.mark.parametrize("discovery", [False, True])
async def test_online_is_content_when_all_answer(tmp_path, discovery):
    """Keys, introspection, upstreams and the bus are there: nothing to tell."""
    async with issuer(keys=KEYS) as base, bus(b"INFO {}\r\n") as bus_url:
        config = configured(tmp_path, base, bus_url, discovery=discovery)
        assert await probe(config) == []


PING = b"PING\r\n"
VERSIONS = bytes.fromhex("0000000a 0012 0000 00000001 ffff")


@pytest.mark.parametrize(
    ("scheme", "question", "answer", "why"),
    [
        ("redis", PING, b"+PONG\r\n", None),
        ("redis", PING, b"-NOAUTH Authentication required.\r\n", None),
        ("redis", PING, b"HTTP/1.1 400 Bad Request", "is no Redis server"),
        ("kafka", VERSIONS, bytes.fromhex("00000006 00000001 0000"), None),
        ("kafka", VERSIONS, b"HTTP/1.1 400 Bad Request", "is no Kafka server"),
    ],
    ids=["redis", "redis asks for a password", "no redis", "kafka", "no kafka"],
)
async def test_online_asks_each_kind_of_bus_in_its_own_words(
    tmp_path, scheme, question, answer, why
):
    """A port that is open may belong to anybody."""
    async with issuer(keys=KEYS) as base, bus(answer, scheme, question) as bus_url:
        found = await probe(configured(tmp_path, base, bus_url))
    assert found == ([] if why is None else [(("revocation", "bus"), why)])


@pytest.mark.parametrize(
    ("faults", "discovery", "path", "why"),
    [
        ({"status": 500, "keys": KEYS}, False, "jwks_url", "answers 500"),
        ({"keys": []}, False, "jwks_url", "holds no keys"),
        ({"keys": KEYS, "name": "https://other"}, True, "discovery", "another issuer"),
        ({"keys": KEYS, "introspection": 401}, False, "introspection", "refuses this"),
        ({"keys": KEYS, "introspection": 500}, False, "introspection", "answers 500"),
    ],
)
async def test_online_tells_what_an_issuer_does_wrong(
    tmp_path, faults, discovery, path, why
):
    """Each probe names the setting it is about."""
    async with issuer(**faults) as base, bus(b"INFO {}\r\n") as bus_url:
        config = configured(tmp_path, base, bus_url, discovery=discovery)
        found = await probe(config)
    assert len(found) == 1
    assert found[0][0][:3] == ("issuers", "login", path)
    assert why in found[0][1]


async def test_online_tells_what_cannot_be_reached(tmp_path, closed_port):
    """Closed ports of upstream and bus are told with their place, all at once."""
    async with issuer(keys=KEYS) as base:
        config = configured(
            tmp_path,
            base,
            f"nats://127.0.0.1:{closed_port}",
            upstream=f"http://127.0.0.1:{closed_port}",
        )
        found = dict(await probe(config))
    assert set(found) == {
        ("services", "orders", "eu", 0),
        ("services", "orders", "us", 0),
        ("revocation", "bus"),
    }


async def test_online_knows_a_bus_from_another_server(tmp_path):
    """Something that listens is not yet NATS."""
    async with issuer(keys=KEYS) as base, bus(b"HTTP/1.1 400\r\n") as bus_url:
        found = await probe(configured(tmp_path, base, bus_url))
    assert found == [(("revocation", "bus"), "is no NATS server")]


def test_check_online_exits_69_where_something_is_away(write, closed_port):
    """The configuration is good, its surroundings are not: a code of its own."""
    away = f"http://127.0.0.1:{closed_port}"
    write(
        changed(
            "https://login.example.com/jwks",
            f"{away}/jwks",
            "http://10.0.1.5:9000",
            away,
            "http://10.1.1.5:9000",
            away,
        )
    )
    done = run("--online")
    assert done.exit_code == 69
    assert "issuers.login.jwks_url: cannot be reached" in done.output
    assert "services.orders.eu[0]: cannot be reached" in done.output
