"""Facts: what is kept of a token, how it is hashed, encoded and weighed."""

import json
import sys
import tracemalloc
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hotpath.gates import NOW, REGIONS, gate_module, profile
from tests.tokens import ISSUER, token

from fastgate._ext.decisions import DecisionCache
from fastgate.domain.region import NO_REGION, UNKNOWN_REGION
from fastgate.domain.revocation import KeyHasher, Kind
from fastgate.hotpath import facts as compiled_facts
from fastgate.hotpath.facts import Facts, FactsMaker
from fastgate.hotpath.native import ClaimNames, TokenScan, scan, scan_json

NAMES = ClaimNames(region=REGIONS.claims)
PROFILE = profile()


def scanned(**changes: object) -> TokenScan:
    return scan(token(now=NOW, **changes), NAMES)


def made(scan_: TokenScan, kid: str | None = "k1") -> Facts:
    maker = FactsMaker(PROFILE, REGIONS)
    return maker.make(scan_, b"t" * 32, kid, scan_.exp, scan_.nbf, scan_.iat)


def test_facts_are_compiled_with_the_gate() -> None:
    """Its C fields are what the budget of the gate rests on."""
    assert gate_module("compiled").COMPILED
    assert compiled_facts.__file__.endswith(".so")


def test_facts_keep_what_the_token_says() -> None:
    """And nothing of its text."""
    facts = made(scanned(grant_id="g", aud=["api", "b"], nbf=NOW - 1))
    assert (facts.issuer, facts.thumbprint, facts.kid) == (0, b"t" * 32, "k1")
    assert (facts.exp, facts.nbf, facts.iat) == (NOW + 300, NOW - 1, NOW)
    assert facts.audience == {"api", "b"}
    assert facts.scope == {"orders", "read"}
    assert REGIONS.names[facts.region] == "us"
    assert facts.identity == (
        ("X-Fastgate-Subject", "user-bob-0001"),
        ("X-Fastgate-Client", "web-app"),
        ("X-Fastgate-Scope", "orders read"),
        ("X-Fastgate-Region", "us"),
        ("X-Fastgate-Token-Id", "P$b2116bfc-4aaf-4ab9-b633-61bc3ed6897c"),
    )


def test_facts_hash_each_identifier_as_revocations_do() -> None:
    """One rule for both ends: the keys are those of domain.revocation."""
    facts = made(scanned(grant_id="g-1"))
    hasher = PROFILE.hasher
    expected = {
        Kind.ISSUER: ISSUER,
        Kind.KID: "k1",
        Kind.CLIENT: "web-app",
        Kind.JTI: "P$b2116bfc-4aaf-4ab9-b633-61bc3ed6897c",
        Kind.SID: "s-1234567890",
        Kind.SUB: "user-bob-0001",
        Kind.GRANT: "g-1",
    }
    assert facts.revocation_kinds == tuple(kind.value for kind in expected)
    assert facts.revocation_keys == b"".join(
        hasher.key(kind, value) for kind, value in expected.items()
    )


def test_facts_have_every_key_twice_while_a_hash_key_is_rotated() -> None:
    """REVOCATION section 3: both are looked up, and each look-up says what it named."""
    old = KeyHasher(b"old" * 8, ISSUER)
    rotating = profile(old_hashers=(old,))
    scan_ = scanned(grant_id="g-1")
    maker = FactsMaker(rotating, REGIONS)
    facts = maker.make(scan_, b"t" * 32, "k1", scan_.exp, scan_.nbf, scan_.iat)
    single = made(scan_)
    half = len(single.revocation_keys)
    assert facts.revocation_keys[:half] == single.revocation_keys
    assert facts.revocation_kinds == single.revocation_kinds * 2
    assert len(facts.revocation_keys) == 2 * half == 14 * 16
    for kind, value in ((Kind.SID, "s-1234567890"), (Kind.ISSUER, ISSUER)):
        at = len(facts.revocation_kinds) // 2 + facts.revocation_kinds.index(kind)
        assert facts.revocation_keys[16 * at : 16 * at + 16] == old.key(kind, value)
    assert rotating.digest != PROFILE.digest, "cached facts have the keys of their time"


