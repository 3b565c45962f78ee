"""Key saver: the last good keys of each issuer over a restart.

Owns:      one save an issuer at a time; nobody waits for a disk and nothing piles up.
Called by: control.keyring.
Source:    THREATS.md I1 (a restart without the issuer serves), F13 (slow, full disk).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from fastgate.control.key_policy import KeyPolicy
from fastgate.control.keys_document import SavedKeys, read_saved, write_saved
from fastgate.errors import ControlError
from fastgate.ports import Clock

__all__ = ["KeySaver", "KeyStore"]

_log = logging.getLogger(__name__)

_NS = 1_000_000_000
_STOP_S = 2.0


class KeyStore(Protocol):
    """Where the last good keys lie; blocking, so it is called in a thread."""

    @property
    def boot_id(self) -> str:
        """Name of the boot that CLOCK_BOOTTIME counts from; "" where unknown."""
        ...

    def load(self, alias: str) -> bytes | None:
        """Return what was saved, None for nothing; raises ControlError."""
        ...

    def save(self, alias: str, document: bytes) -> None:
        """Replace what was saved, durably; raises ControlError."""
        ...


class KeySaver:
    """Saves and restores the keys of policies.

    alarm: Called with name, alias and whether it holds, also without change.
    """

    def __init__(
        self, store: KeyStore, clock: Clock, alarm: Callable[[str, str, bool], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._alarm = alarm
        self._running: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, KeyPolicy] = {}

    def save(self, policy: KeyPolicy) -> None:
        """Save what the policy holds now, soon; later states replace waiting ones."""
        alias = policy.source.alias
        self._waiting[alias] = policy
        if alias not in self._running:
            self._running[alias] = asyncio.create_task(self._write(alias))

    async def settle(self, alias: str) -> None:
        """Wait for saves of an issuer, two seconds at most."""
        task = self._running.get(alias)
        if task is not None:
            await asyncio.wait({task}, timeout=_STOP_S)

    async def restore(self, policy: KeyPolicy) -> None:
        """Give a policy the keys that were saved for its source, if young enough."""
        source = policy.source
        try:
            document = await asyncio.to_thread(self._store.load, source.alias)
            saved = None if document is None else read_saved(document)
        except ControlError as error:
            _log.warning("saved_keys_unusable", extra={"why": str(error)})
            return
        # Reason: keys of a place that is no longer configured are nobody's.
        if saved is None or saved.origin != source.origin:
            return
        boot_ns = self._clock.boot_ns()
        age_s = saved.age_s(
            wall_s=self._clock.wall_s(), boot_ns=boot_ns, boot_id=self._store.boot_id
        )
        if age_s is not None and age_s < source.max_stale_s:
            policy.restore(list(saved.jwks), age_s, boot_ns / _NS)

    async def _write(self, alias: str) -> None:
        try:
            while alias in self._waiting:
                document = write_saved(self._saved(self._waiting.pop(alias)))
                try:
                    await asyncio.to_thread(self._store.save, alias, document)
                except ControlError:
                    self._alarm("keys_not_saved", alias, True)
                else:
                    self._alarm("keys_not_saved", alias, False)
        finally:
            del self._running[alias]

    def _saved(self, policy: KeyPolicy) -> SavedKeys:
        now_s = self._clock.boot_ns() / _NS
        fetched_s = now_s if policy.fetched_s is None else policy.fetched_s
        return SavedKeys(
            origin=policy.source.origin,
            jwks=tuple(policy.listed()),
            fetched_wall_s=int(self._clock.wall_s() - (now_s - fetched_s)),
            fetched_boot_ns=int(fetched_s * _NS),
            boot_id=self._store.boot_id,
        )
