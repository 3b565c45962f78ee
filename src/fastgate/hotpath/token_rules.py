"""Token rules: what a scan or an issuer's answer must say to go on.

Owns:      the rules on header, times and claims, each a refusal or None.
Called by: hotpath.gate, in its order; nothing here allows anything.
Source:    PROTOCOLS.md sections 1.4, 1.5 and 4; RFC 8725; RFC 9068 section 4.
"""

from typing import TYPE_CHECKING

from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer
from fastgate.domain.token import IssuerProfile
from fastgate.domain.verdict import Reason
from fastgate.hotpath.native import TOKEN_OK, scan_unverified

if TYPE_CHECKING:
    from fastgate.hotpath.native import ClaimNames, TokenScan

__all__ = [
    "ISSUER_FAULTS",
    "UnverifiedReader",
    "refuse_answer",
    "refuse_cheaply",
    "refuse_claims",
]

# Faults of a phantom token that only its issuer can have made: 502, not 401.
ISSUER_FAULTS = frozenset(
    {
        Reason.MALFORMED,
        Reason.TOO_LARGE,
        Reason.BAD_TYP,
        Reason.BAD_ALG,
        Reason.CRIT,
        Reason.BAD_SIGNATURE,
        Reason.UNKNOWN_KID,
        Reason.BAD_ISS,
    }
)

_ANSWER_REFUSALS = {
    AnswerKind.INACTIVE: Reason.INACTIVE,
    AnswerKind.ISSUER_FAULT: Reason.BAD_ISSUER_RESPONSE,
    AnswerKind.UNAVAILABLE: Reason.INTROSPECTION_UNAVAILABLE,
}
_JWS_DOTS = 2


def refuse_cheaply(
    scanned: "TokenScan", profile: IssuerProfile, wall_s: int
) -> Reason | None:
    """Refuse by type, algorithm and times, before any key is looked at.

    wall_s: Seconds since 1970.
    Source: RFC 8725 section 3.1; PROTOCOLS.md section 1.5 (times, lifetime).
    """
    typ = scanned.typ
    if typ is not None:
        typ = typ.lower().removeprefix("application/")
    if typ not in profile.types:
        return Reason.BAD_TYP
    if scanned.alg not in profile.algorithms:
        return Reason.BAD_ALG
    return _refuse_times(scanned, profile, wall_s)


def _refuse_times(
    scanned: "TokenScan", profile: IssuerProfile, wall_s: int
) -> Reason | None:
    leeway = profile.leeway_s
    exp, iat = scanned.exp, scanned.iat
    if exp < 0 or (iat < 0 and profile.iat_required):
        return Reason.MISSING_CLAIM
    if exp <= wall_s - leeway:
        return Reason.EXPIRED
    if scanned.nbf > wall_s + leeway or iat > wall_s + leeway:
        return Reason.NOT_YET
    # A longer token would outlive the entry that revokes it.
    if exp - (iat if iat >= 0 else wall_s) > profile.max_lifetime_s:
        return Reason.LIFETIME
    return None


def refuse_claims(scanned: "TokenScan", profile: IssuerProfile) -> Reason | None:
    """Refuse by issuer, required claims and binding, after the signature."""
    if scanned.iss != profile.issuer:
        return Reason.BAD_ISS
    if not scanned.has_all_required:
        return Reason.MISSING_CLAIM
    if scanned.has_cnf:
        # Its binding cannot be checked here (RFC 9449, RFC 8705).
        return Reason.BOUND
    return None


def refuse_answer(answer: IntrospectionAnswer) -> Reason | None:
    """Refuse by the kind of an introspection answer; None for an active token."""
    return _ANSWER_REFUSALS.get(answer.kind)


class UnverifiedReader:
    """Reads JWT-shaped text for routing hints only (PROTOCOLS.md section 12)."""

    __slots__ = ("_names",)

    def __init__(self, names: "ClaimNames") -> None:
        self._names = names

    def __call__(self, text: str) -> "TokenScan | None":
        """Return the scan of a well-formed token, or None; nothing is verified."""
        if text.count(".") != _JWS_DOTS or not text.isascii():
            return None
        scanned = scan_unverified(text.encode(), self._names)
        return scanned if scanned.code == TOKEN_OK else None
