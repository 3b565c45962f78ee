"""Regions: a closed set of plain names."""

import pytest

from fastgate.domain.region import (
    NO_REGION,
    UNKNOWN_REGION,
    RegionCookie,
    RegionSet,
    RegionSource,
)


def regions(*names: str) -> RegionSet:
    return RegionSet(names, 0, 0, ("region",), RegionCookie("region"))


@pytest.mark.parametrize("name", ["eu", "a", "us-east-1", "7", "a" * 32])
def test_region_set_takes_names_that_fit_a_label(name: str) -> None:
    """Letters, digits and inner hyphens, at most 32."""
    assert regions(name).find(name) == 0


@pytest.mark.parametrize(
    "name",
    ["", "EU", "-a", "a-", "a.b", "a_b", "a b", "é", "a\n", "a" * 33, "@", "..%2f"],
)
def test_region_set_refuses_other_names(name: str) -> None:
    """R1: no name ever needs escaping, in a URL or in a metric."""
    with pytest.raises(ValueError, match="region name"):
        regions(name)


def test_region_set_refuses_one_name_twice() -> None:
    """An index would mean two places."""
    with pytest.raises(ValueError, match="differ"):
        regions("eu", "us", "eu")


@pytest.mark.parametrize(
    "value",
    ["", "EU", "eu ", " eu", "eu\x00", "eu.evil.example", "127.0.0.1", "2130706433"],
)
def test_find_compares_exactly(value: str) -> None:
    """R1: everything else is unknown; nothing is not unknown."""
    assert regions("eu", "us").find(value) == UNKNOWN_REGION
    assert regions("eu", "us").find("us") == 1
    assert regions("eu", "us").find(None) == NO_REGION


def test_region_sources_are_metric_labels() -> None:
    """Renaming one breaks dashboards."""
    assert {source.value for source in RegionSource} == {
        *("claim", "field", "cookie", "hint", "default", "own"),
    }
