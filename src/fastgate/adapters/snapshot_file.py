"""Snapshot file: a saved state of the revocation feed, whole or not at all.

Owns:      `revocations.snapshot` in the state directory; its header and its hash.
Called by: control.snapshots, through ports.SnapshotStore.
Source:    THREATS.md B6, F13 and F14: written aside, synced, renamed, the folder
           synced; refused whole where any octet is another one.

The hash is keyed with the deployment's hash key: who does not have that cannot write a
file that is taken. Everything that touches the disk runs in a thread.
"""

import asyncio
import contextlib
import hashlib
import hmac
import mmap
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

from fastgate.errors import ControlError

__all__ = ["SnapshotFile"]

_MAGIC = b"fgrevs"
_VERSION = 1
_HEAD = _MAGIC + _VERSION.to_bytes(2)
_HASH_BYTES = 32
# Reason: ten million events and entries take 600 MB; a file past it is not ours.
_MAX_BYTES = 1 << 36
_HASHED_AT_ONCE = 1 << 24


class SnapshotFile:
    """The saved state of one node.

    folder: Its state directory. key: At most 64 bytes; the hash key.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder = folder
        self._path = folder / "revocations.snapshot"
        self._aside = folder / "revocations.snapshot.new"
        self._key = key

    async def save(self, parts: AsyncIterator[bytes]) -> int:
        """Write a state and put it in the place of the one before; return its bytes.

        Raises ControlError where the disk did not take it: then the old one is intact.
        """
        try:
            return await self._write(parts)
        except OSError as exc:
            await asyncio.to_thread(self._discard)
            raise ControlError(f"the snapshot was not saved: {exc.strerror}") from exc

    async def _write(self, parts: AsyncIterator[bytes]) -> int:
        handle = await asyncio.to_thread(self._begin)
        size = len(_HEAD)
        try:
            digest = hashlib.blake2b(_HEAD, digest_size=_HASH_BYTES, key=self._key)
            async for part in parts:
                size += len(part)
                await asyncio.to_thread(_put, handle, digest, part)
            await asyncio.to_thread(_end, handle, digest.digest())
        finally:
            os.close(handle)
        await asyncio.to_thread(self._replace)
        return size + _HASH_BYTES

    def _begin(self) -> int:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._aside.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(self._aside, flags, 0o600)
        try:
            _write_all(handle, _HEAD)
        except OSError:
            os.close(handle)
            raise
        return handle

    def _replace(self) -> None:
        self._aside.rename(self._path)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _discard(self) -> None:
        with contextlib.suppress(OSError):
            self._aside.unlink()

    async def load(self) -> memoryview | None:
        """Return the saved state once its hash was found right; None without a file.

        Raises ControlError for a file that cannot be read or is not as it was written.
        """
        try:
            return await asyncio.to_thread(self._load)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise ControlError(f"the snapshot cannot be read: {exc.strerror}") from exc

    def _load(self) -> memoryview:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        handle = os.open(self._path, flags)
        try:
            found = os.fstat(handle)
            least = len(_HEAD) + _HASH_BYTES
            if (
                not stat.S_ISREG(found.st_mode)
                or not least <= found.st_size < _MAX_BYTES
            ):
                raise ControlError("the snapshot is no file of ours")
            # A private copy of what changes later would not help: the folder is ours.
            whole = memoryview(mmap.mmap(handle, found.st_size, prot=mmap.PROT_READ))
        finally:
            os.close(handle)
        end = len(whole) - _HASH_BYTES
        if whole[: len(_HEAD)] != _HEAD:
            raise ControlError("the snapshot is of another version")
        digest = hashlib.blake2b(digest_size=_HASH_BYTES, key=self._key)
        for at in range(0, end, _HASHED_AT_ONCE):
            digest.update(whole[at : min(end, at + _HASHED_AT_ONCE)])
        if not hmac.compare_digest(digest.digest(), whole[end:]):
            raise ControlError("the snapshot is damaged, or of another hash key")
        return whole[len(_HEAD) : end]


def _put(handle: int, digest: "hashlib.blake2b", part: bytes) -> None:
    digest.update(part)
    _write_all(handle, part)


def _write_all(handle: int, part: bytes) -> None:
    left = memoryview(part)
    while left:
        left = left[os.write(handle, left) :]


def _end(handle: int, digest: bytes) -> None:
    _write_all(handle, digest)
    os.fsync(handle)
