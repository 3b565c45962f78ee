"""The gate bounds what a client may fail to verify, and charges each failure once."""

from dataclasses import replace

import pytest
from tests.hotpath.gates import (
    SECOND_NS,
    World,
    jwt,
    outcome,
    phantom_answer,
)
from tests.tokens import SigningKey, signing_key

from fastgate.domain.decision import Asked, Decision
from fastgate.domain.verdict import OUTCOMES, Reason

OTHER = SigningKey("ES256", "es256-1")  # the issuer's kid, and another key
NAMELESS = SigningKey("ES256", None)
MALLORY, ALICE = "198.51.100.9", "192.0.2.1"
BURST = 200


class CountingKey:
    """A key of the product that counts what is asked of it."""

    def __init__(self, key: object) -> None:
        self.kid, self.thumbprint = key.kid, key.thumbprint
        self.algorithms = key.algorithms
        self._verify = key.verify
        self.asked = 0

    def verify(self, alg: str, signature: bytes, signed: bytes) -> bool:
        self.asked += 1
        return self._verify(alg, signature, signed)


def counting(world: World, *keys: SigningKey) -> list[CountingKey]:
    """Let the issuer have these keys, and count their verifications."""
    world.use_keys(*keys)
    held = world.snapshot.keys[0]
    counted = {key.thumbprint: CountingKey(key) for key in held.every}
    every = tuple(counted[key.thumbprint] for key in held.every)
    by_kid = {kid: counted[key.thumbprint] for kid, key in held.by_kid.items()}
    held = replace(held, every=every, by_kid=by_kid)
    world.snapshot = world.snapshot.with_keys((held,))
    return list(every)


def answered(world: World, token: bytes, asked: Asked | None = None) -> Decision:
    """Ask as a lane does, with an agent that knows nothing new."""
    asked = asked or Asked()
    for _ in range(6):
        decision = world.ask(token, asked=asked, peer=MALLORY)
        if outcome(decision) != "ask_key":
            return decision
        asked.key_answered(decision)
    raise AssertionError("the gate does not end")


def left(world: World) -> int:
    """How many failures MALLORY has left, found out by using them up."""
    for used in range(BURST + 1):
        if not world.failures.admits(MALLORY, world.boot_ns):
            return used
        world.failures.charge(MALLORY, world.boot_ns)
    raise AssertionError("there is no bound")


def forged(number: int = 0) -> bytes:
    """A token whose signature is another key's."""
    return jwt(key=OTHER, jti=f"forged-{number}")


def test_gate_verifies_no_new_token_of_a_client_that_failed_too_often(
    world: World,
) -> None:
    """T11: 200 at once are 401, then it is 429 until one more is forgiven."""
    known, fresh = jwt(), jwt(jti="fresh")
    assert outcome(world.ask(known, peer=MALLORY)) == "allow"
    key = counting(world, signing_key())[0]
    for number in range(BURST):
        assert outcome(answered(world, forged(number))) == "bad_signature"
    for number in range(BURST, BURST + 50):
        assert outcome(answered(world, forged(number))) == "too_many_failures"
    assert key.asked == BURST
    # Whoever it is, what is known is served, and what is not is not looked at.
    assert outcome(world.ask(known, peer=MALLORY)) == "allow"
    assert outcome(world.ask(fresh, peer=MALLORY)) == "too_many_failures"
    assert outcome(world.ask(forged(), peer=ALICE)) == "bad_signature"
    assert outcome(world.ask(fresh, peer=ALICE)) == "allow"
    world.boot_ns += SECOND_NS // 50
    assert outcome(answered(world, forged())) == "bad_signature"
    assert outcome(answered(world, forged())) == "too_many_failures"


def test_gate_tells_the_client_when_to_come_again() -> None:
    """Public as any other 429, so that nobody learns which of his tokens are known."""
    told = OUTCOMES[Reason.TOO_MANY_FAILURES]
    assert (told.status, told.retry_after_s) == (429, 1)
    assert told == OUTCOMES[Reason.TOO_MANY_REQUESTS]


