"""Identity: the provider speaks OAuth as a real one does."""

import base64
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import jwt
import pytest
from aiohttp import web

from fastgate.demo.accounts import challenge_of
from fastgate.demo.identity import Identity
from fastgate.demo.notices import Notices
from fastgate.demo.server import LoopbackServer
from fastgate.demo.signing import IssuerKeys
from fastgate.demo.world import ISSUER, REDIRECT_URI

HOST = "127.0.0.1"
VERIFIER = "v" * 43
SECRET = "gateway-secret"


class Admin:
    """The admin API of a gateway, as far as a provider needs it."""

    def __init__(self):
        self.events = []
        self.status = 201
        app = web.Application()
        app.router.add_post("/v1/revocations", self._enter)
        self.server = LoopbackServer(app)

    async def _enter(self, request):
        self.events.append(await request.json())
        return web.json_response({"id": "e1"}, status=self.status)


class Caller:
    """A client of one provider."""

    def __init__(self, identity, port, session):
        self.identity = identity
        self._url = f"http://{HOST}:{port}/oauth/v2/"
        self._session = session

    async def ask(self, method, path, **options):
        url = self._url + path
        async with self._session.request(
            method, url, allow_redirects=False, **options
        ) as answer:
            await answer.read()
            return answer

    async def authorize(self, **override):
        query = {
            "client_id": "web-app",
            "redirect_uri": REDIRECT_URI,
            "response_type": "code",
            "scope": "openid orders",
            "state": "st4te",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
            **override,
        }
        query = {name: value for name, value in query.items() if value is not None}
        return await self.ask("GET", f"oauth-authorize?{urlencode(query)}")

    async def code(self, **override):
        answer = await self.authorize(login_hint="bob", **override)
        assert answer.status == 303
        return query_of(answer)["code"]

    async def token(self, **form):
        return await self.ask("POST", "oauth-token", data=form)

    async def sign_in(self, client_id="web-app"):
        answer = await self.token(
            grant_type="authorization_code",
            client_id=client_id,
            code=await self.code(client_id=client_id),
            code_verifier=VERIFIER,
            redirect_uri=REDIRECT_URI,
        )
        assert answer.status == 200
        return await answer.json()

    async def introspect(self, token, accept="application/json", secret=SECRET):
        basic = base64.b64encode(f"gateway:{secret}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Accept": accept}
        data = {"token": token}
        return await self.ask("POST", "oauth-introspect", data=data, headers=headers)


def query_of(answer):
    query = parse_qs(urlsplit(answer.headers["Location"]).query)
    return {name: values[0] for name, values in query.items()}


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


@pytest.fixture
async def admin():
    fake = Admin()
    fake.port = await fake.server.start(HOST, 0)
    yield fake
    await fake.server.stop()


@pytest.fixture
async def caller(admin):
    identity = Identity(
        "us",
        keys=IssuerKeys(),
        public_url="http://gateway.example.com",
        notices=Notices("us", [f"http://{HOST}:{admin.port}"]),
        gateway_secret=SECRET,
    )
    port = await identity.start(HOST, 0)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Caller(identity, port, session)
    await identity.stop()


async def test_metadata_names_the_global_issuer_and_the_region_s_gateway(caller):
    """One issuer for the world; clients talk to their gateway."""
    answer = await caller.ask("GET", "oauth-anonymous/.well-known/openid-configuration")
    document = await answer.json()
    assert document["issuer"] == ISSUER
    assert document["jwks_uri"].startswith("http://gateway.example.com/oauth/v2/")


async def test_jwks_verify_a_token_and_fetches_are_counted(caller):
    """The key set does what it is for."""
    tokens = await caller.sign_in()
    keys = (await (await caller.ask("GET", "oauth-anonymous/jwks")).json())["keys"]
    token = tokens["access_token"]
    verified = jwt.decode(
        token, jwt.PyJWK(keys[0]).key, algorithms=["ES256"], audience="api"
    )
    assert verified["region"] == "us"
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    assert caller.identity.asked["jwks"] == 1


async def test_sign_in_sets_the_region_cookie_and_returns_the_state(caller):
    """The browser comes back with code, state and issuer, and knows its region."""
    answer = await caller.authorize(login_hint="bob")
    assert query_of(answer)["state"] == "st4te"
    assert query_of(answer)["iss"] == ISSUER
    assert answer.cookies["region"].value == "us"
    assert claims(query_of(answer)["code"])["region"] == "us"


