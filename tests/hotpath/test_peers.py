"""The client behind trusted proxies: whom failures are charged to."""

import pytest

from fastgate.hotpath.peers import TrustedPeers

PROXY = "10.0.0.1"
CLIENT = "192.0.2.1"


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        (b"192.0.2.1", CLIENT),
        (b"192.0.2.1, 10.0.0.7", CLIENT),  # one more proxy of ours in between
        (b"203.0.113.9, 192.0.2.1", CLIENT),  # what the client wrote itself
        (b"10.0.0.3, 192.0.2.1, 10.0.0.7,10.0.0.8", CLIENT),
        (b"junk, 192.0.2.1", CLIENT),
        (b"192.0.2.1:4711", CLIENT),
        (b"2001:db8:f::1", "2001:db8:f::1"),
        (b"[2001:db8:f::1]:4711", "2001:db8:f::1"),
        (b"::ffff:10.0.0.7", "10.0.0.7"),  # ours, and the first of the chain
        (b"::ffff:192.0.2.1", CLIENT),  # one client, however its address is written
        (b"192.0.2.1, ::ffff:10.0.0.7", CLIENT),
        (b"10.0.0.3, 10.0.0.4", "10.0.0.3"),  # a client among the proxies
        (b"192.0.2.1, unknown", PROXY),
        (b"192.0.2.1, unknown, 10.0.0.7", "10.0.0.7"),
        (b"192.0.2.1, , 10.0.0.7", "10.0.0.7"),
        (b"192.0.2.1, 010.0.0.7", PROXY),
        (b"192.0.2.1, 10.0.0.0/8", PROXY),
        (b"fe80::1%eth0", PROXY),
        (b"\xff", PROXY),
        (b"", PROXY),
    ],
)
def test_client_is_the_last_address_that_is_no_proxy(chain: bytes, client: str) -> None:
    """What stands further left, or is no address, is anybody's word."""
    peers = TrustedPeers(("10.0.0.0/8",))
    assert peers.client(PROXY, chain) == client


def test_client_of_a_long_chain_is_looked_for_a_few_steps_only() -> None:
    """A head full of our own addresses costs eight looks, and names one of them."""
    peers = TrustedPeers(("10.0.0.0/8",))
    chain = b", ".join([b"192.0.2.1", *[b"10.0.0.%d" % n for n in range(200)]])
    assert peers.client(PROXY, chain) == "10.0.0.192"
