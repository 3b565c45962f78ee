"""Front: the pages of the identity provider that a browser sees.

Owns:      nothing; sessions are in demo.accounts.
Called by: demo.identity, which routes to these handlers.
Source:    RFC 6749 section 4.1.1, RFC 9207 (`iss`), OpenID Connect RP-Initiated Logout
           1.0; PROTOCOLS.md section 16 (region cookie).
"""

import html
import time
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from fastgate.demo.accounts import Accounts
from fastgate.demo.notices import Notices
from fastgate.demo.tokens import Minter
from fastgate.demo.world import CLIENTS, ISSUER, REDIRECT_URI, SCOPE, USERS

__all__ = ["REGION_COOKIE", "Front"]

REGION_COOKIE: Final = "region"
_BROWSER_COOKIE: Final = "sso"
_MAX_AGE_S: Final = 2_592_000
_AFTER_LOGOUT: Final = "https://app.example.com/"


class Front:
    """Login, consent and logout of one region."""

    def __init__(
        self, region: str, accounts: Accounts, minter: Minter, notices: Notices
    ) -> None:
        self._region = region
        self._accounts = accounts
        self._minter = minter
        self._notices = notices

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        """Answer an authorization request: with a code, or with the login page."""
        problem = _problem(request)
        if problem is not None:
            return _page(f"<p>{problem}</p>", 400)
        user = self._accounts.user_of(request.cookies.get(_BROWSER_COOKIE))
        hinted = request.query.get("login_hint", "")
        if USERS.get(hinted) == self._region:
            user = hinted
        if user is None:
            return _login_page(request.path_qs)
        return self._redirect_with_code(request, user)

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Take the login page's form: know the user, and send them home."""
        problem = _problem(request)
        if problem is not None:
            return _page(f"<p>{problem}</p>", 400)
        user = (await request.post()).get("username")
        if not isinstance(user, str) or user not in USERS:
            return _login_page(request.path_qs, "Nobody here is called that.")
        if USERS[user] == self._region:
            return self._redirect_with_code(request, user)
        # This region keeps nothing of the user: the cookie routes the next request, and
        # every later one, home.
        query = {**request.query, "login_hint": user}
        answer = _redirect(f"{request.path}?{urlencode(query)}")
        _set_region(answer, USERS[user])
        return answer

    async def end_session(self, request: web.Request) -> web.StreamResponse:
        """End the session of an ID token, here and at every gateway."""
        fields = await request.post() if request.method == "POST" else request.query
        sid = self._minter.session_of_hint(str(fields.get("id_token_hint", "")))
        if sid is None:
            return _page("<p>Which session shall end? Send id_token_hint.</p>", 400)
        await self._notices.post("sid", sid)
        self._accounts.end(sid)
        self._accounts.sign_out(request.cookies.get(_BROWSER_COOKIE))
        target = fields.get("post_logout_redirect_uri")
        answer: web.StreamResponse
        if target == _AFTER_LOGOUT:
            answer = _redirect(_AFTER_LOGOUT)
        else:
            answer = _page("<p>You are signed out, everywhere.</p>")
        answer.del_cookie(_BROWSER_COOKIE)
        return answer

    def _redirect_with_code(self, request: web.Request, user: str) -> web.Response:
        query = request.query
        code = self._accounts.code(
            user,
            query["client_id"],
            scope=query.get("scope", SCOPE),
            challenge=query["code_challenge"],
            redirect_uri=query["redirect_uri"],
            now_s=time.time(),
        )
        wrapped = self._minter.wrap(code, query["client_id"], time.time())
        back = {"code": wrapped, "state": query.get("state", ""), "iss": ISSUER}
        answer = _redirect(f"{query['redirect_uri']}?{urlencode(back)}")
        answer.set_cookie(
            _BROWSER_COOKIE,
            self._accounts.sign_in(user),
            httponly=True,
            samesite="Lax",
        )
        _set_region(answer, self._region)
        return answer


def _problem(request: web.Request) -> str | None:
    """Return what is wrong with an authorization request, None if nothing is.

    Nobody is redirected anywhere: the place may be the mistake (RFC 9700 section 4.1).
    """
    query = request.query
    if query.get("client_id") not in CLIENTS:
        return "The client is unknown."
    if query.get("redirect_uri") != REDIRECT_URI:
        return "The redirect URI is not registered."
    if query.get("response_type") != "code":
        return "Only response_type=code is offered."
    if query.get("code_challenge_method") != "S256" or "code_challenge" not in query:
        return "PKCE with S256 is required."
    return None


def _login_page(action: str, note: str = "") -> web.Response:
    users = "".join(
        f'<button name="username" value="{name}">{name} (home {home})</button> '
        for name, home in USERS.items()
    )
    action = html.escape(action, quote=True)
    return _page(f'<p>{note}</p><form method="post" action="{action}">{users}</form>')


def _page(body: str, status: int = 200) -> web.Response:
    return web.Response(
        text=f"<!doctype html><title>demo login</title><h1>Sign in</h1>{body}",
        status=status,
        content_type="text/html",
        headers={
            "Cache-Control": "no-store",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        },
    )


def _redirect(target: str) -> web.Response:
    # Source: RFC 9700 section 4.12: 303 never repeats a form elsewhere.
    headers = {"Location": target, "Cache-Control": "no-store"}
    return web.Response(status=303, headers=headers)


def _set_region(answer: web.Response, region: str) -> None:
    answer.set_cookie(
        REGION_COOKIE, region, max_age=_MAX_AGE_S, httponly=True, samesite="Lax"
    )
