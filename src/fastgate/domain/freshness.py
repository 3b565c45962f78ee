"""Freshness: how old a view of an origin is, told without a common clock.

Owns:      nonces sent, and what each echo of one proved about a writer's clock.
Called by: control.origin, one AgeClock per origin.
Source:    REVOCATION.md section 4: a marker that echoes a nonce sent at local time t
           was written at or after t; a later marker of the same writer whose `as_of`
           is larger by d was written at or after t + d.
"""

from collections import OrderedDict, deque

__all__ = ["AgeClock", "NonceLog"]

# Reason: one a second; an echo older than the calibration's life proves nothing new.
_MAX_NONCES = 1_024
# Reason: REVOCATION.md section 4; two quartz clocks drift apart by 0.1 s in that time.
CALIBRATION_LIFE_NS = 600 * 10**9
# Reason: a region has a few gateways, each with one boot at a time.
_MAX_WRITERS = 64
_MAX_CALIBRATIONS = 16


class NonceLog:
    """When each of this node's nonces was sent; one log serves all origins."""

    __slots__ = ("_sent",)

    def __init__(self) -> None:
        self._sent: OrderedDict[str, int] = OrderedDict()

    def sent(self, nonce: str, boot_ns: int) -> None:
        """Note a nonce, before it leaves."""
        self._sent[nonce] = boot_ns
        if len(self._sent) > _MAX_NONCES:
            self._sent.popitem(last=False)

    def when(self, nonce: str) -> int | None:
        """Return the local time at which a nonce was sent; None for a foreign one."""
        return self._sent.get(nonce)


class AgeClock:
    """Turns a writer's `as_of` into a local time at or before which it wrote."""

    __slots__ = ("_echoed", "_nonces", "_writers")

    def __init__(self, nonces: NonceLog) -> None:
        self._nonces = nonces
        # Writer and boot: (local time of the proof, local minus writer's clock).
        self._writers: OrderedDict[tuple[str, str], deque[tuple[int, int]]] = (
            OrderedDict()
        )
        self._echoed: dict[tuple[str, str], str] = {}

    def learn(self, writer: str, boot: str, as_of: int, nonce: str | None) -> None:
        """Take the echo of a marker.

        as_of: Nanoseconds of the writer's clock. nonce: What it echoes to this node.
        Only the first marker with a nonce teaches: later ones repeat it for as long as
        no newer report arrives, and prove less each time.
        """
        if nonce is None or self._echoed.get((writer, boot)) == nonce:
            return
        sent_ns = self._nonces.when(nonce)
        if sent_ns is None:
            return
        proofs = self._writers.setdefault((writer, boot), deque())
        self._writers.move_to_end((writer, boot))
        self._echoed[writer, boot] = nonce
        proofs.append((sent_ns, sent_ns - as_of))
        if len(proofs) > _MAX_CALIBRATIONS:
            # The loosest goes: a larger offset is the tighter bound.
            proofs.remove(min(proofs, key=lambda proof: proof[1]))
        if len(self._writers) > _MAX_WRITERS:
            oldest, _ = self._writers.popitem(last=False)
            self._echoed.pop(oldest, None)

    def written_ns(self, writer: str, boot: str, as_of: int, now_ns: int) -> int | None:
        """Return a local time at or before which a marker was written.

        now_ns: CLOCK_BOOTTIME here; nothing was written later than that.
        None: no echo from this writer within ten minutes, so nothing is proven.
        """
        proofs = self._writers.get((writer, boot))
        if not proofs:
            return None
        offsets = [o for at, o in proofs if now_ns - at <= CALIBRATION_LIFE_NS]
        return min(now_ns, as_of + max(offsets)) if offsets else None
