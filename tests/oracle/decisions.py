"""Oracle of `_ext/decisions`: the same cache, slow and obvious.

A list of sets; a set is eight ways and a hand. Shares no code with the compiled one.
"""

from dataclasses import dataclass, field

WAYS = 8
_WORD = 2**64


@dataclass
class Way:
    digest: bytes = b""
    facts: object = None
    referenced: bool = False


@dataclass
class Set:
    ways: list[Way] = field(default_factory=lambda: [Way() for _ in range(WAYS)])
    hand: int = 0


class DecisionCache:
    def __init__(self, capacity, max_weight_bytes=1024, *, seed):
        self.sets = [Set() for _ in range(-(-capacity // WAYS))]
        self.max_weight_bytes = max_weight_bytes
        self.seeds = (
            int.from_bytes(seed[:8], "little"),
            int.from_bytes(seed[8:], "little"),
        )
        self.hits = self.misses = self.evictions = 0

    @property
    def capacity(self):
        return len(self.sets) * WAYS

    def get(self, digest):
        way = self._find(digest)
        if way is None:
            self.misses += 1
            return None
        self.hits += 1
        way.referenced = True
        return way.facts

    def put(self, digest, facts, weight_bytes):
        if weight_bytes > self.max_weight_bytes:
            return False
        way = self._find(digest) or self._victim(self._home(digest))
        way.digest, way.facts, way.referenced = digest, facts, False
        return True

    def drop(self, digest):
        way = self._find(digest)
        if way is None:
            return False
        way.facts = None
        return True

    def clear(self):
        for home in self.sets:
            for way in home.ways:
                way.facts = None

    def stats(self):
        return len(self), self.hits, self.misses, self.evictions

    def __len__(self):
        return sum(way.facts is not None for home in self.sets for way in home.ways)

    def _home(self, digest):
        third = int.from_bytes(digest[16:24], "little") ^ self.seeds[0]
        fourth = int.from_bytes(digest[24:32], "little") ^ self.seeds[1]
        product = third * fourth
        bits = product // _WORD ^ product % _WORD
        return self.sets[bits * len(self.sets) // _WORD]

    def _find(self, digest):
        for way in self._home(digest).ways:
            if way.facts is not None and way.digest == digest:
                return way
        return None

    def _victim(self, home):
        for way in home.ways:
            if way.facts is None:
                return way
        self.evictions += 1
        while True:
            way = home.ways[home.hand]
            home.hand = (home.hand + 1) % WAYS
            if not way.referenced:
                return way
            way.referenced = False
