"""The OAuth message map: every row of PROTOCOLS section 15 that is served."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hotpath.gates import AP, EU, NOW, REGIONS, US
from tests.tokens import token

from fastgate.domain.decision import Decision
from fastgate.domain.region import NO_REGION
from fastgate.domain.request import RequestHead
from fastgate.hotpath.native import ClaimNames
from fastgate.hotpath.oauth import AmbiguousFormError, route_message
from fastgate.hotpath.token_rules import UnverifiedReader

READ = UnverifiedReader(ClaimNames(region=REGIONS.claims))
GRANT = "urn:ietf:params:oauth:grant-type:"
BASIC = b"Basic Z2F0ZXdheTpzZWNyZXQ="
# Readable by anybody, verified by nobody: expired, and signed by whom?
US_TOKEN = token(now=NOW - 10**8, region="us").decode()
AP_TOKEN = token(now=NOW - 10**8, region=None, zone="ap").decode()
MARS_TOKEN = token(now=NOW, region="mars").decode()
OPAQUE = "_0XBPWQQ_c2fdd8f1"
HANDLE = "urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c"


def label(value: object) -> str:
    """Name a case without its tokens, which differ from process to process."""
    text = str(value)
    for name, text_of in (("US", US_TOKEN), ("AP", AP_TOKEN), ("MARS", MARS_TOKEN)):
        text = text.replace(text_of, name)
    return text


def head(
    fields: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
    cookie: str | None = None,
    authorization: bytes | None = None,
    path: str = "/oauth/v2/x",
    query: str = "",
) -> RequestHead:
    """A message; fields make it a form."""
    made = RequestHead(
        method,
        path,
        authorization=authorization,
        cookie=cookie,
        query=query.encode(),
        has_body=fields is not None,
    )
    if fields is not None:
        made.form = {name: [value] for name, value in fields.items()}
    return made


def routed(message: RequestHead) -> Decision:
    """The decision about a message, for its region and source."""
    decision = Decision()
    route_message(decision, message, REGIONS, READ)
    assert decision.region != NO_REGION
    return decision


def where(message: RequestHead) -> tuple[str, str]:
    """Region and source in words."""
    decision = routed(message)
    return REGIONS.names[decision.region], decision.source.value


# What may carry a readable token, and what follows without one: cookie, else default.
READABLE = [
    {"grant_type": "authorization_code", "code": "?"},
    {"grant_type": "refresh_token", "refresh_token": "?"},
    {"token": "?"},
    {"token": "?", "token_type_hint": "refresh_token"},
    {"access_token": "?"},
    {"id_token_hint": "?", "post_logout_redirect_uri": "https://app.example"},
]
# The same, but the cookie is never asked: the default region keeps what is unreadable.
BACK_CHANNEL = [
    {"grant_type": GRANT + "token-exchange", "subject_token": "?"},
    {"grant_type": GRANT + "token-exchange", "actor_token": "?"},
    {"grant_type": GRANT + "jwt-bearer", "assertion": "?"},
]
# Nothing readable at all.
NEVER = [
    {"grant_type": GRANT + "device_code", "device_code": US_TOKEN},
    {"grant_type": "urn:openid:params:grant-type:ciba", "auth_req_id": US_TOKEN},
    {"grant_type": "password", "username": "bob", "password": US_TOKEN},
    {"grant_type": "client_credentials", "scope": "x"},
    {"grant_type": GRANT + "saml2-bearer", "assertion": US_TOKEN},
    {"grant_type": "made-up", "refresh_token": US_TOKEN},
    {"grant_type": "", "refresh_token": US_TOKEN},
    {"client_id": "web", "client_secret": "s", "response_type": "code"},
    {"client_id": "web", "client_assertion": "a.b.c", "request": "x"},
    {"client_id": "tv", "scope": "openid"},
    {"client_id": "tv"},
    {"client_id": "tv", "client_secret": "s", "scope": "openid"},
    {"scope": "openid", "login_hint_token": US_TOKEN},
    {"client_secret": "s", "scope": "openid", "id_token_hint": US_TOKEN},
    {"user_code": "WDJB-MJHT"},
    {"logout_token": US_TOKEN},
    {"request_uri": HANDLE, "client_id": "web"},
]


def with_value(fields: Mapping[str, str], value: str) -> dict[str, str]:
    """The fields of a row with the value in question."""
    return {name: value if text == "?" else text for name, text in fields.items()}


@pytest.mark.parametrize("fields", READABLE + BACK_CHANNEL, ids=label)
def test_message_goes_where_its_token_says(fields: dict[str, str]) -> None:
    """Token beats cookie on the back channel; the difference is noted and repaired."""
    message = head(with_value(fields, US_TOKEN))
    assert where(message) == ("us", "field")
    assert routed(message).conflict is None
    assert where(head(with_value(fields, AP_TOKEN))) == ("ap", "field")
    decision = routed(head(with_value(fields, US_TOKEN), cookie="region=ap"))
    assert (decision.region, decision.conflict) == (US, "cookie")
    assert decision.repair_cookie


@pytest.mark.parametrize(
    "value", [OPAQUE, MARS_TOKEN, "", "a.b.c", "é", US_TOKEN + "="], ids=label
)
@pytest.mark.parametrize("fields", READABLE, ids=label)
def test_message_with_an_unreadable_token_follows_the_cookie(
    fields: dict[str, str], value: str
) -> None:
    """A code or refresh token was made at home, where the cookie leads."""
    unreadable = with_value(fields, value)
    assert where(head(unreadable)) == ("eu", "default")
    assert where(head(unreadable, cookie="region=ap")) == ("ap", "cookie")
    assert where(head(unreadable, cookie="region=mars")) == ("eu", "default")


@pytest.mark.parametrize("fields", BACK_CHANNEL, ids=label)
def test_back_channel_message_with_an_unreadable_token_ignores_the_cookie(
    fields: dict[str, str],
) -> None:
    """These come from servers; a cookie there is somebody else's."""
    unreadable = with_value(fields, OPAQUE)
    assert where(head(unreadable, cookie="region=ap")) == ("eu", "default")


