"""Upstreams: which address of a region gets a request, and which is left out for now.

Owns:      passive health per upstream address: failures in a row, ejection, one probe.
           Pure state; the caller brings the clock and reports what happened.
Called by: hotpath.forwarding, one object per worker, from one thread.
Source:    THREATS F18, F21, U6; RFC 9110 section 9.2.2 (idempotent methods).

An address is healthy until FAILURES_TO_EJECT attempts in a row found nobody there.
Then it is left out for a time that doubles with each further failure. When the time is
over, one request is let through as a probe; its outcome decides for the others.

Compiled, since each request asks it twice.
"""

from collections.abc import Collection, Sequence

import cython

__all__ = ["FAILURES_TO_EJECT", "UpstreamHealth", "may_retry"]

# Reason: one refused connection may be a restart; three in a row are an address that is
# gone, and each costs a client an error.
FAILURES_TO_EJECT = 3
# Reason: a restarted service is back within seconds, a dead one is asked twice a
# minute.
FIRST_EJECTION_NS = 2_000_000_000
LONGEST_EJECTION_NS = 30_000_000_000
# Reason: longer than connect and first byte together; a probe that vanished frees its
# turn.
PROBE_NS = 35_000_000_000

# RFC 9110 section 9.2.2.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class _Address:
    __slots__ = ("ejected_until_ns", "failures", "probing_until_ns")

    def __init__(self) -> None:
        self.failures = 0
        self.ejected_until_ns = 0
        self.probing_until_ns = 0


@cython.final
@cython.cclass
class UpstreamHealth:
    """Passive health of every upstream address, and whose turn it is."""

    _addresses: dict[str, _Address]
    _turn: int

    def __init__(self) -> None:
        self._addresses: dict[str, _Address] = {}
        self._turn = 0

    def choose(
        self, bases: Sequence[str], tried: Collection[str], now_ns: int
    ) -> str | None:
        """Return the next address to use, or None where none is left.

        bases: All addresses of the service in one region, in configured order.
        tried: Those that already failed for this request.
        """
        count = len(bases)
        # Kept below the count, so that it stays a small number for ever.
        self._turn = (self._turn + 1) % count if count else 0
        for step in range(count):
            base = bases[(self._turn + step) % count]
            if base not in tried and self._usable(base, now_ns):
                return base
        return None

    def _usable(self, base: str, now_ns: int) -> bool:
        address = self._addresses.get(base)
        if address is None or address.failures < FAILURES_TO_EJECT:
            return True
        if now_ns < address.ejected_until_ns or now_ns < address.probing_until_ns:
            return False
        address.probing_until_ns = now_ns + PROBE_NS
        return True

    def succeeded(self, base: str) -> None:
        """Note that an address answered, with whatever status."""
        # Healthy addresses have no entry, so this is one look-up on the warm path.
        self._addresses.pop(base, None)

    def failed(self, base: str, now_ns: int) -> None:
        """Note that an address could not be reached, or hung up without a word."""
        address = self._addresses.setdefault(base, _Address())
        address.failures += 1
        address.probing_until_ns = 0
        over = address.failures - FAILURES_TO_EJECT
        if over >= 0:
            ejection = min(FIRST_EJECTION_NS << min(over, 8), LONGEST_EJECTION_NS)
            address.ejected_until_ns = now_ns + ejection

    def keep_only(self, bases: Collection[str]) -> None:
        """Forget addresses that the configuration no longer names."""
        for base in [base for base in self._addresses if base not in bases]:
            del self._addresses[base]

    def ejected(self, now_ns: int) -> frozenset[str]:
        """Return the addresses that are left out now, for status and alarms."""
        return frozenset(
            base
            for base, address in self._addresses.items()
            if address.failures >= FAILURES_TO_EJECT
            and now_ns < address.ejected_until_ns
        )


def may_retry(
    method: str, *, body_sent: bool, reused: bool, heard: bool, retried: bool
) -> bool:
    """Tell whether a request whose connection broke may be sent once more.

    body_sent: A byte of its body left. reused: The connection had served before, so the
        upstream may have closed it as we wrote. heard: A byte of the answer came.
    Source: THREATS F21: 0 doubled POSTs.
    """
    return (
        reused and not heard and not body_sent and not retried and method in _IDEMPOTENT
    )
