"""The compiled token scanner and its oracle agree on every attribute of every input."""

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.compact import compact, encode
from tests.oracle import token as oracle

from fastgate._ext import token as native

NAMES = {
    "region": ("region", "org.region", "https://x.example/region", "a.b.c"),
    "grant": ("grant_id", "org.grant", "sid"),
    "require": ("sub", "a"),
    "max_token_bytes": 2000,
    "max_depth": 6,
    "max_members": 12,
    "max_key_bytes": 30,
}
NATIVE = native.ClaimNames(**NAMES)
ORACLE = oracle.ClaimNames(**NAMES)
ATTRIBUTES = [
    *("code", "name", "where", "signing_input_end", "alg", "kid", "typ", "iss", "sub"),
    *("jti", "sid", "client_id", "grant", "region", "region_claim", "aud", "scope"),
    *("has_scope", "exp", "nbf", "iat", "status_idx", "status_uri", "active"),
    *("has_cnf", "has_all_required"),
]
SETTINGS = settings(max_examples=300, deadline=None)

NAMES_READ = [
    *("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "session_id", "cnf"),
    *("client_id", "azp", "scope", "scp", "status", "status_list", "idx", "uri"),
    *("active", "region", "org", "grant", "grant_id", "a", "b", "c", "alg", "kid"),
    *("typ", "cty", "crit", "b64", "zip", "jwk", "org.region"),
    "https://x.example/region",
]
KEYS = st.one_of(st.sampled_from(NAMES_READ), st.text(max_size=8))


def spell(text: str, escaped: int) -> str:
    """A JSON string; bit n of `escaped` spells character n as an escape."""
    out = []
    for n, character in enumerate(text):
        units = character.encode("utf-16-be", "surrogatepass").hex()
        if escaped >> n & 1:
            out.extend(f"\\u{units[k : k + 4]}" for k in range(0, len(units), 4))
        else:
            out.append(json.dumps(character, ensure_ascii=False)[1:-1])
    return '"' + "".join(out) + '"'


MASKS = st.sampled_from([0, 0, 0, 1, 2, 5, 0x80, 0xFFFFFF])


def strings(text=None):
    """A JSON string of this text, or of any."""
    texts = st.text(max_size=12) if text is None else st.just(text)
    return st.builds(spell, texts, MASKS)


SPACE = st.sampled_from(["", "", "", "", " ", "\n", "\t\r"])
NUMBERS = st.one_of(
    st.integers(-5, 2**54).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["-0", "0e0", "1E+5", "1e-400", "01", "-", "1.", "9" * 40, "+1"]),
)
SCALARS = st.one_of(
    strings(), strings(), NUMBERS, st.sampled_from(["true", "false", "null", "NaN"])
)


def objects(values):
    """An object in text form; names repeat now and then."""
    member = st.builds(
        lambda space, key, mask, value: f"{space}{spell(key, mask)}{space}:{value}",
        *(SPACE, KEYS, MASKS, values),
    )
    return st.lists(member, max_size=5).map(lambda all_: "{" + ",".join(all_) + "}")


def arrays(values):
    return st.lists(values, max_size=4).map(lambda entries: f"[{','.join(entries)}]")


VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(objects(inner), arrays(inner)), max_leaves=5
)
RIGHT = st.fixed_dictionaries(
    {},
    optional={
        '"iss"': strings(),
        '"sub"': st.one_of(strings(), st.integers(-9, 9).map(str)),
        '"aud"': st.one_of(strings("api"), st.just('["a", "\\u0062"]')),
        '"exp"': st.integers(0, 2**53).map(str),
        '"iat"': st.integers(0, 2**53).map(str),
        '"jti"': strings(),
        '"session_id"': strings(),
        '"azp"': strings(),
        '"scope"': strings("read  write"),
        '"scp"': st.sampled_from(['"a b"', '["a b","c"]', "[]"]),
        '"region"': strings("eu"),
        '"org"': st.sampled_from(['{"region":"us","grant":7}', '{"x":[]}', '"o"']),
        '"a"': st.sampled_from(['{"b":{"c":"ap"}}', "1", "null", '{"b":[]}']),
        '"status"': st.sampled_from(
            ['{"status_list":{"uri":"u","idx":5,"x":{}}}', "{}", '{"status_list":{}}']
        ),
        '"cnf"': st.just("{}"),
        '"active"': st.sampled_from(["true", "false", "0"]),
    },
).map(lambda members: "{" + ",".join(f"{k}:{v}" for k, v in members.items()) + "}")
DOCUMENTS = st.one_of(objects(VALUES), RIGHT).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)
PIECES = st.sampled_from(
    [
        *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"-", b"1e5", b".5"),
        *(b"\\u00", b"\\ud83d", b"\\ude00", b"\xed\xa0\x80", b"\xc0\x80", b"\0"),
        *(b'"exp":', b'"aud":[', b"null", b"\xef\xbb\xbf", b"\n", b"\x7f", b"x"),
        b"\xf0\x9f\x98",
    ]
)


