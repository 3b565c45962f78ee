"""Requests as the gate sees them, and names that only the gateway writes."""

import pytest

from fastgate.domain.request import RequestHead, is_reserved, normalised


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("X-Fastgate-Subject", True),
        ("x_fastgate_subject", True),
        ("X-FASTGATE_Region", True),
        ("X-Forwarded-For", True),
        ("X_Forwarded-Proto", True),
        ("Forwarded", True),
        ("X-Real-IP", True),
        ("x_real_ip", True),
        ("Remote-User", True),
        ("REMOTE_USER", True),
        ("X-Auth-Request-Email", True),
        ("Client-Cert", True),
        ("Client-Cert-Chain", True),
        ("X-Request-Id", False),
        ("Authorization", False),
        ("X-Fastgate", False),
        ("Remote", False),
        ("Forwarded-X", False),
    ],
)
def test_reserved_names_are_compared_as_upstreams_read_them(
    name: str, expected: bool
) -> None:
    """T8: lower case, underscore as hyphen."""
    assert is_reserved(normalised(name)) is expected


def test_request_head_counts_the_credential_that_it_is_given() -> None:
    """A lane that saw two says so itself."""
    assert RequestHead("GET", "/").credentials == 0
    assert RequestHead("GET", "/", authorization=b"x").credentials == 1
    assert RequestHead("GET", "/", authorization=b"x", credentials=2).credentials == 2


def test_request_head_without_arguments_claims_nothing() -> None:
    """No body, no form, no cookie, no query."""
    head = RequestHead("GET", "/a")
    assert (head.method, head.path, head.query) == ("GET", "/a", b"")
    assert (head.authorization, head.cookie, head.form) == (None, None, None)
    assert (head.content_type, head.peer) == ("", "")
    assert (head.has_body, head.encoded_separators) == (False, False)


def test_request_head_takes_its_types_and_no_other() -> None:
    """It is compiled: a str for bytes is found where it is made."""
    with pytest.raises(TypeError):
        RequestHead("GET", "/", authorization="Bearer x")
    with pytest.raises(TypeError):
        RequestHead(b"GET", "/")
