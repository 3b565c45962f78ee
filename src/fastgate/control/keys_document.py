"""Key documents: the bytes that carry public keys to the workers and over restarts.

Owns:      two formats, each with a version. Neither holds anything private.
Called by: control.keyring writes and reads; wiring reads what workers get.

The published document travels in shared memory, which has its own checksum. The saved
one lies on disk, so it names its source and age and carries a SHA-256; its keys are
checked again when it is read, like those of a stranger (THREATS.md I1).
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from fastgate.control.json_document import JsonError, is_int, read_object
from fastgate.control.jwks import KeySetError, check_keys
from fastgate.domain.jwk import PublicJwk
from fastgate.errors import ControlError

__all__ = [
    "PublishedKeys",
    "SavedKeys",
    "read_published",
    "read_saved",
    "write_published",
    "write_saved",
]

_PUBLISHED_VERSION = 1
_SAVED_VERSION = 1
_NS = 1_000_000_000
# Reason: clocks are stepped a little at boot; a file from further in the future was
# saved before the clock was set back, and its age cannot be told.
_FUTURE_S = 60


@dataclass(frozen=True, slots=True)
class PublishedKeys:
    """What workers are told of one issuer.

    jwks: Public members only, ready for hotpath.keys.build_keys.
    last_fetch_ok: Whether the newest fetch succeeded.
    fetched_at: Wall time of the newest success, seconds; 0: none since the start.
    issuer: Exact `iss` whose keys these are: after a reload an alias may be another's.
    """

    jwks: tuple[Mapping[str, object], ...] = ()
    last_fetch_ok: bool = False
    fetched_at: int = 0
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class SavedKeys:
    """The last good set of one issuer, as it lies on disk.

    origin: KeySource.origin it came from.
    fetched_wall_s: Wall time of the fetch, seconds.
    fetched_boot_ns, boot_id: CLOCK_BOOTTIME of it, and the boot that counts from.
    """

    origin: str
    jwks: tuple[PublicJwk, ...]
    fetched_wall_s: int
    fetched_boot_ns: int
    boot_id: str

    def age_s(self, *, wall_s: float, boot_ns: int, boot_id: str) -> float | None:
        """Return the age in seconds, None where it cannot be trusted.

        Within one boot CLOCK_BOOTTIME tells it exactly, whatever happened to the wall
        clock. Across boots only the wall clock is left, and it may have been set back:
        a file from the future has no age.
        """
        if boot_id and boot_id == self.boot_id and boot_ns >= self.fetched_boot_ns:
            return (boot_ns - self.fetched_boot_ns) / _NS
        age_s = wall_s - self.fetched_wall_s
        return None if age_s < -_FUTURE_S else max(age_s, 0.0)


def write_published(issuers: Mapping[str, PublishedKeys]) -> bytes:
    """Return the document for the workers; issuers by alias."""
    shown = {
        alias: {
            "issuer": keys.issuer,
            "jwks": list(keys.jwks),
            "last_fetch_ok": keys.last_fetch_ok,
            "fetched_at": keys.fetched_at,
        }
        for alias, keys in issuers.items()
    }
    return orjson.dumps({"v": _PUBLISHED_VERSION, "issuers": shown})


def read_published(document: bytes) -> dict[str, PublishedKeys]:
    """Return the issuers of a published document, by alias.

    Raises ControlError for another version or shape: after an upgrade the agent's next
    document replaces it.
    """
    try:
        content = orjson.loads(document)
        if content["v"] != _PUBLISHED_VERSION:
            raise ControlError("published keys are of another version")
        return {
            alias: PublishedKeys(
                tuple(said["jwks"]),
                bool(said["last_fetch_ok"]),
                _instant(said["fetched_at"]),
                str(said["issuer"]),
            )
            for alias, said in content["issuers"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ControlError("published keys cannot be read") from None


def _instant(value: object) -> int:
    if not is_int(value):
        raise ValueError("no number of seconds")
    return value


def write_saved(saved: SavedKeys) -> bytes:
    """Return the document for the disk."""
    content = {
        "v": _SAVED_VERSION,
        "origin": saved.origin,
        "fetched_wall_s": saved.fetched_wall_s,
        "fetched_boot_ns": saved.fetched_boot_ns,
        "boot_id": saved.boot_id,
        "jwks": _members(saved.jwks),
    }
    return orjson.dumps({"sha256": _digest(content), "content": content})


def read_saved(document: bytes) -> SavedKeys:
    """Return the saved set.

    Raises ControlError where a byte of it changed or it is of another version; the
    caller then has no saved keys and fetches.
    """
    try:
        sealed = read_object(document)
        content = sealed.get("content")
        if not isinstance(content, dict) or sealed.get("sha256") != _digest(content):
            raise ControlError("saved keys are damaged")
        return _saved(content)
    except (JsonError, KeySetError, orjson.JSONEncodeError):
        raise ControlError("saved keys cannot be read") from None


def _saved(content: Mapping[str, object]) -> SavedKeys:
    jwks, origin, boot_id = (
        content.get(name) for name in ("jwks", "origin", "boot_id")
    )
    wall_s, boot_ns = content.get("fetched_wall_s"), content.get("fetched_boot_ns")
    if (
        content.get("v") != _SAVED_VERSION
        or not isinstance(jwks, list)
        or not isinstance(origin, str)
        or not isinstance(boot_id, str)
        or not is_int(wall_s)
        or not is_int(boot_ns)
    ):
        raise ControlError("saved keys are of another version")
    # Reason: one entry at a time is held to the limit, since two good sets may overlap.
    keys = [key for entry in jwks for key in check_keys([entry]).keys]
    return SavedKeys(origin, tuple(keys), wall_s, boot_ns, boot_id)


def _members(jwks: Iterable[PublicJwk]) -> list[dict[str, str]]:
    return [jwk.members() for jwk in jwks]


def _digest(content: Mapping[str, object]) -> str:
    text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()
