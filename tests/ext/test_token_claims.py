"""What a scan gives out for a token that is in order."""

import gc
import json
import sys

import pytest
from tests.compact import CLAIMS, HEADER, SIGNATURE, compact, encode
from tests.oracle import token as oracle

from fastgate._ext import token as native

TWINS = pytest.mark.parametrize("token", [native, oracle], ids=["native", "oracle"])


def read(token, claims: bytes, **names):
    scan = token.scan(compact(claims=claims), token.ClaimNames(**NAMES | names))
    assert scan.name == "ok"
    return scan


NAMES = {"region": ("region", "zone", "org.region")}


@TWINS
def test_scan_reads_every_member_when_all_are_there(token):
    """One token with everything, spelled with white space and escapes."""
    claims = rb"""{ "iss":"https:\/\/id.example", "sub":"user-\u00e9\ud83d\ude00",
        "aud":["api","b\u0061tch"], "exp":1900000000, "nbf":0, "iat":9007199254740991,
        "jti":"P$b2116bfc", "sid":"s1", "session_id":"s2", "client_id":"c1",
        "azp":"c2", "grant_id":"g1", "scope":"read  write ", "scp":["other"],
        "zone":"eu", "cnf":{"jkt":"x"}, "active":true, "roles":[{"exp":"x"},1.5e3],
        "status":{"status_list":{"idx":412,"uri":"https://id.example/s/1"}} }"""
    text = compact(claims=claims)
    scan = token.scan(text, token.ClaimNames(**NAMES, require=("sub", "roles")))
    assert (scan.name, scan.where) == ("ok", "claims")
    assert (scan.alg, scan.kid, scan.typ) == ("ES256", "k1", "at+jwt")
    assert (scan.iss, scan.sub) == ("https://id.example", "user-é😀")
    assert (scan.aud, scan.jti) == (("api", "batch"), "P$b2116bfc")
    assert (scan.exp, scan.nbf, scan.iat) == (1900000000, 0, 2**53 - 1)
    assert (scan.sid, scan.client_id, scan.grant) == ("s1", "c1", "g1")
    assert (scan.scope, scan.has_scope) == (("read", "write"), True)
    assert (scan.region, scan.region_claim) == ("eu", "zone")
    assert (scan.status_idx, scan.status_uri) == (412, "https://id.example/s/1")
    assert (scan.has_cnf, scan.active, scan.has_all_required) == (True, True, True)
    assert scan.signature() == SIGNATURE
    assert text[: scan.signing_input_end] == text.rpartition(b".")[0]


@TWINS
def test_scan_says_absent_when_nothing_is_there(token):
    """Absence has one value per attribute and never looks like a present member."""
    scan = token.scan(
        compact(header=b'{"alg":"x"}', claims=b"{}"), token.ClaimNames(**NAMES)
    )
    texts = (scan.kid, scan.typ, scan.iss, scan.sub, scan.jti, scan.sid, scan.client_id)
    assert set(texts) == {None}
    assert (scan.grant, scan.region, scan.region_claim, scan.status_uri) == (None,) * 4
    assert (scan.exp, scan.nbf, scan.iat, scan.status_idx) == (-1,) * 4
    assert (scan.aud, scan.scope, scan.has_scope) == ((), (), False)
    assert (scan.has_cnf, scan.active, scan.has_all_required) == (False, None, True)


