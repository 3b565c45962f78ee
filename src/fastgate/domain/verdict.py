"""Verdicts: what the gate can say, and the one table reason -> status, challenge, type.

Owns:      the closed set of reasons and what each looks like to a client.
Called by: hotpath.gate makes decisions; both lanes turn them into answers.
Source:    RFC 6750 section 3 (challenges), RFC 9457 (problem bodies), RFC 9110.
"""

import enum
from dataclasses import dataclass
from typing import NoReturn

__all__ = ["OUTCOMES", "Challenge", "Outcome", "Reason", "Verdict"]


class Verdict(enum.Enum):
    """What the gate answers; compare with `is`: UNDECIDED and DENY must not pass."""

    UNDECIDED = 0  # never leaves the gate; lanes treat it as DENY
    ALLOW = 1
    DENY = 2
    ASK_KEY = 3
    ASK_INTROSPECTION = 4
    ASK_FORM = 5

    def __bool__(self) -> NoReturn:
        """Refuse truth tests: `if verdict:` would let DENY through."""
        raise TypeError("compare a Verdict with `is`")


class Challenge(enum.Enum):
    """Which WWW-Authenticate header an answer carries (RFC 6750 section 3)."""

    NONE = 0
    BARE = 1  # no credentials were sent: no `error` member
    INVALID_TOKEN = 2
    INVALID_REQUEST = 3
    INSUFFICIENT_SCOPE = 4


