"""Key files: the last good keys of each issuer on disk, one file an issuer.

Owns:      `keys/` in the state directory, mode 0700; files of mode 0600.
Called by: control.keyring, in a thread, since a disk may be slow (THREATS.md F13).

A file is replaced whole: written aside, synced, renamed, and the directory synced, so
that a crash at any moment leaves the old or the new one.
"""

import contextlib
import os
import pathlib
import re

from fastgate.errors import ControlError

__all__ = ["KeyFiles"]

# Reason: 128 keys of 8192 bits fit; a larger file is not ours.
_MAX_FILE_BYTES = 1 << 20
# Reason: the alias comes from the configuration, which allows no more than this.
_ALIAS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?", re.ASCII)
_BOOT_ID = pathlib.Path("/proc/sys/kernel/random/boot_id")


class KeyFiles:
    """A control.keyring.KeyStore on disk.

    state_dir: Directory of the node; `keys` is made in it where it is missing.
    boot_id: Names the boot that CLOCK_BOOTTIME counts from; "" where unknown.
    """

    def __init__(self, state_dir: str | os.PathLike[str]) -> None:
        self._directory = pathlib.Path(state_dir) / "keys"
        self.boot_id = _read_boot_id()

    def load(self, alias: str) -> bytes | None:
        """Return the saved document of an issuer, None where there is none.

        Raises ControlError where there is one that cannot be read.
        """
        path = self._path(alias)
        try:
            with path.open("rb") as file:
                document = file.read(_MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ControlError("saved keys cannot be read") from error
        if len(document) > _MAX_FILE_BYTES:
            raise ControlError("saved keys are too large")
        return document

    def save(self, alias: str, document: bytes) -> None:
        """Replace the saved document; it is on disk when this returns.

        Raises ControlError, and then the old document is still there.
        """
        path = self._path(alias)
        aside = path.with_suffix(".new")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_synced(aside, document)
            aside.replace(path)
            _sync_directory(self._directory)
        except OSError as error:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            raise ControlError("keys cannot be saved") from error

    def _path(self, alias: str) -> pathlib.Path:
        if not _ALIAS.fullmatch(alias):
            raise ControlError("no name for a key file")
        # Reason: appended, so that no alias can be another one's file being written.
        return self._directory / f"{alias}.json"


def _write_synced(path: pathlib.Path, document: bytes) -> None:
    # Reason: a link planted under this name must not be followed, and an old file
    # might have wider rights.
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:  # noqa: PTH123 - flags
        file.write(document)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
