"""Tokens never seen: each refusal, their order, and the key that is asked for."""

from dataclasses import replace

import pytest
from tests.hotpath.gates import BOOT_NS, NOW, SECOND_NS, World, jwt, outcome
from tests.tokens import SigningKey, b64, claims, encode, signing_key

from fastgate.domain.decision import Asked
from fastgate.domain.revocation import Kind

OTHER = SigningKey("ES256", "es256-1")  # the kid of the issuer's key, and another key
ALL_ALGORITHMS = ("ES256", "ES384", "RS256", "PS256", "EdDSA", "Ed25519")


def asked_for(decision: object) -> Asked:
    """What a lane knows after it asked the agent for a key."""
    asked = Asked()
    asked.key_answered(decision)
    return asked


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "allow"),
        ({"header": {"typ": "JWT"}}, "allow"),
        ({"header": {"typ": None}}, "allow"),
        ({"header": {"typ": "application/AT+JWT"}}, "allow"),
        ({"header": {"typ": "logout+jwt"}}, "bad_typ"),
        ({"header": {"typ": "dpop+jwt"}}, "bad_typ"),
        ({"header": {"typ": "id+jwt"}}, "bad_typ"),
        ({"header": {"typ": ""}}, "bad_typ"),
        ({"header": {"cty": "JWT"}}, "bad_typ"),
        ({"header": {"alg": "none"}}, "bad_alg"),
        ({"header": {"alg": "nOnE"}}, "bad_alg"),
        ({"header": {"alg": "HS256"}}, "bad_alg"),
        ({"header": {"alg": "ES256 "}}, "bad_alg"),
        ({"header": {"alg": "es256"}}, "bad_alg"),
        ({"header": {"alg": "RS256"}}, "bad_alg"),
        ({"header": {"alg": None}}, "bad_alg"),
        ({"header": {"alg": ["ES256"]}}, "bad_alg"),
        ({"header": {"crit": ["exp"]}}, "crit"),
        ({"header": {"crit": []}}, "crit"),
        ({"header": {"b64": False}}, "crit"),
        ({"header": {"zip": "DEF"}}, "crit"),
        ({"header": {"kid": 7}}, "malformed"),
        ({"header": {"jku": "https://evil.example", "jwk": {}}}, "allow"),
        ({"exp": None}, "missing_claim"),
        ({"exp": str(NOW + 60)}, "malformed"),
        ({"exp": NOW - 5, "iat": NOW - 60}, "expired"),
        ({"exp": NOW - 4, "iat": NOW - 60}, "allow"),
        ({"nbf": NOW + 5}, "allow"),
        ({"nbf": NOW + 6}, "not_yet"),
        ({"iat": NOW + 5}, "allow"),
        ({"iat": NOW + 6}, "not_yet"),
        ({"exp": NOW + 3600}, "allow"),
        ({"exp": NOW + 3601}, "lifetime"),
        ({"iat": None, "exp": NOW + 3600}, "allow"),
        ({"iat": None, "exp": NOW + 3601}, "lifetime"),
        ({"iss": "https://login.example.com"}, "bad_iss"),
        ({"iss": None}, "bad_iss"),
        ({"iss": ["a"]}, "bad_iss"),
        ({"aud": "other"}, "bad_aud"),
        ({"aud": None}, "bad_aud"),
        ({"aud": ["x", "api"]}, "allow"),
        ({"aud": ["x", "y"]}, "bad_aud"),
        ({"aud": 7}, "bad_aud"),
        ({"cnf": {"jkt": "x"}}, "bound"),
        ({"cnf": None}, "allow"),
        ({"cnf": {}}, "bound"),
        ({"scope": "read"}, "scope"),
        ({"scope": None}, "scope"),
        ({"scope": None, "scp": ["orders"]}, "allow"),
        ({"scope": "ORDERS"}, "scope"),
        ({"region": "atlantis"}, "unknown_region"),
        ({"region": "EU"}, "unknown_region"),
        ({"region": "eu.evil.example"}, "unknown_region"),
        ({"region": None}, "allow"),
        ({"region": None, "zone": "ap"}, "allow"),
    ],
    ids=str,
)
def test_gate_judges_a_token_it_never_saw(
    world: World, changes: dict[str, object], expected: str
) -> None:
    """The first answer and, where it was kept, the cached one are the same."""
    token = jwt(**changes)
    assert outcome(world.ask(token)) == expected
    assert outcome(world.ask(token)) == expected


def test_gate_refuses_what_the_profile_requires_and_the_token_lacks(
    world: World,
) -> None:
    """`require` names claims; iat is demanded where cut-offs need it."""
    world.use_profile(require=("tenant",))
    assert outcome(world.ask(jwt())) == "missing_claim"
    assert outcome(world.ask(jwt(tenant="t1"))) == "allow"
    world.use_profile(iat_required=True)
    assert outcome(world.ask(jwt(iat=None))) == "missing_claim"


