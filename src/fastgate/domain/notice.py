"""Notice: what somebody outside says has ended, and why it may not be believed.

Owns:      the shape of a notice, the faults of what carries one, and how its members
           are read.
Called by: domain.logout_token and domain.security_event make notices, control.intake
           enters them.
Source:    PROTOCOLS.md sections 7 to 9; THREATS.md B10.
"""

import enum
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from fastgate.domain.revocation import Kind, framed

__all__ = [
    "Fault",
    "Notice",
    "NoticeError",
    "audience_of",
    "is_seconds",
    "notice_id",
    "text_of",
]

# Reason: as long as what a revocation may name (domain.entry).
_MAX_TEXT_BYTES = 1_024
_MAX_AUDIENCES = 64
# Source: RFC 7519 section 2 with RFC 8259 section 6: exact in every implementation.
_MAX_EXACT = 2**53 - 1
# As random ids: 24 hexadecimal digits.
_ID_BYTES = 12


class Fault(enum.StrEnum):
    """Why something that was sent is not acted upon."""

    MALFORMED = "malformed"
    TYPE = "type"
    ALGORITHM = "algorithm"
    ISSUER = "issuer"
    KEY = "key"
    SIGNATURE = "signature"
    AUDIENCE = "audience"
    TIME = "time"
    CLAIMS = "claims"
    SUBJECT = "subject"
    CREDENTIALS = "credentials"
    REPEATED = "repeated"


class NoticeError(ValueError):
    """What was sent is not acted upon; nothing of it is in the text.

    fault: Which check refused it. detail: For the sender's people; fixed text.
    """

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault.value}: {detail}")
        self.fault = fault
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Notice:
    """An end, as the issuer named it.

    issuer: Alias of whose token identifiers these are. kind, value: As a revocation.
    issued_before: Cut-off in seconds since 1970, in the issuer's own words; None: now.
    id: Name of the event that this makes, the same whenever it is sent again; "": a
        name of its own each time.
    issued: When the issuer said it, seconds since 1970; -1: it did not.
    home: Home region of the user, where a claim names one.
    urgent: Sessions end, so what is open of them ends at once.
    """

    issuer: str
    kind: Kind
    value: str
    issued_before: float | None = None
    id: str = ""
    issued: int = -1
    home: str | None = None
    urgent: bool = False


def notice_id(way: str, issuer: str, jti: str) -> str:
    """Return the name of the event that a token makes.

    way: Keeps the tokens of one protocol apart from those of another.
    It follows from issuer and `jti` alone, so that a token that comes twice, to
    whichever gateway, is one event (RFC 8417 section 2.2).
    """
    digest = hashlib.blake2b(digest_size=_ID_BYTES)
    for part in (way, issuer, jti):
        digest.update(framed(part.encode()))
    return digest.hexdigest()


def text_of(claims: Mapping[str, object], name: str) -> str | None:
    """Return an identifier claim: text, or the decimal text of an exact integer.

    Raises NoticeError where it is there and neither, or of a size that nothing has.
    """
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if is_seconds(value):
        return str(value)
    if isinstance(value, str) and 0 < len(value.encode()) <= _MAX_TEXT_BYTES:
        return value
    raise NoticeError(Fault.CLAIMS, f"{name} must be a text")


def audience_of(claims: Mapping[str, object], ours: Collection[str]) -> None:
    """Check that one of `aud` is one of ours. Raises NoticeError."""
    value = claims.get("aud")
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not 0 < len(values) <= _MAX_AUDIENCES:
        raise NoticeError(Fault.AUDIENCE, "aud must name this receiver")
    if not all(isinstance(each, str) for each in values):
        raise NoticeError(Fault.AUDIENCE, "aud must be texts")
    if not any(each in ours for each in values):
        raise NoticeError(Fault.AUDIENCE, "aud names somebody else")


def is_seconds(value: object) -> TypeGuard[int]:
    """Tell whether `value` is an exact integer from 0 up, and no boolean."""
    return type(value) is int and 0 <= value <= _MAX_EXACT
