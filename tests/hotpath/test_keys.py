"""Key objects: what verifies, what does not, and that nothing raises."""

import hashlib
import hmac
import math

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.jwk_makers import ec_pair, ed25519_pair, number, pair_for, rsa_pair

from fastgate.domain import base64url
from fastgate.domain.jwk import Flaw, JwkError
from fastgate.hotpath.keys import build_key, build_keys

ALGS = ["ES256", "ES384", "RS256", "PS256", "EdDSA", "Ed25519"]
N_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
N_P384 = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77a"
    "ecec196accc52973",
    16,
)
SIGNED = b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJhIn0"


@pytest.mark.parametrize("alg", ALGS)
def test_key_verifies_what_its_private_half_signed(alg):
    """Every served algorithm goes through the same door."""
    pair = pair_for(alg)
    key = build_key(pair.jwk(kid="a", alg=alg))
    assert key.verify(alg, pair.sign(alg, SIGNED), SIGNED) is True


@pytest.mark.parametrize("alg", ALGS)
def test_key_refuses_when_text_or_signature_differ_by_one_bit(alg):
    """A signature is for exactly one text."""
    pair = pair_for(alg)
    key = build_key(pair.jwk())
    good = pair.sign(alg, SIGNED)
    flipped = bytes([good[0] ^ 1]) + good[1:]
    assert key.verify(alg, good, SIGNED + b"A") is False
    assert key.verify(alg, flipped, SIGNED) is False


@pytest.mark.parametrize("alg", ALGS)
def test_key_refuses_every_other_length(alg):
    """A JWS signature has exactly one length per key: RFC 7518 sections 3.3 and 3.4."""
    pair = pair_for(alg)
    key = build_key(pair.jwk())
    good = pair.sign(alg, SIGNED)
    for bad in (b"", good[:-1], good + b"\0", b"\0" + good, good * 2):
        assert key.verify(alg, bad, SIGNED) is False


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES384", "EdDSA", "HS256", "none"])
def test_key_refuses_algorithm_that_does_not_fit_its_type(alg):
    """The header chooses among what the key may do; it never widens that."""
    pair = ec_pair()
    key = build_key(pair.jwk())
    assert key.algorithms == {"ES256"}
    assert key.verify(alg, pair.sign("ES256", SIGNED), SIGNED) is False


def test_key_refuses_other_rsa_padding_when_jwk_names_one():
    """`alg` of a JWK binds the key to it: RFC 7517 section 4.4."""
    pair = rsa_pair()
    bound = build_key(pair.jwk(alg="RS256"))
    free = build_key(pair.jwk())
    pss = pair.sign("PS256", SIGNED)
    assert free.verify("PS256", pss, SIGNED) is True
    assert bound.verify("PS256", pss, SIGNED) is False
    assert free.verify("RS256", pss, SIGNED) is False


def test_eddsa_key_verifies_under_both_names_when_jwk_names_either():
    """EdDSA and Ed25519 are two names of one algorithm: RFC 9864."""
    pair = ed25519_pair()
    for named in ("EdDSA", "Ed25519"):
        key = build_key(pair.jwk(alg=named))
        signature = pair.sign("EdDSA", SIGNED)
        assert key.verify("EdDSA", signature, SIGNED) is True
        assert key.verify("Ed25519", signature, SIGNED) is True


@pytest.mark.parametrize(
    ("alg", "order", "size"), [("ES256", N_P256, 32), ("ES384", N_P384, 48)]
)
def test_cve_2022_21449_r_or_s_outside_the_group_is_refused(alg, order, size):
    """Psychic signatures: r and s must be in [1, n - 1]."""
    pair = pair_for(alg)
    key = build_key(pair.jwk())
    good = pair.sign(alg, SIGNED)
    r, s = good[:size], good[size:]
    for bad in (0, order, order + 1, 2 ** (size * 8) - 1):
        octets = bad.to_bytes(size)
        assert key.verify(alg, octets + s, SIGNED) is False
        assert key.verify(alg, r + octets, SIGNED) is False
        assert key.verify(alg, octets + octets, SIGNED) is False


def test_es256_accepts_high_s():
    """(r, n - s) is as valid as (r, s); refusing it would refuse good tokens."""
    pair = ec_pair()
    good = pair.sign("ES256", SIGNED)
    other = (N_P256 - int.from_bytes(good[32:])).to_bytes(32)
    assert build_key(pair.jwk()).verify("ES256", good[:32] + other, SIGNED) is True


def test_es256_refuses_der_form():
    """DER is another language of the same signature: JWS is raw r and s."""
    pair = ec_pair()
    raw = pair.sign("ES256", SIGNED)
    r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    key = build_key(pair.jwk())
    assert key.verify("ES256", encode_dss_signature(r, s), SIGNED) is False


def _public_key_spellings(pair):
    public = pair.private.public_key()
    encoding, form = serialization.Encoding, serialization.PublicFormat
    yield public.public_bytes(encoding.PEM, form.SubjectPublicKeyInfo)
    yield public.public_bytes(encoding.DER, form.SubjectPublicKeyInfo)
    yield public.public_bytes(encoding.OpenSSH, form.OpenSSH)
    if pair.jwk()["kty"] == "EC":
        yield public.public_bytes(encoding.X962, form.UncompressedPoint)
    yield repr(pair.jwk()).encode()


