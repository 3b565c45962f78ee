"""Introspection messages: each row of the table in PROTOCOLS.md section 4."""

import base64
from urllib.parse import parse_qs

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.key_fakes import answer
from tests.tokens import token

from fastgate.control.introspection_answer import question, read_answer
from fastgate.domain.introspection import AnswerKind
from fastgate.domain.token import Introspection

NOW = 1_800_000_000
HOW = Introspection(("https://login.example.com/introspect",), "gateway", "s3cret")
JWT = token(now=NOW)


def read(body=b"", **rest):
    headers = {name: value for name, value in rest.items() if name != "status"}
    status = rest.get("status", 200)
    return read_answer(answer(body, status=status, **headers), HOW, wall_s=NOW)


def read_json(document, **headers):
    return read(orjson.dumps(document), **headers)


def read_jwt(text=JWT, **headers):
    return read(text, **{"content_type": "application/jwt", **headers})


def test_question_is_a_form_with_basic_credentials():
    """RFC 7662 section 2.1, RFC 6749 section 2.3.1."""
    headers, body = question(HOW, b"opaque-token_1")
    assert headers["accept"] == "application/jwt, application/json;q=0.5"
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    pair = base64.b64encode(b"gateway:s3cret").decode()
    assert headers["authorization"] == f"Basic {pair}"
    assert body == b"token=opaque-token_1&token_type_hint=access_token"


def test_question_encodes_token_and_credentials():
    """Nothing in a token or a secret can add a member or a second credential."""
    how = Introspection(("u",), "a:b", "p&q=r s%")
    headers, body = question(how, b"a&active=true+%\xff")
    basic = base64.b64decode(headers["authorization"].removeprefix("Basic "))
    assert basic == b"a%3Ab:p%26q%3Dr+s%25"
    assert body.startswith(b"token=a%26active%3Dtrue%2B%25%FF&")


def test_question_carries_credentials_in_the_form_when_configured():
    """client_secret_post: no Authorization header then."""
    how = Introspection(("u",), "a&b", "c=d", post_credentials=True)
    headers, body = question(how, b"t")
    assert "authorization" not in headers
    form = parse_qs(body.decode())
    assert (form["client_id"], form["client_secret"]) == (["a&b"], ["c=d"])


def test_jwt_answer_is_a_phantom_token():
    """200 application/jwt: the gate verifies it like any other."""
    said = read_jwt(JWT + b"\r\n", content_type="Application/JWT; charset=utf-8")
    assert (said.kind, said.payload) == (AnswerKind.JWT, JWT)
    assert said.life_s == 60


def test_json_answer_with_phantom_member_is_a_phantom_token():
    """The configured member carries the JWT."""
    said = read_json({"active": True, "phantom_token": JWT.decode(), "exp": NOW + 30})
    assert (said.kind, said.payload) == (AnswerKind.JWT, JWT)
    assert said.life_s == 30


def test_json_answer_without_phantom_member_is_claims():
    """The document itself goes to the gate's strict scanner."""
    document = {"active": True, "sub": "bob", "exp": NOW + 600}
    said = read_json(document)
    assert (said.kind, said.payload) == (AnswerKind.CLAIMS, orjson.dumps(document))
    assert said.life_s == 60


@pytest.mark.parametrize("said", [read_json({"active": False}), read(status=204)])
def test_inactive_answers_are_remembered_for_ten_seconds(said):
    """200 active false and 204 are the two ways to say no."""
    assert said.kind is AnswerKind.INACTIVE
    assert said.life_s == 10


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_the_gateways_trouble(status):
    """Never 401 to the client: its token was not even looked at."""
    said = read(b'{"active":false}', status=status)
    assert said.kind is AnswerKind.ISSUER_FAULT
    assert said.credentials_refused
    assert said.life_s == 0


@pytest.mark.parametrize(
    ("status", "retry_after", "seconds"),
    [
        (429, "7", 7),
        (503, "120", 120),
        (503, "99999", 3600),
        (503, "9" * 5000, 0),
        (500, "Wed, 21 Oct 2026 07:28:00 GMT", 0),
        (502, "-5", 0),
        (504, "", 0),
        (599, "1_0", 0),
    ],
)
def test_absent_issuer_is_unavailable_with_its_retry_after(
    status, retry_after, seconds
):
    """429 and 5xx: never cached, never 401."""
    said = read(b'{"active":true}', status=status, retry_after=retry_after)
    assert (said.kind, said.retry_after_s) == (AnswerKind.UNAVAILABLE, seconds)
    assert said.life_s == 0