async def test_browser_that_signed_in_before_is_not_asked_again(caller):
    """The provider's own cookie remembers the user."""
    first = await caller.authorize(login_hint="bob")
    url = f"oauth-authorize?{urlencode({'client_id': 'web-app'})}"
    assert (await caller.ask("GET", url)).status == 400
    headers = {"Cookie": f"sso={first.cookies['sso'].value}"}
    query = urlencode(
        {
            "client_id": "web-app",
            "redirect_uri": REDIRECT_URI,
            "response_type": "code",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
        }
    )
    again = await caller.ask("GET", f"oauth-authorize?{query}", headers=headers)
    assert again.status == 303


async def test_unknown_user_sees_the_login_page(caller):
    """Without a name there is a page, and no cookie."""
    for hint in (None, "nobody", "alice"):
        answer = await caller.authorize(login_hint=hint)
        assert answer.status == 200
        assert "region" not in answer.cookies


async def test_foreign_user_is_sent_home_by_cookie(caller):
    """This region keeps nothing of alice; her next request goes to eu."""
    query = {
        "client_id": "web-app",
        "redirect_uri": REDIRECT_URI,
        "response_type": "code",
        "code_challenge": "x",
        "code_challenge_method": "S256",
    }
    path = f"oauth-authorize?{urlencode(query)}"
    answer = await caller.ask("POST", path, data={"username": "alice"})
    assert answer.status == 303
    assert answer.headers["Location"].startswith("/oauth/v2/oauth-authorize?")
    assert answer.cookies["region"].value == "eu"
    assert (await caller.ask("POST", path, data={"username": "eve"})).status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "evil-app"},
        {"redirect_uri": "https://evil.example.com/"},
        {"response_type": "token"},
        {"code_challenge": None},
        {"code_challenge_method": "plain"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_authorization_request_is_not_redirected_when_wrong(caller, wrong):
    """An error page, never a redirect to a place nobody registered."""
    answer = await caller.authorize(login_hint="bob", **wrong)
    assert answer.status == 400
    assert "Location" not in answer.headers


async def test_codes_and_refresh_tokens_name_only_the_home_region(caller):
    """Wrapped tokens carry the members of seed 000 and nothing of the user."""
    tokens = await caller.sign_in("tv-app")
    for token in (tokens["refresh_token"], tokens["access_token"]):
        assert set(claims(token)) == {"iss", "azp", "jti", "iat", "exp", "region"}


@pytest.mark.parametrize("client_id", ["web-app", "phone-app", "tv-app"])
async def test_introspection_answers_with_the_phantom_token(caller, client_id):
    """Whatever kind the client holds, the gateway gets a JWT that says everything."""
    token = (await caller.sign_in(client_id))["access_token"]
    answer = await caller.introspect(token, "application/jwt")
    assert answer.content_type == "application/jwt"
    assert claims(await answer.text())["sub"] == "bob"
    assert answer.headers["Cache-Control"].startswith("max-age=")
    document = await (await caller.introspect(token)).json()
    assert document["active"] is True
    assert claims(document["phantom_token"])["jti"] == document["jti"]


async def test_introspection_says_inactive_for_anything_else(caller):
    """Unknown text and a refresh token are no access tokens."""
    tokens = await caller.sign_in()
    for token in ("unknown", tokens["refresh_token"], tokens["id_token"]):
        assert await (await caller.introspect(token)).json() == {"active": False}
        assert (await caller.introspect(token, "application/jwt")).status == 204


async def test_introspection_is_for_the_gateway_alone(caller):
    """Another password gets 401 and a challenge."""
    answer = await caller.introspect("x", secret="guess")
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


async def test_refresh_token_is_good_once(caller):
    """Rotation over HTTP: a new pair, and the old one within the grace gets the new."""
    tokens = await caller.sign_in()
    form = {"grant_type": "refresh_token", "client_id": "web-app"}
    answer = await caller.token(**form, refresh_token=tokens["refresh_token"])
    assert answer.status == 200
    renewed = await answer.json()
    assert claims(renewed["refresh_token"])["jti"] != claims(tokens["refresh_token"])
    wrong = await caller.token(**form, refresh_token=tokens["access_token"])
    assert (wrong.status, (await wrong.json())["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({"grant_type": "password", "client_id": "web-app"}, 400, "unsupported_g"),
        ({"grant_type": "refresh_token", "client_id": "evil"}, 401, "invalid_client"),
        ({"grant_type": "refresh_token"}, 401, "invalid_client"),
    ],
    ids=["grant", "client", "no client"],
)
async def test_token_request_is_refused_when_wrong(caller, form, status, code):
    """The errors of RFC 6749 section 5.2."""
    answer = await caller.token(**form)
    assert answer.status == status
    assert (await answer.json())["error"].startswith(code)


async def test_revocation_tells_the_gateway_before_it_answers(caller, admin):
    """An access token is revoked by jti, a refresh token ends its session."""
    tokens = await caller.sign_in()
    access = claims(tokens["access_token"])
    for name, kind, value in (
        ("access_token", "jti", access["jti"]),
        ("refresh_token", "sid", access["sid"]),
    ):
        form = {"client_id": "web-app", "token": tokens[name]}
        assert (await caller.ask("POST", "oauth-revoke", data=form)).status == 200
        event = admin.events.pop()
        assert (event["kind"], event["value"], event["home"]) == (kind, value, "us")
        active = await (await caller.introspect(tokens["access_token"])).json()
        assert active == {"active": False}


async def test_revocation_of_an_unknown_token_is_fine_and_tells_nobody(caller, admin):
    """RFC 7009 section 2.2; and a client may only revoke its own tokens."""
    tokens = await caller.sign_in()
    for token, client in (("junk", "web-app"), (tokens["access_token"], "phone-app")):
        form = {"client_id": client, "token": token}
        assert (await caller.ask("POST", "oauth-revoke", data=form)).status == 200
    assert admin.events == []


async def test_revocation_is_refused_while_the_gateway_does_not_take_it(caller, admin):
    """503 means that the token still lives, and it does (RFC 7009 section 2.2.1)."""
    admin.status = 503
    tokens = await caller.sign_in()
    form = {"client_id": "web-app", "token": tokens["access_token"]}
    answer = await caller.ask("POST", "oauth-revoke", data=form)
    assert answer.status == 503
    assert "Retry-After" in answer.headers
    active = await (await caller.introspect(tokens["access_token"])).json()
    assert active["active"] is True


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_end_session_ends_it_everywhere(caller, admin, method):
    """The session of the ID token ends here, and the gateway is told."""
    tokens = await caller.sign_in()
    fields = {
        "id_token_hint": tokens["id_token"],
        "post_logout_redirect_uri": "https://app.example.com/",
    }
    options = {"params": fields} if method == "GET" else {"data": fields}
    answer = await caller.ask(method, "oauth-logout", **options)
    assert answer.status == 303
    assert answer.headers["Location"] == "https://app.example.com/"
    assert admin.events[0]["kind"] == "sid"
    form = {
        "grant_type": "refresh_token",
        "client_id": "web-app",
        "refresh_token": tokens["refresh_token"],
    }
    assert (await caller.token(**form)).status == 400


async def test_end_session_needs_to_know_which(caller, admin):
    """A hint that we did not sign names no session; nobody is redirected."""
    foreign = IssuerKeys().token({"sid": "s$1"}, "JWT")
    for hint in ("", foreign):
        params = {
            "id_token_hint": hint,
            "post_logout_redirect_uri": "https://evil.example.com/",
        }
        answer = await caller.ask("GET", "oauth-logout", params=params)
        assert answer.status == 400
    assert admin.events == []


async def test_userinfo_takes_the_token_from_header_or_form(caller):
    """GET and POST, any kind of access token; anything else is 401."""
    token = (await caller.sign_in("phone-app"))["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    for answer in (
        await caller.ask("GET", "oauth-userinfo", headers=headers),
        await caller.ask("POST", "oauth-userinfo", data={"access_token": token}),
    ):
        assert (await answer.json())["sub"] == "bob"
        assert answer.headers["X-Demo-Region"] == "us"
    assert (await caller.ask("GET", "oauth-userinfo")).status == 401


async def test_parameter_that_comes_twice_is_refused(caller):
    """RFC 6749 section 3.2."""
    data = "grant_type=refresh_token&client_id=web-app&client_id=phone-app"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await caller.ask("POST", "oauth-token", data=data, headers=headers)
    assert (await answer.json())["error"] == "invalid_request"
