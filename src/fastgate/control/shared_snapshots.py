"""Shared snapshots: saved states of the feed that nodes leave each other on the bus.

Owns:      the chunks and their order, two places a region, which one is taken.
Called by: control.base, through ports.SnapshotStore and `newest_s`.
Source:    REVOCATION.md section 4 (backfill from a saved snapshot), ECOSYSTEM.md
           section 9, THREATS.md B6 and F14. All of it is hostile until its hash is
           right: sizes are bounded before, and nothing is taken of half a state.

A region has two places in turn: while one is written, the other one is whole. Its card
comes last, so that a writer who dies in between has written nothing.
"""

import asyncio
import hmac
import logging
import secrets
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

from fastgate.control.frame_seal import FrameSeal
from fastgate.control.native import RECORD_BYTES, SEGMENT_COUNT
from fastgate.control.snapshot_card import SAVE_BYTES, Card, content_hash
from fastgate.errors import ControlError
from fastgate.ports import Clock, Shelf

__all__ = ["CHUNK_BYTES", "SharedSnapshots"]

_log = logging.getLogger(__name__)

_SLOTS = ("a", "b")
_HEAD_BYTES = SAVE_BYTES + 4
# Reason: with its head, what the largest frame takes: 256 KiB, which every bus carries.
CHUNK_BYTES = 262_144 - _HEAD_BYTES
# Reason: the bus has revocations to carry; 256 MiB leave within 32 s.
_BYTES_A_SECOND = 8 << 20
_AT_ONCE = 4
# Reason: two round trips to the far side of the world, and a busy server.
_CARDS_S = 1.0
# Reason: wall clocks of a deployment; one that differs by 2 s is an alarm already.
_AHEAD_S = 300
# What a record is like differs between versions of fastgate, and machines.
_RECORDS = f"{RECORD_BYTES}/{SEGMENT_COUNT}/{sys.byteorder}"


