"""OAuth messages: which field may say where the user's home is.

Owns:      the message map of PROTOCOLS.md section 15, by the shape of a message.
Called by: hotpath.gate for routes with `oauth: true`.

Nothing read here is verified: it chooses where a message goes, never who the user is
(THREATS.md R2). A field that does not yield a region of the closed set is passed over.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from fastgate.domain.decision import Decision
from fastgate.domain.region import RegionSet, RegionSource
from fastgate.domain.request import RequestHead
from fastgate.hotpath.regions import follow_cookie, settle

if TYPE_CHECKING:
    from fastgate.hotpath.native import TokenScan

__all__ = ["AmbiguousFormError", "route_message"]

Fields = Mapping[str, Sequence[str]]
Reader = Callable[[str], "TokenScan | None"]

# Reason: no OAuth message has half as many; parse_qsl refuses more.
_MAX_QUERY_FIELDS = 64

_GRANT = "urn:ietf:params:oauth:grant-type:"
# grant_type -> fields that may carry a readable token, and whether a cookie may follow.
_GRANT_FIELDS: Mapping[str, tuple[tuple[str, ...], bool]] = {
    "authorization_code": (("code",), True),
    "refresh_token": (("refresh_token",), True),
    _GRANT + "token-exchange": (("subject_token", "actor_token"), False),
    _GRANT + "jwt-bearer": (("assertion",), False),
    # Handles made at the default region are redeemed there (rule 5).
    _GRANT + "device_code": ((), False),
    "urn:openid:params:grant-type:ciba": ((), False),
}
_CLIENT_AUTHENTICATION = ("client_secret", "client_assertion")
# Parameters that must not come twice (RFC 6749 section 3.2); `resource` and `audience`
# may (RFC 8707 section 2, RFC 8693 section 2.1).
_SINGLE = frozenset(
    {
        "grant_type",
        "code",
        "refresh_token",
        "token",
        "access_token",
        "subject_token",
        "actor_token",
        "assertion",
        "id_token_hint",
        "request_uri",
        "client_id",
        "state",
        "response_type",
    }
)


class AmbiguousFormError(ValueError):
    """A parameter came twice or a query cannot be read: 400 invalid_request."""


def route_message(
    decision: Decision, head: RequestHead, regions: RegionSet, read: Reader
) -> None:
    """Choose the region of an OAuth message.

    read: Scans a token without verifying it; None where it is not JWT-shaped.
    Raises AmbiguousFormError where a parameter that is read came twice.
    Source: PROTOCOLS.md section 15, rules 1 to 6.
    """
    if head.method in {"OPTIONS", "HEAD"}:
        follow_cookie(decision, head, regions)
        return
    if head.method == "POST" and head.form is not None:
        _route_form(decision, head, head.form, regions, read)
        return
    _route_query(decision, head, regions, read)


def _route_form(
    decision: Decision,
    head: RequestHead,
    form: Fields,
    regions: RegionSet,
    read: Reader,
) -> None:
    _refuse_repeats(form)
    grant = _one(form, "grant_type")
    if grant is not None:
        fields, cookie_may_follow = _GRANT_FIELDS.get(grant, ((), False))
        _by_fields(
            decision, head, form, fields, regions, read, cookie=cookie_may_follow
        )
    elif "token" in form and "state" not in form:  # introspection, revocation
        _by_fields(decision, head, form, ("token",), regions, read, cookie=True)
    elif "access_token" in form:  # userinfo by POST
        _by_fields(decision, head, form, ("access_token",), regions, read, cookie=True)
    elif _bearer(head) is not None:
        _by_bearer(decision, head, regions, read)
    elif "logout_token" in form or _makes_handle(head, form):
        _default(decision, head, regions)
    elif "id_token_hint" in form and "response_type" not in form:  # end session
        _by_fields(decision, head, form, ("id_token_hint",), regions, read, cookie=True)
    else:
        follow_cookie(decision, head, regions)


def _route_query(
    decision: Decision, head: RequestHead, regions: RegionSet, read: Reader
) -> None:
    if "/.well-known/" in head.path or head.path.endswith(("/jwks", "/jwks.json")):
        # Global configuration is the same everywhere: no reason to travel.
        decision.region, decision.source = regions.own, RegionSource.OWN
        return
    if head.method == "GET" and _bearer(head) is not None:  # userinfo
        _by_bearer(decision, head, regions, read)
        return
    query = _query(head.query)
    _refuse_repeats(query)
    if "request_uri" in query:  # made at the default region (rule 5)
        _default(decision, head, regions)
    elif "id_token_hint" in query and "response_type" not in query:  # end session
        _by_fields(
            decision, head, query, ("id_token_hint",), regions, read, cookie=True
        )
    else:
        # Authorize and login pages: the cookie beats every hint (rule 6).
        follow_cookie(decision, head, regions)
        if decision.source is not RegionSource.COOKIE and "id_token_hint" in query:
            region = _hint(query, ("id_token_hint",), regions, read)
            if region >= 0:
                settle(decision, head, regions, region, RegionSource.HINT)


def _makes_handle(head: RequestHead, form: Fields) -> bool:
    # Pushed authorization and CIBA requests authenticate the client; a browser's
    # authorization request by POST does not.
    if head.authorization is None and not any(
        name in form for name in _CLIENT_AUTHENTICATION
    ):
        return False
    return any(
        name in form
        for name in ("response_type", "request", "login_hint", "login_hint_token")
    )


def _by_fields(
    decision: Decision,
    head: RequestHead,
    fields: Fields,
    names: tuple[str, ...],
    regions: RegionSet,
    read: Reader,
    *,
    cookie: bool,
) -> None:
    region = _hint(fields, names, regions, read)
    if region >= 0:
        settle(decision, head, regions, region, RegionSource.FIELD)
    elif cookie:
        follow_cookie(decision, head, regions)
    else:
        _default(decision, head, regions)


def _by_bearer(
    decision: Decision, head: RequestHead, regions: RegionSet, read: Reader
) -> None:
    token = _bearer(head)
    fields = {} if token is None else {"access_token": [token]}
    _by_fields(decision, head, fields, ("access_token",), regions, read, cookie=True)


def _default(decision: Decision, head: RequestHead, regions: RegionSet) -> None:
    decision.region, decision.source = regions.default, RegionSource.DEFAULT
    del head  # a cookie says nothing about a handle that the default region keeps


def _hint(
    fields: Fields, names: tuple[str, ...], regions: RegionSet, read: Reader
) -> int:
    for name in names:
        value = _one(fields, name)
        if value is None:
            continue
        scan = read(value)
        if scan is not None:
            region = regions.find(scan.region)
            if region >= 0:
                return region
    return -1


def _bearer(head: RequestHead) -> str | None:
    if head.authorization is None:
        return None
    scheme, _, token = head.authorization.partition(b" ")
    if scheme.lower() not in {b"bearer", b"dpop"}:
        return None
    return token.strip(b" ").decode("latin-1")


def _one(fields: Fields, name: str) -> str | None:
    values = fields.get(name)
    return values[0] if values else None


def _refuse_repeats(fields: Fields) -> None:
    for name, values in fields.items():
        if len(values) > 1 and name in _SINGLE:
            raise AmbiguousFormError(f"parameter {name} came {len(values)} times")


def _query(raw: bytes) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=False,
            max_num_fields=_MAX_QUERY_FIELDS,
        )
    except ValueError as error:
        raise AmbiguousFormError("the query cannot be read") from error
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields
