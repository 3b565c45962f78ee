"""Contract of the compiled claim names; import them from `token`."""

from typing import final

@final
class ClaimNames:
    """Which claims an issuer profile reads besides the fixed ones, and the size limits.

    region: Claims tried for the region, best first, at most 8. A dot descends into an
        object (`org.region`), except in a name with `://`, which is one literal name.
        The value is a string.
    grant: Claims tried for the grant identifier; same rules, may be an integer.
    require: Top-level claims that must be there and not null, at most 32; no dots.
    max_token_bytes: Longest token, 1 to 16384.
    max_depth: Deepest nesting of objects and arrays, the top object counted; 1 to 32.
    max_members: Most members of one object; 1 to 256.
    max_key_bytes: Longest member name in octets of UTF-8, unescaped; 1 to 1024.

    Raises ValueError for a name used in two ways and a limit out of range
    (max_depth * max_members may be 4096 at most). Immutable.
    """

    region: tuple[str, ...]
    grant: tuple[str, ...]
    require: tuple[str, ...]
    max_token_bytes: int
    max_depth: int
    max_members: int
    max_key_bytes: int

    def __init__(
        self,
        *,
        region: tuple[str, ...],
        grant: tuple[str, ...] = ("grant_id",),
        require: tuple[str, ...] = (),
        max_token_bytes: int = 8192,
        max_depth: int = 16,
        max_members: int = 128,
        max_key_bytes: int = 256,
    ) -> None: ...