@TWINS
@pytest.mark.parametrize(
    ("claims", "attribute", "value"),
    [
        (b'{"session_id":"s2"}', "sid", "s2"),
        (b'{"session_id":"s2","sid":"s1"}', "sid", "s1"),
        (b'{"azp":"c2"}', "client_id", "c2"),
        (b'{"azp":"c2","client_id":"c1"}', "client_id", "c1"),
        (b'{"jti":0}', "jti", "0"),
        (b'{"jti":-17}', "jti", "-17"),
        (b'{"sub":' + b"9" * 400 + b"}", "sub", "9" * 400),
        (b'{"sub":"\\u0000"}', "sub", "\0"),
        (b'{"sub":""}', "sub", ""),
        (b'{"sub":"\xf4\x8f\xbf\xbf\xee\x80\x80\x7f"}', "sub", "\U0010ffff\ue000\x7f"),
        (b'{"sub":"\\b\\f\\n\\r\\t\\/\\\\\\""}', "sub", '\b\f\n\r\t/\\"'),
        (b'{"s\\u0075b":"x"}', "sub", "x"),
        (b'{"aud":"api"}', "aud", ("api",)),
        (b'{"aud":[ "a" , "\\"b\\"" ]}', "aud", ("a", '"b"')),
        (b'{"aud":["' + b"x" * 300 + b'","y"]}', "aud", ("x" * 300, "y")),
        (b'{"scp":"a b"}', "scope", ("a", "b")),
        (b'{"scp":["a","b c"]}', "scope", ("a", "b c")),
        (b'{"scp":[]}', "scope", ()),
        (b'{"scp":[]}', "has_scope", True),
        (b'{"scope":""}', "has_scope", True),
        (b'{"scope":"","scp":"a"}', "scope", ()),
        (b'{"scope":"a\\tb"}', "scope", ("a\tb",)),
        (b'{"region":"us","zone":"eu"}', "region_claim", "region"),
        (b'{"zone":"eu","region":"us"}', "region_claim", "region"),
        (b'{"org":{"a":{"region":"x"},"region":"ap"}}', "region", "ap"),
        (b'{"org":{"region":"ap"}}', "region_claim", "org.region"),
        (b'{"org":"region"}', "region", None),
        (b'{"org":[{"region":"ap"}]}', "region", None),
        (b'{"org.region":"ap"}', "region", None),
        (b'{"a":{"region":"ap","exp":1,"sub":"x"}}', "region", None),
        (b'{"a":"\\"exp\\":1","b":{"exp":2}}', "exp", -1),
        (b'{"status":{"other":{"idx":"x"}}}', "status_idx", -1),
        (b'{"cnf":null}', "has_cnf", True),
        (b'{"active":false}', "active", False),
        (b'{"active":"true"}', "active", None),
    ],
)
def test_scan_reads_the_claim_when_it_has_this_spelling(
    token, claims, attribute, value
):
    """Preference, packing, unescaping and nesting, one spelling a case."""
    assert getattr(read(token, claims), attribute) == value


@TWINS
def test_scan_takes_a_url_as_one_name_when_it_has_dots(token):
    """Namespaced claims are URLs; their dots lead nowhere."""
    name = "https://example.com/region"
    scan = read(token, b'{"https://example.com/region":"eu"}', region=(name,))
    assert (scan.region, scan.region_claim) == ("eu", name)


@TWINS
@pytest.mark.parametrize(
    ("claims", "complete"),
    [
        (b'{"sub":"a","act":{}}', True),
        (b'{"act":0,"\\u0073ub":1}', True),
        (b'{"sub":"a"}', False),
        (b'{"sub":"a","act":null}', False),
        (b'{"sub":"a","x":{"act":1}}', False),
    ],
)
def test_scan_counts_required_members_at_the_top_alone(token, claims, complete):
    """A required member is there, at the top level, and is not null."""
    assert read(token, claims, require=("sub", "act")).has_all_required is complete


@TWINS
def test_one_claim_may_serve_two_purposes(token):
    """The session may be the grant, and the client may say the region."""
    scan = read(
        token, b'{"sid":"s","azp":"eu"}', grant=("grant_id", "sid"), region=("azp",)
    )
    assert (scan.sid, scan.grant, scan.client_id, scan.region) == ("s", "s", "eu", "eu")


@TWINS
def test_scan_json_reads_the_claims_of_a_bare_document(token):
    """An introspection answer is a claims object without header and signature."""
    names = token.ClaimNames(**NAMES)
    scan = token.scan_json(b'{"active":true,"sub":"u","region":"eu"}', names)
    assert (scan.name, scan.sub, scan.region, scan.active) == ("ok", "u", "eu", True)
    assert (scan.alg, scan.kid, scan.signature(), scan.signing_input_end) == (
        "",
        None,
        b"",
        0,
    )
    assert token.scan_json(b"", names).name == "json_truncated"
    assert token.scan_json(b'{"a":"' + bytes(65536), names).name == "too_large"
    document = b'{"a":"' + b"x" * 65528 + b'"}'
    assert len(document) == 65536
    assert token.scan_json(document, names).name == "ok"


@TWINS
def test_scan_unverified_is_as_strict_as_scan(token):
    """A hint for routing is read by the same rules, or two parsers could disagree."""
    names = token.ClaimNames(**NAMES)
    text = compact(claims=b'{"region":"us","exp":1622813487}')
    assert token.scan_unverified(text, names).region == "us"
    assert token.scan_unverified(text + b"=", names).name == "bad_alphabet"


def test_scan_gives_a_remembered_header_when_it_comes_again():
    """The cache of headers changes no answer, also past its bound and with faults."""
    names = native.ClaimNames(**NAMES)
    headers = [b'{"alg":"ES256","kid":"k%d"}' % n for n in range(9)] * 2
    for n, header in enumerate(headers):
        for _ in range(2):
            scan = native.scan(compact(header=header), names)
            assert (scan.name, scan.kid, scan.typ) == ("ok", f"k{n % 9}", None)
        assert native.scan(compact(header=header, claims=b"["), names).alg == ""
        assert native.scan(compact(header=header + b"x"), names).where == "header"
    long = b'{"alg":"ES256","x":"' + b"y" * 600 + b'"}'
    assert native.scan(compact(header=long), names).alg == "ES256"


