# cython: annotation_typing=False
"""Token rules: what a scan or an issuer's answer must say to go on.

Owns:      the rules on header, times and claims, each a refusal or None.
Called by: hotpath.gate, in its order; nothing here allows anything.
Source:    PROTOCOLS.md sections 1.4, 1.5 and 4; RFC 8725; RFC 9068 section 4.

Compiled with the gate (token_rules.pxd): these rules stand before and behind every
verification, and as plain Python they cost as much as the scan of the whole token.
"""

from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import cython

from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer
from fastgate.domain.token import IssuerProfile
from fastgate.domain.verdict import Reason
from fastgate.hotpath.native import TOKEN_OK, scan_unverified

if TYPE_CHECKING:
    from fastgate.hotpath.native import ClaimNames, TokenScan

__all__ = [
    "ISSUER_FAULTS",
    "TokenRules",
    "UnverifiedReader",
    "has_query_token",
    "refuse_answer",
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
    AnswerKind.NOT_ASKED: Reason.TOO_MANY_FAILURES,
}
_JWS_DOTS = 2


@cython.final
@cython.cclass
class TokenRules:
    """The rules of one issuer's profile; each returns a Reason, or None to go on."""

    def __init__(self, profile: IssuerProfile) -> None:
        self.types = profile.types
        self.algorithms = profile.algorithms
        self.issuer = profile.issuer
        self.leeway_s = profile.leeway_s
        self.max_lifetime_s = profile.max_lifetime_s
        self.iat_required = profile.iat_required

    def refuse_header(self, typ: str | None, alg: str) -> Reason | None:
        """Refuse by type and algorithm, before any key is looked at.

        Source: RFC 8725 sections 3.1 and 3.11; RFC 7515 section 4.1.9 (`typ`).
        """
        if typ not in self.types and (
            typ is None or typ.lower().removeprefix("application/") not in self.types
        ):
            return Reason.BAD_TYP
        if alg not in self.algorithms:
            return Reason.BAD_ALG
        return None

    def refuse_times(self, exp: int, nbf: int, iat: int, now_s: int) -> Reason | None:
        """Refuse by times, each in seconds since 1970, -1 where absent.

        Source: PROTOCOLS.md section 1.5 (times, lifetime); RFC 7519 section 4.1.
        """
        if exp < 0 or (iat < 0 and self.iat_required):
            return Reason.MISSING_CLAIM
        if exp <= now_s - self.leeway_s:
            return Reason.EXPIRED
        if nbf > now_s + self.leeway_s or iat > now_s + self.leeway_s:
            return Reason.NOT_YET
        # A longer token would outlive the entry that revokes it.
        if exp - (iat if iat >= 0 else now_s) > self.max_lifetime_s:
            return Reason.LIFETIME
        return None

    def refuse_claims(
        self, iss: str | None, has_all_required: bool, has_cnf: bool
    ) -> Reason | None:
        """Refuse by issuer, required claims and binding, after the signature."""
        if iss != self.issuer:
            return Reason.BAD_ISS
        if not has_all_required:
            return Reason.MISSING_CLAIM
        if has_cnf:
            # Its binding cannot be checked here (RFC 9449, RFC 8705).
            return Reason.BOUND
        return None


def refuse_answer(answer: IntrospectionAnswer) -> Reason | None:
    """Refuse by the kind of an introspection answer; None for an active token."""
    return _ANSWER_REFUSALS.get(answer.kind)


def has_query_token(query: bytes) -> bool:
    """Tell whether a query holds the parameter `access_token`, however it is spelled.

    query: Raw, without "?".
    Source: RFC 6750 section 2: one method a request; section 2.3 is not served.
    """
    return any(
        unquote_to_bytes(pair.partition(b"=")[0]) == b"access_token"
        for pair in query.replace(b";", b"&").split(b"&")
    )


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
