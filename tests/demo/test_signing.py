"""Signing: tokens that others verify, and keys that rotate."""

import jwt
import pytest

from fastgate.demo.signing import IssuerKeys


@pytest.fixture
def keys():
    return IssuerKeys()


def verify(keys, token):
    published = {key["kid"]: key for key in keys.jwks()["keys"]}
    named = published[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, jwt.PyJWK(named).key, algorithms=["ES256"])


def test_token_is_verified_by_another_implementation(keys):
    """An independent library accepts signature and key set."""
    token = keys.token({"sub": "bob"}, "at+jwt")
    assert verify(keys, token) == {"sub": "bob"}
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    assert "typ" not in jwt.get_unverified_header(keys.token({}, None))


def test_new_key_is_published_before_it_signs(keys):
    """A gateway can fetch the next key before the first token that needs it."""
    old = keys.kid
    kid = keys.publish()
    assert kid in {key["kid"] for key in keys.jwks()["keys"]}
    assert jwt.get_unverified_header(keys.token({}, None))["kid"] == old
    keys.sign_with(kid)
    assert jwt.get_unverified_header(keys.token({}, None))["kid"] == kid


def test_tokens_of_the_old_key_stay_good_after_a_rotation(keys):
    """Both keys are published, so nobody has to sign in again."""
    token = keys.token({"sub": "bob"}, None)
    keys.sign_with(keys.publish())
    assert verify(keys, token) == {"sub": "bob"}
    assert keys.read(token) == {"sub": "bob"}


def test_own_tokens_are_read_and_no_others(keys):
    """Another issuer's token, a changed one and no token at all say nothing."""
    token = keys.token({"sub": "bob"}, None)
    head, payload, signature = token.split(".")
    other = IssuerKeys().token({"sub": "bob"}, None)
    assert keys.read(token) == {"sub": "bob"}
    for wrong in (
        other,
        f"{head}.{payload}x.{signature}",
        f"{head}.{payload}.{signature[:-4]}",
        f"{head}.{payload}.",
        "opaque",
        "a.b.c",
        "..",
    ):
        assert keys.read(wrong) is None
