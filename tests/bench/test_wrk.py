"""Wrk, where it is installed, sends what our generator sends."""

import pytest
from tests.bench.slow_server import answer, slow_server

from fastgate.errors import StartError
from fastgate_bench.plan import Plan
from fastgate_bench.wrk import by_wrk, find_wrk

WRK = find_wrk()
pytestmark = pytest.mark.skipif(WRK is None, reason="needs wrk")


def plan(server, tokens=""):
    """A second of two connections."""
    return Plan(
        *("127.0.0.1", server.port, 0.0, 1.0, 2),
        authority="bench.test",
        target="/a?b=c",
        tokens=tokens,
    )


async def test_wrk_takes_the_tokens_in_turn_and_counts_answers(tmp_path):
    """One token alone would be another measurement."""
    tokens = tmp_path / "tokens"
    tokens.write_text("one\ntwo\nthree\n", "ascii")
    async with slow_server(delay_s=0.002) as server:
        found = await by_wrk(WRK, plan(server, str(tokens)))
    assert 0 < found.count <= server.requests
    assert found.rate == pytest.approx(found.count, rel=0.3)
    assert all(head.startswith(b"GET /a?b=c HTTP/1.1\r\n") for head in server.heads)
    assert all(b"Host: bench.test\r\n" in head for head in server.heads)
    sent = {head.partition(b"Bearer ")[2].split(b"\r\n")[0] for head in server.heads}
    assert sent == {b"one", b"two", b"three"}


async def test_wrk_sends_no_token_where_there_is_none():
    """An open route gets what any client sends."""
    async with slow_server(delay_s=0.002) as server:
        await by_wrk(WRK, plan(server))
    assert not any(b"Authorization" in head for head in server.heads)


async def test_wrk_gives_no_figure_for_refusals():
    """A gateway that answers 401 is not fast."""
    refusing = slow_server(script=lambda _, tag: [answer(tag, 401)], delay_s=0.002)
    async with refusing as server:
        with pytest.raises(StartError, match="Non-2xx"):
            await by_wrk(WRK, plan(server))
