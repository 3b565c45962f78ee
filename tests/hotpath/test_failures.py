"""The bound on failed verifications, against plain buckets and against attackers."""

import ipaddress
import tracemalloc
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hotpath.gates import BOOT_NS, SECOND_NS, failures_class

BUILDS = ("compiled", "uncompiled")
ALICE, MALLORY = "192.0.2.1", "198.51.100.9"


@pytest.fixture(params=BUILDS)
def failures(request):
    """The default figures: 50 a second, 200 at once."""
    return failures_class(request.param)()


class Buckets:
    """The same bound, by a bucket for each client and without any forgetting."""

    def __init__(self, rate: int, burst: int) -> None:
        self.step_ns = round(SECOND_NS / rate)
        self.burst = Fraction(burst)
        self.levels: dict[object, tuple[Fraction, int]] = {}

    def client(self, peer: str) -> object:
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return None
        if isinstance(address, ipaddress.IPv6Address):
            return address.ipv4_mapped or int(address) >> 64
        return address

    def level(self, client: object, now_ns: int) -> Fraction:
        level, then_ns = self.levels.get(client, (self.burst, now_ns))
        return min(self.burst, level + Fraction(now_ns - then_ns, self.step_ns))

    def admits(self, peer: str, now_ns: int) -> bool:
        client = self.client(peer)
        return client is None or self.level(client, now_ns) >= 1

    def charge(self, peer: str, now_ns: int, count: int) -> None:
        if (client := self.client(peer)) is not None:
            left = max(Fraction(0), self.level(client, now_ns) - count)
            self.levels[client] = left, now_ns

    def refund(self, peer: str, now_ns: int) -> None:
        if (client := self.client(peer)) is not None:
            level = self.level(client, now_ns)
            self.levels[client] = min(self.burst, level + 1), now_ns


