# cython: annotation_typing=False
"""Failures: how many failed verifications each client has left.

Owns:      one table of fixed size per worker, 16 bytes a place.
Called by: hotpath.gate around the verification of a token never seen before, and
           control.introspection (ports.FailureLimiter) before it asks about one.
Source:    THREATS.md T10 to T12 and section 4; the generic cell rate algorithm of
           ITU-T I.371, which keeps a bucket in one instant: when its debt is paid.

Compiled with the gate (failures.pxd), for it stands before every verification.

A client without a place has failed at nothing, so forgetting one can only forgive: a
full table refuses nobody. A newcomer takes the place of the least guilty of its set,
and which clients share a set is secret. To be forgiven a debt, an attacker has to run
up a larger one from every other place of the set, at the price of as many failures.
"""

import secrets
import socket
from array import array

import cython

__all__ = ["Failures"]

_NS = 1_000_000_000
_WAYS = 8
# Reason: a core cannot verify more than some 15,000 signatures a second, and at the
# slowest rate that can be configured a single failure is forgotten after a second.
_SET_BITS = 11
_SETS = 1 << _SET_BITS
_ALL = 0xFFFF_FFFF_FFFF_FFFF
# The finish of splitmix64.
_MIX_1 = 0xBF58_476D_1CE4_E5B9
_MIX_2 = 0x94D0_49BB_1331_11EB
# IPv6 clients are named by their /64. No client has a multicast address, so the /64s
# that begin with ffff are free to name IPv4 clients, and whoever has no address.
_IPV4 = 0xFFFF_0000_0000_0000
_NOBODY = 0xFFFF_FFFF_0000_0000
_MAPPED = bytes(10) + b"\xff\xff"
# Reason: the library takes 0.4 us for one; past this the memory starts anew.
_REMEMBERED = 1_024
_MOST_OCTET = 255
_DOTS = 3


@cython.final
@cython.cclass
class Failures:
    """Buckets of failed verifications by client; one table per worker.

    rate_per_s: Failures that a client is forgiven each second. burst: Most that it may
        have open. secret: 64 bits that choose the sets; drawn unless given.
    A client is its IPv4 address or its IPv6 /64; one without an address is not limited.
    """

    def __init__(
        self, rate_per_s: float = 50.0, burst: int = 200, *, secret: int | None = None
    ) -> None:
        self._secret = secrets.randbits(64) if secret is None else secret
        self._known: dict[str, int] = {}
        self._rate_per_s = 0.0
        self._burst = 0
        self.adopt(rate_per_s, burst)

    def adopt(self, rate_per_s: float, burst: int) -> None:
        """Take over the figures of a configuration; others forgive all debts."""
        if rate_per_s == self._rate_per_s and burst == self._burst:
            return
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._step_ns = round(_NS / rate_per_s)
        self._clients = array("Q", bytes(8 * _SETS * _WAYS))
        self._paid_ns = array("q", bytes(8 * _SETS * _WAYS))

    def admits(self, peer: str, now_ns: int) -> bool:
        """Tell whether a client may fail once more.

        peer: Address as text, "" for none. now_ns: CLOCK_BOOTTIME.
        """
        client = self._client(peer)
        if client == _NOBODY:
            return True
        place = self._find(client)
        return place < 0 or (
            self._paid_ns[place] - now_ns <= (self._burst - 1) * self._step_ns
        )

    def charge(self, peer: str, now_ns: int, count: int = 1) -> None:
        """Note failed verifications of a client; its debt never exceeds the burst."""
        client = self._client(peer)
        if client == _NOBODY:
            return
        place = self._find(client)
        if place < 0:
            place = self._take(client)
        paid_ns = max(self._paid_ns[place], now_ns) + count * self._step_ns
        self._paid_ns[place] = min(paid_ns, now_ns + self._burst * self._step_ns)

    def refund(self, peer: str) -> None:
        """Take one charge back, for what turned out to be no failure."""
        client = self._client(peer)
        place = -1 if client == _NOBODY else self._find(client)
        if place >= 0:
            self._paid_ns[place] = self._paid_ns[place] - self._step_ns

    def _find(self, client: int) -> int:
        first = self._set(client)
        for place in range(first, first + _WAYS):
            if self._clients[place] == client:
                return place
        return -1

    def _take(self, client: int) -> int:
        """Give a client the place of the least guilty one of its set."""
        first = self._set(client)
        best = first
        for place in range(first + 1, first + _WAYS):
            if self._paid_ns[place] < self._paid_ns[best]:
                best = place
        self._clients[best] = client
        self._paid_ns[best] = 0
        return best

    def _set(self, client: int) -> int:
        # A secret is in it, so that nobody can aim at a set.
        mixed = client ^ self._secret
        mixed = ((mixed ^ (mixed >> 30)) * _MIX_1) & _ALL
        mixed = ((mixed ^ (mixed >> 27)) * _MIX_2) & _ALL
        return (mixed >> (64 - _SET_BITS)) * _WAYS

    def _client(self, peer: str) -> int:
        """Return the number of a client: its IPv4 address, or half of its IPv6 one.

        Dotted addresses are read here, in a tenth of the time that the library takes.
        """
        if not peer:
            return _NOBODY
        value = octet = dots = digits = 0
        for character in peer:
            if character == "." and digits and dots < _DOTS:
                value = value << 8 | octet
                octet = digits = 0
                dots += 1
            elif "0" <= character <= "9" and (octet or not digits):
                octet = octet * 10 + ord(character) - ord("0")
                digits += 1
                if octet > _MOST_OCTET:
                    return self._remembered(peer)
            else:
                return self._remembered(peer)
        if dots < _DOTS or not digits:
            return self._remembered(peer)
        return _IPV4 | value << 8 | octet

    def _remembered(self, peer: str) -> int:
        known = self._known.get(peer)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[peer] = _client_of_ipv6(peer)
        return known


def _client_of_ipv6(peer: str) -> int:
    try:
        packed = socket.inet_pton(socket.AF_INET6, peer.partition("%")[0])
    except (OSError, ValueError):
        return _NOBODY
    if packed[:12] == _MAPPED:
        return _IPV4 | int.from_bytes(packed[12:])
    return int.from_bytes(packed[:8])
