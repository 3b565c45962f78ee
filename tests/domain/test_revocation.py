"""Revocation kinds and the hash that identifiers travel as."""

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.domain.revocation import KEY_BYTES, KeyHasher, Kind, framed

ISSUER = "https://login.example.com"
HASHER = KeyHasher(b"k" * 32, ISSUER)


@given(st.sampled_from(Kind), st.text(st.characters(exclude_categories=["Cs"])))
def test_key_is_the_keyed_hash_of_framed_kind_issuer_and_value(
    kind: Kind, value: str
) -> None:
    """REVOCATION section 3, spelled out: other regions compute the same."""
    text = b"".join(
        len(part.encode()).to_bytes(4, "big") + part.encode()
        for part in (kind.value, ISSUER, value)
    )
    expected = hashlib.blake2b(text, digest_size=16, key=b"k" * 32).digest()
    assert HASHER.key(kind, value) == expected


def test_key_has_a_vector() -> None:
    """Fixed for ever: journals and other regions hold it."""
    key = KeyHasher(b"", ISSUER).key(Kind.SID, "s-123")
    assert key.hex() == "5f4c66816a6f6c1c6b3d71c049a27467"


def test_keys_differ_by_hash_key_issuer_kind_and_value() -> None:
    """No two identifiers share an entry, also where the texts run together."""
    keys = [
        KeyHasher(hash_key, issuer).key(kind, value)
        for hash_key, issuer, kind, value in itertools.product(
            (b"", b"a", b"b"), ("https://a", "https://ab"), Kind, ("b", "bb", "")
        )
    ]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {KEY_BYTES}


def test_seed_begins_what_key_ends() -> None:
    """A copy of it is used; the seed itself stays."""
    for _ in range(2):
        digest = HASHER.seed(Kind.JTI).copy()
        digest.update(framed(b"j"))
        assert digest.digest() == HASHER.key(Kind.JTI, "j")


@pytest.mark.parametrize(
    ("kind", "by_time", "everybody"),
    [
        (Kind.JTI, False, False),
        (Kind.SID, False, False),
        (Kind.SUB, True, False),
        (Kind.CLIENT, True, True),
        (Kind.GRANT, False, False),
        (Kind.KID, False, True),
        (Kind.ISSUER, True, True),
    ],
)
def test_kinds_say_whom_and_when_they_touch(
    kind: Kind, by_time: bool, everybody: bool
) -> None:
    """DESIGN section 8; a new kind must be decided here."""
    assert (kind.by_time, kind.everybody) == (by_time, everybody)
    assert len(Kind) == 7


def test_hasher_refuses_a_key_that_is_too_long() -> None:
    """BLAKE2b takes 64 octets (RFC 7693)."""
    KeyHasher(b"k" * 64, ISSUER)
    with pytest.raises(ValueError, match="key"):
        KeyHasher(b"k" * 65, ISSUER)
