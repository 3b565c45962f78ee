"""Credentials: one method and one token, or a refusal that says whose fault it is."""

import pytest
from tests.hotpath.gates import World, jwt, outcome

from fastgate.domain.verdict import OUTCOMES, Reason

TOKEN = jwt()


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (None, "missing_token"),
        (b"", "missing_token"),
        (b"Basic dXNlcjpwYXNz", "missing_token"),
        (b"Digest username=a, realm=b", "missing_token"),
        (b"DPoP " + TOKEN, "missing_token"),
        (TOKEN, "missing_token"),
        (b"Bearer", "invalid_request"),
        (b"Bearer ", "invalid_request"),
        (b"Bearer    ", "invalid_request"),
        (b"Bearer\t" + TOKEN, "invalid_request"),
        (b"Bearer\x00" + TOKEN, "invalid_request"),
        (b"Bearer " + TOKEN + b" ", "invalid_request"),
        (b"Bearer " + TOKEN + b"\t", "invalid_request"),
        (b"Bearer " + TOKEN + b", Bearer " + TOKEN, "invalid_request"),
        (b"Bearer " + TOKEN + b"," + TOKEN, "invalid_request"),
        (b"Bearer " + TOKEN + b" " + TOKEN, "invalid_request"),
        (b"Basic dXNlcg, Bearer " + TOKEN, "invalid_request"),
        (b"Bearer a,b", "invalid_request"),
        (b"Bearer a\tb", "invalid_request"),
        (b"Bearer " + TOKEN, "allow"),
        (b"bearer " + TOKEN, "allow"),
        (b"BEARER " + TOKEN, "allow"),
        (b"Bearer   " + TOKEN, "allow"),
    ],
)
def test_gate_takes_exactly_one_bearer_token(
    world: World, authorization: bytes | None, expected: str
) -> None:
    """RFC 6750 section 2.1, THREATS J15: what is ambiguous is 400, nothing is 401."""
    for _ in range(2):  # the second time the token is in the cache
        decision = world.ask(authorization=authorization)
        assert outcome(decision) == expected


def test_gate_refuses_two_authorization_headers_on_every_kind_of_route(
    world: World,
) -> None:
    """Another reader may take the other one."""
    for change in ({}, {"oauth": True}, {"issuer": None}):
        world.use_route(**change)
        decision = world.ask(TOKEN, credentials=2)
        assert outcome(decision) == "invalid_request"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"access_token=" + TOKEN, "invalid_request"),
        (b"a=b&access_token=x", "invalid_request"),
        (b"a=b;access_token=x", "invalid_request"),
        (b"access%5Ftoken=x", "invalid_request"),
        (b"%61ccess_token=x", "invalid_request"),
        (b"access_token", "invalid_request"),
        (b"user_access_token=x", "allow"),
        (b"next=access_token=x", "allow"),
        (b"a=b", "allow"),
        (b"", "allow"),
    ],
)
def test_gate_refuses_a_second_token_in_the_query(
    world: World, query: bytes, expected: str
) -> None:
    """More than one method in one request is 400 (RFC 6750 section 2, THREATS T21)."""
    assert outcome(world.ask(TOKEN, query=query)) == expected
    assert outcome(world.ask(query=query)) == "missing_token"


def test_gate_refuses_a_long_token_unread(world: World) -> None:
    """The limit is the profile's; a token of just that length is read."""
    world.use_profile(max_token_bytes=len(TOKEN))
    assert outcome(world.ask(TOKEN)) == "allow"
    assert outcome(world.ask(TOKEN + b"A")) == "too_large"
    world.use_profile(max_token_bytes=len(TOKEN) - 1)
    assert outcome(world.ask(TOKEN)) == "too_large"


@pytest.mark.parametrize(
    "token",
    [
        b"not-a-jwt",
        b"a.b",
        b"a.b.c.d.e",
        b"..",
        b"{}.{}.{}",
        b'{"payload":"e30"}',
        TOKEN.replace(b".", b".\x00", 1),
        TOKEN[:-1] + b"=",
        TOKEN[:-1],
        b"\xff" + TOKEN,
        TOKEN + b"~disclosure~",
    ],
)
def test_gate_refuses_malformed_text_where_only_tokens_are_taken(
    world: World, token: bytes
) -> None:
    """Nothing that is no compact JWS reaches a key, and all look the same outside."""
    world.use_route(accept_opaque=False)
    decision = world.ask(token)
    assert outcome(decision) == "malformed"
    assert OUTCOMES[Reason.MALFORMED].public == "invalid_token"


@pytest.mark.parametrize("token", [b"a\x00b", b'a"b', b"a\xe4b", b"a|b", b"<a>"])
def test_gate_asks_nobody_about_a_token_of_foreign_bytes(
    world: World, token: bytes
) -> None:
    """RFC 6750 section 2.1 knows no such token, so the issuer is not asked."""
    assert outcome(world.ask(token)) == "malformed"


def test_gate_asks_nobody_where_opaque_tokens_are_not_taken(world: World) -> None:
    """Neither without leave of the route, nor without an endpoint to ask."""
    assert outcome(world.ask(b"_opaque_")) == "ask_introspection"
    world.use_route(accept_opaque=False)
    assert outcome(world.ask(b"_opaque_")) == "malformed"
    world.use_route(accept_opaque=True)
    world.use_profile(introspection=None)
    assert outcome(world.ask(b"_opaque_")) == "malformed"


def test_gate_introspects_a_jwt_where_only_opaque_tokens_are_taken(
    world: World,
) -> None:
    """The route says that its issuer judges; the cache of tokens is left out."""
    assert outcome(world.ask(TOKEN)) == "allow"
    world.use_route(accept_jwt=False)
    decision = world.ask(TOKEN)
    assert outcome(decision) == "ask_introspection"
    assert (decision.kind, decision.credential) == ("opaque", TOKEN)
