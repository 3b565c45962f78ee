"""Every reason that the gate can give is given, and its sources name no other."""

import pathlib
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.hotpath.gates import (
    NOW,
    PURE,
    World,
    gate_module,
    jwt,
    outcome,
)
from tests.tokens import SigningKey, signing_key

from fastgate.domain.decision import Asked, Decision
from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer
from fastgate.domain.revocation import Kind
from fastgate.domain.route import Service
from fastgate.domain.verdict import Reason

Ask = Callable[[World], Decision]


def of_token(**changes: object) -> Ask:
    """Ask with a token of these claims."""
    return lambda world: world.ask(jwt(**changes))


def of_answer(kind: AnswerKind) -> Ask:
    """Ask with an opaque token about which the issuer said this."""
    return lambda world: world.told(b"_opaque_", IntrospectionAnswer(kind))


def asked_twice(token: bytes, **keys: bool) -> Ask:
    """Ask, ask the agent, and ask again."""

    def ask(world: World) -> Decision:
        world.use_keys(signing_key(), **keys)
        asked = Asked()
        asked.key_answered(world.ask(token))
        return world.ask(token, asked=asked)

    return ask


def stale(world: World) -> Decision:
    """Ask when nothing was heard for a minute."""
    world.boot_ns += 60 * 10**9
    return world.ask(jwt())


def revoked(world: World) -> Decision:
    """Ask with a token of a session that has ended."""
    world.revoke(Kind.SID, "gone")
    return world.ask(jwt(sid="gone"))


def homeless(world: World) -> Decision:
    """Ask for a service that lives nowhere."""
    world.use_route(service=Service("none", ((), (), ())))
    return world.ask(jwt())


def failing(world: World) -> Decision:
    """Ask once more after more failures than a client may have."""
    world.failures.charge("192.0.2.1", world.boot_ns, 1_000)
    return world.ask(jwt(), peer="192.0.2.1")


def demanding(world: World) -> Decision:
    """Ask where a claim is required that the token lacks."""
    world.use_profile(require=("tenant",))
    return world.ask(jwt())


def listed(bits: bytes, index: int) -> Ask:
    """Ask with a token whose status list has these entries, of two bits each."""

    def ask(world: World) -> Decision:
        world.use_profile(status_lists=True)
        world.publish_list("https://lists/1", bits, bits=2)
        entry = {"idx": index, "uri": "https://lists/1"}
        return world.ask(jwt(status={"status_list": entry}))

    return ask


NEW_KID = jwt(key=SigningKey("ES256", "new"))
CASES: dict[Reason, Ask] = {
    Reason.NO_ROUTE: lambda world: world.ask(path="/"),
    Reason.BAD_REQUEST: lambda world: world.ask(encoded_separators=True),
    Reason.INVALID_REQUEST: lambda world: world.ask(b"a b"),
    Reason.MISSING_TOKEN: lambda world: world.ask(),
    Reason.MALFORMED: lambda world: world.ask(b"a.b.c"),
    Reason.TOO_LARGE: lambda world: world.ask(b"x" * 8193),
    Reason.BAD_TYP: of_token(header={"typ": "x"}),
    Reason.BAD_ALG: of_token(header={"alg": "none"}),
    Reason.CRIT: of_token(header={"crit": []}),
    Reason.EXPIRED: of_token(exp=NOW - 60, iat=NOW - 90),
    Reason.NOT_YET: of_token(nbf=NOW + 60),
    Reason.LIFETIME: of_token(exp=NOW + 7200),
    Reason.MISSING_CLAIM: demanding,
    Reason.UNKNOWN_KID: asked_twice(NEW_KID),
    Reason.KEYS_UNAVAILABLE: asked_twice(NEW_KID, last_fetch_ok=False),
    Reason.BAD_SIGNATURE: asked_twice(jwt()[:-4] + b"AAAA"),
    Reason.TOO_MANY_FAILURES: failing,
    Reason.BAD_ISS: of_token(iss="x"),
    Reason.BAD_AUD: of_token(aud="x"),
    Reason.BOUND: of_token(cnf={}),
    Reason.SCOPE: of_token(scope="x"),
    Reason.REVOKED: revoked,
    Reason.SUSPENDED: listed(b"\x02", 0),
    Reason.NO_STATUS: listed(b"\x02", 4),
    Reason.STALE_REVOCATION: stale,
    Reason.UNKNOWN_REGION: of_token(region="x"),
    Reason.REGION_UNAVAILABLE: homeless,
    Reason.INACTIVE: of_answer(AnswerKind.INACTIVE),
    Reason.BAD_ISSUER_RESPONSE: of_answer(AnswerKind.ISSUER_FAULT),
    Reason.INTROSPECTION_UNAVAILABLE: of_answer(AnswerKind.UNAVAILABLE),
}


@pytest.mark.parametrize("reason", CASES)
def test_gate_gives_the_reason(world: World, reason: Reason) -> None:
    """One request for each; a route of its own, so that nothing else is the matter."""
    world.use_routes(replace(world.route, prefix="/orders/"))
    assert outcome(CASES[reason](world)) == reason.value


def test_cases_are_all_reasons_that_the_sources_name() -> None:
    """A reason that nobody produces is not known to work."""
    folder = pathlib.Path(gate_module("compiled").__file__).parent
    named = {
        name
        for module in (*PURE, "native")
        for name in re.findall(
            r"Reason\.([A-Z_]+)", (folder / f"{module}.py").read_text()
        )
    }
    assert named == {reason.name for reason in CASES}
