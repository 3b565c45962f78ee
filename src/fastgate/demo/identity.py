"""Identity: an OAuth and OpenID provider, one a region, under one global name.

Owns:      the HTTP endpoints of one region's provider and the count of what was asked.
Called by: demo.regions, one a region; the tour, the gateways and browsers over HTTP.
Source:    RFC 6749, RFC 7009, RFC 7662, RFC 8414, OpenID Connect Core 1.0 and
           RP-Initiated Logout 1.0; PROTOCOLS.md sections 4, 5, 12 and 15.

A stand-in: naming a user signs that user in. Everything else is real, so that gateways
meet what they meet in front of a real provider. Keys and the name of the issuer are the
same everywhere; sessions and tokens are only where the user lives.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from fastgate.demo.accounts import Access, Accounts, GrantError, Session
from fastgate.demo.front import Front
from fastgate.demo.notices import NoticeError, Notices
from fastgate.demo.server import LoopbackServer, json_answer
from fastgate.demo.signing import IssuerKeys
from fastgate.demo.tokens import Credentials, Minter
from fastgate.demo.world import CLIENTS, GATEWAY_CLIENT, ISSUER, OAUTH

__all__ = ["Identity"]

_MAX_FORM_BYTES: Final = 1 << 16
_KEY_LIFE_S: Final = 600

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class OAuthError(Exception):
    """What a client is told of its mistake (RFC 6749 section 5.2)."""

    def __init__(self, code: str, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status


class Identity:
    """The identity provider of one region.

    region: Whose users it keeps. keys: Shared by all regions.
    public_url: Where clients find it: the region's gateway.
    notices: Tells the region's gateway what has been revoked.
    gateway_secret: Password of the one client that may introspect.
    asked: How often each endpoint was called: `jwks`, `token`, `introspect` ...
    """

    def __init__(
        self,
        region: str,
        *,
        keys: IssuerKeys,
        public_url: str,
        notices: Notices,
        gateway_secret: str,
    ) -> None:
        self.region = region
        self.asked: Counter[str] = Counter()
        self._keys = keys
        self._public_url = public_url
        self._notices = notices
        self._accounts = Accounts()
        self._minter = Minter(region, keys, self._accounts)
        self._credentials = Credentials(self._minter, self._accounts, gateway_secret)
        self._front = Front(region, self._accounts, self._minter, notices)
        self._server = LoopbackServer(self._application())

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port."""
        return await self._server.start(host, port)

    async def stop(self) -> None:
        """Stop listening."""
        await self._server.stop()
        await self._notices.close()

    def _application(self) -> web.Application:
        app = web.Application(
            client_max_size=_MAX_FORM_BYTES, middlewares=[self._border]
        )
        here = f"{OAUTH}oauth-anonymous"
        metadata = f"{here}/.well-known/openid-configuration"
        app.router.add_get(metadata, self._metadata, name="metadata")
        app.router.add_get(f"{here}/jwks", self._jwks, name="jwks")
        authorize = app.router.add_resource(f"{OAUTH}oauth-authorize", name="authorize")
        authorize.add_route("GET", self._front.authorize)
        authorize.add_route("POST", self._front.sign_in)
        for name, handler in (
            ("token", self._token),
            ("introspect", self._introspect),
            ("revoke", self._revoke),
        ):
            app.router.add_post(f"{OAUTH}oauth-{name}", handler, name=name)
        either: dict[str, Handler] = {
            "userinfo": self._userinfo,
            "logout": self._front.end_session,
        }
        for name, handle in either.items():
            resource = app.router.add_resource(f"{OAUTH}oauth-{name}", name=name)
            resource.add_route("GET", handle)
            resource.add_route("POST", handle)
        return app

    @web.middleware
    async def _border(self, request: web.Request, handler: Handler) -> Any:
        """Count the request, say which region answers, and name the client's error."""
        self.asked[request.match_info.route.name or "other"] += 1
        try:
            answer = await handler(request)
        except (OAuthError, GrantError) as error:
            code = error.code if isinstance(error, OAuthError) else "invalid_grant"
            status = error.status if isinstance(error, OAuthError) else 400
            document = {"error": code, "error_description": str(error)}
            answer = json_answer(document, status)
            if status == web.HTTPUnauthorized.status_code:
                answer.headers["WWW-Authenticate"] = 'Basic realm="login"'
        except NoticeError as error:
            # Source: RFC 7009 section 2.2.1: the token still lives.
            document = {"error": "server_error", "error_description": str(error)}
            answer = json_answer(document, 503, {"Retry-After": "1"})
        answer.headers["X-Demo-Region"] = self.region
        return answer

    # -- what all regions say alike --------------------------------------------------

    async def _metadata(self, _request: web.Request) -> web.Response:
        endpoints = {
            f"{name}_endpoint": f"{self._public_url}{OAUTH}oauth-{path}"
            for name, path in (
                ("authorization", "authorize"),
                ("token", "token"),
                ("introspection", "introspect"),
                ("revocation", "revoke"),
                ("userinfo", "userinfo"),
                ("end_session", "logout"),
            )
        }
        jwks_uri = f"{self._public_url}{OAUTH}oauth-anonymous/jwks"
        return json_answer(
            {
                "issuer": ISSUER,
                **endpoints,
                "jwks_uri": jwks_uri,
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
                "introspection_endpoint_auth_methods_supported": [
                    "client_secret_basic"
                ],
            }
        )

    async def _jwks(self, _request: web.Request) -> web.Response:
        fresh = {"Cache-Control": f"public, max-age={_KEY_LIFE_S}"}
        return json_answer(self._keys.jwks(), headers=fresh)

    # -- what only the home region can answer ----------------------------------------

    async def _token(self, request: web.Request) -> web.Response:
        form = await _form(request)
        now_s = time.time()
        client = CLIENTS.get(form.get("client_id", ""))
        if client is None:
            raise OAuthError("invalid_client", "the client is unknown", 401)
        grant = form.get("grant_type")
        if grant == "authorization_code":
            session = self._accounts.redeem(
                self._minter.unwrap(form.get("code", "")),
                client.client_id,
                verifier=form.get("code_verifier", ""),
                redirect_uri=form.get("redirect_uri", ""),
                now_s=now_s,
            )
            refresh = self._accounts.refresh_token(session, now_s)
        elif grant == "refresh_token":
            session, refresh = self._accounts.rotate(
                self._minter.unwrap(form.get("refresh_token", "")),
                client.client_id,
                now_s,
            )
        else:
            raise OAuthError("unsupported_grant_type", "not offered here")
        return json_answer(self._minter.answer(session, refresh, client.kind, now_s))

    async def _introspect(self, request: web.Request) -> web.Response:
        if not self._credentials.is_gateway(request.headers.get("Authorization")):
            raise OAuthError("invalid_client", f"only {GATEWAY_CLIENT} may ask", 401)
        form = await _form(request)
        now_s = time.time()
        access = self._credentials.find(form.get("token", ""))
        wants_jwt = "application/jwt" in request.headers.get("Accept", "")
        if access is None or not access.is_active(now_s):
            if wants_jwt:
                return web.Response(status=204, headers={"Cache-Control": "no-store"})
            return json_answer({"active": False})
        left_s = max(int(access.expires_s - now_s), 0)
        kept = {"Cache-Control": f"max-age={left_s}"}
        phantom = self._minter.jwt(access)
        if wants_jwt:
            return web.Response(
                body=phantom.encode(), content_type="application/jwt", headers=kept
            )
        claims = {**self._minter.claims(access), "active": True}
        return json_answer({**claims, "phantom_token": phantom}, headers=kept)

    async def _userinfo(self, request: web.Request) -> web.Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" and request.method == "POST":
            token = (await _form(request)).get("access_token", "")
        access = self._credentials.find(token.strip())
        if access is None or not access.is_active(time.time()):
            challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            return json_answer({"error": "invalid_token"}, 401, challenge)
        user = access.session.user
        return json_answer(
            {"sub": user, "name": user.capitalize(), "region": self.region}
        )

    async def _revoke(self, request: web.Request) -> web.Response:
        form = await _form(request)
        if form.get("client_id", "") not in CLIENTS:
            raise OAuthError("invalid_client", "the client is unknown", 401)
        token = form.get("token", "")
        found = self._credentials.find(token) or self._session_of(token)
        if found is not None and _client_of(found) == form["client_id"]:
            await self._end(found)
        # Source: RFC 7009 section 2.2: an unknown token is as good as revoked.
        return web.Response(headers={"Cache-Control": "no-store"})

    def _session_of(self, token: str) -> Session | None:
        try:
            return self._accounts.session_of_refresh(self._minter.unwrap(token))
        except GrantError:
            return None

    async def _end(self, found: Access | Session) -> None:
        # The gateways are told first: a provider that fails in between has told too
        # much, never too little.
        if isinstance(found, Access):
            await self._notices.post("jti", found.jti)
            found.revoked = True
        else:
            # Source: RFC 7009 section 2.1: the access tokens of the grant end too.
            await self._notices.post("sid", found.sid)
            self._accounts.end(found.sid)


def _client_of(found: Access | Session) -> str:
    session = found.session if isinstance(found, Access) else found
    return session.client_id


async def _form(request: web.Request) -> dict[str, str]:
    """Return the form of a request. Raises OAuthError where a member came twice."""
    data = await request.post()
    if len(set(data)) != len(data):
        raise OAuthError("invalid_request", "a parameter came twice")
    return {name: value for name, value in data.items() if isinstance(value, str)}
