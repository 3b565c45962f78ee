"""The region cookie: read exactly, repaired where wrong, never believed blindly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hotpath.gates import AP, EU, REGIONS, US

from fastgate.domain.decision import Decision
from fastgate.domain.region import NO_REGION, RegionSource
from fastgate.domain.request import RequestHead
from fastgate.hotpath.regions import cookie_region, follow_cookie, settle


@pytest.mark.parametrize(
    ("header", "region", "wrong"),
    [
        (None, NO_REGION, False),
        ("", NO_REGION, False),
        ("region=us", US, False),
        ("a=b; region=us; c=d", US, False),
        ("a=b;region=us", US, False),
        ("region=us; region=us", US, False),
        ("region=us; region=ap", NO_REGION, True),
        ("region=us; region=mars", NO_REGION, True),
        ("region=mars", NO_REGION, True),
        ("region=", NO_REGION, True),
        ("region", NO_REGION, True),
        ("region=us=", NO_REGION, True),
        ("region=eu.evil.example", NO_REGION, True),
        ("region=US", NO_REGION, True),
        ('region="us"', NO_REGION, True),
        ("region=us ", US, False),
        ("region =us", NO_REGION, False),
        ("Region=us", NO_REGION, False),
        ("myregion=us", NO_REGION, False),
        ("region2=us", NO_REGION, False),
        ("x=region=us", NO_REGION, False),
        ("region=%75s", NO_REGION, True),
        ("region=\ud800", NO_REGION, True),
    ],
)
def test_cookie_region_reads_names_and_values_exactly(
    header: str | None, region: int, wrong: bool
) -> None:
    """PROTOCOLS section 16: outside the closed set, or two that differ, is none."""
    assert cookie_region(header, REGIONS) == (region, wrong)


def test_cookie_region_looks_at_a_bounded_number_of_cookies() -> None:
    """A header of thousands is no browser's."""
    assert cookie_region("a=b; " * 199 + "region=us", REGIONS) == (US, False)
    assert cookie_region("a=b; " * 200 + "region=us", REGIONS) == (NO_REGION, False)


@given(st.text(max_size=60))
def test_cookie_region_takes_any_header(header: str) -> None:
    """An index of the closed set, or none."""
    region, _ = cookie_region(header + "; region=us" + header, REGIONS)
    assert region in {NO_REGION, EU, US, AP}


@pytest.mark.parametrize(
    ("cookie", "region", "source", "conflict"),
    [
        (None, EU, RegionSource.DEFAULT, None),
        ("region=ap", AP, RegionSource.COOKIE, None),
        ("region=mars", EU, RegionSource.DEFAULT, RegionSource.COOKIE),
    ],
)
def test_follow_cookie_repairs_nothing_that_is_not_certain(
    cookie: str | None,
    region: int,
    source: RegionSource,
    conflict: RegionSource | None,
) -> None:
    """The default region is a guess, so a wrong cookie is counted and left."""
    decision = Decision()
    follow_cookie(decision, RequestHead("GET", "/", cookie=cookie), REGIONS)
    assert (decision.region, decision.source) == (region, source)
    assert (decision.conflict, decision.repair_cookie) == (conflict, False)


@pytest.mark.parametrize(
    ("cookie", "repaired"),
    [
        (None, False),
        ("other=1", False),
        ("region=us", False),
        ("region=ap", True),
        ("region=mars", True),
        ("region=us; region=eu", True),
    ],
)
def test_settle_repairs_a_cookie_that_says_otherwise(
    cookie: str | None, repaired: bool
) -> None:
    """What decided stays; the loser is named."""
    decision = Decision()
    head = RequestHead("GET", "/", cookie=cookie)
    settle(decision, head, REGIONS, US, RegionSource.CLAIM)
    assert (decision.region, decision.source) == (US, RegionSource.CLAIM)
    assert decision.repair_cookie is repaired
    assert decision.conflict == (RegionSource.COOKIE if repaired else None)