def test_gate_charges_nothing_for_what_costs_no_verification(world: World) -> None:
    """Cheap refusals (T10), unknown kids (T13), good tokens, known ones."""
    for token in (
        *(b"junk", b"a.b.c", jwt(header={"typ": "x"}), jwt(exp=1, iat=0)),
        *(jwt(header={"alg": "none"}), jwt(key=SigningKey("ES256", "new"))),
        *(jwt(iss="https://else.example"), jwt(), jwt(), jwt(scope="x")),
    ):
        answered(world, token)
    assert left(world) == BURST


@pytest.mark.parametrize("kid", ["named", "nameless"])
def test_gate_verifies_and_charges_once_for_each_key_of_one_request(
    world: World, kid: str
) -> None:
    """Asking the agent in between, and the other lane, are no further failures."""
    first, second = SigningKey("ES256", "a"), SigningKey("ES256", "b")
    keys = counting(world, signing_key(), first, second)
    token = forged() if kid == "named" else jwt(key=NAMELESS)
    tried = 1 if kid == "named" else len(keys)
    # As the compiled lane decides, and what the general lane is then lent.
    decision = world.ask(token, peer=MALLORY)
    assert len(decision.failed_keys) == tried
    asked = Asked()
    asked.learn(decision)
    assert outcome(answered(world, token, asked)) == "bad_signature"
    assert sum(key.asked for key in keys) == tried
    assert left(world) == BURST - tried


def test_gate_refuses_as_before_where_the_last_failure_was_used_up(
    world: World,
) -> None:
    """The question in between does not make a 429 of what was looked at already."""
    world.failures.charge(MALLORY, world.boot_ns, BURST - 1)
    assert outcome(answered(world, forged())) == "bad_signature"
    assert outcome(answered(world, forged())) == "too_many_failures"


def test_gate_tries_a_key_that_came_meanwhile(world: World) -> None:
    """The kid got a new key: it verifies, and only the old one's failure is charged."""
    token = forged()
    asked = Asked()
    asked.key_answered(world.ask(token, peer=MALLORY))
    world.use_keys(OTHER)
    assert outcome(world.ask(token, asked=asked, peer=MALLORY)) == "allow"
    assert left(world) == BURST - 1


def test_gate_charges_nothing_where_one_of_several_keys_verifies(world: World) -> None:
    """Without a kid the wrong ones have to be tried first."""
    counting(world, SigningKey("ES256", "a"), SigningKey("ES256", "b"), signing_key())
    token = jwt(header={"kid": None})
    assert outcome(world.ask(token, peer=MALLORY)) == "allow"
    assert left(world) == BURST


def test_gate_charges_no_client_for_its_issuers_word(world: World) -> None:
    """A phantom token that does not verify is the issuer's fault: 502, and no debt."""
    asked = Asked()
    asked.introspection = phantom_answer(forged())
    assert outcome(answered(world, b"_opaque_", asked)) == "bad_issuer_response"
    assert left(world) == BURST
    # Nothing is left to fail, and the issuer's word counts all the same.
    decision = world.told(b"_opaque_", phantom_answer(jwt()), peer=MALLORY)
    assert outcome(decision) == "allow"


def test_gate_explains_what_a_worker_would_count(world: World) -> None:
    """Without counts of its own, as in `fastgate explain`, it refuses nobody."""
    trace: list[tuple[str, str]] = []
    explaining = type(world.gate)(world.cache, world.reader)
    world.gate = explaining
    for number in range(BURST + 1):
        trace.clear()
        decision = world.ask(forged(number), trace=trace, peer=MALLORY)
        assert outcome(decision) == "ask_key"
    asked = Asked()
    asked.key_answered(decision)
    trace.clear()
    assert outcome(world.ask(forged(), asked=asked, trace=trace)) == "bad_signature"
    assert [step for step, _ in trace] == ["route", "shape", "failures", "signature"]
    assert "200 failed verifications of a client, and 50 more a second" in trace[2][1]
