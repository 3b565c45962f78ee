"""Intake listener: what issuers push, a listener of its own that may be published.

Owns:      three endpoints, their forms and their answers; rates of those who push.
Called by: wiring, in the agent's process.
Source:    OpenID Connect Back-Channel Logout 1.0 section 2.8, RFC 8935 section 2,
           Global Token Revocation; PROTOCOLS.md sections 7 to 9, THREATS.md B10.

Everybody may knock here. So whoever knocks too often waits, and the number of
connections bounds how many wait: the agent has the feed to follow meanwhile.
"""

import asyncio
import re
import socket
import ssl
from urllib.parse import parse_qsl

from aiohttp import hdrs, web

from fastgate.admin.listener import Handler, Listener
from fastgate.admin.members import read_body
from fastgate.admin.problems import RefusedError, json_response, plain_headers
from fastgate.admin.rates import Rates
from fastgate.control.intake import Intake
from fastgate.control.json_document import JsonError, read_object
from fastgate.domain.notice import Fault, NoticeError
from fastgate.domain.security_event import set_error

__all__ = ["IntakeListener"]

_MAX_CONNECTIONS = 128
# Reason: a mass logout of one identity provider, which may come from one address.
_BURST, _PER_S = 500, 200
# Reason: all of them together; a token costs up to 0.2 ms of the agent's loop.
_ALL_BURST, _ALL_PER_S = 1_000, 400
_WAIT_S = 0.5
_MAX_FIELDS = 16
_BEARER = re.compile(r"bearer +([!-~]+) *", re.ASCII | re.IGNORECASE)
_FORM = "application/x-www-form-urlencoded"
_SET = "application/secevent+jwt"
_JSON = "application/json"
_UNUSABLE = "the request cannot be used"


class IntakeListener:
    """The ways in of one node, on one socket."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._rates = Rates(burst=_BURST, per_s=_PER_S)
        self._all = Rates(burst=_ALL_BURST, per_s=_ALL_PER_S)
        self._listener = Listener(self._handle, max_connections=_MAX_CONNECTIONS)
        self._routes: dict[str, Handler] = {
            "/backchannel-logout": self._logout,
            "/sets": self._set,
            "/global-token-revocation": self._end_user,
        }

    async def start(
        self, sock: socket.socket, *, tls: ssl.SSLContext | None = None
    ) -> None:
        """Serve on a listening socket; `tls` None: whoever is in front ends it."""
        await self._listener.start(sock, tls=tls)

    async def stop(self) -> None:
        """End connections, and stop."""
        await self._listener.stop()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if not (self._rates.take(request.remote or "") and self._all.take("")):
            await asyncio.sleep(_WAIT_S)
            raise RefusedError("too_many_requests", close=True)
        answer = self._routes.get(request.raw_path)
        if answer is None:
            raise RefusedError("not_found")
        if request.method != "POST":
            raise RefusedError("method_not_allowed", headers={hdrs.ALLOW: "POST"})
        return await answer(request)

    async def _logout(self, request: web.BaseRequest) -> web.StreamResponse:
        _check_type(request, _FORM)
        try:
            await self._intake.logout(_logout_token(await read_body(request)))
        except NoticeError as error:
            return json_response(
                {"error": "invalid_request", "error_description": error.detail},
                status=400,
            )
        return web.Response(status=200, headers=plain_headers("text/plain"))

    async def _set(self, request: web.BaseRequest) -> web.StreamResponse:
        _check_type(request, _SET)
        try:
            text = _ascii(await read_body(request))
            await self._intake.pushed(text, _authorization(request))
        except NoticeError as error:
            code = set_error(error.fault)
            return json_response({"err": code, "description": error.detail}, status=400)
        return web.Response(status=202, headers=plain_headers("text/plain"))

    async def _end_user(self, request: web.BaseRequest) -> web.StreamResponse:
        _check_type(request, _JSON)
        try:
            document = read_object(await read_body(request))
        except JsonError:
            raise RefusedError("bad_request", "the body is no JSON object") from None
        match = _BEARER.fullmatch(_authorization(request) or "")
        try:
            await self._intake.end_user(
                document.get("sub_id"), match[1] if match else None
            )
        except NoticeError as error:
            if error.fault is Fault.CREDENTIALS:
                raise RefusedError(
                    "bad_credentials", error.detail, headers=_CHALLENGE
                ) from None
            raise RefusedError(
                "invalid_request", error.detail, field="sub_id"
            ) from None
        return web.Response(status=204, headers=plain_headers("text/plain"))


_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="fastgate intake"'}


def _check_type(request: web.BaseRequest, expected: str) -> None:
    types = request.headers.getall(hdrs.CONTENT_TYPE, [])
    given = types[0].partition(";")[0].strip().lower() if len(types) == 1 else ""
    if given != expected or hdrs.CONTENT_ENCODING in request.headers:
        raise RefusedError(
            "unsupported_media_type",
            f"send {expected}",
            headers={hdrs.ACCEPT: expected},
        )


def _authorization(request: web.BaseRequest) -> str | None:
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    return given[0] if len(given) == 1 else None


def _ascii(body: bytes) -> str:
    try:
        return body.decode("ascii")
    except UnicodeDecodeError:
        raise NoticeError(Fault.MALFORMED, _UNUSABLE) from None


def _logout_token(body: bytes) -> str:
    """Return the one `logout_token` of a form. Raises NoticeError."""
    try:
        fields = parse_qsl(
            _ascii(body), keep_blank_values=True, max_num_fields=_MAX_FIELDS
        )
    except ValueError:
        raise NoticeError(Fault.MALFORMED, _UNUSABLE) from None
    tokens = [value for name, value in fields if name == "logout_token"]
    if len(tokens) != 1:
        raise NoticeError(Fault.MALFORMED, "one logout_token is required")
    return tokens[0]