def test_scan_remembers_whole_headers_alone():
    """The beginning of a header seen before is no header."""
    names = native.ClaimNames(**NAMES)
    assert native.scan(compact(), names).code == 1
    head, tail = compact().split(b".", 1)
    for size in range(4, len(head), 4):
        scan = native.scan(head[:size] + b"." + tail, names)
        assert (scan.name, scan.where) == ("json_truncated", "header")


def test_scan_reads_a_name_in_its_own_object_alone():
    """A claim's name in the header, in another object, or cut and continued is another.

    The table of names is keyed anew for each profile, so many are tried.
    """
    text = compact(
        header=b'{"alg":"x","iss":1,"exp":"","aud":[],"sid":{},"idx":"","region":1}',
        claims=b'{"alg":1,"kid":{},"crit":[],"zip":1,"idx":"","uri":1,"session_ix":{},'
        b'"client_ix":{},"status":{"exp":"","status_lisx":1,"region":1,"crit":1},'
        b'"org":{"iss":1,"sub":{},"exp":"","aud":[],"status_list":{},"kid":1}}',
    )
    parents = [f"{letter}.v.x" for letter in "abcdefgh"]
    inner = '{"v":{"iss":1,"sub":{},"exp":"","aud":[],"jti":[],"scope":1,"azp":{}}}'
    deep = "{" + ",".join(f'"{letter}":{inner}' for letter in "abcdefgh") + "}"
    for _ in range(200):
        scan = native.scan(text, native.ClaimNames(**NAMES))
        assert scan.name == "ok"
        assert (scan.sid, scan.client_id, scan.region) == (None, None, None)
        names = native.ClaimNames(region=tuple(parents))
        assert native.scan_json(deep.encode(), names).name == "ok"


def test_scan_keeps_no_object_when_it_ran_often():
    """Reference counts of everything shared stay as they were (rule 31)."""
    names = native.ClaimNames(**NAMES)
    text = compact(claims=CLAIMS)
    bad = compact(header=HEADER, claims=b'{"exp":1,"exp":2}')
    native.scan(text, names)

    def counts():
        gc.collect()
        return [sys.getrefcount(o) for o in (names, text, bad, None.__class__)]

    before = counts()
    for _ in range(200):
        scan = native.scan(text, names)
        assert (scan.iss, scan.signature()) == ("https://id.example", SIGNATURE)
        assert native.scan(bad, names).code != 1
        assert native.scan_json(CLAIMS, names).exp == 1900000000
    del scan
    assert counts() == before


def test_scan_survives_the_names_it_was_made_with():
    """A result keeps what it points into."""
    scan = native.scan(
        compact(claims=b'{"zone":"eu"}'), native.ClaimNames(region=("zone",))
    )
    gc.collect()
    assert (scan.region, scan.region_claim, scan.kid) == ("eu", "zone", "k1")


@pytest.mark.parametrize("wrong", ["text", bytearray(b"a.b.c"), memoryview(b"a"), None])
def test_scan_takes_bytes_alone(wrong):
    """A str or a buffer that may change under the scan is a bug of the caller."""
    names = native.ClaimNames(**NAMES)
    with pytest.raises(TypeError):
        native.scan(wrong, names)
    with pytest.raises(TypeError):
        native.scan(compact(), None)
    with pytest.raises(TypeError):
        native.TokenScan()


@pytest.mark.parametrize("size", range(64))
def test_scan_reads_strings_of_any_length_and_place(size):
    """Eight bytes are looked at in one step; no length or offset may matter."""
    for special in ("", "é", "\\n", "😀", "\x7f"):
        for text in (special + "x" * size, "x" * size + special):
            document = '{"a":"","sub":"' + text + '","jti":"j"}'
            expected = json.loads(document)
            scan = native.scan(
                compact(claims=document.encode()), native.ClaimNames(**NAMES)
            )
            assert (scan.sub, scan.jti) == (expected["sub"], "j")
            for cut in range(len(document.encode())):
                part = document.encode()[:cut]
                scan = native.scan_json(part, native.ClaimNames(**NAMES))
                assert scan.name in {"json_truncated", "bad_utf8"}


@pytest.mark.parametrize("size", range(1, 48))
def test_scan_decodes_signatures_of_any_length(size):
    """Every length modulo eight takes its own way through the decoder."""
    octets = bytes(255 - n for n in range(size))
    names = native.ClaimNames(**NAMES)
    text = compact(signature=octets)
    assert native.scan(text, names).signature() == octets
    tail = len(encode(octets))
    for at in range(len(text) - tail, len(text)):
        for byte in b"=+/.~ \n\x00\x7f\x80\xff@[`{:,":
            wrong = text[:at] + bytes([byte]) + text[at + 1 :]
            assert native.scan(wrong, names).where == "token"
            assert native.scan(wrong, names).code != 1
