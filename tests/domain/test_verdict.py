"""Verdicts: the closed set of reasons, and what a client learns of each."""

import pytest

from fastgate.domain.verdict import OUTCOMES, Challenge, Reason, Verdict

TOKEN_FAULTS = {
    *("malformed", "too_large", "bad_typ", "bad_alg", "crit", "expired", "not_yet"),
    *("lifetime", "missing_claim", "unknown_kid", "bad_signature", "bad_iss"),
    *("bad_aud", "revoked", "inactive", "suspended", "no_status", "bound"),
}


def test_every_reason_has_an_outcome() -> None:
    """The table is complete, and names nothing else."""
    assert set(OUTCOMES) == set(Reason)


@pytest.mark.parametrize("verdict", Verdict)
def test_verdict_refuses_a_truth_test(verdict: Verdict) -> None:
    """`if verdict:` would let DENY through."""
    with pytest.raises(TypeError):
        bool(verdict)


def test_token_faults_all_look_the_same() -> None:
    """T22: one public body, so that revoked is not told from expired."""
    outcomes = {OUTCOMES[Reason(name)] for name in TOKEN_FAULTS}
    assert len(outcomes) == 1
    (one,) = outcomes
    assert (one.status, one.public) == (401, "invalid_token")
    assert one.challenge is Challenge.INVALID_TOKEN
    assert {r.value for r in Reason if OUTCOMES[r] == one} == TOKEN_FAULTS


def test_only_faults_of_the_token_are_401() -> None:
    """A 401 makes clients refresh; the gateway's trouble must not."""
    for reason, outcome in OUTCOMES.items():
        is_401 = reason.value in TOKEN_FAULTS or reason is Reason.MISSING_TOKEN
        assert (outcome.status == 401) == is_401
        assert (outcome.challenge is not Challenge.NONE) == (
            is_401 or reason in {Reason.SCOPE, Reason.INVALID_REQUEST}
        )


def test_missing_token_is_challenged_without_an_error() -> None:
    """RFC 6750 section 3: who sent nothing did nothing wrong."""
    assert OUTCOMES[Reason.MISSING_TOKEN].challenge is Challenge.BARE


def test_trouble_that_passes_says_when_to_come_back() -> None:
    """502 to 504 with Retry-After, and 429; nothing else."""
    for reason, outcome in OUTCOMES.items():
        waits = outcome.status in {429, 502, 503, 504}
        assert (outcome.retry_after_s > 0) == waits, reason


@pytest.mark.parametrize(
    ("reason", "status", "public"),
    [
        (Reason.SCOPE, 403, "insufficient_scope"),
        (Reason.UNKNOWN_REGION, 403, "unknown_region"),
        (Reason.INVALID_REQUEST, 400, "invalid_request"),
        (Reason.STALE_REVOCATION, 503, "stale_revocation"),
        (Reason.KEYS_UNAVAILABLE, 503, "keys_unavailable"),
        (Reason.INTROSPECTION_UNAVAILABLE, 503, "introspection_unavailable"),
        (Reason.BAD_ISSUER_RESPONSE, 502, "bad_issuer_response"),
        (Reason.BAD_UPSTREAM_RESPONSE, 502, "bad_upstream_response"),
        (Reason.REGION_DOWN, 503, "region_down"),
        (Reason.UPSTREAM_TIMEOUT, 504, "upstream_timeout"),
        (Reason.OVERLOADED, 503, "overloaded"),
    ],
)
def test_public_codes_are_a_contract(reason: Reason, status: int, public: str) -> None:
    """PROTOCOLS section 3: clients compare these."""
    assert (OUTCOMES[reason].status, OUTCOMES[reason].public) == (status, public)


def test_public_codes_have_one_status_and_title_each() -> None:
    """Otherwise a title would say more than its code."""
    seen: dict[str, tuple[int, str]] = {}
    for outcome in OUTCOMES.values():
        said = (outcome.status, outcome.title)
        assert seen.setdefault(outcome.public, said) == said
