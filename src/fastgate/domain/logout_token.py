"""Logout token: what its claims must say, and what they end.

Owns:      the rules on claims; the signature was verified before.
Called by: control.intake.
Source:    OpenID Connect Back-Channel Logout 1.0 sections 2.4 and 2.6; PROTOCOLS.md
           section 8.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fastgate.domain.notice import (
    Fault,
    Notice,
    NoticeError,
    audience_of,
    is_seconds,
    notice_id,
    text_of,
)
from fastgate.domain.revocation import Kind

__all__ = ["LOGOUT_TYPES", "LogoutRules", "read_logout_token"]

EVENT = "http://schemas.openid.net/event/backchannel-logout"
# Source: section 2.4: explicit typing is recommended, so issuers do without.
LOGOUT_TYPES: frozenset[str | None] = frozenset({"logout+jwt", "jwt", None})


@dataclass(frozen=True, slots=True)
class LogoutRules:
    """What is accepted of one issuer's logout tokens.

    alias, issuer: Name in the configuration, and exact `iss`.
    clients: Client ids, one of which must be in `aud`.
    by_user: The user's tokens end, whatever session is named.
    algorithms: Accepted ones.
    leeway_s: Allowance on times, seconds.
    max_age_s: Older than this by `iat` it is refused, so that a token whose `jti` is
        forgotten cannot come again.
    """

    alias: str
    issuer: str
    clients: frozenset[str]
    by_user: bool
    algorithms: frozenset[str]
    leeway_s: int
    max_age_s: int


def read_logout_token(
    claims: Mapping[str, object], rules: LogoutRules, now_s: float
) -> Notice:
    """Return what a logout token ends: its session, else its user's tokens.

    claims: Of a token whose signature verified. now_s: Wall time.
    Raises NoticeError.
    """
    if claims.get("iss") != rules.issuer:
        raise NoticeError(Fault.ISSUER, "iss is not the issuer's")
    audience_of(claims, rules.clients)
    issued = _times(claims, rules, now_s)
    jti = text_of(claims, "jti")
    if jti is None:
        raise NoticeError(Fault.CLAIMS, "jti is missing")
    # Source: section 2.4: an ID token has one, so it can never pass for this.
    if "nonce" in claims:
        raise NoticeError(Fault.CLAIMS, "a logout token has no nonce")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise NoticeError(Fault.CLAIMS, "events has no back-channel logout")
    sid, sub = text_of(claims, "sid"), text_of(claims, "sub")
    id_ = notice_id("logout", rules.issuer, jti)
    if sid is not None and not rules.by_user:
        return Notice(rules.alias, Kind.SID, sid, None, id_, issued, urgent=True)
    if sub is None:
        raise NoticeError(Fault.CLAIMS, "sub is missing")
    return Notice(rules.alias, Kind.SUB, sub, float(issued), id_, issued, urgent=True)


def _times(claims: Mapping[str, object], rules: LogoutRules, now_s: float) -> int:
    issued, expires = claims.get("iat"), claims.get("exp")
    if not is_seconds(issued) or not is_seconds(expires):
        raise NoticeError(Fault.CLAIMS, "iat and exp must be whole seconds")
    if issued > now_s + rules.leeway_s:
        raise NoticeError(Fault.TIME, "iat is in the future")
    if expires <= now_s - rules.leeway_s or issued <= now_s - rules.max_age_s:
        raise NoticeError(Fault.TIME, "it has expired")
    return issued
