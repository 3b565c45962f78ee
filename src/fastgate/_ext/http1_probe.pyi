"""The scanners of the compiled lane on bytes alone; for tests and fuzz targets."""

from typing import Literal

def request(
    pieces: list[bytes],
    *,
    line: int = 8192,
    field: int = 8192,
    head: int = 32768,
    count: int = 100,
) -> tuple[int, int, bool, int, bool]:
    """Read a request head that comes in pieces.

    Returns fault (0: none), size (0: not complete), whether the compiled lane may take
    it, Content-Length (-1: none), and whether the body is chunked.
    """

def answer(data: bytes) -> tuple[int, int, int] | None:
    """Return status, length (-1: none) and size of a head; None: it is not taken."""

def chunks(pieces: list[bytes]) -> tuple[bytes, int] | Literal[False] | None:
    """Return a chunked body and its size; None: incomplete, False: a fault."""
