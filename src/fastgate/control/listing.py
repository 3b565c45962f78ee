"""Listing: the revocations that this node knows, a page at a time.

Owns:      the order of pages, what a cursor means, the bound on the work of one page.
Called by: admin.listing, through the feed.
Source:    DESIGN.md section 10; REVOCATION.md section 5 (ten million events: what looks
           at all of them lets others run in between).

Ids and times only: what was revoked is known by its hash, and not even that is told.
"""

import asyncio
import hashlib
import re
from dataclasses import dataclass

from fastgate.control.enforcement import Enforcement
from fastgate.control.native import SEGMENT_COUNT, EventStore
from fastgate.domain.entry import EntryError
from fastgate.domain.event import KIND_CODES
from fastgate.domain.revocation import Kind

__all__ = ["Listed", "Listing", "Page"]

_KINDS = {code: kind for kind, code in KIND_CODES.items()}
_CURSOR = re.compile(r"([0-9a-f]{8})([0-9a-f]{16})")
_SEGMENT_SHIFT = 64 - (SEGMENT_COUNT - 1).bit_length()
# Reason: a million records take some 10 ms; a page that found less says where to go on.
_RECORDS_A_PAGE = 1_000_000
# Reason: between two yields the loop answers nothing else; so many take about 1 ms.
_RECORDS_AT_ONCE = 65_536
# The cutoff of what revokes every token.
_ALWAYS = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Listed:
    """One event.

    id: None where only its hash is kept. cutoff: Tokens up to that `iat`; None: all.
    """

    id: str | None
    origin: str
    kind: Kind
    expires: int
    cutoff: int | None
    lifted: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Some events; it may have none and still not be the last one.

    next: Cursor of the page behind it, None behind the last one.
    """

    events: tuple[Listed, ...]
    next: str | None


class Listing:
    """One per node. Pages are made one after the other, however many are asked for."""

    def __init__(self, enforcement: Enforcement) -> None:
        self._enforcement = enforcement
        self._turn = asyncio.Lock()

    async def page(
        self,
        *,
        limit: int,
        cursor: str | None = None,
        origin: str | None = None,
        kind: Kind | None = None,
        live: bool = True,
    ) -> Page:
        """Return a page.

        limit: Events; where many revoke the same, up to 1,024 more. cursor: Of the page
        before. live: What is in force only, nothing lifted or over. Between two pages
        events may come and go; what stays is told once.
        Raises EntryError for a cursor that is none, or of another run of this node.
        """
        async with self._turn:
            return await self._page(limit, cursor, origin, kind, live)

    async def _page(
        self,
        limit: int,
        cursor: str | None,
        origin: str | None,
        kind: Kind | None,
        live: bool,
    ) -> Page:
        enforcement = self._enforcement
        store, now_s = enforcement.store, enforcement.now_s
        tag = _tag(store)
        start = 0 if cursor is None else _start(cursor, tag)
        wanted = -1 if origin is None else enforcement.origins.index(origin)
        code = 0 if kind is None else KIND_CODES[kind]
        mean = max(1, store.events // SEGMENT_COUNT)
        at_once = max(1, _RECORDS_AT_ONCE // mean)
        first = start >> _SEGMENT_SHIFT
        end = min(SEGMENT_COUNT, first + max(1, _RECORDS_A_PAGE // mean))
        found: list[Listed] = []
        for segment in range(first, end):
            left = limit - len(found)
            if left <= 0:
                return Page(tuple(found), _cursor(tag, segment << _SEGMENT_SHIFT))
            records, more = store.page(segment, start, left, wanted, code, live, now_s)
            found += [self._listed(record) for record in records]
            if more is not None:
                return Page(tuple(found), _cursor(tag, more))
            if segment % at_once == 0:
                await asyncio.sleep(0)
        more = None if end == SEGMENT_COUNT else end << _SEGMENT_SHIFT
        return Page(tuple(found), None if more is None else _cursor(tag, more))

    def _listed(
        self,
        record: tuple[str | None, int, int, int, int, bool, bool, int, int],
    ) -> Listed:
        id_, origin, kind, expires, cutoff, _, lifted, _, _ = record
        origins = self._enforcement.origins
        return Listed(
            id=id_,
            origin=origins[origin] if origin < len(origins) else "",
            kind=_KINDS[kind],
            expires=expires,
            cutoff=None if cutoff == _ALWAYS else cutoff,
            lifted=lifted,
        )


def _tag(store: EventStore) -> str:
    # The order follows from the seeds: with others a cursor means nothing.
    seeds = b"".join(seed.to_bytes(8) for seed in store.seeds)
    return hashlib.blake2b(seeds, digest_size=4, person=b"fg-list").hexdigest()


def _cursor(tag: str, start: int) -> str:
    return f"{tag}{start:016x}"


def _start(cursor: str, tag: str) -> int:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise EntryError("cursor", "is none of this API")
    if found[1] != tag:
        raise EntryError("cursor", "is of another node or run: begin without one")
    return int(found[2], 16)
