"""Token rules: each refusal on its own, and hints that are read without verifying."""

import pytest
from tests.hotpath.gates import NOW, REGIONS, profile
from tests.tokens import token

from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer
from fastgate.domain.verdict import OUTCOMES, Reason
from fastgate.hotpath.native import TOKEN_REASONS, ClaimNames
from fastgate.hotpath.token_rules import (
    ISSUER_FAULTS,
    TokenRules,
    UnverifiedReader,
    has_query_token,
    refuse_answer,
)

RULES = TokenRules(profile())
STRICT = TokenRules(profile(types=frozenset({"at+jwt"}), iat_required=True, leeway_s=0))


@pytest.mark.parametrize(
    ("typ", "usual", "strict"),
    [
        (None, None, Reason.BAD_TYP),
        ("at+jwt", None, None),
        ("AT+JWT", None, None),
        ("application/at+jwt", None, None),
        ("Application/At+Jwt", None, None),
        ("JWT", None, Reason.BAD_TYP),
        ("application/application/at+jwt", Reason.BAD_TYP, Reason.BAD_TYP),
        ("at+jwt ", Reason.BAD_TYP, Reason.BAD_TYP),
        ("secevent+jwt", Reason.BAD_TYP, Reason.BAD_TYP),
        ("statuslist+jwt", Reason.BAD_TYP, Reason.BAD_TYP),
        ("", Reason.BAD_TYP, Reason.BAD_TYP),
        ("application/", Reason.BAD_TYP, Reason.BAD_TYP),
    ],
)
def test_refuse_header_compares_types_without_case_or_prefix(
    typ: str | None, usual: Reason | None, strict: Reason | None
) -> None:
    """PROTOCOLS section 1.4: another kind of token is no access token."""
    assert RULES.refuse_header(typ, "ES256") is usual
    assert STRICT.refuse_header(typ, "ES256") is strict


@pytest.mark.parametrize("alg", ["", "none", "es256", "ES256\n", "HS256", "ES384"])
def test_refuse_header_compares_algorithms_exactly(alg: str) -> None:
    """Only what the operator listed."""
    assert RULES.refuse_header("JWT", alg) is Reason.BAD_ALG


@pytest.mark.parametrize(
    ("exp", "nbf", "iat", "expected"),
    [
        (NOW + 1, -1, NOW, None),
        (NOW, -1, NOW, Reason.EXPIRED),
        (-1, -1, NOW, Reason.MISSING_CLAIM),
        (NOW + 1, -1, -1, Reason.MISSING_CLAIM),
        (NOW + 1, NOW, NOW, None),
        (NOW + 1, NOW + 1, NOW, Reason.NOT_YET),
        (NOW + 1, -1, NOW + 1, Reason.NOT_YET),
        (NOW + 3600, -1, NOW, None),
        (NOW + 3601, -1, NOW, Reason.LIFETIME),
        (NOW + 1, -1, 0, Reason.LIFETIME),
        (2**53 - 1, -1, NOW, Reason.LIFETIME),
        (NOW + 1, 2**53 - 1, NOW, Reason.NOT_YET),
        (0, 0, 0, Reason.EXPIRED),
    ],
)
def test_refuse_times_is_exact_at_every_border(
    exp: int, nbf: int, iat: int, expected: Reason | None
) -> None:
    """Half-open: a token ends with its second; times are as large as JSON has them."""
    assert STRICT.refuse_times(exp, nbf, iat, NOW) is expected


def test_refuse_times_judges_the_lifetime_from_now_without_iat() -> None:
    """It must not outlive the entry that revokes it."""
    assert RULES.refuse_times(NOW + 3600, -1, -1, NOW) is None
    assert RULES.refuse_times(NOW + 3601, -1, -1, NOW) is Reason.LIFETIME


def test_refuse_claims_names_issuer_then_claims_then_binding() -> None:
    """`iss` is compared exactly."""
    issuer = profile().issuer
    assert RULES.refuse_claims(issuer, True, False) is None
    assert RULES.refuse_claims(issuer + "/", False, True) is Reason.BAD_ISS
    assert RULES.refuse_claims(issuer[:-1], True, False) is Reason.BAD_ISS
    assert RULES.refuse_claims(None, True, False) is Reason.BAD_ISS
    assert RULES.refuse_claims(issuer, False, True) is Reason.MISSING_CLAIM
    assert RULES.refuse_claims(issuer, True, True) is Reason.BOUND


def test_refuse_answer_has_a_word_for_each_kind() -> None:
    """Two kinds go on; a new kind must be decided here."""
    refused = {kind: refuse_answer(IntrospectionAnswer(kind)) for kind in AnswerKind}
    assert refused == {
        AnswerKind.JWT: None,
        AnswerKind.CLAIMS: None,
        AnswerKind.INACTIVE: Reason.INACTIVE,
        AnswerKind.ISSUER_FAULT: Reason.BAD_ISSUER_RESPONSE,
        AnswerKind.UNAVAILABLE: Reason.INTROSPECTION_UNAVAILABLE,
        AnswerKind.NOT_ASKED: Reason.TOO_MANY_FAILURES,
    }


def test_issuer_faults_are_what_a_client_can_not_have_caused() -> None:
    """A phantom's claims may fail for the token; its making is the issuer's."""
    assert set(TOKEN_REASONS.values()) - {Reason.BAD_AUD} <= ISSUER_FAULTS
    assert all(OUTCOMES[reason].status == 401 for reason in ISSUER_FAULTS)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"access_token", True),
        (b"x=1&access_token=", True),
        (b"access%5ftoken=1", True),
        (b"%61%63%63%65%73%73_token=1", True),
        (b"a;access_token=1", True),
        (b"Access_Token=1", False),
        (b"q=access_token", False),
        (b"access_token%00=1", False),
        (b"&&=&", False),
    ],
)
def test_has_query_token_reads_names_as_a_server_would(
    query: bytes, expected: bool
) -> None:
    """Decoded, between & or ;."""
    assert has_query_token(query) is expected


def test_unverified_reader_reads_hints_of_any_signature_and_age() -> None:
    """A wrapped token of 2021 still names its region; nothing else is well-formed."""
    read = UnverifiedReader(ClaimNames(region=REGIONS.claims))
    old = token(now=1_600_000_000, region="us").decode()
    assert read(old).region == "us"
    assert read(old[:-4] + "AAAA").region == "us"
    for text in ("", "a.b", "a.b.c", old + ".x", old + "é", old + "=", f" {old}"):
        assert read(text) is None
