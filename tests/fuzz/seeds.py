"""Seeds: where the fuzzer starts from. Nothing of it is kept in the tree.

Owns:      the built-in texts, and what is taken from the third-party vectors.
Called by: tests.fuzz.targets names one of these functions per target; tests.fuzz.run
           writes their texts into a corpus folder.
"""

import base64
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from tests.compact import compact
from tests.config.documents import BASE, EXAMPLE
from tests.vectors import find_vectors

_HOST = b" / HTTP/1.1\r\nHost: a\r\n"
_REQUESTS = (
    b"GET" + _HOST + b"\r\n",
    b"\r\nGET /a?b=%41 HTTP/1.1\r\nhost:a:80\r\nX:\r\n\r\nHEAD" + _HOST + b"\r\n",
    b"POST" + _HOST + b"Content-Length: 5\r\n\r\nhelloGET" + _HOST + b"\r\n",
    b"GET http://a/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"OPTIONS / HTTP/1.0\r\n\r\n",
    b"POST" + _HOST + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    b"GET" + _HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
)
_CHUNKED = b"POST" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n"
_BODIES = (
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b'1;a=b;c="d\\"e"\r\nx\r\n0\r\n\r\n',
    b"A;x\r\n0123456789\r\n000\r\nX-Sum: 1\r\nA: b\r\n\r\n",
    b"1\r\nx\r\n1\r\ny\r\n0\r\nContent-Length: 1\r\n\r\n",
    b"fffffffffffffff\r\nx",
    b"1 \r\nx\r\n0\r\n\r\n",
)
_ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 204\r\nDate: x\r\n\r\n",
    b"HTTP/1.0 302 \r\nLocation: /\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\tchunked \r\nSet-Cookie: a=b\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nETag: \xe9\r\nX: a\n b\r\n\r\n",
)
_CLAIMS = (
    (
        b'{"iss":"https://id.example","sub":"u","aud":["api","b"],"exp":1900000000,'
        b'"iat":1800000000,"nbf":1,"jti":"j","sid":"s","scope":"a b","region":"eu"}'
    ),
    b'{"org":{"region":"us","grant":7},"session_id":5,"azp":"c","scp":["a","b"]}',
    b'{"status":{"status_list":{"uri":"u","idx":5,"x":{}}},"cnf":{"jkt":"t"}}',
    b'{"active":true,"client_id":"\\u0063\\ud83d\\ude00","exp":1e3,"x":[{}, -0.5e+1]}',
    b'{"a":{"b":{"c":"ap"}},"exp":9007199254740991,"exp":2}',
)
_HEADERS = (
    b'{"alg":"ES256","kid":"k1","typ":"at+jwt"}',
    b'{"alg":"RS256","crit":["b64"],"b64":false}',
    b'{"alg":"EdDSA","zip":"DEF","cty":"JWT","jwk":{}}',
)
_ID = "ab" * 8
_EVENT = (
    b'{"id":"e1","kind":"jti","key":"' + b"0f" * 16 + b'","at":1.5,"expires":1900000000'
)
_MORE = (
    b',"origin":"us","cutoff":5,"urgent":true,"reason":"r","hand":["eu"]'
    b',"optional":true}'
)
_FRAMES = (
    b'{"v":1,"t":"event","key_id":"00000000","seq":0,"event":' + _EVENT + _MORE + b"}",
    b'{"v":1,"t":"marker","origin":"eu","writer":"n1","boot":"' + _ID.encode() + b'",'
    b'"as_of":9,"wall":1.5,"marks":{"n1.abcdefgh":{"last":3,"digest":"'
    + b"0a" * 16
    + b'"}},"echo":{"us/n2":"0011"},"max_token_lifetime":900,"roster":["n1"]}',
    b'{"v":1,"t":"report","region":"eu","node":"n1","nonce":"' + _ID.encode() + b'",'
    b'"positions":{"eu":5}}',
    b'{"v":1,"t":"taken","id":"e1","origin":"eu","seq":1,"position":7}',
    b'{"v":2,"t":"event","crit":["x"]}',
)
# RFC 7515 appendix A.3, RFC 8037 appendix A.2: public keys.
_EC = (
    b'{"kty":"EC","crv":"P-256","kid":"k","use":"sig","alg":"ES256",'
    b'"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",'
    b'"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}'
)
_OKP = (
    b'{"kty":"OKP","crv":"Ed25519","key_ops":["verify"],'
    b'"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
)
_RSA_BYTES = b"\xc5" + b"\x11" * 254 + b"\x0b"
_RSA = (
    b'{"kty":"RSA","e":"AQAB","alg":"PS256","kid":"r","n":"'
    + base64.urlsafe_b64encode(_RSA_BYTES).rstrip(b"=")
    + b'"}'
)
_ISSUED = b"200\napplication/json; charset=utf-8\nmax-age=30, private\n3\n\n"