def test_gate_reads_no_audience_where_none_is_configured(world: World) -> None:
    """The route's own audience takes the place of the profile's."""
    world.use_profile(audience=frozenset())
    assert outcome(world.ask(jwt(aud=None))) == "allow"
    world.use_route(audience=frozenset({"billing"}))
    assert outcome(world.ask(jwt())) == "bad_aud"
    assert outcome(world.ask(jwt(aud="billing"))) == "allow"


# Each row fails in two ways; the first in the order of checks is the one that is told.
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"header": {"typ": "id+jwt", "alg": "none"}}, "bad_typ"),
        ({"header": {"alg": "none"}, "exp": NOW - 100}, "bad_alg"),
        ({"header": {"crit": ["x"]}, "exp": NOW - 100}, "crit"),
        ({"key": OTHER, "exp": NOW - 100, "iat": NOW - 200}, "expired"),
        ({"key": OTHER, "iss": "https://evil.example"}, "ask_key"),
        ({"header": {"kid": "other"}, "exp": NOW - 100, "iat": NOW - 200}, "expired"),
        ({"header": {"kid": "other"}, "aud": "other"}, "ask_key"),
        ({"iss": "https://evil.example", "cnf": {}, "aud": "other"}, "bad_iss"),
        ({"cnf": {}, "aud": "other"}, "bound"),
        ({"sid": "gone", "aud": "other"}, "revoked"),
        ({"sid": "gone", "scope": "x", "region": "atlantis"}, "revoked"),
        ({"aud": "other", "scope": "x"}, "bad_aud"),
        ({"scope": "x", "region": "atlantis"}, "scope"),
    ],
    ids=str,
)
def test_gate_names_the_first_fault_in_its_order(
    world: World, changes: dict[str, object], expected: str
) -> None:
    """shape, typ, alg, times, key, signature, claims, revocation, audience, scope."""
    world.revoke(Kind.SID, "gone")
    assert outcome(world.ask(jwt(**changes))) == expected


def test_gate_tells_revoked_before_stale_before_audience(world: World) -> None:
    """A known revocation holds however old the feed is; staleness is no 401."""
    world.revoke(Kind.SID, "gone")
    world.boot_ns = BOOT_NS + 11 * 10**9
    assert outcome(world.ask(jwt(sid="gone", aud="other"))) == "revoked"
    assert outcome(world.ask(jwt(aud="other"))) == "stale_revocation"
    assert outcome(world.ask(jwt(exp=NOW - 100, iat=NOW - 200))) == "expired"


@pytest.mark.parametrize("alg", ALL_ALGORITHMS)
def test_gate_verifies_every_known_algorithm(world: World, alg: str) -> None:
    """Each by the same door; a flipped signature bit is a bad signature."""
    world.use_profile(algorithms=frozenset(ALL_ALGORITHMS))
    key = signing_key(alg)
    world.use_keys(key)
    token = jwt(key=key)
    assert outcome(world.ask(token)) == "allow"
    at = token.rindex(b".") + 5
    flipped = token[:at] + (b"B" if token[at : at + 1] == b"A" else b"A")
    forged = flipped + token[at + 1 :]
    again = world.ask(forged)
    assert outcome(again) == "ask_key"
    assert outcome(world.ask(forged, asked=asked_for(again))) == "bad_signature"


def test_gate_refuses_a_key_for_another_algorithm(world: World) -> None:
    """A key is bound to its algorithms, and nobody is asked for another key."""
    world.use_profile(algorithms=frozenset(ALL_ALGORITHMS))
    world.use_keys(signing_key("RS256"))
    forged = jwt(key=signing_key("PS256"), header={"kid": "rs256-1"})
    assert outcome(world.ask(forged)) == "bad_alg"


def test_gate_refuses_signatures_of_zeros_and_the_wrong_length(world: World) -> None:
    """CVE-2022-21449 and DER in place of raw."""
    signed = jwt().rpartition(b".")[0]
    for octets in (bytes(64), bytes(63), bytes(65), b"\x30" + bytes(70), b"\xff" * 64):
        forged = signed + b"." + b64(octets).encode()
        first = world.ask(forged)
        decision = world.ask(forged, asked=asked_for(first))
        assert outcome(decision) == "bad_signature"


def test_gate_asks_once_for_a_kid_nobody_has_seen(world: World) -> None:
    """Then the set decides: 401 after a good fetch, 503 after a failed one."""
    token = jwt(key=signing_key("ES256", "new"))
    decision = world.ask(token)
    assert outcome(decision) == "ask_key"
    assert (decision.ask_kid, decision.failed_keys) == ("new", ())
    asked = asked_for(decision)
    assert outcome(world.ask(token, asked=asked)) == "unknown_kid"
    world.use_keys(signing_key(), last_fetch_ok=False)
    assert outcome(world.ask(token, asked=asked)) == "keys_unavailable"
    world.use_keys(signing_key(), signing_key("ES256", "new"))
    assert outcome(world.ask(token, asked=asked)) == "allow"


