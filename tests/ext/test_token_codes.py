"""Every code of the token scanner, from an input that has that fault alone."""

import pytest
from tests.compact import compact, encode
from tests.oracle import token as oracle

from fastgate._ext import token as native

TWINS = pytest.mark.parametrize("token", [native, oracle], ids=["native", "oracle"])


def header(text: bytes) -> bytes:
    return compact(header=b'{"alg":"ES256",' + text + b"}")


def claims(text: bytes) -> bytes:
    return compact(claims=b"{" + text + b"}")


CASES = [
    ("ok", compact()),
    ("ok", claims(b"")),
    ("ok", compact(claims=b' \t\r\n{ "a" : [ ] , "b" : { } } \n')),
    ("ok", claims(b'"aud":[' + b",".join([b'"a"'] * 64) + b"]")),
    ("ok", claims(b'"scp":[' + b",".join([b'"a"'] * 256) + b"]")),
    ("too_large", compact(signature=bytes(8192))),
    ("not_three_parts", b""),
    ("not_three_parts", b"e30"),
    ("not_three_parts", b"e30.e30"),
    ("not_three_parts", compact() + b"."),
    ("not_three_parts", b"e30.e30.e30.e30.e30"),
    ("not_three_parts", b"." * 8192),
    ("not_three_parts", b'{"payload":"e30"}'),
    ("empty_part", b".e30.QQ"),
    ("empty_part", b"e30..QQ"),
    ("empty_part", b"e30.e30."),
    ("empty_part", b".."),
    ("bad_length", b"e30aa.e30.QQ"),
    ("bad_length", b"e30.e.QQ"),
    ("bad_length", b"e30.e30.A"),
    ("bad_alphabet", b"e30=.e30.QQ"),
    ("bad_alphabet", b"e30.e30.QQ=="),
    ("bad_alphabet", b"e+/0.e30.QQ"),
    ("bad_alphabet", b" QQ.e30.QQ"),
    ("bad_alphabet", b"e30.QU!JDA.QQ"),
    ("bad_alphabet", compact() + b"~WyJz"),
    ("bad_alphabet", compact()[:-1] + b"\n"),
    ("bad_alphabet", compact()[:-1] + b"\x00"),
    ("bad_alphabet", compact()[:-1] + b"\xff"),
    ("spare_bits", b"e30.e30.QR"),
    ("spare_bits", b"e31.e30.QQ"),
    ("spare_bits", compact()[:-1] + b"x"),
    ("not_object", compact(header=b"[]")),
    ("not_object", compact(claims=b'"foo"')),
    ("not_object", compact(claims=b"foo")),
    ("not_object", compact(claims=b"\xef\xbb\xbf{}")),
    ("not_object", compact(claims="{}".encode("utf-16"))),
    ("not_object", compact(claims=b"\x00{}")),
    ("json_syntax", claims(b'"a" 1')),
    ("json_syntax", claims(b'"a":1,')),
    ("json_syntax", claims(b",")),
    ("json_syntax", claims(b"'a':1")),
    ("json_syntax", claims(b'"a":NaN')),
    ("json_syntax", claims(b'"exp":Infinity')),
    ("json_syntax", claims(b'"exp":+1')),
    ("json_syntax", claims(b'"exp":.5')),
    ("json_syntax", claims(b'"exp":\x001')),
    ("json_syntax", claims(b'"a":[1,]')),
    ("json_syntax", claims(b'"a":[1}')),
    ("json_syntax", claims(b'"a":nul')),
    ("json_syntax", claims(b'"aud":["a",]')),
    ("json_syntax", claims(b'"aud":["a";"b"]')),
    ("json_truncated", compact(claims=b"  ")),
    ("json_truncated", compact(claims=b'{"a')),
    ("json_truncated", compact(claims=b'{"a\\')),
    ("json_truncated", compact(claims=b'{"a\\u00')),
    ("json_truncated", compact(claims=b'{"a"')),
    ("json_truncated", compact(claims=b'{"a":')),
    ("json_truncated", compact(claims=b'{"a":-')),
    ("json_truncated", compact(claims=b'{"a":1.')),
    ("json_truncated", compact(claims=b'{"a":1e+')),
    ("json_truncated", compact(claims=b'{"a":tru')),
    ("json_truncated", compact(claims=b'{"a":[')),
    ("json_truncated", compact(claims=b'{"aud":["x"')),
    ("json_truncated", compact(claims=b'{"a":1,')),
    ("trailing_data", compact(claims=b"{}{}")),
    ("trailing_data", compact(claims=b"{},")),
    ("trailing_data", compact(claims=b"{}\x00")),
    ("bad_number", claims(b'"a":01')),
    ("bad_number", claims(b'"a":-')),
    ("bad_number", claims(b'"a":1.e1')),
    ("bad_number", claims(b'"exp":1e')),
    ("bad_escape", claims(b'"a":"\\x"')),
    ("bad_escape", claims(b'"a":"\\u00g0"')),
    ("bad_escape", claims(b'"a":"\\\n"')),
    ("bad_escape", claims(b'"a\\U0041":1')),
    ("lone_surrogate", claims(b'"a":"\\ud800"')),
    ("lone_surrogate", claims(b'"a":"\\udc00"')),
    ("lone_surrogate", claims(b'"a":"\\ud800\\n"')),
    ("lone_surrogate", claims(b'"a":"\\ud800\\ud800"')),
    ("lone_surrogate", claims(b'"a":"\\udc00\\udc00"')),
    ("lone_surrogate", claims(b'"a":"\\ud800\\ue000"')),
    ("control_character", claims(b'"a":"\x00"')),
    ("control_character", claims(b'"a":"\n"')),
    ("control_character", claims(b'"a\x1f":1')),
    ("bad_utf8", claims(b'"a":"\xc0\x80"')),
    ("bad_utf8", claims(b'"a":"\xe0\x9f\xbf"')),
    ("bad_utf8", claims(b'"a":"\xed\xa0\x80"')),
    ("bad_utf8", claims(b'"a":"\xf0\x8f\xbf\xbf"')),
    ("bad_utf8", claims(b'"a":"\xf4\x90\x80\x80"')),
    ("bad_utf8", claims(b'"a":"\xf5\x80\x80\x80"')),
    ("bad_utf8", claims(b'"a":"\xff"')),
    ("bad_utf8", claims(b'"a":"\x80"')),
    ("bad_utf8", claims(b'"a":"\xe2\x82"')),
    ("bad_utf8", compact(claims=b'{"a":"\xf0\x9f\x98')),
    ("duplicate_member", claims(b'"exp":1,"exp":1')),
    ("duplicate_member", claims(b'"exp":1,"\\u0065xp":2')),
    ("duplicate_member", claims(b'"\\u00e9":1,"\xc3\xa9":2')),
    ("duplicate_member", claims(b'"a":{"b":1,"c":2,"b":3}')),
    ("duplicate_member", claims(b'"a":[{"b":1,"b":3}]')),
    ("duplicate_member", claims(b'"":1,"":1')),
    ("duplicate_member", header(b'"alg":"none"')),
    ("duplicate_member", header(b'"jwk":{"kty":"EC","kty":"oct"}')),
    ("too_deep", claims(b'"a":' + b"[" * 16 + b"]" * 16)),
    ("too_deep", claims(b'"a":' + b'{"a":' * 16 + b"1" + b"}" * 16)),
    ("too_deep", claims(b'"a":' + b"[" * 6000)),
    ("too_many_members", claims(b",".join(b'"%d":0' % n for n in range(129)))),
    ("too_many_members", header(b",".join(b'"%d":0' % n for n in range(500)))),
    ("key_too_long", claims(b'"' + b"k" * 257 + b'":0')),
    ("missing_alg", compact(header=b'{"typ":"JWT"}')),
    ("missing_alg", compact(header=b'{"Alg":"ES256"}')),
    ("bad_alg", compact(header=b'{"alg":""}')),
    ("bad_alg", compact(header=b'{"alg":["ES256"]}')),
    ("bad_alg", compact(header=b'{"alg":256}')),
    ("bad_alg", compact(header=b'{"alg":null}')),
    ("bad_alg", compact(header=b'{"alg":"ES256\\u0000"}')),
    ("bad_kid", header(b'"kid":1')),
    ("bad_kid", header(b'"kid":true')),
    ("bad_kid", header(b'"kid":{"a":1}')),
    ("bad_kid", header(b'"kid":["k1"]')),
    ("bad_kid", header(b'"kid":""')),
    ("bad_kid", header(b'"kid":"a\\u0000b"')),
    ("bad_kid", header(b'"kid":"a\\r\\nb"')),
    ("bad_kid", header(b'"kid":"' + b"k" * 257 + b'"')),
    ("bad_typ", header(b'"typ":1')),
    ("bad_typ", header(b'"typ":"JWT\\n"')),
    ("bad_cty", header(b'"cty":1')),
    ("nested", header(b'"cty":"JWT"')),
    ("nested", header(b'"cty":"jwt"')),
    ("nested", header(b'"cty":"application/JWT"')),
    ("crit", header(b'"crit":[]')),
    ("crit", header(b'"crit":["exp"]')),
    ("crit", header(b'"crit":"b64"')),
    ("crit", header(b'"crit":null')),
    ("crit", header(b'"\\u0063rit":["b64"]')),
    ("b64", header(b'"b64":true')),
    ("b64", header(b'"b64":false')),
    ("zip", header(b'"zip":"DEF"')),
    ("bad_iss", claims(b'"iss":["https://id.example"]')),
    ("bad_iss", claims(b'"iss":7')),
    ("bad_iss", claims(b'"iss":null')),
    ("bad_aud", claims(b'"aud":[]')),
    ("bad_aud", claims(b'"aud":""')),
    ("bad_aud", claims(b'"aud":[""]')),
    ("bad_aud", claims(b'"aud":["a",1]')),
    ("bad_aud", claims(b'"aud":["a",["b"]]')),
    ("bad_aud", claims(b'"aud":{"a":"b"}')),
    ("bad_aud", claims(b'"aud":null')),
    ("bad_aud", claims(b'"aud":[' + b",".join([b'"a"'] * 65) + b"]")),
    ("bad_exp", claims(b'"exp":"1900000000"')),
    ("bad_exp", claims(b'"exp":true')),
    ("bad_exp", claims(b'"exp":null')),
    ("bad_exp", claims(b'"exp":[1]')),
    ("bad_exp", claims(b'"exp":-1')),
    ("bad_exp", claims(b'"exp":-0')),
    ("bad_exp", claims(b'"exp":1.0')),
    ("bad_exp", claims(b'"exp":1e3')),
    ("bad_exp", claims(b'"exp":1e400')),
    ("bad_exp", claims(b'"exp":1e-400')),
    ("bad_exp", claims(b'"exp":9007199254740992')),
    ("bad_exp", claims(b'"exp":9223372036854775808')),
    ("bad_exp", claims(b'"exp":18446744073709551617')),
    ("bad_exp", claims(b'"exp":' + b"9" * 400)),
    ("bad_nbf", claims(b'"nbf":"0"')),
    ("bad_iat", claims(b'"iat":0.5')),
    ("bad_identifier", claims(b'"jti":1.0')),
    ("bad_identifier", claims(b'"jti":1e3')),
    ("bad_identifier", claims(b'"jti":-0')),
    ("bad_identifier", claims(b'"sub":true')),
    ("bad_identifier", claims(b'"sid":null')),
    ("bad_identifier", claims(b'"sid":"a","session_id":["b"]')),
    ("bad_identifier", claims(b'"azp":{}')),
    ("bad_identifier", claims(b'"client_id":[]')),
    ("bad_identifier", claims(b'"grant_id":false')),
    ("bad_scope", claims(b'"scope":["read"]')),
    ("bad_scope", claims(b'"scp":7')),
    ("bad_scope", claims(b'"scp":["read",""]')),
    ("bad_scope", claims(b'"scp":["read",7]')),
    ("bad_scope", claims(b'"scp":[' + b",".join([b'"a"'] * 257) + b"]")),
    ("bad_region", claims(b'"region":["eu"]')),
    ("bad_region", claims(b'"region":1')),
    ("bad_region", claims(b'"org":{"region":null}')),
    ("bad_status", claims(b'"status":"revoked"')),
    ("bad_status", claims(b'"status":{"status_list":[]}')),
    ("bad_status", claims(b'"status":{"status_list":{}}')),
    ("bad_status", claims(b'"status":{"status_list":{"idx":1}}')),
    ("bad_status", claims(b'"status":{"status_list":{"uri":"u"}}')),
    ("bad_status", claims(b'"status":{"status_list":{"idx":-1,"uri":"u"}}')),
    ("bad_status", claims(b'"status":{"status_list":{"idx":1,"uri":2}}')),
]


