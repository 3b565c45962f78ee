from typing import final

@final
class DecisionCache:
    """Facts about verified tokens, by digest: bounded, set-associative, one thread.

    capacity: Entries, 1 to 2 ** 24; rounded up to whole sets of eight. The table (41
        bytes an entry) is reserved once and touched only as it fills.
    max_weight_bytes: `put` refuses heavier facts, so capacity bounds the memory.
    seed: 16 bytes that choose the sets; random unless a test needs the same evictions
        again. Never a constant in the product: whoever knows it can aim at one set.
    Raises ValueError for a bound outside its range, MemoryError.

    Facts must not refer to their cache: it takes no part in cycle collection.
    """

    def __new__(
        cls, capacity: int, max_weight_bytes: int = 1024, *, seed: bytes | None = None
    ) -> DecisionCache: ...
    @property
    def capacity(self) -> int:
        """Entries that fit: the capacity asked for, rounded up to whole sets."""
    def get(self, digest: bytes) -> object | None:
        """Return the facts stored under exactly this digest, else None.

        digest: 32 bytes: SHA-256 of issuer profile and whole token.
        Raises ValueError for another size, TypeError for another type.
        """
    def put(self, digest: bytes, facts: object, weight_bytes: int) -> bool:
        """Store facts, in place of older ones or of a victim; constant time.

        facts: Anything but None; one reference is held.
        weight_bytes: What the caller estimates these facts occupy.
        Returns False, and changes nothing, when they are heavier than
        `max_weight_bytes`. Raises as `get`, and ValueError for a negative weight.
        """
    def drop(self, digest: bytes) -> bool:
        """Forget these facts: the hit turned out expired, revoked or without its key.

        Returns whether they were there. Raises as `get`.
        """
    def clear(self) -> None:
        """Forget everything; the counts of `stats` other than entries go on."""
    def stats(self) -> tuple[int, int, int, int]:
        """Return entries held, then hits, misses and evictions since the start."""
    def __len__(self) -> int: ...