def requests() -> Iterator[bytes]:
    """Requests: built in, and every payload of the HTTP sets."""
    yield from _REQUESTS
    yield from (_CHUNKED + body for body in _BODIES)
    folder = _folder()
    if folder is None:
        return
    for case in _json(folder / "http11probe/payloads.json")["tests"]:
        yield b"".join(base64.b64decode(step["payload_b64"]) for step in case["steps"])
    for name in ("llhttp", "gunicorn"):
        for case in _json(folder / name / "cases.json")["cases"]:
            yield base64.b64decode(case["payload_b64"])
    for case in _json(folder / "http-desync-guardian/cases.json")["cases"]:
        lines = [f"{case['method']} {case['uri']} {case['version']}", "Host: a"]
        lines += [f"{field['name']}:{field['value']}" for field in case["headers"]]
        yield ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def chunked() -> Iterator[bytes]:
    """Chunked bodies: built in, and what follows the heads of the HTTP sets."""
    yield from _BODIES
    for payload in requests():
        head, _, body = payload.partition(b"\r\n\r\n")
        if body and b"chunked" in head.lower():
            yield body


def answers() -> Iterator[bytes]:
    """Response heads: built in, and those of llhttp."""
    yield from _ANSWERS
    for payload in requests():
        if payload.startswith(b"HTTP/"):
            head, found, _ = payload.partition(b"\r\n\r\n")
            yield head + found


def tokens() -> Iterator[bytes]:
    """Compact tokens: built in, and every text of that shape in the vectors."""
    for header in _HEADERS:
        yield from (compact(header, claims) for claims in _CLAIMS)
    yield from (b"", b"..", b"a.b", b"e30.e30.AA", compact(signature=b""))
    shape = re.compile(rb'"([A-Za-z0-9_=+/-]+\.[A-Za-z0-9_=+/-]*\.[A-Za-z0-9_=+/-]*)"')
    folder = _folder()
    for path in sorted(folder.rglob("*.json")) if folder else ():
        yield from shape.findall(path.read_bytes())


def token_parts() -> Iterator[bytes]:
    """Header, claims and signature before they are encoded, with 0xFF between."""
    for header in _HEADERS:
        yield from (b"\xff".join((header, claims, bytes(64))) for claims in _CLAIMS)


def documents() -> Iterator[bytes]:
    """JSON texts: built in, and those of JSONTestSuite."""
    yield from _CLAIMS
    yield from _HEADERS
    folder = _folder()
    if folder is not None:
        for path in sorted((folder / "jsontestsuite/test_parsing").glob("*.json")):
            yield path.read_bytes()


def frames() -> Iterator[bytes]:
    """Frames of the revocation feed, one of each type."""
    yield from _FRAMES


def key_sets() -> Iterator[bytes]:
    """JWKS documents: built in, and every key of the vectors."""
    yield b'{"keys":[]}'
    yield b'{"keys":[' + b",".join((_EC, _OKP, _RSA)) + b"]}"
    yield b'{"keys":[' + _EC + b"," + _EC.replace(b'"k"', b'"d":"AA","kid":"m"') + b"]}"
    yield (
        b'{"keys":[' + _OKP + b"," + _OKP.replace(b'"x"', b'"alg":"EdDSA","x"') + b"]}"
    )
    folder = _folder()
    for path in sorted(folder.rglob("*.json")) if folder else ():
        for key in _keys_in(_json(path)):
            yield json.dumps({"keys": [key]}).encode()


def introspections() -> Iterator[bytes]:
    """Answers: status, media type, Cache-Control and Age, an empty line, the body."""
    yield from (_ISSUED + claims for claims in _CLAIMS)
    phantom = b'{"active":true,"phantom_token":"' + compact(claims=_CLAIMS[0]) + b'"}'
    yield _ISSUED + phantom
    yield b"200\napplication/jwt\nno-store\n\n\n" + compact(claims=_CLAIMS[0])
    yield b'200\napplication/json\n\n\n\n{"active":false}'
    yield b"204\n\n\n\n\n"
    yield b"429\n\n\n30\n\n"
    yield b"401\n\n\n\n\n"


def configurations() -> Iterator[bytes]:
    """Configuration files: the smallest, and the long example."""
    yield BASE.encode()
    yield EXAMPLE.read_bytes()
    yield BASE.replace("[api]", "[&a api, *a]").encode()
    yield BASE.replace("eu", "${REGION}").encode()


def _keys_in(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        if "kty" in value:
            yield value
        for inner in value.values():
            yield from _keys_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys_in(inner)


def _folder() -> Path | None:
    # The vectors are somebody else's; without them the built-in seeds suffice.
    return find_vectors() if os.environ.get("FASTGATE_VECTORS") else None


def _json(path: Path) -> dict:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}  # a test of JSON parsers, not a document
