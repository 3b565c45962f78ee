"""JOSE attacks of others' history, as far as the scanner alone must stop them.

The ids are those of the threat list (J1 to J13); what needs a key or a clock is tested
where the gate is. Both twins are held to every case.
"""

import base64
import zlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from tests.compact import CLAIMS, HEADER, compact, encode
from tests.oracle import token as oracle

from fastgate._ext import token as native

TWINS = pytest.mark.parametrize("token", [native, oracle], ids=["native", "oracle"])
ORDER = oracle.ORDERS[32]


def scan(token, text: bytes):
    return token.scan(text, token.ClaimNames(region=("region",)))


@TWINS
@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "ES256 ", "HS256", "es256"])
def test_j1_alg_is_given_out_as_written(token, alg):
    """The gate compares exact octets; nothing may be trimmed or folded before that."""
    text = compact(header=b'{"alg":"%s"}' % alg.encode())
    assert scan(token, text).alg == alg


@TWINS
def test_j1_unsecured_token_refused_for_its_empty_signature(token):
    """An unsecured token ends in a dot, whatever its header says."""
    for header in (b'{"alg":"none"}', HEADER):
        text = encode(header) + b"." + encode(CLAIMS) + b"."
        assert scan(token, text).name == "empty_part"


@TWINS
def test_cve_2022_21449_zero_signature_refused(token):
    """J3: r = 0 or s = 0 never becomes a signature that a library is asked about."""
    assert token.der_signature(bytes(64), 32) is None
    assert token.der_signature(bytes(96), 48) is None
    one = (1).to_bytes(32, "big")
    assert token.der_signature(bytes(32) + one, 32) is None
    assert token.der_signature(one + bytes(32), 32) is None
    for value in (ORDER, ORDER + 1, 2**256 - 1):
        assert token.der_signature(one + value.to_bytes(32, "big"), 32) is None


@TWINS
def test_j3_der_in_place_of_raw_refused(token):
    """A signature as the library writes it has another length than 64 octets."""
    key = ec.generate_private_key(ec.SECP256R1())
    der = key.sign(b"x", ec.ECDSA(SHA256()))
    assert token.der_signature(der, 32) is None
    r, s = decode_dss_signature(der)
    for high_s in (s, ORDER - s):  # both verify, both are in order
        raw = r.to_bytes(32, "big") + high_s.to_bytes(32, "big")
        converted = token.der_signature(raw, 32)
        key.public_key().verify(converted, b"x", ec.ECDSA(SHA256()))


@TWINS
@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c"])
def test_cve_2026_27962_key_in_the_header_is_not_given_out(token, member):
    """J4: a scan has no place where an attacker's key or URL could be read from."""
    value = (
        b'{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}' if member == "jwk" else b'"u"'
    )
    text = compact(header=b'{"alg":"ES256","%s":%s}' % (member.encode(), value))
    found = scan(token, text)
    assert found.name == "ok"
    assert not hasattr(found, member)


@TWINS
@pytest.mark.parametrize(
    "kid", [b"1", b"{}", b'["k1"]', b"true", b"null", b'"a\\u0000"', b'"' + b"k" * 6000]
)
def test_j5_kid_that_is_no_name_refused(token, kid):
    """A kid of another type, with a control character, or of 64 KiB selects no key."""
    text = compact(header=b'{"alg":"ES256","kid":' + kid + b"}")
    assert scan(token, text).name in {"bad_kid", "json_truncated"}


@TWINS
@pytest.mark.parametrize(
    "kid", ["../../etc/passwd", "' OR 1=1 --", "\uff4b1", "http://x/"]
)
def test_j5_hostile_kid_is_given_out_unchanged(token, kid):
    """Look-up compares; it never opens, queries, folds or normalises."""
    text = compact(header=b'{"alg":"ES256","kid":"%s"}' % kid.encode())
    assert scan(token, text).kid == kid


@TWINS
@pytest.mark.parametrize(
    "crit",
    [
        b"[]",
        b'"exp"',
        b"[1]",
        b'["x"]',
        b'["exp","exp"]',
        b'["b64"]',
        b'["exp"]',
        b"{}",
    ],
)
def test_cve_2025_59420_crit_refused(token, crit):
    """J6: no extension is understood, so every crit is refused, the malformed too."""
    text = compact(header=b'{"alg":"ES256","exp":1,"crit":' + crit + b"}")
    assert scan(token, text).name == "crit"
    text = compact(header=b'{"crit":' + crit + b',"alg":"ES256"}')
    assert scan(token, text).name == "crit"


@TWINS
def test_ghsa_752w_5fwx_jx9f_b64_refused_without_crit(token):
    """J6: an unencoded payload is refused also when nobody calls it critical."""
    text = compact(header=b'{"alg":"ES256","b64":false}')
    assert scan(token, text).name == "b64"


@TWINS
@pytest.mark.parametrize("name", ["alg", "kid"])
@pytest.mark.parametrize("spelled", ["%s", "\\u00%02x"])
def test_j7_duplicate_in_the_header_refused(token, name, spelled):
    """The first, the last, the escaped: none of two values is the value."""
    again = name if spelled == "%s" else spelled % ord(name[0]) + name[1:]
    header = f'{{"alg":"ES256","kid":"k","{again}":"none"}}'
    assert scan(token, compact(header=header.encode())).name == "duplicate_member"


@TWINS
@pytest.mark.parametrize("name", ["exp", "sub", "region", "jti", "aud", "anything"])
def test_j7_duplicate_in_the_claims_refused(token, name):
    """Also when the values are equal, when escaped, and when nobody reads the claim."""
    value = "1" if name == "exp" else '"x"'
    for again in (name, f"\\u{ord(name[0]):04X}{name[1:]}"):
        claims = f'{{"{name}":{value},"z":[],"{again}":{value}}}'.encode()
        assert scan(token, compact(claims=claims)).name == "duplicate_member"


