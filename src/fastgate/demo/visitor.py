"""Visitor: a user with a client application, somewhere in the world.

Owns:      one HTTP client without memory: what is sent is what a step says.
Called by: the steps of the tour, and `fastgate demo token`.
Source:    RFC 6749 section 4.1, RFC 7636.
"""

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import orjson
from yarl import URL

from fastgate.demo.accounts import challenge_of
from fastgate.demo.world import OAUTH, REDIRECT_URI, SCOPE
from fastgate.errors import UpstreamError

__all__ = ["Reply", "Tokens", "Visitor", "authorize_path"]

_T = TypeVar("_T")
_TIMEOUT_S: Final = 15.0
_CONNECTIONS: Final = 64
_OK: Final = 200
_SEE_OTHER: Final = 303


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, complete.

    ms: From the first byte sent to the last byte received, milliseconds.
    """

    status: int
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    body: bytes
    ms: float

    def json(self) -> dict[str, Any]:
        """Return the body's JSON object; empty where it is none."""
        try:
            document = orjson.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def code(self) -> str:
        """Public code of a problem body; empty where there is none."""
        return str(self.json().get("code", ""))

    @property
    def reason(self) -> str:
        """The exact reason, which only a route with `debug` tells."""
        return self.headers.get("X-Fastgate-Reason", "")

    @property
    def home(self) -> str:
        """Region that the gateway chose."""
        return self.headers.get("X-Fastgate-Region", "").partition(";")[0]

    @property
    def source(self) -> str:
        """What named that region: claim, field, cookie, default."""
        said = self.headers.get("X-Fastgate-Region", "")
        return said.partition("source=")[2].partition(";")[0]

    @property
    def answered_by(self) -> str:
        """Region whose API or identity provider answered."""
        return self.headers.get("X-Demo-Region", "")


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a sign-in gave."""

    access: str
    refresh: str
    id_token: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read the answer of a token endpoint."""
        return cls(
            access=str(document["access_token"]),
            refresh=str(document["refresh_token"]),
            id_token=str(document["id_token"]),
        )


def authorize_path(client_id: str, verifier: str, **more: str) -> str:
    """Return path and query of an authorization request."""
    query = {
        "client_id": client_id,
        "redirect_uri": REDIRECT_URI,
        "response_type": "code",
        "scope": SCOPE,
        "state": secrets.token_urlsafe(8),
        "code_challenge": challenge_of(verifier),
        "code_challenge_method": "S256",
        **more,
    }
    return f"{OAUTH}oauth-authorize?{urlencode(query)}"


class Visitor:
    """Sends requests; follows no redirect and keeps no cookie."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        """Be ready; the connections are made when they are needed."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self._session.close()

    async def ask(
        self,
        url: str,
        *,
        method: str = "GET",
        token: str | None = None,
        cookie: str | None = None,
        form: Mapping[str, str] | None = None,
        document: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request. Raises UpstreamError where no answer came.

        token: Bearer credential. cookie: Cookie header. form, document: Body of a
        POST, as a form or as JSON.
        """
        sent = dict(headers or {})
        if token is not None:
            sent |= _bearer(token)
        if cookie is not None:
            sent["Cookie"] = cookie
        began = time.perf_counter()
        try:
            async with self._session.request(
                method,
                URL(url, encoded=True),
                data=form,
                json=document,
                headers=sent,
                allow_redirects=False,
            ) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamError("bad_upstream_response", f"{url}: {error!r}") from error
        return Reply(
            status=answer.status,
            headers=answer.headers,
            cookies={name: morsel.value for name, morsel in answer.cookies.items()},
            body=body,
            ms=(time.perf_counter() - began) * 1e3,
        )

    @asynccontextmanager
    async def socket(
        self, url: str, token: str
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a WebSocket. Raises UpstreamError where it is refused."""
        opening = self._session.ws_connect(url, headers=_bearer(token))
        async with await _opened(url, opening) as socket:
            yield socket

    @asynccontextmanager
    async def stream(
        self, url: str, token: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open a request whose answer is read as it comes. Raises UpstreamError."""
        opening = self._session.get(url, headers=_bearer(token))
        async with await _opened(url, opening) as answer:
            yield answer

    async def sign_in(
        self, base_url: str, user: str, client_id: str, *, home: str
    ) -> Tokens:
        """Sign a user in by the authorization code flow; return the tokens.

        base_url: A gateway, or the identity provider of the user's home itself.
        home: The user's home region, as the browser's cookie has it.
        Raises UpstreamError where the provider does not play along.
        """
        verifier = secrets.token_urlsafe(32)
        path = authorize_path(client_id, verifier, login_hint=user)
        reply = await self.ask(base_url + path, cookie=f"region={home}")
        return await self.redeem(base_url, reply, client_id, verifier)

    async def redeem(
        self, base_url: str, reply: Reply, client_id: str, verifier: str
    ) -> Tokens:
        """Return the tokens for the code that an authorization answer carries."""
        location = reply.headers.get("Location", "")
        codes = parse_qs(urlsplit(location).query).get("code")
        if reply.status != _SEE_OTHER or not codes:
            raise UpstreamError("bad_upstream_response", f"sign-in: {reply.status}")
        form = {
            "grant_type": "authorization_code",
            "client_id": client_id,
            "code": codes[0],
            "code_verifier": verifier,
            "redirect_uri": REDIRECT_URI,
        }
        url = f"{base_url}{OAUTH}oauth-token"
        answer = await self.ask(url, method="POST", form=form)
        if answer.status != _OK:
            raise UpstreamError("bad_upstream_response", f"token: {answer.status}")
        return Tokens.of(answer.json())


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def _opened(url: str, opening: Awaitable[_T]) -> _T:
    try:
        return await opening
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UpstreamError("bad_upstream_response", f"{url}: {error!r}") from error