class Reason(enum.StrEnum):
    """Why a request was refused: log field and metric label, a closed set."""

    # The token's fault: 401.
    MISSING_TOKEN = "missing_token"  # noqa: S105 - a reason code
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    BAD_TYP = "bad_typ"
    BAD_ALG = "bad_alg"
    CRIT = "crit"
    EXPIRED = "expired"
    NOT_YET = "not_yet"
    LIFETIME = "lifetime"
    MISSING_CLAIM = "missing_claim"
    UNKNOWN_KID = "unknown_kid"
    BAD_SIGNATURE = "bad_signature"
    BAD_ISS = "bad_iss"
    BAD_AUD = "bad_aud"
    REVOKED = "revoked"
    INACTIVE = "inactive"
    SUSPENDED = "suspended"
    NO_STATUS = "no_status"
    BOUND = "bound"
    # A good token that may not do this: 403.
    SCOPE = "scope"
    UNKNOWN_REGION = "unknown_region"
    # The request's fault.
    INVALID_REQUEST = "invalid_request"
    BAD_REQUEST = "bad_request"
    NO_ROUTE = "no_route"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    BODY_TOO_LARGE = "body_too_large"
    TARGET_TOO_LONG = "target_too_long"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    EXPECTATION_FAILED = "expectation_failed"
    HEADERS_TOO_LARGE = "headers_too_large"
    TOO_MANY_REQUESTS = "too_many_requests"
    TOO_MANY_FAILURES = "too_many_failures"
    NOT_SUPPORTED = "not_supported"
    HTTP_VERSION = "http_version"
    LOOP = "loop"
    # Ours, the issuer's, the feed's or the upstream's fault.
    INTERNAL = "internal_error"
    BAD_ISSUER_RESPONSE = "bad_issuer_response"
    BAD_UPSTREAM_RESPONSE = "bad_upstream_response"
    UPSTREAM_REFUSED = "upstream_refused"
    STALE_REVOCATION = "stale_revocation"
    KEYS_UNAVAILABLE = "keys_unavailable"
    INTROSPECTION_UNAVAILABLE = "introspection_unavailable"
    REGION_DOWN = "region_down"
    REGION_UNAVAILABLE = "region_unavailable"
    OVERLOADED = "overloaded"
    UPSTREAM_TIMEOUT = "upstream_timeout"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client sees of a reason.

    status: HTTP status code.
    public: Code in the problem body; several reasons share one, so nobody learns more.
    title: Sentence for people, the same for every reason with that public code.
    challenge: Which WWW-Authenticate header.
    retry_after_s: Seconds for Retry-After; 0 where waiting does not help.
    close: The connection ends after the answer.
    """

    status: int
    public: str
    title: str
    challenge: Challenge = Challenge.NONE
    retry_after_s: int = 0
    close: bool = False


_INVALID_TOKEN = Outcome(
    401, "invalid_token", "The access token is not valid.", Challenge.INVALID_TOKEN
)


# Reason: the slowest rate that can be configured forgives a failure in a second.
_TOO_MANY = Outcome(
    429, "too_many_requests", "Too many requests from this client.", retry_after_s=1
)


def _caller(status: int, public: str, title: str, *, close: bool = True) -> Outcome:
    return Outcome(status, public, title, close=close)


def _trouble(status: int, public: str, title: str, retry_after_s: int) -> Outcome:
    return Outcome(status, public, title, retry_after_s=retry_after_s)


# A 401 makes clients refresh: only faults of the token are 401 (PROTOCOLS section 3).
OUTCOMES: dict[Reason, Outcome] = {
    Reason.MISSING_TOKEN: Outcome(
        401, "missing_token", "An access token is required.", Challenge.BARE
    ),
    **dict.fromkeys(
        (
            Reason.MALFORMED,
            Reason.TOO_LARGE,
            Reason.BAD_TYP,
            Reason.BAD_ALG,
            Reason.CRIT,
            Reason.EXPIRED,
            Reason.NOT_YET,
            Reason.LIFETIME,
            Reason.MISSING_CLAIM,
            Reason.UNKNOWN_KID,
            Reason.BAD_SIGNATURE,
            Reason.BAD_ISS,
            Reason.BAD_AUD,
            Reason.REVOKED,
            Reason.INACTIVE,
            Reason.SUSPENDED,
            Reason.NO_STATUS,
            Reason.BOUND,
        ),
        _INVALID_TOKEN,
    ),
    Reason.SCOPE: Outcome(
        403,
        "insufficient_scope",
        "The access token lacks a scope that this resource needs.",
        Challenge.INSUFFICIENT_SCOPE,
    ),
    Reason.UNKNOWN_REGION: Outcome(
        403, "unknown_region", "The user's home region is not served here."
    ),
    Reason.INVALID_REQUEST: Outcome(
        400,
        "invalid_request",
        "The request's credentials or parameters are ambiguous.",
        Challenge.INVALID_REQUEST,
    ),
    Reason.BAD_REQUEST: _caller(400, "bad_request", "The request is malformed."),
    Reason.NO_ROUTE: _caller(
        404, "no_route", "No route serves this path.", close=False
    ),
    Reason.METHOD_NOT_ALLOWED: _caller(
        405, "method_not_allowed", "The method is not allowed."
    ),
    Reason.REQUEST_TIMEOUT: _caller(
        408, "request_timeout", "The request took too long to arrive."
    ),
    Reason.BODY_TOO_LARGE: _caller(
        413, "body_too_large", "The request body is larger than this route allows."
    ),
    Reason.TARGET_TOO_LONG: _caller(
        414, "target_too_long", "The request target is too long."
    ),
    Reason.UNSUPPORTED_MEDIA_TYPE: _caller(
        415, "unsupported_media_type", "The form type is not supported here."
    ),
    Reason.EXPECTATION_FAILED: _caller(
        417, "expectation_failed", "The expectation cannot be met."
    ),
    Reason.HEADERS_TOO_LARGE: _caller(
        431, "headers_too_large", "The request head exceeds a limit."
    ),
    Reason.TOO_MANY_REQUESTS: _TOO_MANY,
    Reason.TOO_MANY_FAILURES: _TOO_MANY,
    Reason.NOT_SUPPORTED: _caller(
        501, "not_supported", "The transfer coding or method is not supported."
    ),
    Reason.HTTP_VERSION: _caller(
        505, "http_version", "The HTTP version is not supported."
    ),
    Reason.LOOP: _caller(508, "loop", "The request passed through too many gateways."),
    Reason.INTERNAL: _trouble(500, "internal_error", "The gateway failed.", 0),
    Reason.BAD_ISSUER_RESPONSE: _trouble(
        502, "bad_issuer_response", "The token issuer gave an unusable answer.", 5
    ),
    Reason.BAD_UPSTREAM_RESPONSE: _trouble(
        502, "bad_upstream_response", "The upstream gave an unusable answer.", 1
    ),
    Reason.UPSTREAM_REFUSED: _trouble(
        502, "upstream_refused", "The upstream refused the connection.", 1
    ),
    Reason.STALE_REVOCATION: _trouble(
        503, "stale_revocation", "The revocation state is too old to decide.", 2
    ),
    Reason.KEYS_UNAVAILABLE: _trouble(
        503, "keys_unavailable", "The issuer's keys are not available.", 5
    ),
    Reason.INTROSPECTION_UNAVAILABLE: _trouble(
        503, "introspection_unavailable", "The issuer cannot be asked right now.", 2
    ),
    Reason.REGION_DOWN: _trouble(
        503, "region_down", "The home region is not reachable.", 2
    ),
    Reason.REGION_UNAVAILABLE: _trouble(
        503, "region_unavailable", "The service is not offered in the home region.", 30
    ),
    Reason.OVERLOADED: _trouble(503, "overloaded", "The gateway is at its limit.", 1),
    Reason.UPSTREAM_TIMEOUT: _trouble(
        504, "upstream_timeout", "The upstream took too long.", 1
    ),
}