@TWINS
@pytest.mark.parametrize("parts", [1, 2, 4, 5, 4096])
def test_cve_2025_22868_many_dots_refused(token, parts):
    """J8: the parts are counted, not collected; a long row of dots is too large."""
    assert scan(token, b".".join([b"e30"] * parts)[:8000]).name == "not_three_parts"
    assert scan(token, b"." * 100_000).name == "too_large"


@TWINS
def test_j8_one_signature_has_one_spelling(token):
    """The last of 86 characters carries two bits; sixteen spellings become one."""
    text = compact(signature=bytes(63) + b"\x01")
    assert text.endswith(b"Q")
    for other in b"RSTUVWXYZabcdef":
        assert scan(token, text[:-1] + bytes([other])).name == "spare_bits"
    for wrong in (text + b"=", text + b"==", text + b"\r\n", b" " + text, text + b"\0"):
        assert scan(token, wrong).code != 1


@TWINS
@pytest.mark.parametrize(
    "value",
    [
        *("Infinity", "-Infinity", "NaN", "1e400", "1e-400", "-1", "9007199254740992"),
        *("9223372036854775808", "18446744073709551616", "1" * 5000, ".5", "0x10"),
        *('"1"', "true", "null", "[]", "1.0", "1E1", "00", "1_0", "\u0663"),
    ],
)
def test_j9_time_that_is_no_exact_integer_refused(token, value):
    """No float, no other type, and no integer whose neighbours a float confuses."""
    for name in ("exp", "nbf", "iat"):
        claims = f'{{"{name}":{value}}}'.encode()
        assert scan(token, compact(claims=claims)).code != 1


@TWINS
def test_ghsa_75c5_xw7c_p5pm_iss_of_another_type_refused(token):
    """J10: an array of issuers would make `in` of an equality; it is no issuer."""
    for value in (b'["https://id.example"]', b"{}", b"1", b"null"):
        assert scan(token, compact(claims=b'{"iss":' + value + b"}")).name == "bad_iss"
    part = "https://id.exa"
    assert scan(token, compact(claims=b'{"iss":"%s"}' % part.encode())).iss == part


@TWINS
@pytest.mark.parametrize(
    ("claims", "code"),
    [
        (b'{"a":"' + b"\\u0041" * 1000 + b'"}', "ok"),
        (
            b"{" + b",".join(b'"%d":1' % n for n in range(1000)) + b"}",
            "too_many_members",
        ),
        (b'{"' + b"k" * 5000 + b'":1}', "key_too_long"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000, "too_deep"),
        (b'{"a":' * 1000, "too_deep"),
        (b'{"a":"' + b"x" * 16384 + b'"}', "too_large"),
        (b'{"a":"' + b"x" * 1048576 + b'"}', "too_large"),
    ],
)
def test_j11_size_is_bounded(token, claims, code):
    """Text, depth, members and names have limits; what is within them is linear."""
    names = token.ClaimNames(region=(), max_token_bytes=16384)
    assert token.scan(compact(claims=claims), names).name == code


@TWINS
@pytest.mark.parametrize(
    "sub",
    [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\\ud800", b"\x00", b"\r\n", b"\xf8\x88"],
)
def test_j12_text_that_is_none_refused(token, sub):
    """Invalid UTF-8, surrogates and raw controls never become a subject."""
    assert scan(token, compact(claims=b'{"sub":"' + sub + b'"}')).code != 1


@TWINS
def test_j12_other_encodings_refused(token):
    """A byte order mark and UTF-16 are no UTF-8."""
    text = '{"sub":"x"}'
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        assert scan(token, compact(claims=text.encode(encoding))).code != 1


@TWINS
def test_cve_2024_28102_compressed_token_refused(token):
    """J13: nothing is decompressed: `zip` is refused, and five parts are no JWS."""
    bomb = zlib.compress(bytes(10_000_000), wbits=-15)[:3000]
    text = compact(header=b'{"alg":"ES256","zip":"DEF"}', claims=bomb)
    assert scan(token, text).name == "zip"
    header = (
        b'{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647,"zip":"DEF"}'
    )
    parts = [header, b"key", b"iv", bomb, b"tag"]
    assert scan(token, b".".join(map(encode, parts))).name == "not_three_parts"


@TWINS
def test_j13_other_serialisations_refused(token):
    """JSON serialisation, SD-JWT and nesting are no bearer tokens."""
    text = compact()
    header, claims, signature = (part.decode() for part in text.split(b"."))
    flattened = (
        f'{{"protected":"{header}","payload":"{claims}","signature":"{signature}"}}'
    )
    assert scan(token, flattened.encode()).name == "not_three_parts"
    assert scan(token, text + b"~disclosure~").name == "bad_alphabet"
    nested = compact(header=b'{"alg":"ES256","cty":"JWT"}', claims=text)
    assert scan(token, nested).name == "nested"


@TWINS
def test_j13_bound_token_is_marked(token):
    """A token bound to a key says so; used as Bearer, the gate must see it."""
    claims = b'{"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}'
    assert scan(token, compact(claims=claims)).has_cnf


@TWINS
def test_lax_decoders_are_not_what_is_used(token):
    """The standard library drops foreign bytes; the scanner refuses them."""
    part = encode(HEADER)
    assert base64.urlsafe_b64decode(part[:4] + b"!" + part[4:] + b"==") == HEADER
    text = part[:4] + b"!" + part[4:] + b"." + encode(CLAIMS) + b".QQ"
    assert scan(token, text).where == "token"
