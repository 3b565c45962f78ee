"""Regions: the closed set, and what names a user's home.

Owns:      the set of region names; a region is an index into it, never outside text.
Called by: config.compile builds it; hotpath.regions asks it.
"""

import enum
import re
from dataclasses import dataclass, field

__all__ = ["NO_REGION", "UNKNOWN_REGION", "RegionCookie", "RegionSet", "RegionSource"]

NO_REGION = -1  # nothing named a region
UNKNOWN_REGION = -2  # something named a value outside the closed set

# Reason: fits a DNS label and a metric label, so no escaping is ever needed.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", re.ASCII)


class RegionSource(enum.StrEnum):
    """What decided the region of a request; metric label and log field."""

    CLAIM = "claim"
    FIELD = "field"
    COOKIE = "cookie"
    HINT = "hint"
    DEFAULT = "default"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class RegionCookie:
    """How the region cookie is named and written.

    name: Compared exactly.
    max_age_s: Life of a cookie that the gateway writes, seconds.
    domain: Domain attribute; None writes a host-only cookie.
    secure: False only where the public scheme is http.
    """

    name: str
    max_age_s: int = 2_592_000
    domain: str | None = None
    secure: bool = True


@dataclass(frozen=True, slots=True)
class RegionSet:
    """The closed set of regions, in configured order.

    names: Region names; a region's index is its position here.
    default: Index used until the user is known.
    own: Index of this gateway's region.
    claims: Claim names to read, first one present wins; a dot descends.
    cookie: The region cookie.
    """

    names: tuple[str, ...]
    default: int
    own: int
    claims: tuple[str, ...]
    cookie: RegionCookie
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check names and index them once."""
        for name in self.names:
            if not _NAME.fullmatch(name):
                raise ValueError(f"region name {name!r}: use [a-z0-9-], at most 32")
        if len(set(self.names)) != len(self.names):
            raise ValueError("region names must differ")
        object.__setattr__(self, "_index", {n: i for i, n in enumerate(self.names)})

    def find(self, value: str | None) -> int:
        """Return the index of an exact name, NO_REGION for None, or UNKNOWN_REGION."""
        if value is None:
            return NO_REGION
        return self._index.get(value, UNKNOWN_REGION)
