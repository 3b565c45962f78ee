"""SETs of any shape: read as something that ends, as nothing, or refused; no crash."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.intake_kit import AUDIENCE, CAEP, EVENTS, ISSUER, RISC, SSF

from fastgate.domain.notice import Notice, NoticeError
from fastgate.domain.security_event import Heard, event_name, read_event, said_of

NOW = 1_800_000_000
NAMES = [
    *(f"{CAEP}session-revoked", f"{CAEP}credential-change"),
    *(f"{CAEP}token-claims-change", f"{RISC}account-disabled"),
    *(f"{SSF}verification", f"{SSF}stream-updated", "https://example.com/new"),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
members = st.sampled_from(
    [
        *("format", "iss", "sub", "id", "jti", "email", "user", "session", "tenant"),
        *("event_timestamp", "change_type", "state", "status"),
        *("initiating_entity", "reason_admin", "reason_user"),
    ]
)
formats = st.sampled_from(["complex", "iss_sub", "opaque", "jwt_id", "email"])
objects = st.dictionaries(members, json_values | formats, max_size=6)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(NAMES), objects | json_values, objects | json_values)
def test_event_of_any_shape_is_read_or_refused(
    name: str, event: Any, subject: Any
) -> None:
    """B10: a signature says who wrote it, not that it makes sense."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": NOW,
        "jti": "set-1",
        "sub_id": subject,
        "events": {name: event},
    }
    try:
        found = read_event(claims, EVENTS, NOW)
    except NoticeError:
        return
    assert isinstance(found, Notice | Heard)
    assert all(isinstance(text, str) for text in said_of(claims).values())
    assert event_name(claims) in {name.rpartition("/")[2], "other"}


@settings(max_examples=200, deadline=None)
@given(json_values)
def test_claims_of_any_shape_have_a_name_and_reasons(events: Any) -> None:
    """Asked of every SET that verified, before anything else is known of it."""
    assert event_name({"events": events}) == "other"
    assert said_of({"events": events}).keys() <= {
        *("initiating_entity", "reason_admin", "reason_user")
    }


@pytest.mark.parametrize("value", [["revoke"], {"revoke": 1}, 5, None])
def test_change_of_an_unknown_type_ends_nothing(value: Any) -> None:
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": NOW,
        "jti": "set-1",
        "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": "bob"},
        "events": {f"{CAEP}credential-change": {"change_type": value}},
    }
    assert isinstance(read_event(claims, EVENTS, NOW), Heard)


@pytest.mark.parametrize("form", [["iss_sub"], {"iss_sub": 1}, 5, None])
def test_subject_of_an_unknown_format_is_refused(form: Any) -> None:
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": NOW,
        "jti": "set-1",
        "sub_id": {"format": form, "iss": ISSUER, "sub": "bob"},
        "events": {f"{CAEP}session-revoked": {}},
    }
    with pytest.raises(NoticeError):
        read_event(claims, EVENTS, NOW)
