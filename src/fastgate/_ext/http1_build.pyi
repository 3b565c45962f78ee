"""Building heads: see http1_build.pyx."""

from collections.abc import Collection

class Names:
    """A set of header names and prefixes, compared without case and with "_" as "-".

    names, prefixes: In lower case, at most 31 bytes each. Raises ValueError otherwise.
    """

    def __init__(
        self, names: Collection[bytes], prefixes: Collection[bytes]
    ) -> None: ...
    def __contains__(self, name: bytes) -> bool: ...
