"""Tapped token: what a token that its issuer has just revoked, or logged out, ends.

Owns:      the rules on claims; the signature was verified, and the issuer has answered.
Called by: control.intake.
Source:    RFC 7009 section 2.1, OpenID Connect RP-Initiated Logout 1.0; PROTOCOLS.md
           section 5, THREATS.md B10: only what the token itself names, never wider.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fastgate.domain.notice import (
    Fault,
    Notice,
    NoticeError,
    is_seconds,
    notice_id,
    text_of,
)
from fastgate.domain.revocation import Kind

__all__ = [
    "REVOKED_TYPES",
    "TappedRules",
    "read_ended_session",
    "read_opaque",
    "read_revoked_token",
]

# Access tokens, refresh tokens that are JWTs, and ID tokens in a hint: what no other
# section of PROTOCOLS.md claims for itself.
REVOKED_TYPES: frozenset[str | None] = frozenset({"at+jwt", "rt+jwt", "jwt", None})


@dataclass(frozen=True, slots=True)
class TappedRules:
    """What is accepted of one issuer's tokens that pass by.

    grant_claims: Claims that name the grant, first present wins.
    """

    alias: str
    issuer: str
    algorithms: frozenset[str]
    leeway_s: int
    grant_claims: tuple[str, ...]


def read_revoked_token(
    claims: Mapping[str, object],
    rules: TappedRules,
    *,
    refresh: bool,
    session: bool,
    now_s: float,
) -> tuple[Notice, ...]:
    """Return what ends with a revoked token; nothing where it was over by itself.

    refresh: It was given as a refresh token, so its grant ends too.
    session: So does the session that a refresh token names.
    Raises NoticeError.
    """
    _check_issuer(claims, rules)
    expires = claims.get("exp")
    if is_seconds(expires) and expires <= now_s - rules.leeway_s:
        return ()
    jti = text_of(claims, "jti")
    if jti is None:
        raise NoticeError(Fault.CLAIMS, "jti is missing")
    named: list[tuple[Kind, str]] = [(Kind.JTI, jti)]
    if refresh:
        grant = next(
            (text_of(claims, name) for name in rules.grant_claims if name in claims),
            None,
        )
        if grant is not None:
            named.append((Kind.GRANT, grant))
        sid = text_of(claims, "sid") if session else None
        if sid is not None:
            named.append((Kind.SID, sid))
    return tuple(
        Notice(
            rules.alias,
            k,
            v,
            id=notice_id(f"tap-{k.value}", rules.issuer, jti),
            urgent=k is Kind.SID,
        )
        for k, v in named
    )


def read_opaque(members: Mapping[str, object], rules: TappedRules) -> Notice:
    """Return what ends with an opaque token: itself, by the `jti` its issuer told.

    Raises NoticeError.
    """
    jti = text_of(members, "jti")
    if jti is None:
        raise NoticeError(Fault.CLAIMS, "jti is missing")
    id_ = notice_id(f"tap-{Kind.JTI.value}", rules.issuer, jti)
    return Notice(rules.alias, Kind.JTI, jti, id=id_)


def read_ended_session(claims: Mapping[str, object], rules: TappedRules) -> Notice:
    """Return what ends with a session: itself, else the user's tokens until now.

    claims: Of the ID token that was the hint; it may have expired.
    Raises NoticeError.
    """
    _check_issuer(claims, rules)
    sid, sub = text_of(claims, "sid"), text_of(claims, "sub")
    if sid is not None:
        return Notice(rules.alias, Kind.SID, sid, urgent=True)
    if sub is None:
        raise NoticeError(Fault.CLAIMS, "sid and sub are missing")
    return Notice(rules.alias, Kind.SUB, sub, urgent=True)


def _check_issuer(claims: Mapping[str, object], rules: TappedRules) -> None:
    if claims.get("iss") != rules.issuer:
        raise NoticeError(Fault.ISSUER, "iss is not the issuer's")