@pytest.mark.parametrize("fields", NEVER, ids=label)
def test_message_about_a_handle_goes_to_the_default_region(
    fields: dict[str, str],
) -> None:
    """Rule 5: what the default region made is redeemed there, despite any cookie."""
    assert where(head(fields, cookie="region=ap")) == ("eu", "default")


def test_exchange_asks_the_subject_before_the_actor() -> None:
    """Then the next source, if the first is unreadable."""
    fields = {"grant_type": GRANT + "token-exchange", "actor_token": AP_TOKEN}
    assert where(head(fields | {"subject_token": US_TOKEN})) == ("us", "field")
    assert where(head(fields | {"subject_token": OPAQUE})) == ("ap", "field")


def test_clients_own_authentication_is_never_a_hint() -> None:
    """Rule 3; a Bearer may authenticate a client at introspection."""
    bearer = b"Bearer " + AP_TOKEN.encode()
    for authorization in (BASIC, bearer):
        refresh = {"grant_type": "refresh_token", "refresh_token": US_TOKEN}
        assert where(head(refresh, authorization=authorization)) == ("us", "field")
        opaque = {"token": OPAQUE}
        assert where(head(opaque, authorization=authorization)) == ("eu", "default")


@pytest.mark.parametrize(
    "fields",
    [
        {"client_id": "web", "response_type": "code"},
        {"scope": "openid", "login_hint": "bob"},
        {"scope": "openid", "id_token_hint": US_TOKEN},
        {"anything": "else"},
        {},
    ],
    ids=label,
)
def test_message_of_an_authenticated_client_goes_to_the_default_region(
    fields: dict[str, str],
) -> None:
    """Pushed, device and CIBA requests: each makes a handle that nobody can read."""
    message = head(fields, authorization=BASIC, cookie="region=ap")
    assert where(message) == ("eu", "default")
    public = head({"client_id": "w", "response_type": "code"}, path="/oauth/v2/par")
    assert where(public) == ("eu", "default")


