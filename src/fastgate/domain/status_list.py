"""Status list: what the claims of a Status List Token must say, and its raw entries.

Owns:      the rules on claims, the bounded inflation, and the order of bits.
Called by: control.status_lists with claims of a token whose signature verified.
Source:    draft-ietf-oauth-status-list sections 4 and 5; PROTOCOLS.md section 6. The
           version of the draft matters here and nowhere else.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from fastgate.domain import base64url
from fastgate.domain.notice import Fault, NoticeError, is_seconds

__all__ = ["STATUS_LIST_TYPES", "StatusList", "entry_of", "read_status_list"]

STATUS_LIST_TYPES: frozenset[str | None] = frozenset({"statuslist+jwt"})
_BITS = frozenset({1, 2, 4, 8})
# Source: PROTOCOLS.md section 6: a list is fresh for as long as it says, within these.
_LEAST_S, _MOST_S = 10, 24 * 3600
# Reason: for issuers that say neither `ttl` nor `exp`.
_USUAL_S = 300


@dataclass(frozen=True, slots=True)
class StatusList:
    """A list that may be looked at.

    bits: Of each entry. raw: The entries, least significant bits first.
    fresh_s: How long from now it may be relied upon, seconds.
    aggregation: URI of a document that names more lists, "" where it says none.
    """

    bits: int
    raw: bytes
    fresh_s: float
    aggregation: str = ""


def entry_of(raw: bytes | memoryview, bits: int, index: int) -> int | None:
    """Return the status of an entry; None where the list has no such entry."""
    at = index * bits >> 3
    if index < 0 or at >= len(raw):
        return None
    return raw[at] >> (index * bits & 7) & ((1 << bits) - 1)


def read_status_list(
    claims: Mapping[str, object],
    *,
    uri: str,
    issuer: str,
    now_s: float,
    leeway_s: float,
    max_bytes: int,
) -> StatusList:
    """Return the list that a Status List Token holds.

    claims: Of a token whose signature verified. uri: Where it was fetched from.
    issuer: Exact `iss` of whose key signed it. now_s: Wall time.
    max_bytes: Of the entries, inflated. Raises NoticeError.
    """
    if claims.get("sub") != uri:
        # Source: section 5.1: or one list could be served in the place of another.
        raise NoticeError(Fault.CLAIMS, "sub is not the list's URI")
    if "iss" in claims and claims["iss"] != issuer:
        raise NoticeError(Fault.ISSUER, "iss is not the issuer's")
    fresh_s = _fresh_s(claims, now_s, leeway_s)
    told = claims.get("status_list")
    if not isinstance(told, dict):
        raise NoticeError(Fault.CLAIMS, "status_list is missing")
    bits, packed = told.get("bits"), told.get("lst")
    if type(bits) is not int or bits not in _BITS:
        raise NoticeError(Fault.CLAIMS, "bits must be 1, 2, 4 or 8")
    octets = base64url.decode(packed) if isinstance(packed, str) else None
    if octets is None:
        raise NoticeError(Fault.MALFORMED, "lst must be base64url")
    more = told.get("aggregation_uri", "")
    if not isinstance(more, str):
        raise NoticeError(Fault.CLAIMS, "aggregation_uri must be a text")
    return StatusList(bits, _inflated(octets, max_bytes), fresh_s, more)


def _fresh_s(claims: Mapping[str, object], now_s: float, leeway_s: float) -> float:
    issued = claims.get("iat")
    if not is_seconds(issued) or issued > now_s + leeway_s:
        raise NoticeError(Fault.TIME, "iat must be in the past")
    limits: list[float] = []
    for name, since in (("ttl", 0.0), ("exp", now_s)):
        if name in claims:
            value = claims[name]
            if not is_seconds(value):
                raise NoticeError(Fault.CLAIMS, f"{name} must be whole seconds")
            limits.append(value - since)
    if "exp" in claims and limits[-1] <= -leeway_s:
        raise NoticeError(Fault.TIME, "it has expired")
    return min(max(min(limits, default=_USUAL_S), _LEAST_S), _MOST_S)


def _inflated(octets: bytes, max_bytes: int) -> bytes:
    # A kilobyte can say a megabyte: never more than the limit is made of it.
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(octets, max_bytes + 1)
    except zlib.error:
        raise NoticeError(Fault.MALFORMED, "lst is no zlib stream") from None
    if len(raw) > max_bytes:
        raise NoticeError(Fault.MALFORMED, "the list is too long")
    if not inflater.eof or inflater.unused_data or not raw:
        raise NoticeError(Fault.MALFORMED, "lst is cut off or has a tail")
    return raw