NONSENSE = {
    "not_found": read(status=404),
    "redirect": read(status=302, location="https://evil.example/"),
    "bad_request": read(b'{"active":true}', status=400),
    "created": read(b'{"active":true}', status=201),
    "html": read(b"<html>", content_type="text/html"),
    "html_as_json": read(b"<html>"),
    "no_type": read(b'{"active":true}', content_type=""),
    "signed_answer": read(JWT, content_type="application/token-introspection+jwt"),
    "empty": read(b""),
    "list": read(b"[]"),
    "bom": read(b'\xef\xbb\xbf{"active":true}'),
    "doubled_active": read(b'{"active":true,"active":false}'),
    "doubled_escaped": read(b'{"active":false,"\\u0061ctive":true}'),
    "no_active": read_json({"sub": "bob"}),
    "active_text": read_json({"active": "true"}),
    "active_number": read_json({"active": 1}),
    "active_null": read_json({"active": None}),
    "active_list": read_json({"active": [True]}),
    "exp_text": read_json({"active": True, "exp": str(NOW + 60)}),
    "exp_float": read_json({"active": True, "exp": NOW + 60.5}),
    "exp_bool": read_json({"active": True, "exp": True}),
    "exp_null": read_json({"active": True, "exp": None}),
    "exp_negative": read_json({"active": True, "exp": -1}),
    "exp_huge": read_json({"active": True, "exp": 2**53}),
    "exp_nan": read(b'{"active":true,"exp":NaN}'),
    "phantom_number": read_json({"active": True, "phantom_token": 7}),
    "phantom_opaque": read_json({"active": True, "phantom_token": "opaque"}),
    "phantom_not_ascii": read_json({"active": True, "phantom_token": "é.é.é"}),
    "phantom_exp_text": read_json(
        {"active": True, "exp": "1", "phantom_token": JWT.decode()}
    ),
    "jwt_empty": read_jwt(b""),
    "jwt_json": read_jwt(b'{"active":false}'),
    "jwt_two_parts": read_jwt(JWT.rpartition(b".")[0]),
    "jwt_padded": read_jwt(JWT.replace(b".", b"=.")),
    "jwt_no_object": read_jwt(b"e30.W10.AAAA"),
    "jwt_exp_text": read_jwt(token(now=NOW, exp="soon")),
    "jwt_bytes": read_jwt(b"\xff.\xff.\xff"),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_i8_nonsense_is_the_issuers_fault(case):
    """502, never 2xx, never 401, never remembered."""
    said = NONSENSE[case]
    assert said.kind is AnswerKind.ISSUER_FAULT
    assert said.life_s == 0
    assert said.payload == b""
    assert not said.credentials_refused


@pytest.mark.parametrize(
    ("headers", "life_s"),
    [
        ({}, 60),
        ({"cache_control": "max-age=20"}, 20),
        ({"cache_control": "max-age=3600"}, 60),
        ({"cache_control": "max-age=0"}, 0),
        ({"cache_control": "max-age=-1"}, 0),
        ({"cache_control": "no-store"}, 0),
        ({"cache_control": "No-Store, max-age=60"}, 0),
        ({"cache_control": "no-cache"}, 0),
        ({"cache_control": "private"}, 60),
        ({"cache_control": "max-age=30", "age": "10"}, 20),
    ],
)
def test_active_answer_lives_as_cache_control_says_within_a_minute(headers, life_s):
    """The smallest of exp, max-age and 60 s; no-store is obeyed."""
    assert read_jwt(**headers).life_s == life_s
    document = {"active": True, "sub": "bob", "exp": NOW + 600}
    assert read_json(document, **headers).life_s == life_s


@pytest.mark.parametrize(("offset_s", "life_s"), [(25, 25), (0, 0), (-5, 0), (999, 60)])
def test_active_answer_lives_no_longer_than_its_token(offset_s, life_s):
    """I9: never past exp."""
    assert read_jwt(token(now=NOW, exp=NOW + offset_s)).life_s == life_s
    document = {"active": True, "sub": "bob", "exp": NOW + offset_s}
    assert read_json(document).life_s == life_s


def test_answer_without_identifiers_lives_no_longer_than_any_route_allows():
    """The revocation index cannot find it, so it ages like a revocation state."""
    assert read_json({"active": True, "client_id": "x"}).life_s == 5
    assert read_json({"active": True, "sub": ""}).life_s == 5
    assert read_jwt(token(now=NOW, jti=None, sid=None, sub=None)).life_s == 5
    outer = {"active": True, "sub": "bob"}
    bare = token(now=NOW, jti=None, sid=None, sub=None).decode()
    assert read_json({**outer, "phantom_token": bare}).life_s == 5


@settings(deadline=None)
@given(
    st.binary(max_size=200),
    st.integers(100, 999),
    st.sampled_from(["application/json", "application/jwt", "text/html", ""]),
)
def test_reading_an_answer_never_raises_nor_vouches_by_chance(body, status, media):
    """Hostile answers are a kind, not an exception."""
    said = read(body, status=status, content_type=media)
    assert said.kind is not AnswerKind.JWT
    assert said.kind is not AnswerKind.CLAIMS or b"true" in body
