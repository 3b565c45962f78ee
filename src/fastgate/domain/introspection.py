"""Introspection: what an issuer said of a token, as a value the gate can judge.

Owns:      the shape of the answer; the calls and caches are control.introspection's.
Called by: ports.Introspector makes answers, hotpath.gate evaluates them.
Source:    RFC 7662, PROTOCOLS.md section 4.
"""

import enum
from dataclasses import dataclass

__all__ = ["AnswerKind", "IntrospectionAnswer"]


class AnswerKind(enum.Enum):
    """What kind of answer came back."""

    JWT = 1  # a phantom token, to be verified like any other
    CLAIMS = 2  # RFC 7662 members of an active token, no JWT
    INACTIVE = 3
    ISSUER_FAULT = 4  # nonsense, or our own credentials refused: 502
    UNAVAILABLE = 5  # unreachable, slow, throttled, 5xx: 503
    NOT_ASKED = 6  # for the client, too many of whose tokens were inactive: 429


@dataclass(frozen=True, slots=True)
class IntrospectionAnswer:
    """One answer about one token.

    kind: What it was.
    payload: The JWT, or the JSON document of the members; b"" otherwise.
    asked_boot_ns: CLOCK_BOOTTIME when the question was sent; the answer is no younger.
    expires_boot_ns: CLOCK_BOOTTIME until which it may be reused; 0: never.
    cached: It was answered from the cache.
    retry_after_s: What the issuer asked for with a 429 or 503; 0: nothing.
    subject: The user that it is about, "" where it names none.
    """

    kind: AnswerKind
    payload: bytes = b""
    asked_boot_ns: int = 0
    expires_boot_ns: int = 0
    cached: bool = False
    retry_after_s: int = 0
    subject: str = ""
