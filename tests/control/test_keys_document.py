"""Key documents: what workers and restarts read, and what they refuse to read."""

import hashlib

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.jwk_makers import ec_pair, ed25519_pair, rsa_pair

from fastgate.control.keys_document import (
    PublishedKeys,
    SavedKeys,
    read_published,
    read_saved,
    write_published,
    write_saved,
)
from fastgate.domain.jwk import read_jwk
from fastgate.errors import ControlError

KEYS = tuple(
    read_jwk(pair.jwk(kid=kid))
    for kid, pair in (("a", ec_pair()), ("b", rsa_pair()), (None, ed25519_pair()))
)
SAVED = SavedKeys("https://a\nhttps://b\n", KEYS, 1_800_000_000, 5_000_000_000, "boot")
DOCUMENT = write_saved(SAVED)


def test_published_document_is_read_as_written():
    """Agent and workers agree."""
    said = {
        "login": PublishedKeys(
            tuple(key.members() for key in KEYS), True, 1_800_000_000, "https://a"
        ),
        "empty": PublishedKeys(),
    }
    assert read_published(write_published(said)) == said


def test_published_keys_have_public_members_only():
    """Shared memory is readable by every worker."""
    published = write_published({"a": PublishedKeys(tuple(k.members() for k in KEYS))})
    members = {
        name for jwk in orjson.loads(published)["issuers"]["a"]["jwks"] for name in jwk
    }
    assert members == {"kty", "crv", "kid", "x", "y", "n", "e"}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"v":2,"issuers":{}}',
        b'{"v":1}',
        b'{"v":1,"issuers":[]}',
        b'{"v":1,"issuers":{"a":{}}}',
        b'{"v":1,"issuers":{"a":{"jwks":1,"last_fetch_ok":true,"fetched_at":0}}}',
        b'{"v":1,"issuers":{"a":null}}',
        b'{"v":1,"issuers":{"a":{"jwks":[],"last_fetch_ok":true,"fetched_at":0}}}',
        b"\xff",
    ],
)
def test_published_document_of_another_shape_is_refused(document):
    """A worker of another version keeps what it has."""
    with pytest.raises(ControlError):
        read_published(document)


def test_saved_document_is_read_as_written():
    """Over a restart."""
    assert read_saved(DOCUMENT) == SAVED


@settings(deadline=None)
@given(st.integers(0, len(DOCUMENT) * 8 - 1))
def test_saved_document_is_refused_when_one_bit_changed(bit):
    """A disk that lies costs a fetch, never trust in a wrong key."""
    broken = bytearray(DOCUMENT)
    broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ControlError):
        read_saved(bytes(broken))


def test_saved_document_is_refused_when_cut_anywhere():
    """F14: every prefix."""
    for size in range(len(DOCUMENT)):
        with pytest.raises(ControlError):
            read_saved(DOCUMENT[:size])


def _sealed(**changes):
    content = orjson.loads(DOCUMENT)["content"] | changes
    text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(text).hexdigest()
    return orjson.dumps({"sha256": digest, "content": content})


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"jwks": None},
        {"origin": 1},
        {"boot_id": None},
        {"fetched_wall_s": "1"},
        {"fetched_wall_s": -1},
        {"fetched_boot_ns": 1.5},
    ],
)
def test_saved_document_of_another_shape_is_refused(changes):
    """Also where its checksum fits."""
    with pytest.raises(ControlError):
        read_saved(_sealed(**changes))


def test_saved_keys_are_checked_like_those_of_a_stranger():
    """Who can write the file still cannot give us a weak or secret key."""
    good = KEYS[0].members()
    jwks = [good, {"kty": "oct", "k": "AAAA"}, {**good, "y": good["x"]}, 7, None]
    assert [key.kid for key in read_saved(_sealed(jwks=jwks)).jwks] == ["a"]


@pytest.mark.parametrize(
    ("wall_s", "boot_ns", "boot_id", "age_s"),
    [
        (0, 65_000_000_000, "boot", 60),
        (1_800_000_100, 1, "boot", 100),
        (1_800_000_100, 65_000_000_000, "other", 100),
        (1_799_999_990, 65_000_000_000, "other", 0),
        (1_799_999_900, 65_000_000_000, "other", None),
        (0, 65_000_000_000, "", None),
    ],
    ids=["same_boot", "boot_clock_back", "reboot", "small_step", "set_back", "unknown"],
)
def test_age_is_by_boot_clock_within_a_boot_else_by_a_plausible_wall_clock(
    wall_s, boot_ns, boot_id, age_s
):
    """A clock that was set back makes no old set young."""
    assert SAVED.age_s(wall_s=wall_s, boot_ns=boot_ns, boot_id=boot_id) == age_s
