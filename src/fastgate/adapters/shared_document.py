"""Shared document: one published document in a segment of shared memory.

Owns:      the layout of such a segment, and nothing else: key sets and configuration
           are bytes here.
Called by: wiring makes one per document: writable in the agent, read-only in workers,
           which poll `version` and read when it moved.

Layout, in native 8-byte words: the current version; then two heads {version, length, 32
bytes of BLAKE2b over both and the document}; then two halves. Version v lies in head
and half v % 2, so publishing never touches what readers are at. The current version is
written last: a writer killed before that has published nothing. The digest orders it
all without a barrier: a reader that sees the version before the bytes finds a wrong
digest and tries again.
"""

import hashlib
import mmap
import struct

from fastgate.errors import BugError, ControlError

__all__ = ["SharedDocument"]

_WORD = struct.Struct("@Q")  # native: one aligned load or store
_HEAD = struct.Struct("@QQ32s")
_DIGEST_BYTES = 32
_CURRENT_AT = 0
_HEADS_AT = 64  # a cache line each
_HALVES_AT = 256
_READ_TRIES = 8  # reason: nobody publishes eight times while one document is copied


class SharedDocument:
    """One writer, any number of readers that never see a torn document."""

    def __init__(
        self, view: mmap.mmap | bytearray | memoryview, *, writable: bool
    ) -> None:
        """Attach to a segment.

        writable: For the one writer. What a killed predecessor published stays, and
            versions go on from there.
        Raises BugError where the segment is too small.
        """
        self._view = view
        self._writable = writable
        self._half_bytes = (len(view) - _HALVES_AT) // 2
        self._last = 0
        if self._half_bytes <= 0:
            raise BugError("a segment too small for a document")
        if writable:
            found = self._latest()
            self._last = found[0] if found else 0
            # Readers poll this word, so it must name what is really there.
            self._put(_CURRENT_AT, _WORD.pack(self._last))

    @property
    def capacity_bytes(self) -> int:
        """The longest document that fits."""
        return self._half_bytes

    def publish(self, document: bytes) -> int:
        """Replace the document; returns its version, which only grows.

        Raises ControlError where it is too long: the previous document stays. Raises
        BugError in a reader.
        """
        if not self._writable:
            raise BugError("a reader publishes nothing")
        if len(document) > self._half_bytes:
            raise ControlError(
                f"a document of {len(document)} bytes does not fit in"
                f" {self._half_bytes} bytes of shared memory"
            )
        version = self._last + 1
        head = _HEAD.pack(version, len(document), _digest(version, document))
        self._put(self._half_at(version), document)
        self._put(_head_at(version), head)
        self._put(_CURRENT_AT, _WORD.pack(version))
        self._last = version
        return version

    def version(self) -> int:
        """Return the current version, 0 for none yet: one load, made for polling."""
        return self._word(_CURRENT_AT)

    def read(self) -> tuple[int, bytes] | None:
        """Return version and document, checked; None where none was published."""
        for _ in range(_READ_TRIES):
            version = self.version()
            if version == 0:
                break
            document = self._copy(version)
            if document is not None:
                return version, document
        return self._latest()

    def _latest(self) -> tuple[int, bytes] | None:
        """Return the current document, or the newest whole one where it is damaged."""
        heads = sorted((self._word(_head_at(half)) for half in (0, 1)), reverse=True)
        for version in (self.version(), *heads):
            document = self._copy(version)
            if document is not None:
                return version, document
        return None

    def _copy(self, version: int) -> bytes | None:
        """Return the document of `version` if it is there, whole."""
        found, length, digest = _HEAD.unpack_from(self._view, _head_at(version))
        # Whoever wrote the length: nothing read here may lead outside the half.
        if version == 0 or found != version or length > self._half_bytes:
            return None
        start = self._half_at(version)
        document = bytes(self._view[start : start + length])
        return document if _digest(version, document) == digest else None

    def _half_at(self, version: int) -> int:
        return _HALVES_AT + (version & 1) * self._half_bytes

    def _word(self, at: int) -> int:
        return int(_WORD.unpack_from(self._view, at)[0])

    def _put(self, at: int, data: bytes) -> None:
        self._view[at : at + len(data)] = data


def _head_at(version: int) -> int:
    return _HEADS_AT + (version & 1) * 64


def _digest(version: int, document: bytes) -> bytes:
    digest = hashlib.blake2b(_WORD.pack(version), digest_size=_DIGEST_BYTES)
    digest.update(_WORD.pack(len(document)))
    digest.update(document)
    return digest.digest()
