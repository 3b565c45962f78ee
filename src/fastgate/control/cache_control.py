"""Cache-Control of an issuer's answers: how long they may be reused.

Owns:      nothing; callers clamp what they read here.
Called by: control.keyring, control.introspection.
Source:    RFC 9111 sections 4.2 and 5.2.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CacheRules", "read_cache_rules"]

# Reason: RFC 9111 section 1.2.2 lets large numbers count as 2^31; ten digits hold it.
_MAX_DIGITS = 10


@dataclass(frozen=True, slots=True)
class CacheRules:
    """What the headers of an answer say of its reuse.

    max_age_s: Seconds it may be reused from now, its Age taken off; None: not said.
    no_store: It must not be kept (no-store), or not without asking again (no-cache).
    """

    max_age_s: int | None = None
    no_store: bool = False


def read_cache_rules(headers: Mapping[str, str]) -> CacheRules:
    """Return what `headers` (names in lower case) say. Raises nothing.

    Of several max-age values the smallest counts; one that is no number counts as 0
    (RFC 9111 section 4.2.1: invalid freshness is stale).
    """
    ages: list[int] = []
    no_store = False
    for directive in headers.get("cache-control", "").split(","):
        name, _, value = directive.strip().partition("=")
        match name.strip().lower():
            case "no-store" | "no-cache":
                no_store = True
            case "max-age":
                ages.append(_seconds(value.strip().strip('"')) or 0)
            case _:
                pass
    if not ages:
        return CacheRules(None, no_store)
    elapsed = _seconds(headers.get("age", "").strip()) or 0
    return CacheRules(max(0, min(ages) - elapsed), no_store)


def _seconds(text: str) -> int | None:
    # Reason: int() alone takes signs, underscores and the digits of other scripts.
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS:
        return None
    return int(text)
