# cython: annotation_typing=False
"""A request as the gate sees it, and the one rule for bearer credentials.

Owns:      RequestHead; which header names are reserved or hop-by-hop.
Called by: both lanes fill it; hotpath.gate and hotpath.headers read it.
Source:    RFC 6750 section 2.1, RFC 9110 sections 5.1 and 7.6.1.

Compiled with the gate, which reads one for every request (request.pxd).
"""

from collections.abc import Mapping, Sequence

import cython

__all__ = [
    "HOP_BY_HOP",
    "RESERVED_NAMES",
    "RESERVED_PREFIXES",
    "RequestHead",
    "is_reserved",
    "normalised",
    "plain_head",
]

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    }
)
# Identity and forwarding names that only the gateway writes (PROTOCOLS section 17).
RESERVED_PREFIXES = (
    "x-fastgate-",
    "x-auth-request-",
    "remote-",
    "client-cert",
    "x-forwarded-",
)
RESERVED_NAMES = frozenset({"forwarded", "x-real-ip"})


def normalised(name: str) -> str:
    """Return a header name as upstreams may read it: lower case, `_` as `-`.

    Source: THREATS.md T8: aliases like X_Forwarded_Proto passed seven filters.
    """
    return name.lower().replace("_", "-")


def is_reserved(name: str) -> bool:
    """Tell whether a normalised header name is only ever written by the gateway."""
    return name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES)


@cython.final
@cython.cclass
class RequestHead:
    """What the checks need of one request; filled by a lane, never by the gate.

    method: Upper-case method token.
    path: Canonical path (domain.target), without query.
    authorization: Value of the one Authorization header; None when absent.
    credentials: How many Authorization headers came; more than one is refused.
    cookie: All Cookie headers joined by "; "; None when absent.
    form: Decoded form fields of an OAuth message, None until read. A field that came
        twice maps to more than one value.
    query: Raw query bytes without "?", b"" when absent.
    content_type: Content-Type in lower case without parameters, "" when absent.
    has_body: The message announces a body.
    encoded_separators: The path holds %2F or %5C (domain.target).
    peer: Address of the client, a trusted proxy's word included: whom failures are
        charged to. "" charges nobody.
    """

    def __init__(
        self,
        method: str,
        path: str,
        *,
        authorization: bytes | None = None,
        credentials: int = -1,
        cookie: str | None = None,
        query: bytes = b"",
        form: Mapping[str, Sequence[str]] | None = None,
        content_type: str = "",
        has_body: bool = False,
        encoded_separators: bool = False,
        peer: str = "",
    ) -> None:
        self.method = method
        self.path = path
        self.authorization = authorization
        self.credentials = (
            (0 if authorization is None else 1) if credentials < 0 else credentials
        )
        self.cookie = cookie
        self.query = query
        self.form = form
        self.content_type = content_type
        self.has_body = has_body
        self.encoded_separators = encoded_separators
        self.peer = peer


def plain_head(
    method: str,
    path: str,
    query: bytes,
    credentials: int,
    authorization: bytes | None,
    cookie: str | None,
    content_type: str,
    has_body: bool,
    peer: str,
) -> RequestHead:
    """Return the head of a request whose lane has read everything but a form.

    The same as RequestHead with these members, for the compiled lane: by position, and
    without looking at defaults.
    """
    head = RequestHead.__new__(RequestHead)
    head.method = method
    head.path = path
    head.query = query
    head.credentials = credentials
    head.authorization = authorization
    head.cookie = cookie
    head.content_type = content_type
    head.has_body = has_body
    head.peer = peer
    head.form = None
    head.encoded_separators = False
    return head
