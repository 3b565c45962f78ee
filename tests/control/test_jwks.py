"""JWKS documents: what is used, what is dropped, what makes a whole one useless."""

import contextlib
import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.jwk_makers import ec_pair, ed25519_pair, number, rsa_pair

from fastgate.control.jwks import MAX_BYTES, KeySetError, read_key_set
from fastgate.domain.jwk import Flaw


def read(*jwks, **members):
    return read_key_set(orjson.dumps({"keys": list(jwks), **members}))


def flaws(said):
    return [(each.position, each.flaw) for each in said.dropped]


def test_key_set_keeps_all_served_kinds_in_order():
    """One set may hold keys of every served type."""
    said = read(
        ec_pair().jwk(kid="a", alg="ES256", use="sig"),
        rsa_pair().jwk(kid="b", key_ops=["verify"]),
        ed25519_pair().jwk(),
        ec_pair("P-384").jwk(kid="c"),
    )
    assert [jwk.kid for jwk in said.keys] == ["a", "b", None, "c"]
    assert not said.dropped
    assert not said.refused
    assert not said.unusable


def test_key_set_publishes_public_members_only():
    """What travels to workers and disk has nothing that verification does not need."""
    said = read(ec_pair().jwk(kid="a", use="sig", x5c=["AAAA"], jku="https://evil/"))
    assert set(said.keys[0].members()) == {"kty", "crv", "kid", "x", "y"}


@pytest.mark.parametrize(
    ("bad", "flaw", "refused"),
    [
        ({"kty": "oct", "k": "AAAA", "kid": "h"}, Flaw.SECRET, True),
        ({**ec_pair().jwk(kid="h"), "d": "AAAA"}, Flaw.SECRET, True),
        (ec_pair().jwk(kid="h", use="enc"), Flaw.WRONG_USE, False),
        (ec_pair().jwk(kid="h", key_ops=["sign"]), Flaw.WRONG_USE, False),
        (ec_pair().jwk(kid="h", crv="P-521"), Flaw.WRONG_CURVE, False),
        (ec_pair().jwk(kid="h", y=number(5, 32)), Flaw.OFF_CURVE, True),
        (rsa_pair().jwk(kid="h", n=number(2**1023 + 1)), Flaw.WRONG_SIZE, True),
        ("no object", Flaw.NO_OBJECT, True),
        (None, Flaw.NO_OBJECT, True),
    ],
    ids=["oct", "private", "enc", "ops", "curve", "off", "small", "text", "null"],
)
def test_bad_key_is_dropped_and_named_while_the_rest_stays(bad, flaw, refused):
    """Refuse and alarm, keeping the rest: I6."""
    said = read(bad, ec_pair().jwk(kid="good"))
    assert [jwk.kid for jwk in said.keys] == ["good"]
    assert flaws(said) == [(0, flaw)]
    assert (said.refused, said.unusable) == (refused, not refused)


def test_unknown_type_or_algorithm_is_ignored_without_alarm():
    """RFC 7517 section 5: what is not understood is to be ignored."""
    said = read({"kty": "AKP", "pub": "AA"}, ec_pair().jwk(alg="ES256K"))
    assert [flaw for _, flaw in flaws(said)] == [Flaw.UNSERVED, Flaw.UNSERVED]
    assert not said.refused
    assert not said.unusable


def test_keys_that_share_a_kid_are_all_dropped():
    """Never "first wins": which one the issuer means is not ours to guess."""
    said = read(ec_pair().jwk(kid="a"), ec_pair().jwk(kid="a"), ec_pair().jwk(kid="b"))
    assert [jwk.kid for jwk in said.keys] == ["b"]
    assert flaws(said) == [(0, Flaw.DOUBLED), (1, Flaw.DOUBLED)]
    assert said.disputed == {"a"}
    assert said.refused


def test_key_that_is_listed_twice_counts_once():
    """A repeated entry is no second key."""
    jwk = ec_pair().jwk(kid="a")
    assert len(read(jwk, jwk).keys) == 1


def test_key_listed_once_per_algorithm_serves_all_of_them():
    """Issuers list one RSA key under RS256 and again under PS256."""
    pair = rsa_pair()
    said = read(pair.jwk(kid="a", alg="RS256"), pair.jwk(kid="a", alg="PS256"))
    assert [jwk.algorithms for jwk in said.keys] == [{"RS256", "PS256"}]


def test_key_whose_private_half_is_published_is_dropped_under_every_name():
    """A disclosed key signs for everybody, also where a clean copy stands beside it."""
    pair = ec_pair()
    said = read(pair.jwk(kid="clean"), {**pair.jwk(kid="leak"), "d": "AAAA"})
    assert said.keys == ()
    assert flaws(said) == [(0, Flaw.SECRET), (1, Flaw.SECRET)]


def test_empty_set_is_told_from_one_without_usable_keys():
    """Only a list without any entry means that the issuer withdrew its keys."""
    assert read().empty
    assert not read({"kty": "oct", "k": "AA"}).empty


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "no_json"),
        (b"<html></html>", "no_json"),
        (b"[]", "no_json"),
        (b"null", "no_json"),
        (b'\xef\xbb\xbf{"keys":[]}', "no_json"),
        (b'{"keys":[]}x', "no_json"),
        (b'{"keys":["\xff"]}', "no_json"),
        (b'{"keys":[NaN]}', "no_json"),
        (b'{"keys":["\\ud800"]}', "no_json"),
        (b'{"keys":' + b"[" * 100_000, "no_json"),
        (b'{"keys":' + b"[" * 5000 + b"]" * 5000 + b"}", "no_json"),
        (b'{"keys":[],"keys":[]}', "no_json"),
        (b'{"keys":[{"kid":"a","k\\u0069d":"b"}]}', "no_json"),
        (b"{}", "no_keys_member"),
        (b'{"keys":{}}', "no_keys_member"),
        (b'{"keys":null}', "no_keys_member"),
        (b'{"keys":[' + b",".join([b"{}"] * 65) + b"]}", "too_many_keys"),
        (b'{"keys":[' + b",".join([b"1"] * 100_000) + b"]}", "too_many_keys"),
        (b" " * (MAX_BYTES + 1), "too_large"),
    ],
    ids=range(19),
)
def test_document_is_useless_as_a_whole(body, code):
    """I3: garbage of any kind is one code, so that the last good keys stay."""
    with pytest.raises(KeySetError) as error:
        read_key_set(body)
    assert error.value.code == code


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_reading_octets_raises_nothing_else(body):
    """Every document is hostile."""
    with contextlib.suppress(KeySetError):
        read_key_set(body)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "d"]
            ),
            inner | st.sampled_from(["EC", "RSA", "OKP", "P-256", "Ed25519", "AQAB"]),
            max_size=6,
        )
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.lists(_VALUES, max_size=5))
def test_reading_key_shaped_values_raises_nothing_else(values):
    """Members of any type in any place are a flaw of that key, not of the keyring."""
    said = read_key_set(json.dumps({"keys": values}).encode("utf-8", "surrogatepass"))
    assert len(said.keys) + len(said.dropped) <= len(values)