@pytest.mark.parametrize(
    "cve", ["CVE-2026-39999", "CVE-2022-29217", "CVE-2024-37568", "CVE-2024-33663"]
)
@pytest.mark.parametrize("alg", ["ES256", "RS256", "EdDSA"])
def test_hmac_keyed_with_public_key_is_refused(alg, cve):
    """J2: a public key never becomes an HMAC secret, in whatever spelling."""
    pair = pair_for(alg)
    key = build_key(pair.jwk())
    for secret in _public_key_spellings(pair):
        for name, digest in (
            ("HS256", "sha256"),
            ("HS384", "sha384"),
            ("HS512", "sha512"),
        ):
            forged = hmac.new(secret, SIGNED, digest).digest()
            assert key.verify(name, forged, SIGNED) is False
            assert key.verify(alg, forged, SIGNED) is False


def test_cve_2026_27962_key_set_ignores_keys_named_by_a_header():
    """J4: members that point elsewhere (jku, x5u, x5c) add no key and no location."""
    good, evil = ec_pair(), ec_pair()
    pointing = good.jwk(
        kid="a", jku="https://evil.example/", x5u="https://evil.example/"
    )
    pointing["jwk"], pointing["x5c"] = evil.jwk(), ["AAAA"]
    keys = build_keys([pointing], True)
    assert [key.kid for key in keys.every] == ["a"]
    assert keys.every[0].verify("ES256", evil.sign("ES256", SIGNED), SIGNED) is False


def _one_byte_off(text):
    octets = bytearray(base64url.decode(text))
    octets[-1] ^= 1
    return base64url.encode(bytes(octets))


J14 = {
    "use_enc": ({"use": "enc"}, Flaw.WRONG_USE),
    "key_ops_without_verify": ({"key_ops": ["sign"]}, Flaw.WRONG_USE),
    "key_ops_no_list": ({"key_ops": "verify"}, Flaw.WRONG_USE),
    "alg_of_another_curve": ({"alg": "ES384"}, Flaw.ALG_MISMATCH),
    "alg_hmac": ({"alg": "HS256"}, Flaw.UNSERVED),
    "alg_no_text": ({"alg": 256}, Flaw.BAD_MEMBER),
    "other_curve": ({"crv": "P-384"}, Flaw.WRONG_SIZE),
    "unknown_curve": ({"crv": "secp256k1"}, Flaw.WRONG_CURVE),
    "curve_no_text": ({"crv": None}, Flaw.WRONG_CURVE),
    "private": ({"d": "AAAA"}, Flaw.SECRET),
    "private_null": ({"d": ""}, Flaw.SECRET),
    "symmetric": ({"kty": "oct", "k": "AAAA"}, Flaw.SECRET),
    "other_type": ({"kty": "RSA"}, Flaw.BAD_MEMBER),
    "unknown_type": ({"kty": "AKP"}, Flaw.UNSERVED),
    "no_type": ({"kty": None}, Flaw.BAD_MEMBER),
    "padded_text": ({"x": "A" * 43 + "="}, Flaw.BAD_MEMBER),
    "x_zero_padded": ({"x": "A" * 44}, Flaw.WRONG_SIZE),
    "x_short": ({"x": "A" * 42}, Flaw.WRONG_SIZE),
    "x_missing": ({"x": None}, Flaw.BAD_MEMBER),
    "kid_no_text": ({"kid": 7}, Flaw.BAD_KID),
    "kid_empty": ({"kid": ""}, Flaw.BAD_KID),
    "kid_control": ({"kid": "a\0b"}, Flaw.BAD_KID),
    "kid_surrogate": ({"kid": "\ud800"}, Flaw.BAD_KID),
    "kid_long": ({"kid": "é" * 129}, Flaw.BAD_KID),
}


@pytest.mark.parametrize("case", J14)
def test_j14_key_is_refused(case):
    """A key for something else, or one that is not what it says, verifies nothing."""
    members, flaw = J14[case]
    with pytest.raises(JwkError) as error:
        build_key(ec_pair().jwk(**{"kid": "a", **members}))
    assert error.value.flaw is flaw


def test_j14_point_off_the_curve_is_refused():
    """An invalid curve point would let an attacker choose a weak group."""
    jwk = ec_pair().jwk()
    with pytest.raises(ValueError, match="not on the curve"):
        build_key({**jwk, "y": _one_byte_off(jwk["y"])})