def test_facts_name_only_what_is_there() -> None:
    """A token that says nothing is still its issuer's."""
    bare = scan_json(b'{"active":true}', NAMES)
    facts = made(bare, kid=None)
    assert facts.revocation_kinds == ("issuer",)
    assert facts.revocation_keys == PROFILE.hasher.key(Kind.ISSUER, ISSUER)
    assert (facts.identity_lines, facts.identity) == (b"", ())
    assert (facts.exp, facts.nbf, facts.iat, facts.revocation_iat) == (-1, -1, -1, 0)
    assert facts.region == NO_REGION
    assert made(scanned(region="mars")).region == UNKNOWN_REGION


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_facts_hash_identifiers_of_any_length_and_script(value: str) -> None:
    """Compiled or not, the hash is the same."""
    facts = made(scanned(sub=value, jti=None, sid=None, client_id=None), kid=None)
    assert facts.revocation_keys[16:] == PROFILE.hasher.key(Kind.SUB, value)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_identity_lines_carry_any_claim_in_visible_ascii(value: str) -> None:
    """T19: nothing of a claim can end a header, and decoding gives it back."""
    scope = [value, "b"] if value else None
    claims = {"sub": value, "client_id": value, "scope": None, "scp": scope}
    facts = made(scanned(**claims, jti=value, region=None))
    names = dict(facts.identity)
    assert b"\r\n".join(f"{n}: {v}".encode() for n, v in facts.identity) == (
        facts.identity_lines
    )
    assert unquote(names["X-Fastgate-Subject"]) == value
    for text in names.values():
        assert all("!" <= c <= "~" or c == " " for c in text)
    assert " " not in names["X-Fastgate-Subject"] + names["X-Fastgate-Token-Id"]
    if value:
        first, second = names["X-Fastgate-Scope"].split(" ")
        assert (unquote(first), second) == (value, "b")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bob", "bob"),
        ("bob smith", "bob%20smith"),
        ("100%", "100%25"),
        ("a\r\nX-Fastgate-Scope: admin", "a%0D%0AX-Fastgate-Scope:%20admin"),
        ("zoë", "zo%C3%AB"),
        ("\x7f", "%7F"),
        ("", ""),
        ('a,b;c="d"', 'a,b;c="d"'),
    ],
)
def test_identity_lines_encode_like_a_url(value: str, expected: str) -> None:
    """Percent-encoded UTF-8; the percent sign itself too."""
    facts = made(scan_json(json.dumps({"sub": value}).encode(), NAMES))
    assert facts.identity_lines == f"X-Fastgate-Subject: {expected}".encode()


def test_facts_share_sets_and_client_keys_that_repeat() -> None:
    """Thousands of tokens have the same audience and scope."""
    maker = FactsMaker(PROFILE, REGIONS)
    one, two = (
        maker.make(scanned(jti=jti), b"", "k1", NOW + 9, -1, NOW) for jti in "ab"
    )
    assert one.audience is two.audience
    assert one.scope is two.scope
    for n in range(10_000):
        document = b'{"client_id":"c%d","scope":"s%d"}' % (n, n)
        maker.make(scan_json(document, NAMES), b"", None, -1, -1, -1)
    again = maker.make(scanned(), b"", "k1", NOW + 9, -1, NOW)
    assert again.scope == one.scope
    assert again.revocation_keys[:48] == one.revocation_keys[:48]


def test_facts_weigh_at_least_what_they_take() -> None:
    """The cache bounds its memory by this weight: at most 1 KiB a token."""
    count = 2_000
    tokens = [
        scanned(jti=f"P$b2116bfc-4aaf-4ab9-b633-{n:012}", sub=f"user-{n}", sid=f"s{n}")
        for n in range(count)
    ]
    maker = FactsMaker(PROFILE, REGIONS)
    cache = DecisionCache(8 * count)
    table_bytes = sys.getsizeof(cache) // (8 * count)
    digests = [n.to_bytes(32, "big") for n in range(count)]
    maker.make(tokens[0], b"t" * 32, "k1", NOW, -1, NOW)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for digest, each in zip(digests, tokens, strict=True):
            facts = maker.make(each, b"t" * 32, "k1", NOW, -1, NOW)
            assert cache.put(digest, facts, facts.weight_bytes)
        taken = (tracemalloc.get_traced_memory()[0] - before) / count + table_bytes
    finally:
        tracemalloc.stop()
    assert taken <= facts.weight_bytes <= 1024


def test_scan_gives_many_attributes_in_one_call() -> None:
    """The same values, in the order of the contract."""
    each = scanned(nbf=NOW, grant_id="g")
    assert each.header_and_times() == (
        *(each.alg, each.kid, each.typ, each.exp, each.nbf, each.iat),
    )
    assert each.claims() == (
        *(each.sub, each.jti, each.sid, each.client_id, each.grant, each.region),
        *(each.aud, each.scope),
    )
    refused = scan(b"a.b.c", NAMES)
    assert refused.header_and_times() == ("", None, None, -1, -1, -1)
    assert refused.claims() == (*(None,) * 6, (), ())
