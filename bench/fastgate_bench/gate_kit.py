"""Gate kit: a compiled gate with keys, an index and tokens, outside of any worker.

Owns:      the memory of one index, and one decision cache.
Called by: decision and revocation.
"""

import mmap
import os
import time
from typing import Any, Final

from fastgate.domain.decision import Decision
from fastgate.domain.keys import IssuerKeys
from fastgate.domain.region import RegionCookie, RegionSet
from fastgate.domain.request import RequestHead
from fastgate.domain.revocation import KeyHasher
from fastgate.domain.route import Route, RouteTable, Service
from fastgate.domain.snapshot import Snapshot
from fastgate.domain.token import ACCESS_TOKEN_TYPES, IssuerProfile
from fastgate.errors import BugError
from fastgate.hotpath.failures import Failures
from fastgate.hotpath.gate import Gate
from fastgate.hotpath.keys import build_keys
from fastgate.wiring import compiled
from fastgate_bench.tokens import AUDIENCE, ISSUER, Issuer

__all__ = ["GateKit", "Index", "head_of"]

_REGIONS: Final = ("eu", "us", "ap")
_BATCH: Final = 100_000
_RECORD_BYTES: Final = 24
_SETTLE_CALLS: Final = 100


class Index:
    """A revocation index in memory, with random entries.

    capacity: Entries that always fit. some: A sample of the keys inserted.
    """

    def __init__(self, capacity: int) -> None:
        revocations = compiled.revocations
        arena, control = revocations.layout(capacity)
        maps = [
            mmap.mmap(-1, size)
            for size in (control, arena, arena, revocations.SLOTS_BYTES)
        ]
        board, arena0, arena1, slots = maps
        self.writer = revocations.RevocationWriter(
            *(board, arena0, arena1, slots),
            origins=len(_REGIONS),
            now_s=int(time.time()),
        )
        self.reader = revocations.RevocationReader(board, arena0, arena1, slots, 0)
        self.some: list[bytes] = []
        self.refresh()

    def refresh(self) -> None:
        """Say that this node is complete as of now."""
        now = boot_ns()
        for origin in range(len(_REGIONS)):
            self.writer.set_evidence(origin, now)

    def fill(self, count: int) -> int:
        """Insert random entries; returns the nanoseconds that the insertions took."""
        end = (int(time.time()) + 86_400).to_bytes(4, "little")
        spent = 0
        while count:
            some = min(count, _BATCH)
            keys = os.urandom(16 * some)
            packed = b"".join(
                keys[at : at + 16] + b"\xff\xff\xff\xff" + end
                for at in range(0, len(keys), 16)
            )
            began = time.perf_counter_ns()
            done = self.writer.insert_many(packed)
            spent += time.perf_counter_ns() - began
            if done != some:
                raise BugError("the index is full")
            count -= some
            self.some += [keys[at : at + 16] for at in range(0, len(keys), 16_000)]
            self._settle()
        return spent

    def _settle(self) -> None:
        now_s = int(time.time())
        while self.writer.maintain(now_s):
            pass
        for _ in range(_SETTLE_CALLS):
            self.writer.maintain(now_s)


class GateKit:
    """A gate in front of one route, with the order of checks that a worker has.

    cached: Tokens that its decision cache holds. entries: Revocations in its index.
    """

    def __init__(self, issuer: Issuer, *, cached: int, entries: int) -> None:
        self.issuer = issuer
        self.index = Index(max(entries, 1_000))
        self.index.fill(entries)
        self.profile = _profile()
        service = Service("orders", (("http://eu",), ("http://us",), ("http://ap",)))
        route = Route(
            *(0, "orders", "/orders/", service),
            issuer=self.profile,
            scope=frozenset({"orders"}),
        )
        keys = build_keys([issuer.jwk()], last_fetch_ok=True)
        self.snapshot = Snapshot(
            version=1,
            source_hash="bench",
            node="bench",
            regions=RegionSet(_REGIONS, 0, 0, ("region",), RegionCookie("region")),
            origins=(0, 1, 2),
            origin_names=_REGIONS,
            services=(service,),
            issuers=(self.profile,),
            keys=(keys,),
            routes=RouteTable([route]),
        )
        self.now_s = 0
        self.refresh()
        cache = compiled.decisions.DecisionCache(cached)
        self.gate = Gate(cache, self.index.reader, Failures())

    @property
    def keys(self) -> IssuerKeys:
        """The issuer's keys, as the gate uses them."""
        return self.snapshot.keys[0]

    def refresh(self) -> None:
        """Let this be the present: for the times of tokens, and for the index."""
        self.now_s = int(time.time())
        self.index.refresh()

    def decide(self, head: RequestHead) -> Decision:
        """Judge one request."""
        return self.gate.decide(head, self.snapshot, self.now_s, boot_ns())


def head_of(token: str) -> RequestHead:
    """Return the head of a request with a token."""
    credential = f"Bearer {token}".encode()
    return RequestHead("GET", "/orders/42", authorization=credential, peer="192.0.2.1")


def boot_ns() -> int:
    """Return CLOCK_BOOTTIME, by which the age of knowledge is judged."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _profile() -> IssuerProfile:
    given: dict[str, Any] = {
        "index": 0,
        "alias": "login",
        "issuer": ISSUER,
        "audience": frozenset({AUDIENCE}),
        "algorithms": frozenset({"ES256"}),
        "types": ACCESS_TOKEN_TYPES,
        "leeway_s": 5,
        "max_lifetime_s": 3600,
        "iat_required": True,
        "wrapped": False,
        "region_claims": ("region",),
        "grant_claims": ("grant_id",),
        "require": (),
        "max_token_bytes": 8192,
        "hasher": KeyHasher(b"k" * 32, ISSUER),
        "home_origin": 0,
    }
    return IssuerProfile(**given)
