"""Revocations: to enter one, to look at its receipt, and to lift it.

Owns:      the members of a request to revoke, and the shape of a receipt.
Called by: admin.api.
Source:    DESIGN.md section 10; REVOCATION.md section 1 (201 and 202).
"""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from fastgate.admin.call import Call
from fastgate.admin.members import Members, read_members, required
from fastgate.admin.problems import RefusedError, json_response
from fastgate.control.entries import Receipt
from fastgate.domain.entry import MAX_REASON_CHARS, EntryError
from fastgate.domain.revocation import Kind
from fastgate.domain.snapshot import Snapshot
from fastgate.errors import ControlError

__all__ = ["MEMBERS", "enter", "lift", "show"]

MEMBERS = (
    *("kind", "issuer", "value", "home", "issued_before", "expires_in", "urgent"),
    *("reason", "wait"),
)
_LIFT_MEMBERS = ("reason", "wait")
_WAITS = ("local", "regions")
_ACTION = "revoke"


async def enter(call: Call) -> web.StreamResponse:
    """Revoke: 201 once the home's stream has it, 202 while only this node enforces it.

    Raises RefusedError; then nothing was revoked, except where the audit log failed.
    """
    members = await read_members(call.request, MEMBERS)
    snapshot = call.agent.snapshot
    asked = _asked(members, snapshot)
    line = _audit_line(asked, snapshot)
    # One line, with the outcome: the journal already has the event durably by then, and
    # a revocation must not fail for a log, so nothing is asked of it beforehand.
    try:
        receipt = await call.agent.enter(
            asked, wait=members.choice("wait", _WAITS) or "local"
        )
    except EntryError as error:
        await call.audit(_ACTION, {**line, "outcome": "refused"})
        detail = str(error).removeprefix(f"{error.field}: ")
        raise RefusedError("invalid_request", detail, field=error.field) from None
    except ControlError as error:
        await call.audit(_ACTION, {**line, "outcome": error.code})
        raise
    shown = receipt_document(receipt)
    await call.audit(_ACTION, {**line, "outcome": _outcome(receipt), **_place(receipt)})
    return json_response(
        shown,
        status=201 if receipt.published else 202,
        headers={"Location": f"/v1/revocations/{receipt.id}"},
    )


async def show(call: Call) -> web.StreamResponse:
    """Return the receipt of an event so far."""
    receipt = await call.agent.revocation(call.name)
    if receipt is None:
        raise RefusedError("not_found", "this node knows no event of that id")
    return json_response(receipt_document(receipt))


async def lift(call: Call) -> web.StreamResponse:
    """Undo an event of this region's: 201 once its stream has the lift, else 202.

    Raises RefusedError; then nothing was undone. Unlike a revocation it is not done
    where the audit log cannot be written before.
    """
    members = await read_members(call.request, _LIFT_MEMBERS)
    wait = members.choice("wait", _WAITS) or "local"
    reason = members.text("reason") or ""
    if len(reason) > MAX_REASON_CHARS or not reason.isprintable():
        detail = f"at most {MAX_REASON_CHARS} visible characters"
        raise RefusedError("invalid_request", detail, field="reason")

    async def act() -> Receipt:
        try:
            receipt = await call.agent.lift(call.name, wait=wait, reason=reason)
        except EntryError as error:
            detail = str(error).removeprefix(f"{error.field}: ")
            raise RefusedError("invalid_request", detail, field=error.field) from None
        if receipt is None:
            raise RefusedError("not_found", "no live event of that id is known here")
        return receipt

    receipt = await call.audited("lift", {"lifts": call.name, "reason": reason}, act)
    document = receipt_document(receipt) | {"lifts": call.name}
    if receipt.elsewhere:
        document["elsewhere"] = list(receipt.elsewhere)
    return json_response(document, status=201 if receipt.published else 202)


def receipt_document(receipt: Receipt) -> dict[str, Any]:
    """Return a receipt as it is answered."""
    return {
        "id": receipt.id,
        "origin": receipt.origin,
        "seq": receipt.seq,
        "published": receipt.published,
        "complete": receipt.complete,
        "receipt": receipt.regions,
    }


def _asked(members: Members, snapshot: Snapshot) -> dict[str, Any]:
    kind = members.choice("kind", [kind.value for kind in Kind])
    issuer = members.choice("issuer", [p.alias for p in snapshot.issuers])
    value = members.text("value")
    if kind is None:
        raise required("kind")
    if issuer is None:
        raise required("issuer")
    if not value and kind != Kind.ISSUER:
        raise required("value")
    return {
        "kind": kind,
        "issuer": issuer,
        "value": value or "",
        "home": members.choice("home", snapshot.regions.names),
        "issued_before": members.number("issued_before"),
        "expires_in": members.whole("expires_in"),
        "urgent": members.flag("urgent"),
        "reason": members.text("reason") or "",
    }


def _audit_line(asked: Mapping[str, Any], snapshot: Snapshot) -> dict[str, object]:
    # The object is named by its keyed hash: the log holds no identifier.
    profile = next(p for p in snapshot.issuers if p.alias == asked["issuer"])
    value = asked["value"] or profile.issuer
    return {
        "kind": asked["kind"],
        "issuer": asked["issuer"],
        "object": profile.hasher.key(Kind(asked["kind"]), value).hex(),
        "home": asked["home"],
        "urgent": asked["urgent"],
        "reason": asked["reason"],
    }


def _outcome(receipt: Receipt) -> str:
    return "published" if receipt.published else "pending"


def _place(receipt: Receipt) -> dict[str, object]:
    return {"id": receipt.id, "origin": receipt.origin, "seq": receipt.seq}
