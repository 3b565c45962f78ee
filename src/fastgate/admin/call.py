"""Call: one accepted request to the admin API, and the audit lines of what it does.

Owns:      the order of an audited act: what is done, what is written, what is answered.
Called by: admin.api makes calls; the handlers of this room take them.
Source:    ECOSYSTEM.md section 4 (audit log: never dropped, written before the answer).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from fastgate.admin.access import Caller
from fastgate.admin.facade import AgentFacade
from fastgate.admin.problems import RefusedError
from fastgate.errors import ControlError, FastgateError

__all__ = ["Call"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose caller, route and method are accepted.

    name: What the path has in the place of a `*`, else empty.
    """

    agent: AgentFacade
    request: web.BaseRequest
    caller: Caller
    name: str = ""

    async def audit(self, action: str, fields: Mapping[str, object]) -> None:
        """Write an audit line and wait until the disk has it.

        Raises RefusedError where it cannot be written.
        """
        line = {"peer": self.caller.peer, **fields}
        try:
            # It waits for a disk, and the feed shares this loop.
            await asyncio.to_thread(self.agent.audit, self.caller.actor, action, line)
        except ControlError:
            raise RefusedError("audit_unavailable") from None

    async def audited(
        self,
        action: str,
        fields: Mapping[str, object],
        act: Callable[[], Awaitable[T]],
    ) -> T:
        """Write that an act is asked for, do it, and write what came of it.

        Nothing is done where the first line cannot be written.
        """
        await self.audit(action, {**fields, "outcome": "asked"})
        try:
            result = await act()
        except (FastgateError, RefusedError) as error:
            await self.audit(action, {**fields, "outcome": error.code})
            raise
        await self.audit(action, {**fields, "outcome": "done"})
        return result
