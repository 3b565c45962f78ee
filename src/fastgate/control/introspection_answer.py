"""Introspection messages: the question about a token, and what an answer means.

Owns:      nothing; pure. Caches, flights and limits are control.introspection's.
Called by: control.introspection.
Source:    RFC 7662 section 2, RFC 6749 section 2.3.1; PROTOCOLS.md section 4,
           THREATS.md I8.

Answers are judged here only as far as their reuse needs: `active` and `exp`, each with
its exact type. The gate reads the claims again, with its own scanner.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from urllib.parse import quote_plus, urlencode

from fastgate.control.cache_control import CacheRules, read_cache_rules
from fastgate.control.json_document import JsonError, is_int, read_object
from fastgate.domain import base64url
from fastgate.domain.introspection import AnswerKind
from fastgate.domain.token import Introspection
from fastgate.ports import Fetched

__all__ = [
    "INACTIVE_S",
    "MOST_ACTIVE_S",
    "UNIDENTIFIED_S",
    "Reading",
    "question",
    "read_answer",
]

# Source: PROTOCOLS.md section 4 and THREATS.md section 4.
MOST_ACTIVE_S = 60.0
INACTIVE_S = 10.0
# Reason: a token that names no jti, sid or sub cannot be found in the revocation index,
# so its answer ages like a revocation state does: not longer than the shortest
# `max_staleness` that a route may have.
UNIDENTIFIED_S = 5.0
_MOST_RETRY_S = 3600
_MAX_DIGITS = 10
_JWT_PARTS = 3
_IDENTIFIERS = ("jti", "sid", "session_id", "sub")


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer means.

    kind, payload: As in domain.introspection.IntrospectionAnswer.
    life_s: Seconds it may be reused from when the question was sent; 0: not at all.
    retry_after_s: What the issuer asked for.
    credentials_refused: It does not know this gateway; no word about the token.
    subject: The user, where the answer is of use and names one.
    """

    kind: AnswerKind
    payload: bytes = b""
    life_s: float = 0.0
    retry_after_s: int = 0
    credentials_refused: bool = False
    subject: str = ""


_FAULT = Reading(AnswerKind.ISSUER_FAULT)
_INACTIVE = Reading(AnswerKind.INACTIVE, life_s=INACTIVE_S)


def question(how: Introspection, token: bytes) -> tuple[dict[str, str], bytes]:
    """Return headers and body of the request about `token`.

    Source: RFC 7662 section 2.1; client id and secret are form-encoded before they are
    joined for Basic authentication (RFC 6749 section 2.3.1).
    """
    headers = {
        "accept": how.accept,
        "content-type": "application/x-www-form-urlencoded",
    }
    form: dict[str, str | bytes] = {"token": token, "token_type_hint": "access_token"}
    if how.post_credentials:
        form |= {"client_id": how.client_id, "client_secret": how.client_secret}
    else:
        pair = f"{quote_plus(how.client_id)}:{quote_plus(how.client_secret)}"
        headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return headers, urlencode(form).encode()


def read_answer(answer: Fetched, how: Introspection, *, wall_s: float) -> Reading:
    """Return what `answer` means.

    wall_s: Wall time when the question was sent, for `exp`.
    Raises nothing: nonsense is the issuer's fault, never the token's.
    """
    match answer.status:
        case HTTPStatus.OK:
            return _read_ok(answer, how, wall_s)
        case HTTPStatus.NO_CONTENT:
            return _INACTIVE
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return Reading(AnswerKind.ISSUER_FAULT, credentials_refused=True)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return _away(answer)
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return _away(answer)
        case _:
            return _FAULT


def _away(answer: Fetched) -> Reading:
    # Reason: a date would need the issuer's clock; the caller's own back-off will do.
    text = answer.headers.get("retry-after", "").strip()
    known = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    retry_s = min(int(text), _MOST_RETRY_S) if known else 0
    return Reading(AnswerKind.UNAVAILABLE, retry_after_s=retry_s)


def _read_ok(answer: Fetched, how: Introspection, wall_s: float) -> Reading:
    media = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    rules = read_cache_rules(answer.headers)
    try:
        if media == "application/jwt":
            return _jwt(answer.body.strip(b" \t\r\n"), rules, wall_s)
        # A signed answer (RFC 9701) is no phantom token, and was not asked for.
        if media == "application/json":
            return _json(answer.body, how, rules, wall_s)
    except (JsonError, UnicodeError):
        return _FAULT
    return _FAULT


def _json(body: bytes, how: Introspection, rules: CacheRules, wall_s: float) -> Reading:
    members = read_object(body)
    active = members.get("active")
    if active is False:
        # Kept in spite of no-store: only that the issuer said no, for ten seconds, so
        # that a client that repeats a bad token does not reach the issuer each time.
        return _INACTIVE
    if active is not True:
        return _FAULT
    phantom = members.get(how.phantom_member)
    if phantom is None:
        return _active(AnswerKind.CLAIMS, body, rules, wall_s, members)
    if not isinstance(phantom, str):
        return _FAULT
    return _jwt(phantom.encode("ascii"), rules, wall_s, around=members)


def _jwt(
    text: bytes,
    rules: CacheRules,
    wall_s: float,
    around: Mapping[str, object] = MappingProxyType({}),
) -> Reading:
    parts = text.decode("ascii").split(".")
    payload = base64url.decode(parts[1]) if len(parts) == _JWT_PARTS else None
    if payload is None:
        return _FAULT
    claims = read_object(payload)
    return _active(AnswerKind.JWT, text, rules, wall_s, claims, around)


def _active(
    kind: AnswerKind,
    payload: bytes,
    rules: CacheRules,
    wall_s: float,
    claims: Mapping[str, object],
    around: Mapping[str, object] = MappingProxyType({}),
) -> Reading:
    """Return an answer that vouches for a token, with how long it may be reused.

    claims: What the gate will judge. around: The document that carried them, if any.
    """
    life_s = MOST_ACTIVE_S
    for document in (claims, around):
        if "exp" not in document:
            continue
        expires = document["exp"]
        if not is_int(expires):
            return _FAULT
        life_s = min(life_s, expires - wall_s)
    if rules.max_age_s is not None:
        life_s = min(life_s, rules.max_age_s)
    if not any(claims.get(name) for name in _IDENTIFIERS):
        life_s = min(life_s, UNIDENTIFIED_S)
    subject = claims.get("sub")
    return Reading(
        kind,
        payload,
        0.0 if rules.no_store else max(life_s, 0.0),
        subject=subject if isinstance(subject, str) else "",
    )
