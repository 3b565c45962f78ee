"""Facade: the one object that the listeners of this room talk to.

Owns:      the shape of what admin asks of a node; nothing is implemented here.
Called by: admin.api, admin.status_page; control.agent.Agent is the object.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fastgate.control.adoption import Adopted
from fastgate.control.entries import Receipt
from fastgate.control.listing import Listing
from fastgate.domain.snapshot import Snapshot

__all__ = ["AgentFacade", "FeedFacade"]


class FeedFacade(Protocol):
    """A node's revocation feed.

    origins: Regions that publish. listing: What this node knows, page by page.
    """

    origins: tuple[str, ...]
    listing: Listing

    def digests(
        self, wall_s: int | None, marks: Mapping[str, int] | None
    ) -> dict[str, Any]:
        """Return the digest of every publisher of every origin.

        wall_s: Events that are alive then; None: now. marks: Up to which number, by
        `<origin>/<publisher>`; None: up to the last one read.
        """
        ...

    async def adopt(self, region: str) -> Adopted:
        """Speak for a region that is gone. Raises EntryError and ControlError."""
        ...


class AgentFacade(Protocol):
    """A node, as its administrators see it."""

    @property
    def snapshot(self) -> Snapshot:
        """The configuration in force, compiled."""
        ...

    @property
    def admin_token(self) -> str | None:
        """The bearer token of the configuration in force."""
        ...

    async def enter(self, request: Mapping[str, Any], *, wait: str) -> Receipt:
        """Revoke.

        request: kind, issuer (alias), value, home, issued_before, expires_in, urgent,
            reason. wait: `local`, or `regions` for at most 10 s.
        Raises EntryError for what cannot be asked and ControlError where it could not
        be stored; nothing is revoked then.
        """
        ...

    async def revocation(self, id_: str) -> Receipt | None:
        """Return the receipt of an event so far, None where it is not known here."""
        ...

    async def lift(self, id_: str, *, wait: str, reason: str) -> Receipt | None:
        """Undo an event of this region's; None where no live one of that id is known.

        wait, and what it raises: as for `enter`.
        """
        ...

    @property
    def feed(self) -> FeedFacade:
        """The revocation feed of the node."""
        ...

    def status(self) -> dict[str, Any]:
        """Return everything that `fastgate status` shows, as JSON values."""
        ...

    def ready(self) -> tuple[bool, list[dict[str, Any]]]:
        """Tell whether to send traffic here, with a line for each check."""
        ...

    def alive(self) -> tuple[bool, list[dict[str, Any]]]:
        """Tell whether the node's loops run, with a line for each check."""
        ...

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return the page of metrics and its content type."""
        ...

    async def explain(
        self,
        *,
        token: str | None,
        method: str,
        path: str,
        cookies: str | None,
        form: Mapping[str, Sequence[str]] | None,
    ) -> dict[str, Any]:
        """Return what the gate decides, step by step; logs nothing of it."""
        ...

    async def reload(self) -> dict[str, Any]:
        """Read the configuration again; `result` tells whether it is in force now."""
        ...

    async def drain(self) -> None:
        """Begin to end the node; returns at once."""
        ...

    async def refresh_keys(self, issuer: str | None, *, wait: bool) -> dict[str, Any]:
        """Fetch the keys of an issuer (alias), or of all. Raises ControlError."""
        ...

    def audit(self, actor: str, action: str, fields: Mapping[str, object]) -> None:
        """Write an audit line, on disk when this returns. Blocks; ControlError."""
        ...
