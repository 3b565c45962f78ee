"""A fake of admin.facade.AgentFacade that notes what it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.config.documents import BASE, load_text

from fastgate.config.compile import compile_snapshot
from fastgate.control.adoption import Adopted
from fastgate.control.entries import Receipt
from fastgate.control.listing import Listed, Page
from fastgate.domain.revocation import Kind
from fastgate.domain.snapshot import Snapshot
from fastgate.errors import ControlError

RECEIPT = Receipt(
    id="3f9c41d2a7b64e0f9d1c2b3a4f5e6d7c",
    origin="us",
    seq=1044,
    published=True,
    complete=True,
    regions={"us": {"nodes": 2, "ms": 3.1}, "eu": {"nodes": 2, "ms": 94.0}},
)
PAGES = {
    None: Page(
        (
            Listed("a" * 24, "eu", Kind.SID, 1_763_679_600, None, False),
            Listed(None, "us", Kind.SUB, 1_763_679_700, 1_763_600_000, False),
        ),
        "next-page",
    ),
    "next-page": Page(
        (Listed("b" * 24, "us", Kind.JTI, 1_763_679_800, None, True),), None
    ),
}
KEYS = {
    "alias": "login",
    "issuer": "https://login.example.com",
    "ready": True,
    "last_error": "",
    "source": "issuer",
    "age_s": 12.5,
    "next_refresh_s": 467.5,
    "keys": [
        {
            "kid": "ec-1",
            "kty": "EC",
            "algorithms": ["ES256"],
            "first_seen": 1_763_679_600,
            "last_seen": 1_763_679_600,
            "state": "current",
        }
    ],
    "dropped": [],
}
ORIGINS = [
    {
        "origin": "eu",
        "state": "fresh",
        "age_s": 0.4,
        "path": "live",
        "position": 1043,
        "lag": 0,
        "gaps": 0,
        "publishers": {"gw-eu-1.aaaaaaaa": 1043},
    },
    {
        "origin": "us",
        "state": "behind",
        "age_s": None,
        "path": "replay",
        "position": 204,
        "lag": 7,
        "gaps": 1,
        "publishers": {},
    },
]


def snapshot(folder: Path) -> Snapshot:
    """Compile the configuration that tests start from."""
    return compile_snapshot(load_text(folder, BASE).require(), version=3)


class FakeListing:
    """A listing of three events in two pages; notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.fault: Exception | None = None

    async def page(self, **asked: Any) -> Page:
        self.asked.append(asked)
        if self.fault is not None:
            raise self.fault
        return PAGES[asked["cursor"]]


@dataclass
class FakeAgent:
    """A node of which everything is known.

    calls: What was asked for, in order. lines: The audit log, in order.
    fault: Raised by whatever would change something. audit_down: It cannot be written.
    """

    snapshot: Snapshot
    admin_token: str | None = None
    receipt: Receipt = RECEIPT
    fault: Exception | None = None
    audit_down: bool = False
    origins: dict[str, Any] = field(default_factory=dict)
    listing: FakeListing = field(default_factory=FakeListing)
    is_ready: bool = True
    reloaded: dict[str, Any] = field(
        default_factory=lambda: {"result": "success", "hash": "ab12", "problems": []}
    )
    calls: list[tuple[str, Any]] = field(default_factory=list)
    lines: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)

    def _act(self, name: str, given: Any = None) -> None:
        self.calls.append((name, given))
        if self.fault is not None:
            raise self.fault

    async def enter(self, request: Mapping[str, Any], *, wait: str) -> Receipt:
        self._act("enter", dict(request) | {"wait": wait})
        return self.receipt

    async def lift(self, id_: str, *, wait: str, reason: str) -> Receipt | None:
        self._act("lift", {"id": id_, "wait": wait, "reason": reason})
        return self.receipt if id_ == RECEIPT.id else None

    @property
    def feed(self) -> "FakeAgent":
        return self

    def digests(
        self, wall_s: int | None, marks: Mapping[str, int] | None
    ) -> dict[str, Any]:
        self.calls.append(("digests", (wall_s, marks)))
        return {"node": "gw-eu-1", "region": "eu", "wall": 7, "origins": self.origins}

    async def adopt(self, region: str) -> Adopted:
        self._act("adopt", region)
        return Adopted(region, "eu", 12, 34.56)

    async def revocation(self, id_: str) -> Receipt | None:
        return self.receipt if id_ == self.receipt.id else None

    def status(self) -> dict[str, Any]:
        if isinstance(self.fault, ZeroDivisionError):
            raise self.fault
        return {
            "node": "gw-eu-1",
            "region": "eu",
            "version": "0.1.0",
            "uptime_s": 61.0,
            "ready": self.is_ready,
            "draining": False,
            "config": {"version": 3, "hash": "ab12"},
            "feed": {"bus": "nats", "connected": True, "origins": ORIGINS},
            "keys": [KEYS],
            "workers": [{"slot": 0, "up": True, "current": True, "pid": 4711}],
            "alarms": [{"alarm": "bus", "dependency": "bus", "since": 1_763_679_600}],
        }

    def ready(self) -> tuple[bool, list[dict[str, Any]]]:
        line = {"name": "origin us", "ok": self.is_ready, "reason": "behind"}
        return self.is_ready, [{"name": "worker 0", "ok": True}, line]

    def alive(self) -> tuple[bool, list[dict[str, Any]]]:
        return True, [{"name": "worker 0", "ok": True}]

    def metrics(self, accept: str) -> tuple[bytes, str]:
        self.calls.append(("metrics", accept))
        return b"fastgate_build_info 1\n", "text/plain; version=0.0.4"

    async def explain(self, **given: Any) -> dict[str, Any]:
        self._act("explain", given)
        return {
            "verdict": "deny",
            "reason": "revoked",
            "status": 401,
            "route": "orders",
            "region": "us",
            "source": "claim",
            "steps": [
                {"step": "shape", "outcome": "3 parts, ES256, kid ec-1"},
                {"step": "revocation", "outcome": "sid revoked"},
            ],
        }

    async def reload(self) -> dict[str, Any]:
        self._act("reload")
        return self.reloaded

    async def drain(self) -> None:
        self._act("drain")

    async def refresh_keys(self, issuer: str | None, *, wait: bool) -> dict[str, Any]:
        self._act("refresh_keys", {"issuer": issuer, "wait": wait})
        return {"login": {"ok": True, "error": "", "kids": ["ec-1"]}}

    def audit(self, actor: str, action: str, fields: Mapping[str, object]) -> None:
        if self.audit_down:
            raise ControlError("the audit log cannot be written")
        self.lines.append((actor, action, dict(fields)))
        self.calls.append(("audit", fields["outcome"]))
