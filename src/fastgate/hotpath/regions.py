"""Regions: the home region of a request, who named it, and who disagreed.

Owns:      the order of sources for API routes, public routes and OAuth messages.
Called by: hotpath.gate as its last step.
Source:    DESIGN.md section 9, PROTOCOLS.md sections 15 and 16.
"""

from fastgate.domain.decision import Decision
from fastgate.domain.region import NO_REGION, RegionSet, RegionSource
from fastgate.domain.request import RequestHead

__all__ = ["cookie_region", "follow_cookie", "settle"]

# Reason: browsers stop near 180 cookies a host; more is no browser.
_MAX_COOKIES = 200


def cookie_region(header: str | None, regions: RegionSet) -> tuple[int, bool]:
    """Return the region that the cookie names, and whether the cookie is wrong.

    header: All Cookie headers joined by "; ".
    A value outside the closed set, or two values that differ, name no region and are
    wrong, so that an answer may repair them.
    """
    if header is None or regions.cookie.name not in header:
        return NO_REGION, False
    found: str | None = None
    for pair in header.split(";", _MAX_COOKIES)[:_MAX_COOKIES]:
        # A value may hold "="; names compare exactly (PROTOCOLS section 16).
        name, _, value = pair.strip(" \t").partition("=")
        if name != regions.cookie.name:
            continue
        if found is not None and found != value:
            return NO_REGION, True
        found = value
    region = regions.find(found)
    return (region, False) if region >= 0 else (NO_REGION, found is not None)


def follow_cookie(decision: Decision, head: RequestHead, regions: RegionSet) -> None:
    """Route by cookie, else to the default region until the user is known."""
    region, wrong = cookie_region(head.cookie, regions)
    if region >= 0:
        decision.region, decision.source = region, RegionSource.COOKIE
    else:
        decision.region, decision.source = regions.default, RegionSource.DEFAULT
        if wrong:
            decision.conflict = RegionSource.COOKIE


def settle(
    decision: Decision,
    head: RequestHead,
    regions: RegionSet,
    region: int,
    source: RegionSource,
) -> None:
    """Route to `region`, and note whether the client's cookie says otherwise."""
    decision.region, decision.source = region, source
    if head.cookie is None:
        return
    other, wrong = cookie_region(head.cookie, regions)
    if wrong or other not in {NO_REGION, region}:
        decision.conflict = RegionSource.COOKIE
        decision.repair_cookie = True