def test_gate_asks_again_for_a_kid_that_may_have_been_given_a_new_key(
    world: World,
) -> None:
    """The same key is not tried twice; the new one counts, and the old one is void."""
    old = jwt()
    assert outcome(world.ask(old)) == "allow"
    token = jwt(key=OTHER)
    decision = world.ask(token)
    assert outcome(decision) == "ask_key"
    assert decision.ask_kid is None
    held = world.snapshot.keys[0].by_kid["es256-1"]
    assert decision.failed_keys == (held.thumbprint,)
    asked = asked_for(decision)
    assert outcome(world.ask(token, asked=asked)) == "bad_signature"
    world.use_keys(OTHER)
    assert outcome(world.ask(token, asked=asked)) == "allow"
    world.let_pass(1)
    assert outcome(world.ask(old)) == "ask_key"


def test_gate_does_not_verify_again_with_the_key_that_failed(world: World) -> None:
    """A second verification would double the price of a forged token."""
    verified = []

    class Counting:
        kid, thumbprint, algorithms = "es256-1", b"t" * 32, frozenset({"ES256"})

        def verify(self, alg: str, signature: bytes, signed: bytes) -> bool:
            verified.append((alg, len(signature), signed))
            return False

    keys = replace(
        world.snapshot.keys[0], by_kid={"es256-1": Counting()}, every=(Counting(),)
    )
    world.snapshot = world.snapshot.with_keys((keys,))
    token = jwt()
    decision = world.ask(token)
    assert outcome(world.ask(token, asked=asked_for(decision))) == "bad_signature"
    assert verified == [("ES256", 64, token.rpartition(b".")[0])]


def test_gate_tries_at_most_four_keys_without_a_kid(world: World) -> None:
    """PROTOCOLS section 2; keys of other algorithms do not count."""
    signer = SigningKey("ES256", "last")
    token = jwt(key=signer, header={"kid": None})
    others = [SigningKey("ES256", f"k{n}") for n in range(4)]
    world.use_keys(signing_key("ES384"), *others[:3], signer)
    assert outcome(world.ask(token)) == "allow"
    world.use_keys(*others, signer)
    token = jwt(key=signer, header={"kid": None}, jti="another")
    assert outcome(world.ask(token)) == "bad_signature"
    world.use_keys(signing_key("ES384"))
    decision = world.ask(token)
    assert (outcome(decision), decision.ask_kid) == ("ask_key", "")
    assert outcome(world.ask(token, asked=asked_for(decision))) == "unknown_kid"


def test_gate_refuses_duplicate_members_of_a_signed_token(world: World) -> None:
    """Also where the issuer signed them, and where one is spelled with escapes."""
    key = signing_key()
    header = {"alg": "ES256", "kid": key.kid}
    body = b'{"exp":%d,"\\u0065xp":1}' % (NOW + 60)
    assert outcome(world.ask(encode(header, body, key))) == "malformed"
    good = claims(NOW)
    assert outcome(world.ask(encode(header, good, key))) == "allow"
    doubled = b'{"alg":"none","alg":"ES256"}'
    assert outcome(world.ask(encode(doubled, good, key))) == "malformed"


STRANGE = jwt(key=SigningKey("ES256", "strange"))
FORGED = jwt(key=OTHER)


@pytest.mark.parametrize(
    ("token", "other", "expected"),
    [(STRANGE, FORGED, "unknown_kid"), (FORGED, STRANGE, "bad_signature")],
    ids=["strange", "forged"],
)
def test_gate_asks_for_nothing_twice_within_a_second(
    world: World, token: bytes, other: bytes, expected: str
) -> None:
    """T13: after a question in vain the next such token is refused without another.

    Questions of the other kind, other issuers' and explanations are asked all the same.
    """
    asked = asked_for(world.ask(token))
    assert outcome(world.ask(token)) == "ask_key"  # the answer may still come
    assert outcome(world.ask(token, asked=asked)) == expected
    world.boot_ns += SECOND_NS - 1
    decision = world.ask(token)
    assert (outcome(decision), decision.ask_kid) == (expected, None)
    assert outcome(world.ask(token, trace=[])) == "ask_key"
    assert outcome(world.ask(other)) == "ask_key"
    world.use_profile(alias="renamed")
    assert outcome(world.ask(token)) == "ask_key"
    world.use_profile()
    assert outcome(world.ask(token)) == expected
    world.boot_ns += 1
    assert outcome(world.ask(token)) == "ask_key"


def test_gate_asks_again_where_the_key_was_found(world: World) -> None:
    """Only a question in vain holds the next ones up."""
    new = signing_key("ES256", "new")
    asked = asked_for(world.ask(jwt(key=new)))
    world.use_keys(signing_key(), new)
    assert outcome(world.ask(jwt(key=new), asked=asked)) == "allow"
    assert outcome(world.ask(STRANGE)) == "ask_key"


def test_gate_takes_a_key_that_came_within_that_second(world: World) -> None:
    """What is refused at once is what the keys of this moment do not verify."""
    assert outcome(world.ask(STRANGE, asked=asked_for(world.ask(STRANGE)))) == (
        "unknown_kid"
    )
    new = signing_key("ES256", "new")
    world.use_keys(signing_key(), new)
    assert outcome(world.ask(jwt(key=new))) == "allow"
