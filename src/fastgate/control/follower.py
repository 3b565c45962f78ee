"""Follower: keeps a process's snapshot at what the agent published.

Owns:      the snapshot cell of one process; the versions it was made from.
Called by: worker and agent, several times a second; costs two reads of shared memory
           when nothing changed. Nothing here is needed to go on serving.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from pydantic import ValidationError

from fastgate.config.compile import compile_snapshot
from fastgate.config.model import Config
from fastgate.control.keys_document import PublishedKeys, read_published
from fastgate.domain.keys import IssuerKeys
from fastgate.domain.snapshot import Snapshot, SnapshotCell
from fastgate.domain.token import IssuerProfile
from fastgate.errors import ControlError

__all__ = ["Document", "Follower"]

_log = logging.getLogger(__name__)


class Document(Protocol):
    """A published document in shared memory."""

    def version(self) -> int:
        """Return the version of the newest document, 0 for none."""
        ...

    def read(self) -> tuple[int, bytes] | None:
        """Return version and bytes of the newest document that is whole."""
        ...


class Follower:
    """One per process.

    config, keys: Documents that the agent publishes.
    inherited: The configuration the supervisor started with, used until one was
        published: a worker born after a reload finds the newer one.
    build_keys: Makes key objects of JWKs, given whether the last fetch succeeded.
    adopted: Called with each new snapshot of another configuration, and that
        configuration, before requests see it.
    """

    def __init__(
        self,
        *,
        config: Document,
        keys: Document,
        inherited: Config,
        build_keys: Callable[[Sequence[Mapping[str, object]], bool], IssuerKeys],
        adopted: Callable[[Snapshot, Config], None] = lambda *_: None,
    ) -> None:
        self._config_document = config
        self._keys_document = keys
        self._build_keys = build_keys
        self.adopted = adopted
        self._published: dict[str, PublishedKeys] = {}
        self._built: dict[str, tuple[PublishedKeys, IssuerKeys]] = {}
        self._config_version = 0
        self._keys_version = 0
        self.config = inherited
        self.cell = SnapshotCell(compile_snapshot(inherited, version=0))
        self.refresh()

    @property
    def versions(self) -> tuple[int, int]:
        """Versions of configuration and keys that requests are served with."""
        return self._config_version, self._keys_version

    def refresh(self) -> None:
        """Follow the newest documents; a document that cannot be used is passed over.

        Raises nothing: the last good state goes on.
        """
        changed = False
        snapshot = self.cell.current
        if self._config_document.version() != self._config_version:
            newer = self._newer_config()
            if newer is not None:
                snapshot, changed = newer, True
        if self._keys_document.version() != self._keys_version:
            changed = self._take_keys() or changed
        if changed:
            keys = tuple(map(self._keys_of, snapshot.issuers))
            for gone in self._built.keys() - {p.alias for p in snapshot.issuers}:
                del self._built[gone]
            snapshot = snapshot.with_keys(keys)
            if snapshot.version != self.cell.current.version:
                self.adopted(snapshot, self.config)
            self.cell.current = snapshot

    def _newer_config(self) -> Snapshot | None:
        found = self._config_document.read()
        if found is None or found[0] == self._config_version:
            return None
        version, document = found
        self._config_version = version
        try:
            config = Config.from_document(document)
        except ValidationError:
            # An agent of another version wrote it; ours goes on with what it has.
            _log.error("a published configuration cannot be read")
            return None
        self.config = config
        return compile_snapshot(config, version=version)

    def _take_keys(self) -> bool:
        found = self._keys_document.read()
        if found is None or found[0] == self._keys_version:
            return False
        self._keys_version = found[0]
        try:
            self._published = read_published(found[1])
        except ControlError as error:
            _log.error("%s", error)
            return False
        return True

    def _keys_of(self, profile: IssuerProfile) -> IssuerKeys:
        published = self._published.get(profile.alias)
        # Configuration and keys are two documents, and one comes first: the keys of
        # whoever had this alias before must not speak for another `iss`.
        if published is None or published.issuer != profile.issuer:
            return IssuerKeys()
        built = self._built.get(profile.alias)
        if built is None or built[0] != published:
            keys = self._build_keys(published.jwks, published.last_fetch_ok)
            built = self._built[profile.alias] = (published, keys)
        return built[1]
