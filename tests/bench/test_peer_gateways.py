"""Each gateway of the comparison runs, and refuses what it is said to refuse."""

import dataclasses
import shutil

import aiohttp
import pytest

from fastgate.errors import StartError
from fastgate_bench.comparison import SUBJECTS
from fastgate_bench.gateways import Place, prove, running
from fastgate_bench.machine import Pins
from fastgate_bench.revoked import write_ids
from fastgate_bench.stand_ins import ask, free_ports, upstream
from fastgate_bench.tokens import Issuer

pytestmark = pytest.mark.system


@pytest.mark.parametrize("no_nginx", [False, True], ids=["nginx", "own upstream"])
@pytest.mark.parametrize("name", ["fastgate", "haproxy-plain"])
async def test_gateway_reaches_either_upstream(tmp_path, monkeypatch, name, no_nginx):
    """Where nginx is not installed, a server of the suite stands in."""
    subject = SUBJECTS[name]
    if subject.absence():
        pytest.skip(subject.absence())
    if no_nginx:
        tools = tmp_path / "bin"
        tools.mkdir()
        program = shutil.which("haproxy")
        if program is not None:
            (tools / "haproxy").symlink_to(program)
        monkeypatch.setenv("PATH", str(tools))
    await serves(subject, tmp_path)


@pytest.mark.parametrize("name", sorted(SUBJECTS))
async def test_gateway_refuses_what_its_figures_claim(tmp_path, name):
    """A figure for a check that does not happen would be a lie about a competitor."""
    subject = SUBJECTS[name]
    if subject.absence():
        pytest.skip(subject.absence())
    await serves(subject, tmp_path)


async def test_fastgate_starts_with_every_revocation_of_the_run(tmp_path):
    """It carries what its peers get in a file, and its own count says so."""
    ids = write_ids(tmp_path / "revoked", 1_500)
    issuer, pins = Issuer(), Pins()
    async with upstream(tmp_path, issuer, pins) as api:
        port, admin, status = free_ports(3)
        place = Place(
            *(tmp_path / "gateway", port, api.port, admin, status, issuer),
            revoked=ids,
        )
        async with running(SUBJECTS["fastgate"], place, pins) as gateway:
            await prove(gateway)
            url = f"http://127.0.0.1:{admin}/v1/status"
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                found = await answer.json()
            assert found["revocations"]["entries"] == 1_500
            middle = issuer.token(jti=ids.read_text("ascii").split()[700])
            assert await ask(port, "/orders/1", middle) == 401


async def test_prove_ends_a_run_where_a_bad_token_passes(tmp_path):
    """An open proxy that claimed to verify would win every comparison."""
    subject = SUBJECTS["nginx-plain"]
    if subject.absence():
        pytest.skip(subject.absence())
    liar = dataclasses.replace(subject, refuses=("signature",))
    with pytest.raises(StartError, match="nginx-plain answers 200 to a bad token"):
        await serves(liar, tmp_path)


def test_subject_that_is_not_installed_says_how_to_install_it(monkeypatch, tmp_path):
    """Absent is a line in the report, never a traceback."""
    monkeypatch.setenv("PATH", str(tmp_path))
    absence = SUBJECTS["haproxy-jwt"].absence()
    assert absence == "haproxy is absent: apt-get install haproxy"


async def serves(subject, folder):
    """Run a gateway; prove its checks, and that its log may be on."""
    issuer, pins = Issuer(), Pins()
    revoked = folder / "revoked"
    revoked.write_text("gone-1\ngone-2\n", "ascii")
    async with upstream(folder, issuer, pins) as api:
        port, admin, status = free_ports(3)
        place = Place(
            *(folder / "gateway", port, api.port, admin, status, issuer),
            revoked=revoked,
            workers=subject.workers,
            access_log=True,
        )
        async with running(subject, place, pins) as gateway:
            await prove(gateway)
            assert await ask(port, "/orders/4k", issuer.token()) == 200
            assert await ask(port, "/orders/1", issuer.token("us")) == 200
            if subject.refuses:
                assert await ask(port, "/orders/1") == 401
