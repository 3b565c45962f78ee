"""Ways in: what issuers push, what is fetched from them, and their streams, as one.

Owns:      nothing; the order in which its parts follow a configuration, and end.
Called by: control.agent and reloads; one object per node.
Source:    PROTOCOLS.md sections 6 to 9.
"""

from dataclasses import dataclass
from typing import Any

from fastgate.config.model import Config
from fastgate.control.intake import Intake
from fastgate.control.intake_rules import intake_rules, status_list_rules
from fastgate.control.set_poller import SetPollers
from fastgate.control.status_lists import StatusLists
from fastgate.control.stream_keeper import StreamKeepers

__all__ = ["WaysIn"]


@dataclass(frozen=True, slots=True)
class WaysIn:
    """The ways in of one node."""

    intake: Intake
    pollers: SetPollers
    keepers: StreamKeepers
    lists: StatusLists

    async def follow(self, config: Config) -> None:
        """Go by a configuration; what is the same in it goes on as it is."""
        rules = intake_rules(config)
        self.intake.adopt(rules)
        await self.pollers.follow(rules.polls)
        await self.keepers.follow(rules.keepers)
        await self.lists.follow(status_list_rules(config))

    async def stop(self) -> None:
        """End what runs by itself; what it has done stays done."""
        await self.pollers.stop()
        await self.keepers.stop()
        await self.lists.stop()

    def watch(self) -> None:
        """Look which stream is mute; called each second."""
        self.intake.streams.watch()

    def status(self) -> dict[str, Any]:
        """Return the sections of `/v1/status`."""
        intake = self.intake.status() | {"polls": self.pollers.status()}
        return {"intake": intake, "status_lists": self.lists.status()}