@st.composite
def damaged(draw, documents):
    """A document with a few cuts and insertions."""
    data = draw(documents)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(start + 4, len(data))))
        piece = draw(st.one_of(st.just(b""), PIECES, st.binary(max_size=3)))
        data = data[:start] + piece + data[end:]
    return data


def view(scan):
    """Everything a scan says."""
    return {name: getattr(scan, name) for name in ATTRIBUTES}, scan.signature()


def check(token: bytes) -> None:
    expected = view(oracle.scan(token, ORACLE))
    for _ in range(2):  # the second time its header may be remembered
        assert view(native.scan(token, NATIVE)) == expected
    assert view(native.scan_unverified(token, NATIVE)) == expected


@SETTINGS
@given(document=DOCUMENTS)
def test_scan_json_agrees_with_oracle_on_documents(document):
    """Documents in JSON's own shapes, with every spelling of their strings."""
    expected = view(oracle.scan_json(document, ORACLE))
    assert view(native.scan_json(document, NATIVE)) == expected


@SETTINGS
@given(document=damaged(DOCUMENTS))
@example(b"")
@example(b'{"a":"\\ud83d\\')
@example(b'{"aud":["a"' + b',"a"' * 64 + b"]}")
def test_scan_json_agrees_with_oracle_on_damaged_documents(document):
    """The same documents with bytes lost, changed and put in."""
    expected = view(oracle.scan_json(document, ORACLE))
    assert view(native.scan_json(document, NATIVE)) == expected


@SETTINGS
@given(document=st.binary(max_size=60).map(lambda tail: b'{"' + tail))
def test_scan_json_agrees_with_oracle_on_noise(document):
    """Arbitrary octets behind an opening brace and quote."""
    expected = view(oracle.scan_json(document, ORACLE))
    assert view(native.scan_json(document, NATIVE)) == expected


@SETTINGS
@given(
    header=st.one_of(
        st.sampled_from([b'{"alg":"ES256"}', b'{"alg":"RS256","kid":"\\u006b"}']),
        DOCUMENTS,
        damaged(DOCUMENTS),
    ),
    claims=st.one_of(DOCUMENTS, damaged(DOCUMENTS)),
    signature=st.binary(max_size=70),
)
def test_scan_agrees_with_oracle_on_tokens(header, claims, signature):
    """Header, claims and signature of every kind, in canonical text."""
    check(compact(header, claims, signature))


@SETTINGS
@given(token=damaged(RIGHT.map(lambda text: compact(claims=text.encode()))))
@example(b"." * 1999)
@example(b"e30.e30." + b"A" * 3000)
def test_scan_agrees_with_oracle_on_damaged_tokens(token):
    """Tokens with characters lost, changed and put in."""
    check(token)


@SETTINGS
@given(
    parts=st.lists(
        st.text("AQgwxE30J9-_=+. \n\x00é", max_size=9), min_size=1, max_size=6
    )
)
def test_scan_agrees_with_oracle_on_text_alone(parts):
    """Any number of short parts over a hostile alphabet."""
    check(".".join(parts).encode())


@SETTINGS
@given(
    depth=st.integers(0, 9),
    opener=st.sampled_from([b"[", b'{"a":', b'{"aud":[', b'{"status":']),
    close=st.booleans(),
)
def test_scan_agrees_with_oracle_on_depth(depth, opener, close):
    """Nesting below, at and past the limit, closed and left open."""
    closer = {b"[": b"]", b'{"aud":[': b"]}"}.get(opener, b"}")
    document = b'{"x":' + opener * depth + b"1" + closer * depth * close + b"}"
    check(compact(claims=document))
    check(compact(header=document))


@SETTINGS
@given(raw=st.binary(max_size=130), size=st.sampled_from([32, 48]))
@example(bytes(64), 32)
@example(b"\xff" * 96, 48)
def test_der_signature_agrees_with_oracle(raw, size):
    """Any octets, for both curves."""
    padded = (raw * 5)[: 2 * size] if len(raw) > 60 else raw
    expected = oracle.der_signature(padded, size)
    assert native.der_signature(padded, size) == expected


@SETTINGS
@given(part=st.binary(max_size=40), cut=st.integers(0, 60))
def test_decoder_agrees_with_oracle_on_parts(part, cut):
    """Any octets and any prefix of their text, as the signature of a good token."""
    text = encode(part)[:cut]
    check(compact(signature=b"").rstrip(b".") + b"." + text)