@pytest.mark.parametrize(
    ("query", "cookie", "expected"),
    [
        ("client_id=w&response_type=code", None, ("eu", "default")),
        ("client_id=w&response_type=code", "region=ap", ("ap", "cookie")),
        (f"response_type=code&id_token_hint={US_TOKEN}", None, ("us", "hint")),
        (f"response_type=code&id_token_hint={US_TOKEN}", "region=ap", ("ap", "cookie")),
        (f"response_type=code&id_token_hint={US_TOKEN}", "region=x", ("us", "hint")),
        (f"response_type=code&id_token_hint={OPAQUE}", None, ("eu", "default")),
        (f"request_uri={HANDLE}&client_id=w", "region=ap", ("eu", "default")),
        ("request_uri=urn:example:bwc4&client_id=w", "region=ap", ("eu", "default")),
        ("request_uri=https%3A%2F%2Fapp.example%2Fr", "region=ap", ("ap", "cookie")),
        (f"id_token_hint={US_TOKEN}", "region=ap", ("us", "field")),
        (f"id_token_hint={OPAQUE}", "region=ap", ("ap", "cookie")),
        ("user_code=WDJB-MJHT", "region=ap", ("eu", "default")),
        ("", "region=ap", ("ap", "cookie")),
        ("", None, ("eu", "default")),
    ],
)
def test_front_channel_follows_the_cookie_before_any_hint(
    query: str, cookie: str | None, expected: tuple[str, str]
) -> None:
    """Authorize, login pages, end session and device pages, by GET and by POST."""
    assert where(head(method="GET", query=query, cookie=cookie)) == expected
    pairs = dict(pair.split("=", 1) for pair in query.split("&") if pair)
    form = {
        name: value.replace("%3A", ":").replace("%2F", "/")
        for name, value in pairs.items()
    }
    assert where(head(form, cookie=cookie)) == expected


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"DPoP"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_userinfo_goes_where_its_bearer_says(method: str, scheme: bytes) -> None:
    """By header, with or without a form; an opaque one follows the cookie."""
    readable = scheme + b" " + US_TOKEN.encode()
    opaque = scheme + b" " + OPAQUE.encode()
    assert where(head(method=method, authorization=readable)) == ("us", "field")
    followed = head(method=method, authorization=opaque, cookie="region=ap")
    assert where(followed) == ("ap", "cookie")
    assert where(head(method=method, authorization=scheme)) == ("eu", "default")
    form = head({"schema": "openid"}, authorization=readable)
    assert where(form) == ("us", "field")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        "/oauth/v2/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/oauth/v2",
        "/oauth/v2/jwks",
        "/oauth/v2/jwks.json",
    ],
)
def test_global_configuration_does_not_travel(path: str, method: str) -> None:
    """The same everywhere: this gateway's own region, whatever the client says."""
    assert where(head(method=method, path=path, cookie="region=us")) == ("ap", "own")


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD"])
def test_options_and_head_read_no_field(method: str) -> None:
    """Rule 6."""
    message = head(
        method=method,
        query=f"request_uri={HANDLE}&id_token_hint={US_TOKEN}",
        authorization=b"Bearer " + US_TOKEN.encode(),
        cookie="region=ap",
    )
    assert where(message) == ("ap", "cookie")


@pytest.mark.parametrize(
    "name", ["token", "grant_type", "refresh_token", "id_token_hint", "request_uri"]
)
def test_message_with_a_parameter_twice_is_ambiguous(name: str) -> None:
    """Rule 2: another reader may take the other one, equal or not."""
    message = head({})
    message.form = {name: ["a", "a"]}
    with pytest.raises(AmbiguousFormError):
        routed(message)
    with pytest.raises(AmbiguousFormError):
        routed(head(method="GET", query=f"{name}=a&x=y&{name}=b"))


def test_message_may_repeat_what_the_standards_let_it() -> None:
    """`resource` and `audience` (RFC 8707, RFC 8693), and fields of login pages."""
    message = head({"grant_type": "refresh_token", "refresh_token": US_TOKEN})
    message.form |= {name: ["a", "b"] for name in ("resource", "audience", "box")}
    assert where(message) == ("us", "field")


def test_query_of_too_many_fields_is_refused() -> None:
    """Bounded work for whatever stands behind the question mark."""
    assert where(head(method="GET", query="&".join(["a=b"] * 64))) == ("eu", "default")
    with pytest.raises(AmbiguousFormError):
        routed(head(method="GET", query="&".join(["a=b"] * 65)))


@given(
    st.dictionaries(
        st.sampled_from(["token", "grant_type", "code", "client_id", "user_code"]),
        st.lists(st.text(max_size=8), max_size=2),
    ),
    st.one_of(st.none(), st.binary(max_size=12)),
    st.one_of(st.none(), st.text(max_size=12)),
    st.text("&=%;token_hint+", max_size=24),
)
def test_message_of_any_content_names_a_region_or_is_ambiguous(
    form: dict[str, list[str]],
    authorization: bytes | None,
    cookie: str | None,
    query: str,
) -> None:
    """Never another fault, and never an index outside the closed set."""
    for method, fields in (("POST", form), ("GET", None)):
        message = head(
            method=method, authorization=authorization, cookie=cookie, query=query
        )
        message.form = fields
        try:
            assert routed(message).region in {EU, US, AP}
        except AmbiguousFormError:
            continue
