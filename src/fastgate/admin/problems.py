"""Problems: what is said to a caller of these listeners who is refused.

Owns:      the closed set of codes, and the one shape of a refusal.
Called by: every module of this room.
Source:    RFC 9457 (problem bodies), RFC 6750 section 3 (challenge).
"""

import difflib
from collections.abc import Iterable, Mapping

import orjson
from aiohttp import web

__all__ = ["RefusedError", "did_you_mean", "json_response", "plain_headers"]

_TYPE = "urn:fastgate:problem:"
_MAX_SHOWN = 64
_CLOSE_ENOUGH = 0.6

# Code: status and title. Codes are stable; titles are for people.
_PROBLEMS = {
    "bad_request": (400, "The request is malformed."),
    "invalid_request": (400, "A member of the request is not acceptable."),
    "unauthorized": (401, "The admin token is required."),
    "bad_credentials": (401, "The bearer token is not right."),
    "cross_origin": (403, "Requests of other web sites are not served."),
    "not_found": (404, "There is no such resource."),
    "method_not_allowed": (405, "The method is not allowed."),
    "request_timeout": (408, "The request took too long to arrive."),
    "body_too_large": (413, "The request body is larger than 64 KiB."),
    "unsupported_media_type": (415, "The body is not of the type that is read here."),
    "misdirected": (421, "This listener does not answer to that host name."),
    "bad_configuration": (422, "The configuration is refused; the old one stays."),
    "too_many_requests": (429, "Too many requests from this client."),
    "internal_error": (500, "The gateway failed."),
    "bad_issuer_response": (502, "The token issuer gave an unusable answer."),
    "unavailable": (503, "A part of the gateway is not available."),
    "audit_unavailable": (503, "The audit log cannot be written."),
    "overloaded": (503, "The listener is at its limit."),
}
_RETRY_AFTER_S = {
    "too_many_requests": 1,
    "bad_issuer_response": 5,
    "unavailable": 1,
    "audit_unavailable": 5,
    "overloaded": 5,
}
# Nothing here is for a cache, a frame or another site; JSON is never sniffed.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Server": "fastgate",
}


class RefusedError(Exception):
    """The request is refused.

    code: A name of the table above. detail: For people; fixed text, or names that the
        caller used, never a value.
    field: The member of the request that is at fault.
    headers: Further ones of the answer. extra: Further members of the body.
    close: The connection ends with the answer.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        field: str = "",
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.status, self.title = _PROBLEMS[code]
        self.detail = detail
        self.field = field
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})
        self.close = close

    def response(self) -> web.Response:
        """Return the answer."""
        body: dict[str, object] = {
            "type": _TYPE + self.code,
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        if self.detail:
            body["detail"] = self.detail
        if self.field:
            body["errors"] = [{"field": self.field, "detail": self.detail}]
        headers = dict(self.headers)
        if self.code in _RETRY_AFTER_S:
            headers["Retry-After"] = str(_RETRY_AFTER_S[self.code])
        response = json_response(
            body | self.extra,
            status=self.status,
            headers=headers,
            content_type="application/problem+json",
        )
        if self.close:
            response.force_close()
        return response


def json_response(
    document: object,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> web.Response:
    """Return an answer that no cache keeps and no page of another site reads."""
    return web.Response(
        body=orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE),
        status=status,
        headers={**_HEADERS, "Content-Type": content_type, **(headers or {})},
    )


def plain_headers(content_type: str) -> dict[str, str]:
    """Return the headers of an answer that is not JSON."""
    return {**_HEADERS, "Content-Type": content_type}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return what is wrong with a name, the name nearest to it and all known ones."""
    names = sorted(known)
    close = difflib.get_close_matches(
        name[:_MAX_SHOWN].lower(), names, n=1, cutoff=_CLOSE_ENOUGH
    )
    hint = f"; known: {', '.join(names)}" if names else "; there is none to give"
    if close:
        hint = f'; did you mean "{close[0]}"?'
    return f'"{_shown(name)}" is unknown{hint}'


def _shown(name: str) -> str:
    cut = name if len(name) <= _MAX_SHOWN else name[: _MAX_SHOWN - 1] + "…"
    return "".join(c if c.isprintable() else "?" for c in cut)
