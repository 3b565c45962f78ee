"""World: one layout of ports, and distances that add up."""

import contextlib
import socket

import pytest

from fastgate.demo.world import HOST, REGIONS, Ports, distance_s, free_base


def test_ports_are_all_different():
    """Nothing listens where something else does."""
    ports = Ports(18080).all()
    assert len(set(ports)) == len(ports)


def test_ports_follow_the_layout_people_are_told():
    """Gateway +0, issuer +1, API +2, bus +3, admin +5, status +6; us +100, ap +200."""
    ports = Ports(18080)
    names = ("gateway", "issuer", "api", "bus", "admin", "status")
    assert [ports.of("eu", name) - 18080 for name in names] == [0, 1, 2, 3, 5, 6]
    assert [ports.of(region, "gateway") - 18080 for region in REGIONS] == [0, 100, 200]
    assert ports.transit == 18380


def test_region_reaches_itself_directly_and_others_through_links():
    """A link stands between any two regions, in each direction."""
    ports = Ports(18080)
    assert ports.reach("eu", "eu", "api") == ports.url("eu", "api")
    assert ports.reach("eu", "us", "api") != ports.url("us", "api")
    assert ports.reach("eu", "us", "api") != ports.reach("ap", "us", "api")


def test_round_trips_between_regions_are_those_of_the_world():
    """90, 140 and 170 ms; nothing within a region; scaled on request."""
    pairs = (("eu", "us"), ("eu", "ap"), ("us", "ap"))
    rounds = [round(2000 * distance_s(here, there, 1.0)) for here, there in pairs]
    assert rounds == [90, 140, 170]
    assert distance_s("eu", "eu", 1.0) == 0
    assert distance_s("eu", "us", 0.5) == pytest.approx(0.0225)


def test_taken_port_is_named():
    """A port that somebody uses is found before anything starts."""
    base = free_base()
    ports = Ports(base)
    assert ports.taken() == []
    with contextlib.closing(socket.socket()) as other:
        other.bind((HOST, ports.of("us", "admin")))
        other.listen()
        assert ports.taken() == [ports.of("us", "admin")]
