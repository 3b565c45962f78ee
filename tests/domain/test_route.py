"""Routes: one table, no two routes for one prefix."""

import pytest

from fastgate.domain.route import Route, RouteTable, Service

SERVICE = Service("s", (("http://a",),))


def table(*prefixes: str) -> RouteTable:
    return RouteTable(Route(n, p, p, SERVICE) for n, p in enumerate(prefixes))


def test_route_table_keeps_routes_in_order_and_by_prefix() -> None:
    """A last slash is the same prefix; the root is the empty one."""
    made = table("/a/b/", "/", "/c")
    assert [route.prefix for route in made.routes] == ["/a/b/", "/", "/c"]
    assert set(made.by_prefix) == {"/a/b", "", "/c"}
    assert made.depth == 2


@pytest.mark.parametrize("pair", [("/a", "/a/"), ("/", "/"), ("/a/", "/a//")])
def test_route_table_refuses_two_routes_of_one_prefix(pair: tuple[str, str]) -> None:
    """Which one wins would be anybody's guess."""
    with pytest.raises(ValueError, match="two routes match"):
        table(*pair)


def test_route_table_of_nothing_matches_nothing() -> None:
    """Depth 0, no root."""
    assert table().depth == 0
    assert table().by_prefix == {}
