"""Receipts: which nodes have an event, told from what every node reports.

Owns:      the newest report of each node, and who waits for a position.
Called by: control.feed; control.markers takes the nonces and the roster from here.
Source:    REVOCATION.md section 5; DESIGN.md section 10 (the answer's `receipt`).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from fastgate.domain.frame import FrameError
from fastgate.domain.marker import MAX_ECHOES, Report, decode_report

__all__ = ["Receipts", "RegionReceipt", "Watch"]

# Reason: three reports missed; a node that is gone must not hold up a receipt.
ALIVE_NS = 3_500_000_000
# Reason: nonces of a node that was cut for a while still calibrate it.
_ECHO_NS = 30_000_000_000
_MAX_NODES = 2_048
_MAX_WATCHES = 1_024


class RegionReceipt(TypedDict):
    """How many nodes of a region enforce an event, and when the last one said so."""

    nodes: int
    ms: float


@dataclass(slots=True)
class _Node:
    report: Report
    heard_ns: int


@dataclass(slots=True, eq=False)
class Watch:
    """One event that somebody waits for.

    wanted: Positions by origin; having reached any of them means enforcing it.
    """

    wanted: dict[str, int]
    regions: Collection[str]
    began_ns: int
    enforcing: dict[str, dict[str, int]] = field(default_factory=dict)
    everywhere: asyncio.Event = field(default_factory=asyncio.Event)

    def receipt(self) -> dict[str, RegionReceipt]:
        """Return what is known by now, by region."""
        return {
            region: {
                "nodes": len(nodes),
                "ms": round((max(nodes.values()) - self.began_ns) / 1e6, 3),
            }
            for region, nodes in self.enforcing.items()
        }


class Receipts:
    """What every node last reported."""

    def __init__(self) -> None:
        self._nodes: OrderedDict[str, _Node] = OrderedDict()
        self._watches: list[Watch] = []
        self.rejected = 0

    def heard(self, sender: str, payload: bytes, now_ns: int) -> None:
        """Take a report as it came; it must speak for whoever the bus says it is.

        sender: As the bus knows, "" where it does not.
        """
        try:
            report = decode_report(payload)
        except FrameError:
            self.rejected += 1
            return
        if sender in {"", report.sender}:
            self.reported(report, now_ns)
        else:
            self.rejected += 1

    def reported(self, report: Report, now_ns: int) -> None:
        """Take a report."""
        self._nodes[report.sender] = _Node(report, now_ns)
        self._nodes.move_to_end(report.sender)
        if len(self._nodes) > _MAX_NODES:
            self._nodes.popitem(last=False)
        for watch in self._watches:
            self._check(watch, report, now_ns)
            self._settle(watch, now_ns)

    def echoes(self, now_ns: int) -> dict[str, str]:
        """Return the newest nonce of each node, the newest MAX_ECHOES of them."""
        echoes: dict[str, str] = {}
        for sender, node in reversed(self._nodes.items()):
            if len(echoes) == MAX_ECHOES or now_ns - node.heard_ns > _ECHO_NS:
                break
            echoes[sender] = node.report.nonce
        return echoes

    def roster(self, region: str, now_ns: int) -> tuple[str, ...]:
        """Return the names of a region's live gateways, sorted."""
        alive = self._alive(region, now_ns)
        return tuple(sorted(report.node for report in alive))

    def positions(self) -> Mapping[str, Mapping[str, int]]:
        """Return every node's reported positions, for status."""
        return {s: node.report.positions for s, node in self._nodes.items()}

    def _alive(self, region: str, now_ns: int) -> list[Report]:
        return [
            node.report
            for node in self._nodes.values()
            if node.report.region == region and now_ns - node.heard_ns <= ALIVE_NS
        ]

    def watch(
        self, wanted: Mapping[str, int], regions: Collection[str], began_ns: int
    ) -> Watch:
        """Begin to look for an event; end it with `forget`."""
        watch = Watch(dict(wanted), regions, began_ns)
        self._watches.append(watch)
        if len(self._watches) > _MAX_WATCHES:
            # Its receipt stays incomplete, which is what it then says.
            del self._watches[0]
        return watch

    def enforced(self, watch: Watch, region: str, node: str, now_ns: int) -> None:
        """Note a node that is known to enforce it without a report: this one."""
        watch.enforcing.setdefault(region, {}).setdefault(node, now_ns)

    def want(self, watch: Watch, origin: str, position: int, now_ns: int) -> None:
        """Add a position that also means enforcing it; reports may precede it."""
        watch.wanted[origin] = position
        for node in self._nodes.values():
            self._check(watch, node.report, node.heard_ns)
        self._settle(watch, now_ns)

    def forget(self, watch: Watch) -> None:
        """End a watch."""
        if watch in self._watches:
            self._watches.remove(watch)

    def _check(self, watch: Watch, report: Report, now_ns: int) -> None:
        if any(
            0 < position <= report.positions.get(origin, 0)
            for origin, position in watch.wanted.items()
        ):
            self.enforced(watch, report.region, report.node, now_ns)

    def _settle(self, watch: Watch, now_ns: int) -> None:
        for region in watch.regions:
            nodes = watch.enforcing.get(region, {})
            alive = self._alive(region, now_ns)
            if not nodes or any(report.node not in nodes for report in alive):
                return
        watch.everywhere.set()
