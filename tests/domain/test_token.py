"""Issuer profiles: their digest keeps what was verified under one apart from others."""

from dataclasses import fields, replace

import pytest
from tests.hotpath.gates import INTROSPECTION, profile
from tests.tokens import ISSUER

from fastgate.domain.revocation import KeyHasher
from fastgate.domain.token import ALGORITHMS, IssuerProfile

BASE = profile()
# Another value for every field: whoever adds a field adds a line.
CHANGES = {
    "index": 7,
    "alias": "other",
    "issuer": "https://other.example",
    "audience": frozenset({"api", "b"}),
    "algorithms": frozenset({"ES384"}),
    "types": frozenset({"at+jwt"}),
    "leeway_s": 6,
    "max_lifetime_s": 60,
    "iat_required": True,
    "wrapped": True,
    "region_claims": ("zone", "region"),
    "grant_claims": ("g",),
    "require": ("tenant",),
    "max_token_bytes": 4096,
    "hasher": KeyHasher(b"other", ISSUER),
    "old_hashers": (KeyHasher(b"older", ISSUER),),
    "home_origin": 2,
    "introspection": None,
    "status_lists": True,
}


def test_changes_name_every_field() -> None:
    """Otherwise the next test says nothing about a new one."""
    assert set(CHANGES) == {f.name for f in fields(IssuerProfile)} - {"digest"}


@pytest.mark.parametrize("name", CHANGES)
def test_digest_changes_with_every_field(name: str) -> None:
    """T14: facts of one profile must never be taken for another's."""
    changed = replace(BASE, **{name: CHANGES[name]})
    assert changed.digest != BASE.digest
    assert len(changed.digest) == 32


def test_digest_is_the_same_for_equal_profiles() -> None:
    """Sets have no order, and a reload of the same text keeps the cache."""
    names = ["a", "b", "c", "d", "e"]
    one = profile(audience=frozenset(names))
    two = profile(audience=frozenset(reversed(names)))
    assert one.digest == two.digest
    assert profile().digest == BASE.digest


def test_introspection_does_not_show_its_secret() -> None:
    """Neither in a log nor in a traceback (T20)."""
    assert "secret" not in repr(INTROSPECTION).replace("client_secret", "")
    assert INTROSPECTION.client_secret not in repr(profile())


def test_algorithms_know_no_secret_keys() -> None:
    """HS* and none can not be configured at all (J1, J2)."""
    assert set(ALGORITHMS) == {
        *("ES256", "ES384", "RS256", "PS256", "EdDSA", "Ed25519"),
    }
    for name, algorithm in ALGORITHMS.items():
        assert (algorithm.integer_bytes > 0) == name.startswith("ES")
