"""Peers: whose forwarded headers are believed, and the name of a request in every log.

Owns:      the configured networks, parsed once per configuration.
Called by: hotpath.relay, once per request.
Source:    PROTOCOLS section 17 rule 5; RFC 9562 section 5.7 (UUID version 7).
"""

import ipaddress
import os
from collections.abc import Iterable

__all__ = ["TrustedPeers", "new_request_id"]

# Reason: proxies in front are few, and clients come again; past this the memory starts
# anew.
_REMEMBERED = 1_024
# Reason: longer chains of one's own proxies do not occur, and each costs a look.
_MOST_PROXIES = 8

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedPeers:
    """Tells which addresses are configured proxies.

    networks: CIDR texts, checked by the configuration.
    """

    __slots__ = ("_known", "_networks", "texts")

    def __init__(self, networks: Iterable[str]) -> None:
        self.texts = tuple(networks)
        self._networks = tuple(ipaddress.ip_network(text) for text in self.texts)
        self._known: dict[str, bool] = {}

    def trusts(self, address: str) -> bool:
        """Tell whether a peer address is in one of the networks; "" never is."""
        if not self._networks:
            return False
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[address] = self._looked_up(address)
        return known

    def client(self, peer: str, chain: bytes) -> str:
        """Return the address of the client behind a trusted proxy.

        peer: Of the connection. chain: Value of X-Forwarded-For.
        It is the last one in the chain that is no trusted proxy itself; what stands
        before it, anybody can have written. An element that is no address ends the
        search at the proxy that wrote it.
        """
        found = peer
        for element in reversed(chain.rsplit(b",", _MOST_PROXIES)[-_MOST_PROXIES:]):
            address = _address_in(element)
            if address is None:
                break
            found = str(address)
            if not self.trusts(found):
                break
        return found

    def _looked_up(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        parsed = _unmapped(parsed)
        return any(parsed in network for network in self._networks)


def _address_in(element: bytes) -> _Address | None:
    """Return the address of an X-Forwarded-For element; some proxies write a port."""
    text = element.strip(b" \t").decode("latin-1")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    if "%" in text:  # a zone means something on one host only, and can be any text
        return None
    try:
        return _unmapped(ipaddress.ip_address(text))
    except ValueError:
        return None


def _unmapped(address: _Address) -> _Address:
    """Return an IPv4 address as itself: ::ffff:10.0.0.7 is the same client."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def new_request_id(wall_s: float) -> str:
    """Return a new UUIDv7: sortable by time, and no two alike anywhere."""
    milliseconds = int(wall_s * 1_000) & 0xFFFF_FFFF_FFFF
    noise = int.from_bytes(os.urandom(10), "big")
    value = (
        milliseconds << 80
        | 0x7 << 76
        | (noise >> 68) << 64
        | 0b10 << 62
        | noise & 0x3FFF_FFFF_FFFF_FFFF
    )
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
