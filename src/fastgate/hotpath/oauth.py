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
from fastgate.domain.region import NO_REGION, RegionSet, RegionSource
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
# Handles that the default region made are redeemed there (rule 5): no field is read.
_GRANT_FIELDS: Mapping[str, tuple[tuple[str, ...], bool]] = {
    "authorization_code": (("code",), True),
    "refresh_token": (("refresh_token",), True),
    _GRANT + "token-exchange": (("subject_token", "actor_token"), False),
    _GRANT + "jwt-bearer": (("assertion",), False),
}
_NO_FIELDS: tuple[tuple[str, ...], bool] = ((), False)
_CLIENT_AUTHENTICATION = ("client_secret", "client_assertion")
# All that a public client says to begin a device flow (RFC 8628 section 3.1).
_DEVICE_REQUEST = frozenset({"client_id", "scope"})
# Parameters that must not come twice (RFC 6749 section 3.2); `resource` and `audience`
# may (RFC 8707 section 2, RFC 8693 section 2.1), and so may fields of login pages.
_SINGLE = frozenset(
    {
        *("grant_type", "code", "refresh_token", "token", "access_token", "assertion"),
        *("subject_token", "actor_token", "device_code", "auth_req_id", "user_code"),
        *("id_token_hint", "login_hint", "login_hint_token", "logout_token"),
        *("request", "request_uri", "response_type", "redirect_uri", "state", "scope"),
        *("client_id", "client_secret", "client_assertion"),
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
    if "/.well-known/" in head.path or head.path.endswith(("/jwks", "/jwks.json")):
        # Global configuration is the same everywhere: no reason to travel.
        decision.region, decision.source = regions.own, RegionSource.OWN
    elif head.method in {"OPTIONS", "HEAD"}:
        follow_cookie(decision, head, regions)
    elif head.form is not None and head.method == "POST":
        _refuse_repeats(head.form)
        _route_form(decision, head, head.form, regions, read)
    elif _is_userinfo(head):
        _by_fields(decision, head, _credential(head), ("token",), regions, read)
    else:
        query = _query(head.query)
        _refuse_repeats(query)
        _route_front(decision, head, query, regions, read)


def _route_form(
    decision: Decision,
    head: RequestHead,
    form: Fields,
    regions: RegionSet,
    read: Reader,
) -> None:
    grant = _one(form, "grant_type")
    if grant is not None:
        names, follow = _GRANT_FIELDS.get(grant, _NO_FIELDS)
        _by_fields(decision, head, form, names, regions, read, follow=follow)
    elif "token" in form and "state" not in form:  # introspection, revocation
        _by_fields(decision, head, form, ("token",), regions, read)
    elif "access_token" in form:  # userinfo
        _by_fields(decision, head, form, ("access_token",), regions, read)
    elif _is_userinfo(head):
        _by_fields(decision, head, _credential(head), ("token",), regions, read)
    elif "logout_token" in form or _makes_handle(head, form):
        _by_default(decision, regions)
    else:
        _route_front(decision, head, form, regions, read)


def _route_front(
    decision: Decision,
    head: RequestHead,
    fields: Fields,
    regions: RegionSet,
    read: Reader,
) -> None:
    """Route what a browser sends: authorize, login pages, end session, user codes."""
    if "user_code" in fields or _is_handle(_one(fields, "request_uri")):
        _by_default(decision, regions)
    elif "id_token_hint" in fields and "response_type" not in fields:  # end session
        _by_fields(decision, head, fields, ("id_token_hint",), regions, read)
    else:
        # The cookie beats every hint (rule 6).
        follow_cookie(decision, head, regions)
        if decision.source is not RegionSource.COOKIE:
            region = _hint(fields, ("id_token_hint",), regions, read)
            if region >= 0:
                settle(decision, head, regions, region, RegionSource.HINT)


def _makes_handle(head: RequestHead, form: Fields) -> bool:
    # Pushed authorization, device and CIBA requests: the client authenticates, or it is
    # public and the message says nothing else. A browser's request does neither.
    return (
        _scheme(head) == b"basic"
        or any(name in form for name in _CLIENT_AUTHENTICATION)
        or "login_hint_token" in form
        or head.path.endswith("/par")
        or ("client_id" in form and form.keys() <= _DEVICE_REQUEST)
    )


def _is_handle(request_uri: str | None) -> bool:
    # The form of a pushed request's name is its server's matter (RFC 9126 section 2.2),
    # but a URL is the client's own request object (RFC 9101 section 5.2).
    return request_uri is not None and not request_uri.startswith("https://")


def _is_userinfo(head: RequestHead) -> bool:
    return head.method in {"GET", "POST"} and _scheme(head) in {b"bearer", b"dpop"}


def _by_fields(
    decision: Decision,
    head: RequestHead,
    fields: Fields,
    names: tuple[str, ...],
    regions: RegionSet,
    read: Reader,
    *,
    follow: bool = True,
) -> None:
    """Route by the first readable field, else by cookie (`follow`), else default."""
    region = _hint(fields, names, regions, read)
    if region >= 0:
        settle(decision, head, regions, region, RegionSource.FIELD)
    elif follow:
        follow_cookie(decision, head, regions)
    else:
        _by_default(decision, regions)


def _by_default(decision: Decision, regions: RegionSet) -> None:
    # A cookie says nothing about a handle that the default region keeps.
    decision.region, decision.source = regions.default, RegionSource.DEFAULT


def _hint(
    fields: Fields, names: tuple[str, ...], regions: RegionSet, read: Reader
) -> int:
    for name in names:
        value = _one(fields, name)
        scan = None if value is None else read(value)
        region = NO_REGION if scan is None else regions.find(scan.region)
        if region >= 0:
            return region
    return NO_REGION


def _scheme(head: RequestHead) -> bytes:
    if head.authorization is None:
        return b""
    return head.authorization.partition(b" ")[0].lower()


def _credential(head: RequestHead) -> Fields:
    if head.authorization is None:
        return {}
    token = head.authorization.partition(b" ")[2].strip(b" ")
    return {"token": [token.decode("latin-1")]}


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