class SharedSnapshots:
    """The saved states of all regions, as one node sees them.

    region: This node's, whose places it writes. origins: Regions that may have some.
    keys: Hash keys; the first is written with. seal: Signs cards, where frames are.
    publisher: Returns the id that this node publishes under.
    longest_s: Life of the longest revocation; an older state is of no use.
    max_bytes: Of a state; a larger one is neither sent nor taken.
    """

    def __init__(
        self,
        shelf: Shelf,
        *,
        region: str,
        origins: Sequence[str],
        keys: Sequence[bytes],
        seal: FrameSeal,
        publisher: Callable[[], str],
        clock: Clock,
        longest_s: int,
        max_bytes: int,
    ) -> None:
        self._shelf = shelf
        self._region = region
        self._others = tuple(each for each in origins if each != region)
        self._keys = keys
        self._seal = seal
        self._publisher = publisher
        self._clock = clock
        self._longest_s = longest_s
        self.max_bytes = max_bytes
        # Highest serial number seen of each writer: none of them goes back.
        self._serials: dict[tuple[str, str], int] = {}

    async def newest_s(self) -> float | None:
        """Return the wall time of this region's newest state, None where none is.

        Raises ControlError where the bus did not answer.
        """
        cards = await self._cards(self._region)
        return max((card.wall_ms / 1000 for card in cards), default=None)

    async def save(self, parts: AsyncIterator[bytes]) -> int:
        """Put a state in the place of the one before the last; return its bytes.

        Raises ControlError where the bus did not take it, or has no room for it.
        """
        cards = await self._cards(self._region)
        newest = max(cards, key=lambda card: card.serial, default=None)
        slot = _SLOTS[1] if newest and newest.slot == _SLOTS[0] else _SLOTS[0]
        mine = self._region, self._publisher()
        before = max(newest.serial if newest else 0, self._serials.get(mine, 0))
        room = min(self.max_bytes, await self._shelf.room())
        save = secrets.token_bytes(SAVE_BYTES)
        digest, size, count = content_hash(self._keys[0]), 0, 0
        wall_ms = int(self._clock.wall_s() * 1000)
        async for chunk in _chunks(parts):
            size += len(chunk)
            if size > room:
                raise ControlError(f"the snapshot has more than {room} bytes")
            digest.update(chunk)
            await self._shelf.put(f"{slot}.{count}", save + count.to_bytes(4) + chunk)
            count += 1
            await asyncio.sleep(len(chunk) / _BYTES_A_SECOND)
        card = Card(
            region=self._region,
            slot=slot,
            publisher=self._publisher(),
            serial=before + 1,
            wall_ms=wall_ms,
            save=save.hex(),
            size=size,
            digest=digest.hexdigest(),
            records=_RECORDS,
        )
        await self._shelf.put(f"{slot}.card", card.encode(self._keys[0], self._seal))
        self._serials[mine] = card.serial
        return size

    async def load(self) -> memoryview | None:
        """Return the newest state that is whole: of this region, else of another one.

        None where there is none. Raises ControlError where none can be used.
        """
        trouble: list[ControlError] = []
        for regions in (self._region,), self._others:
            cards: list[list[Card]] = []
            # All at once, and not for long: no stream is read meanwhile.
            found = await asyncio.gather(
                *map(self._cards_soon, regions), return_exceptions=True
            )
            for each in found:
                if isinstance(each, ControlError):
                    trouble.append(each)
                elif isinstance(each, BaseException):
                    raise each
                else:
                    cards.append(each)
            for card in _newest_first(cards):
                try:
                    return await self._content(card)
                except ControlError as error:
                    what = f"snapshot {card.serial} of {card.region}"
                    _log.warning("%s: %s", what, error)
                    trouble.append(error)
        if trouble:
            raise trouble[-1]
        return None

    async def _cards_soon(self, region: str) -> list[Card]:
        try:
            async with asyncio.timeout(_CARDS_S):
                return await self._cards(region)
        except TimeoutError:
            raise ControlError(f"{region} does not answer in time") from None

    async def _cards(self, region: str) -> list[Card]:
        """Return the cards of a region that can be used; others are logged."""
        found = []
        for slot in _SLOTS:
            payload = await self._shelf.get(region, f"{slot}.card")
            if payload is None:
                continue
            try:
                card = Card.decode(payload, self._keys, self._seal)
                self._check(card, region, slot)
            except ControlError as error:
                _log.warning("snapshot in place %s of %s: %s", slot, region, error)
                continue
            found.append(card)
        return found

    def _check(self, card: Card, region: str, slot: str) -> None:
        age_s = int(self._clock.wall_s()) - card.wall_ms // 1000
        if (card.region, card.slot) != (region, slot):
            raise ControlError("its card is of another place")
        if card.records != _RECORDS:
            raise ControlError("it is of another version")
        if not -_AHEAD_S <= age_s < self._longest_s:
            raise ControlError(f"it is {age_s} s old")
        if not 0 < card.size <= self.max_bytes:
            raise ControlError(f"it has {card.size} bytes")

    async def _content(self, card: Card) -> memoryview:
        if card.serial < self._serials.get((card.region, card.publisher), 0):
            raise ControlError("its writer has written a later one")
        content = bytearray()
        count = -(-card.size // CHUNK_BYTES)
        for first in range(0, count, _AT_ONCE):
            numbers = range(first, min(count, first + _AT_ONCE))
            chunks = await asyncio.gather(*(self._chunk(card, n) for n in numbers))
            for chunk in chunks:
                content += chunk
        if len(content) != card.size:
            raise ControlError("it has another size than its card says")
        found = await asyncio.to_thread(self._hash_of, content)
        wanted = bytes.fromhex(card.digest)
        if not any(hmac.compare_digest(each, wanted) for each in found):
            raise ControlError("it is damaged")
        self._serials[card.region, card.publisher] = card.serial
        return memoryview(content).toreadonly()

    def _hash_of(self, content: bytearray) -> list[bytes]:
        found = []
        for key in self._keys:
            digest = content_hash(key)
            digest.update(content)
            found.append(digest.digest())
        return found

    async def _chunk(self, card: Card, number: int) -> bytes:
        payload = await self._shelf.get(card.region, f"{card.slot}.{number}")
        if payload is None:
            raise ControlError("a chunk is missing")
        if payload[:_HEAD_BYTES] != bytes.fromhex(card.save) + number.to_bytes(4):
            raise ControlError("a chunk is of another state")
        left = card.size - number * CHUNK_BYTES
        if len(payload) - _HEAD_BYTES != min(left, CHUNK_BYTES):
            raise ControlError("a chunk has another size")
        return payload[_HEAD_BYTES:]


def _newest_first(regions: list[list[Card]]) -> list[Card]:
    # Within a region by number, whatever its clocks do; between regions by clock.
    ordered = [sorted(each, key=lambda card: -card.serial) for each in regions if each]
    ordered.sort(key=lambda each: -each[0].wall_ms)
    return [card for each in ordered for card in each]


async def _chunks(parts: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    waiting = bytearray()
    async for part in parts:
        waiting += part
        while len(waiting) >= CHUNK_BYTES:
            yield bytes(waiting[:CHUNK_BYTES])
            del waiting[:CHUNK_BYTES]
    if waiting:
        yield bytes(waiting)
