"""What issuers send, with claims of any shape: read or refused, never a crash (B10)."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.intake_kit import EVENTS, ISSUER, LOGOUTS

from fastgate.domain.logout_token import EVENT, read_logout_token
from fastgate.domain.notice import Notice, NoticeError
from fastgate.domain.security_event import SubjectRules, end_of
from fastgate.domain.status_list import StatusList, read_status_list
from fastgate.domain.tapped_token import (
    TappedRules,
    read_ended_session,
    read_opaque,
    read_revoked_token,
)

NOW = 1_800_000_000
URI = "https://lists.example.com/1"
TAPPED = TappedRules("login", ISSUER, frozenset({"ES256"}), 5, ("grant_id",))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
names = st.sampled_from(
    [
        *("iss", "aud", "iat", "exp", "jti", "sid", "sub", "nonce", "events"),
        *("grant_id", "ttl", "status_list"),
    ]
)
claims = st.dictionaries(names, values, max_size=8)


@settings(max_examples=300, deadline=None)
@given(claims)
def test_logout_token_of_any_claims_is_read_or_refused(changes: dict[str, Any]) -> None:
    good = {
        "iss": ISSUER,
        "aud": "web",
        "iat": NOW,
        "exp": NOW + 60,
        "jti": "l-1",
        "sid": "s-1",
        "events": {EVENT: {}},
    }
    try:
        found = read_logout_token(good | changes, LOGOUTS, NOW)
    except NoticeError:
        return
    assert isinstance(found, Notice)
    assert isinstance(found.value, str)


@settings(max_examples=300, deadline=None)
@given(claims)
def test_tapped_token_of_any_claims_is_read_or_refused(changes: dict[str, Any]) -> None:
    token = {"iss": ISSUER, "jti": "t-1", "sid": "s-1"} | changes
    found: list[Notice] = []
    for read in (
        lambda: read_revoked_token(
            token, TAPPED, refresh=True, session=True, now_s=NOW
        ),
        lambda: (read_ended_session(token, TAPPED),),
        lambda: (read_opaque(token, TAPPED),),
    ):
        try:
            found += read()
        except NoticeError:
            continue
    assert all(isinstance(each.value, str) and each.value for each in found)


@settings(max_examples=300, deadline=None)
@given(
    claims,
    st.dictionaries(st.sampled_from(["bits", "lst", "aggregation_uri"]), values),
)
def test_status_list_of_any_claims_is_read_or_refused(
    changes: dict[str, Any], told: dict[str, Any]
) -> None:
    inside = {"bits": 1, "lst": "eNrbuRgAAhcBXQ"} | told
    token = {"sub": URI, "iat": NOW, "status_list": inside} | changes
    try:
        found = read_status_list(
            token, uri=URI, issuer=ISSUER, now_s=NOW, leeway_s=5, max_bytes=1024
        )
    except NoticeError:
        return
    assert isinstance(found, StatusList)
    assert 10 <= found.fresh_s <= 24 * 3600
    assert isinstance(found.aggregation, str)


@settings(max_examples=300, deadline=None)
@given(values, st.booleans())
def test_subject_of_any_shape_is_read_or_refused(subject: Any, sessions: bool) -> None:
    """As a Global Token Revocation request carries it."""
    every = frozenset({"iss_sub", "opaque", "email"})
    rules = SubjectRules(EVENTS.alias, ISSUER, every)
    for value in (subject, {"format": subject}, {"format": "opaque", "id": subject}):
        try:
            _, found = end_of(value, rules, sessions=sessions)
        except NoticeError:
            continue
        assert isinstance(found, str)