# Seven clients at most, so that no set of places can be full.
PEERS = st.sampled_from(
    [
        *(ALICE, MALLORY, "::ffff:192.0.2.1", "2001:db8:0:1::1", "2001:db8:0:1:f::2"),
        *("2001:db8:0:2::1", "::1", "fe80::1%eth0", "fe80::2%eth1", "", "junk"),
        *("1.2.3", "1.2.3.4.5", "1.2.3.256", "1..2.3", "01.2.3.4", "1.2.3.", "12:"),
    ]
)
STEPS = st.lists(
    st.tuples(
        PEERS,
        st.sampled_from(["admits", "charge", "refund"]),
        st.integers(0, 3),
        st.sampled_from([0, 0, 1, SECOND_NS // 50, SECOND_NS // 7, 3 * SECOND_NS]),
    ),
    max_size=60,
)


@pytest.mark.parametrize("build", BUILDS)
@given(rate=st.sampled_from([1, 3, 50]), burst=st.integers(1, 6), steps=STEPS)
def test_failures_are_bounded_as_by_a_bucket_for_each_client(
    build: str, rate: int, burst: int, steps: list[tuple[str, str, int, int]]
) -> None:
    """Whatever happens in which order, both give the same word at the same instant."""
    failures, buckets = failures_class(build)(rate, burst), Buckets(rate, burst)
    now_ns = BOOT_NS
    for peer, step, count, later_ns in steps:
        now_ns += later_ns
        if step == "charge":
            failures.charge(peer, now_ns, count)
            buckets.charge(peer, now_ns, count)
        elif step == "refund":
            failures.refund(peer)
            buckets.refund(peer, now_ns)
        assert failures.admits(peer, now_ns) is buckets.admits(peer, now_ns)


@given(address=st.ip_addresses(v=4), other=st.ip_addresses(v=4))
def test_failures_of_one_address_are_no_other_addresss(
    address: ipaddress.IPv4Address, other: ipaddress.IPv4Address
) -> None:
    """IPv4 is told apart by the whole address, also from the IPv6 prefixes."""
    failures = failures_class("compiled")(50, 1)
    failures.charge(str(address), BOOT_NS)
    assert not failures.admits(str(address), BOOT_NS)
    assert not failures.admits(f"::ffff:{address}", BOOT_NS)
    assert failures.admits(str(other), BOOT_NS) is (address != other)
    assert failures.admits(f"::{address}", BOOT_NS)


@given(address=st.ip_addresses(v=6), other=st.ip_addresses(v=6))
def test_failures_of_an_ipv6_client_are_those_of_its_64(
    address: ipaddress.IPv6Address, other: ipaddress.IPv6Address
) -> None:
    """A host owns a whole /64, so another address in it is the same client."""
    failures = failures_class("compiled")(50, 1)
    failures.charge(str(address), BOOT_NS)
    if not address.ipv4_mapped and not other.ipv4_mapped:
        beside = ipaddress.IPv6Address(int(address) ^ 1 << 20)
        assert not failures.admits(str(beside), BOOT_NS)
        apart = int(address) >> 64 != int(other) >> 64
        assert failures.admits(str(other), BOOT_NS) is apart


def test_failures_are_forgiven_at_the_rate(failures) -> None:
    """200 at once, then one more each 20 ms, however long it goes on."""
    for _ in range(200):
        assert failures.admits(ALICE, BOOT_NS)
        failures.charge(ALICE, BOOT_NS)
    assert not failures.admits(ALICE, BOOT_NS)
    for tick in range(1, 50):
        now_ns = BOOT_NS + tick * SECOND_NS // 50
        assert not failures.admits(ALICE, now_ns - 1)
        assert failures.admits(ALICE, now_ns)
        failures.charge(ALICE, now_ns)


def test_failures_past_the_burst_are_no_debt(failures) -> None:
    """However many fail at once, a client waits for one step only."""
    failures.charge(ALICE, BOOT_NS, 1_000_000)
    assert not failures.admits(ALICE, BOOT_NS + SECOND_NS // 50 - 1)
    assert failures.admits(ALICE, BOOT_NS + SECOND_NS // 50)


def test_failures_of_many_clients_take_no_more_memory() -> None:
    """A hundred thousand addresses have the same places as one."""
    failures = failures_class("compiled")()
    tracemalloc.start()
    for number in range(100_000):
        octets = number.to_bytes(3)
        failures.charge(f"10.{octets[0]}.{octets[1]}.{octets[2]}", BOOT_NS)
    for number in range(10_000):
        failures.charge(f"2001:db8:{number:x}::1", BOOT_NS)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 512 * 1024


def test_failures_of_many_clients_lock_nobody_out() -> None:
    """Where every place is a guilty client's, a newcomer is admitted, and counted."""
    failures = failures_class("compiled")()
    for number in range(100_000):
        octets = number.to_bytes(3)
        failures.charge(
            f"10.{octets[0]}.{octets[1]}.{octets[2]}", BOOT_NS + number, 200
        )
    now_ns = BOOT_NS + 100_000
    assert failures.admits(ALICE, now_ns)
    failures.charge(ALICE, now_ns, 200)
    assert not failures.admits(ALICE, now_ns)


def test_failures_are_not_forgiven_for_a_crowd() -> None:
    """Who failed 200 times stays refused while a million others fail once or twice."""
    failures = failures_class("compiled")()
    failures.charge(MALLORY, BOOT_NS, 200)
    for number in range(1_000_000):
        octets = number.to_bytes(3)
        failures.charge(
            f"10.{octets[0]}.{octets[1]}.{octets[2]}", BOOT_NS, 1 + number % 2
        )
    assert not failures.admits(MALLORY, BOOT_NS)


def test_failures_share_places_as_a_secret_says() -> None:
    """Whose places are a client's neighbours' cannot be read from the addresses."""
    peers = [f"10.0.{n >> 8}.{n & 255}" for n in range(60_000)]

    def forgotten(secret: int | None) -> set[str]:
        failures = failures_class("compiled")(50, 1, secret=secret)
        for peer in peers:
            failures.charge(peer, BOOT_NS)
        return {peer for peer in peers if failures.admits(peer, BOOT_NS)}

    assert forgotten(7) == forgotten(7)
    assert len({frozenset(forgotten(None)) for _ in range(3)}) == 3


def test_failures_begin_anew_with_other_figures_only(failures) -> None:
    """A reload that leaves them alone forgives nothing."""
    failures.charge(ALICE, BOOT_NS, 200)
    failures.adopt(50.0, 200)
    assert not failures.admits(ALICE, BOOT_NS)
    failures.adopt(25.0, 200)
    assert failures.admits(ALICE, BOOT_NS)