@TWINS
@pytest.mark.parametrize(
    ("code", "text"), CASES, ids=[f"{n}-{name}" for n, (name, _) in enumerate(CASES)]
)
def test_token_scan_names_the_fault_when_a_token_has_one(token, code, text):
    """Each fault has its own code, and an answer with a fault gives nothing out."""
    names = token.ClaimNames(region=("region", "org.region"))
    scan = token.scan(text, names)
    assert token.CODES[scan.code] == scan.name == code
    if code != "ok":
        assert (scan.alg, scan.kid, scan.iss, scan.exp) == ("", None, None, -1)
        assert (scan.aud, scan.signature(), scan.signing_input_end) == ((), b"", 0)
        assert not scan.has_all_required


def test_token_codes_all_have_a_case():
    """A code that no input produces is a code nobody can rely on."""
    assert {name for name, _ in CASES} == set(native.CODES.values())
    assert native.CODES == oracle.CODES
    assert min(native.CODES) == 1


@TWINS
@pytest.mark.parametrize(
    ("code", "where", "text"),
    [
        ("too_large", "token", b"." * 9000),
        ("empty_part", "token", b".e30=.Q"),
        ("bad_length", "token", b"Q.=.QR"),
        ("bad_alphabet", "token", b"Q=R.Q.QR"),
        ("spare_bits", "token", b"QR.Q.Q="),
        ("bad_alphabet", "token", encode(b"[]") + b".e30.Q!"),
        ("not_object", "header", compact(b"[]", b"[]")),
        ("missing_alg", "header", compact(b"{}", b"[]")),
        ("not_object", "claims", compact(claims=b"[]")),
        ("bad_exp", "claims", claims(b'"exp":"x","exp":1')),
        ("bad_exp", "claims", claims(b'"exp":[}')),
        ("bad_number", "claims", claims(b'"exp":01')),
        ("duplicate_member", "claims", claims(b'"exp":1,"exp" 1')),
        ("key_too_long", "claims", claims(b'"' + b"k" * 300 + b'" 0')),
    ],
)
def test_token_scan_reports_the_first_fault_when_there_are_two(
    token, code, where, text
):
    """The whole text comes first, then the header, then the claims, left to right."""
    scan = token.scan(text, token.ClaimNames(region=("region",)))
    assert (scan.name, scan.where) == (code, where)