@pytest.mark.parametrize(
    ("members", "flaw"),
    [
        ({"n": number(2**1023 + 1)}, Flaw.WRONG_SIZE),
        ({"n": number(2**8192 + 1)}, Flaw.WRONG_SIZE),
        ({"n": number(2**2047)}, Flaw.WEAK),
        ({"e": "AQ"}, Flaw.WEAK),
        ({"e": "Ag"}, Flaw.WEAK),
        ({"e": number(65538)}, Flaw.WEAK),
        ({"e": number(2**64 + 1)}, Flaw.WEAK),
        ({"e": "AAEAAQ"}, Flaw.BAD_MEMBER),
        ({"n": 5}, Flaw.BAD_MEMBER),
    ],
    ids=["1024", "8193", "even", "e1", "e2", "e_even", "e_long", "e_padded", "n_int"],
)
def test_rsa_key_is_refused_when_weak(members, flaw):
    """RFC 7518 section 3.3: 2048 bits or more; the rest keeps one spelling per key."""
    with pytest.raises(JwkError) as error:
        build_key(rsa_pair().jwk(**members))
    assert error.value.flaw is flaw


def test_cve_2017_15361_modulus_with_the_roca_fingerprint_is_refused():
    """Its primes are powers of 65537 modulo small primes, so it can be factored."""
    primorial = math.prod(p for p in range(2, 168) if all(p % d for d in range(2, p)))
    looks_alike = pow(65537, 12345, primorial) + primorial * (2**2047 // primorial + 1)
    odd = looks_alike if looks_alike % 2 else looks_alike + primorial
    with pytest.raises(JwkError) as error:
        build_key(rsa_pair().jwk(n=number(odd)))
    assert error.value.flaw is Flaw.WEAK
    assert build_key(rsa_pair().jwk(n=number(odd + 2))).algorithms == {"RS256", "PS256"}


_P25519 = 2**255 - 19
_ORDER_8_Y = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826


@pytest.mark.parametrize(
    "y", [0, 1, _P25519 - 1, _ORDER_8_Y, _P25519 - _ORDER_8_Y, _P25519, _P25519 + 1]
)
@pytest.mark.parametrize("sign", [0, 1])
def test_ed25519_key_is_refused_when_of_small_order(y, sign):
    """Under such a key R = identity and S = 0 would verify over many texts."""
    x = base64url.encode((y | sign << 255).to_bytes(32, "little"))
    with pytest.raises(JwkError) as error:
        build_key({"kty": "OKP", "crv": "Ed25519", "x": x})
    assert error.value.flaw is Flaw.WEAK


def test_thumbprint_is_that_of_rfc_7638():
    """The example of RFC 7638 section 3.1."""
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L"
        "6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4Qy"
        "Q5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbI"
        "SD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
        "kEgU8awapJzKnqDKgw"
    )
    key = build_key(
        {"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    )
    assert (
        base64url.encode(key.thumbprint)
        == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    )


def test_thumbprint_of_ec_key_is_that_of_rfc_9449():
    """The jkt example of RFC 9449 section 6.1, so that bound tokens can use it."""
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
    }
    key = build_key(jwk)
    assert (
        base64url.encode(key.thumbprint)
        == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    )


def test_build_keys_leaves_out_what_cannot_be_used():
    """One bad key in the published document does not cost the others."""
    good = ec_pair().jwk(kid="good")
    keys = build_keys(
        [{"kty": "oct", "k": "AA"}, good, {}, ec_pair().jwk(kid=7)], False
    )
    assert list(keys.by_kid) == ["good"]
    assert keys.last_fetch_ok is False
    assert keys.thumbprints == {keys.every[0].thumbprint}


def test_build_keys_uses_neither_of_two_keys_with_one_kid():
    """Never "first wins"."""
    twins = [ec_pair().jwk(kid="a"), ec_pair().jwk(kid="a"), ec_pair().jwk(kid="b")]
    assert list(build_keys(twins, True).by_kid) == ["b"]


def test_build_keys_keeps_keys_without_kid_in_order():
    """A token without kid is tried against the keys in the order of the set."""
    jwks = [ec_pair().jwk(), ec_pair().jwk(kid="a"), ec_pair().jwk()]
    keys = build_keys(jwks, True)
    assert [key.kid for key in keys.every] == [None, "a", None]


_FUZZED = {alg: build_key(pair_for(alg).jwk()) for alg in ("ES256", "EdDSA")}


@settings(deadline=None)
@given(
    st.sampled_from(sorted(_FUZZED)), st.binary(max_size=200), st.binary(max_size=40)
)
def test_verify_never_raises_for_any_octets(alg, signature, signed):
    """Hostile signatures are refused by value, not by exception."""
    assert _FUZZED[alg].verify(alg, signature, signed) is False


@settings(deadline=None)
@given(st.binary(min_size=256, max_size=256))
def test_rsa_verify_never_raises_for_any_octets(signature):
    """Also where the number is not below the modulus."""
    key = build_key(rsa_pair().jwk())
    assert key.verify("RS256", signature, SIGNED) is False
    assert key.verify("PS256", signature, SIGNED) is False


def test_repr_of_key_shows_its_thumbprint_only():
    """Key objects end up in debuggers and logs; the thumbprint names them there."""
    key = build_key(ec_pair().jwk(kid="secret-name"))
    assert key.thumbprint.hex()[:16] in repr(key)
    assert "secret-name" not in repr(key)
    assert len(key.thumbprint) == hashlib.sha256().digest_size
